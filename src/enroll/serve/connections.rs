//! Connections for links, callbacks and pushes. Behind a proxy all peers have one address,
//! so nobody's share is counted.

use super::{Web, routes};
use crate::connections::{Answer, Limits, accept};
use axum::body::Body;
use hyper::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request must be answered by then.
const REQUEST: Duration = Duration::from_secs(30);

/// Serves until `stop` turns or is gone; so many at once.
pub(super) async fn serve(
    listener: TcpListener,
    web: Arc<Web>,
    places: usize,
    stop: watch::Receiver<bool>,
) {
    let limits = Limits {
        name: "[enroll] listen",
        places,
        head: Duration::from_secs(5),
        // A callback's query may have 16 KiB.
        head_bytes: 32 * 1024,
        life: Duration::from_secs(60),
        request: REQUEST,
    };
    accept(listener, limits, Pages(web), stop).await;
}

#[derive(Clone)]
struct Pages(Arc<Web>);

impl Answer for Pages {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let answered = tokio::time::timeout(REQUEST, routes::answer(&self.0, request)).await;
        answered.unwrap_or_else(|_| routes::too_slow())
    }
}
