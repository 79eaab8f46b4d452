//! Connections that can be made to fail: reset before the answer, or ended in
//! the middle of it. What hyper writes goes through here.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

const WHOLE: u8 = 0;
const RESET: u8 = 1;
const HALF: u8 = 2;
const CUT: u8 = 3;

/// A handle on a request's connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// The next answer is not written: the peer sees a TCP reset.
    pub(crate) fn reset(&self) {
        self.0.store(RESET, Ordering::SeqCst);
    }

    /// Half of the next answer's body is written; then the connection ends.
    pub(crate) fn truncate(&self) {
        self.0.store(HALF, Ordering::SeqCst);
    }
}

/// Accepts [`Wire`]s.
#[derive(Debug)]
pub(crate) struct Wires(pub(crate) TcpListener);

/// A connection with its [`Fate`].
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    fate: Fate,
}

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // Without it every answer on a fresh connection may wait for a delayed ACK.
        let _ = stream.set_nodelay(true);
        let fate = Fate::default();
        (Wire { stream, fate }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Wires>> for Fate {
    fn connect_info(incoming: IncomingStream<'_, Wires>) -> Self {
        incoming.io().fate.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let fate = self.fate.0.load(Ordering::SeqCst);
        match fate {
            WHOLE => Pin::new(&mut self.stream).poll_write(cx, bytes),
            HALF => {
                let half = &bytes[..half_of_answer(bytes)];
                let written = Pin::new(&mut self.stream).poll_write(cx, half);
                if written.is_ready() {
                    self.fate.0.store(CUT, Ordering::SeqCst);
                }
                written
            }
            RESET => {
                // hyper drops a connection whose write failed, and closing with
                // a linger of zero sends RST instead of FIN.
                self.stream.set_zero_linger()?;
                Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
            }
            _ => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fate.0.load(Ordering::SeqCst) == RESET {
            return Poll::Ready(Ok(())); // No FIN before the RST.
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where to cut an answer: after its head and half of what follows. hyper
/// writes a small answer in one piece, as this stream offers no vectored write.
fn half_of_answer(bytes: &[u8]) -> usize {
    let end_of_head = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let head = end_of_head.map_or(0, |at| at + 4);
    head + (bytes.len() - head) / 2
}
