//! What of a request leaves, and when.

use super::*;
use crate::config::{Sources, load};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// The provider's server is a listener of the test's.
fn client(url: &Url) -> Arc<ClientConfig> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("refreshd.toml");
    let providers = dir.path().join("providers.d");
    std::fs::create_dir(&providers).unwrap();
    let described = format!("name = \"mine\"\n[token]\nurl = \"{url}\"\n");
    std::fs::write(providers.join("mine.toml"), described).unwrap();
    let text = "[daemon]\nstate_dir = \"/x/s\"\nruntime_dir = \"/x/r\"\n\
                [clients.c]\nprovider = \"mine\"\nclient_id = \"c\"\nclient_secret = { env = \"S\" }\n";
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        env: [("S".to_owned(), "s".to_owned())].into(),
        ..Sources::default()
    };
    let config = load(&sources).config.unwrap();
    config.clients["c"].clone()
}

/// A connection that took until a window was over used to be used all the same.
#[tokio::test]
async fn not_a_byte_leaves_after_the_time_for_it() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", server.local_addr().unwrap());
    let url: Url = url.parse().unwrap();
    let (http, client) = (Http::default(), client(&url));
    let request = || TokenRequest {
        url: url.clone(),
        headers: Vec::new(),
        body: Secret::new("grant_type=refresh_token"),
    };
    let now = || WallTime(0);
    let late = Duration::ZERO;
    let ending = http.exchange_within(Some(late), &client, request(), now);
    let Ending::NotSent { text } = ending.await else {
        panic!("something left");
    };
    assert!(text.contains("may be presented again"), "{text}");
    let mut came = Vec::new();
    let (mut connection, _) = server.accept().await.unwrap();
    connection.read_to_end(&mut came).await.unwrap();
    assert_eq!(came, b"");
    // In time it leaves.
    let hour = Duration::from_secs(3600);
    let exchange = http.exchange_within(Some(hour), &client, request(), now);
    let answer = async {
        let (mut connection, _) = server.accept().await.unwrap();
        let mut first = [0; 4];
        connection.read_exact(&mut first).await.unwrap();
        first
    };
    let (ending, first) = tokio::join!(exchange, answer);
    assert_eq!(&first, b"POST");
    assert!(matches!(ending, Ending::Lost { .. }), "{ending:?}");
}
