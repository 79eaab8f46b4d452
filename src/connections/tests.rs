use super::*;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PLACES: usize = 8;

const LIMITS: Limits = Limits {
    name: "a test",
    places: PLACES,
    head: Duration::from_secs(600),
    head_bytes: 16 * 1024,
    life: Duration::from_secs(600),
    request: Duration::from_secs(600),
};

#[derive(Clone)]
struct Echo;

impl Answer for Echo {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        let bytes = axum::body::to_bytes(request.into_body(), 1024).await;
        Response::new(Body::from(bytes.unwrap_or_default()))
    }
}

async fn served() -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(accept(listener, LIMITS, Echo, stopped));
    (address, stop)
}

async fn connection(address: SocketAddr, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

async fn answer(address: SocketAddr) -> String {
    let request = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let mut stream = connection(address, request).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// However many there are, and whatever they have sent of a request.
#[tokio::test]
async fn half_requests_keep_nobody_out() {
    let (address, _stop) = served().await;
    let halves = [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: x\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    ];
    for half in halves {
        let mut held = Vec::new();
        for _ in 0..3 * PLACES {
            held.push(connection(address, half).await);
        }
        let text = answer(address).await;
        assert!(text.ends_with("\r\n\r\nhi"), "{half:?}: {text:?}");
    }
}

/// A kept connection without a request is idle, too.
#[tokio::test]
async fn idle_connections_give_way() {
    let (address, _stop) = served().await;
    let mut held = Vec::new();
    for _ in 0..2 * PLACES {
        let mut stream = connection(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
}

/// What is being answered stays.
#[tokio::test]
async fn a_whole_request_does_not_give_way() {
    let (address, _stop) = served().await;
    let never = "GET /never HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut waiting = connection(address, never).await;
    let mut held = Vec::new();
    for _ in 0..4 * PLACES {
        held.push(connection(address, "GET").await);
    }
    assert!(answer(address).await.ends_with("hi"));
    let read = tokio::time::timeout(Duration::from_millis(50), waiting.read(&mut [0; 1])).await;
    assert!(read.is_err(), "it was answered or cut off: {read:?}");
}

#[tokio::test]
async fn a_stop_closes_what_is_idle_and_ends() {
    let (address, stop) = served().await;
    let mut idle = connection(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut head = [0; 15];
    idle.read_exact(&mut head).await.unwrap();
    stop.send_replace(true);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}
