//! Connections that others make to us, each within limits: a place among so many, a time
//! for the head, for each request, and for all of it. Where all places are taken, the one
//! that has waited longest without a whole request gives way to the next: half requests
//! and idle connections keep nobody out, wherever they come from.

mod body;

use axum::body::Body;
use body::Watched;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

/// Where the system has no descriptor or memory left, a pause.
const SCARCE: Duration = Duration::from_millis(200);
/// That is said so often at the most.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// What is under way at a stop is answered by then.
const STOPPING: Duration = Duration::from_secs(5);
/// An answer that is being written as its connection gives way.
const LAST_BYTES: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Listener: Send + 'static {
    /// What they are.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn next(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Answers are one small packet each.
        let _slower = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// What each connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// What they are for, as in "the control socket".
    pub(crate) name: &'static str,
    /// So many at once; further ones wait to be accepted.
    pub(crate) places: usize,
    /// A request's head must be whole by then, and the next request's too.
    pub(crate) head: Duration,
    /// The longest head.
    pub(crate) head_bytes: usize,
    /// After this a connection gets no further request.
    pub(crate) life: Duration,
    /// How long a request that is under way then may take.
    pub(crate) request: Duration,
}

/// Answers requests.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    /// The answer to one.
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts until `stop` turns or is gone; what is under way is answered. The listener
/// comes back.
pub(crate) async fn accept<L: Listener>(
    mut listener: L,
    limits: Limits,
    answer: impl Answer,
    mut stop: watch::Receiver<bool>,
) -> L {
    let places = Arc::new(Semaphore::new(limits.places));
    let room = Arc::new(Room::default());
    let mut said: Option<Instant> = None;
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the places are never closed");
            (place, listener.next().await)
        };
        let stopped = stop.clone();
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok(stream) => {
                let seat = room.enter();
                if places.available_permits() == 0 {
                    room.make_way();
                }
                tokio::spawn(serve(
                    stream,
                    limits,
                    answer.clone(),
                    stopped,
                    Stay {
                        seat,
                        room: room.clone(),
                        _place: place,
                    },
                ));
            }
            // Whoever came has gone again.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(e) => {
                if said.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
                    tracing::warn!("a connection to {} was not accepted: {e}", limits.name);
                    said = Some(Instant::now());
                }
                tokio::time::sleep(SCARCE).await;
            }
        }
    }
    let all = u32::try_from(limits.places).unwrap_or(u32::MAX);
    let _answered = tokio::time::timeout(STOPPING, places.acquire_many(all)).await;
    listener
}

/// Who is here, the longest first.
#[derive(Debug, Default)]
struct Room(Mutex<VecDeque<Arc<Seat>>>);

#[derive(Debug, Default)]
struct Seat {
    /// A whole request has come, and is not answered yet.
    busy: AtomicBool,
    /// One has been answered, whose last bytes may be on their way.
    answered: AtomicBool,
    give_way: Notify,
}

/// A connection's seat and place, for as long as it lasts.
struct Stay {
    seat: Arc<Seat>,
    room: Arc<Room>,
    _place: OwnedSemaphorePermit,
}

impl Room {
    fn seats(&self) -> MutexGuard<'_, VecDeque<Arc<Seat>>> {
        self.0.lock().expect("nothing panics while it holds them")
    }

    fn enter(&self) -> Arc<Seat> {
        let seat = Arc::<Seat>::default();
        self.seats().push_back(seat.clone());
        seat
    }

    /// The one that has been without a whole request for longest leaves.
    fn make_way(&self) {
        let seats = self.seats();
        // Not the one that has just come.
        let older = seats.len().saturating_sub(1);
        let mut older = seats.iter().take(older);
        if let Some(seat) = older.find(|seat| !seat.busy.load(Ordering::Acquire)) {
            seat.give_way.notify_one();
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut seats = self.room.seats();
        seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    limits: Limits,
    answer: impl Answer,
    mut stop: watch::Receiver<bool>,
    stay: Stay,
) {
    let seat = stay.seat.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, seat) = (answer.clone(), seat.clone());
        async move {
            seat.busy
                .store(request.body().is_end_stream(), Ordering::Release);
            let whole = seat.clone();
            let request = request.map(|body| {
                Body::new(Watched::new(body, move || {
                    whole.busy.store(true, Ordering::Release)
                }))
            });
            let answered = answer.answer(request).await;
            seat.answered.store(true, Ordering::Release);
            seat.busy.store(false, Ordering::Release);
            Ok::<_, Infallible>(answered)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = tokio::time::sleep(limits.life) => {}
        _ = stop.wait_for(|stop| *stop) => {}
        () = stay.seat.give_way.notified() => {}
    }
    let is = |state: &AtomicBool| state.load(Ordering::Acquire);
    let last = match (is(&stay.seat.busy), is(&stay.seat.answered)) {
        (true, _) => limits.request,
        (false, true) => LAST_BYTES,
        (false, false) => return,
    };
    connection.as_mut().graceful_shutdown();
    let _cut = tokio::time::timeout(last, connection).await;
}

#[cfg(test)]
mod tests;
