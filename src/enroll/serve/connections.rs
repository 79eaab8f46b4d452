//! Connections, each with its limits: a place among so many, a time for the head, for
//! each request, and for all of it. Whoever sends a byte now and then holds up nobody
//! for long, wherever it comes from: behind a proxy all peers have one address.

use super::{Web, routes};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// So many connections at once; further ones wait to be accepted.
const PLACES: usize = 256;
/// A request's head must have come by then, and the next request's too.
const HEAD: Duration = Duration::from_secs(5);
/// A request must be answered by then.
const REQUEST: Duration = Duration::from_secs(30);
/// After this a connection gets no further request.
const LIFE: Duration = Duration::from_secs(60);
/// The longest head: a callback's query may have 16 KiB.
const HEAD_BYTES: usize = 32 * 1024;
/// Where the system has no descriptor left, a pause.
const SCARCE: Duration = Duration::from_millis(200);

/// Accepts until `stop` turns or is gone; what is under way is answered.
pub(super) async fn accept(listener: TcpListener, web: Arc<Web>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let stopped = stop.clone();
        let next = async {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the places are never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let web = web.clone();
                tokio::spawn(async move {
                    serve(stream, web, stopped).await;
                    drop(place);
                });
            }
            // Whoever came has gone again.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(e) => {
                tracing::warn!("a connection for links and pushes was not accepted: {e}");
                tokio::time::sleep(SCARCE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, web: Arc<Web>, mut stop: watch::Receiver<bool>) {
    // Answers are one small packet each.
    let _slower = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let web = web.clone();
        async move {
            let answered = tokio::time::timeout(REQUEST, routes::answer(&web, request)).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| routes::too_slow()))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = tokio::time::sleep(LIFE) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _cut = tokio::time::timeout(REQUEST, connection).await;
}
