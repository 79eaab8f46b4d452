//! A token endpoint in a few lines, for answers that no honest server gives
//! and for a look at the bytes of a request.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Answers every token request alike, and keeps it.
pub(crate) struct Tiny {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Tiny {
    /// Answers 200 with this JSON, in which `#` is the number of the request.
    pub(crate) async fn answering(body: &'static str) -> Tiny {
        Self::by(move |number| {
            let body = body.replace('#', &number.to_string());
            response("200 OK", "content-type: application/json", body.as_bytes())
        })
        .await
    }

    /// Answers with these, one after the other; the last one stays.
    pub(crate) async fn saying(answers: Vec<Vec<u8>>) -> Tiny {
        Self::by(move |number| answers[(number - 1).min(answers.len() - 1)].clone()).await
    }

    async fn by(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Tiny {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    /// The same where somebody listens already.
    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(usize) -> Vec<u8> + Send + 'static,
    ) -> Tiny {
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = requests.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !is_whole(&request) && stream.read_buf(&mut request).await.unwrap() > 0 {}
                let number = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(String::from_utf8(request).unwrap());
                    kept.len()
                };
                stream.write_all(&answer(number)).await.unwrap();
                let _closed = stream.shutdown().await;
            }
        });
        Tiny { url, requests }
    }

    /// The requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A whole answer; `headers` are separated by line ends.
pub(crate) fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Whether the body is as long as the head says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .filter_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .next();
    body.len() >= length.unwrap_or(0)
}
