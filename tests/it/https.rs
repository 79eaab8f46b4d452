//! HTTPS in front of a plain server on this machine, as the owner of a name would have it.

use crate::browser::Browser;
use crate::support::text;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Ends TLS and hands on what comes, unchanged; it ends when this is dropped.
pub struct Https {
    /// As in `https://localhost:4433`; its certificate is known to nobody.
    pub origin: String,
    _runtime: Runtime,
}

impl Https {
    /// A front for what listens there, or will.
    pub fn before(server: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(stream).await?;
                    let mut inside = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        Https {
            origin: format!("https://localhost:{port}"),
            _runtime: runtime,
        }
    }
}

fn acceptor() -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// What a link for somebody else rests on: a cookie of this host alone, and a form.
#[test]
fn a_browser_keeps_a_host_cookie_behind_https() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Https::before(listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A browser connects ahead and says nothing for a while.
            thread::spawn(move || greet(stream));
        }
    });
    let browser = Browser::start();
    let page = format!("{}/link", front.origin);
    browser.go(&page);
    browser.wait_for_text("a stranger");
    browser.click("button");
    browser.wait_for_text("welcome");
    browser.go(&page);
    browser.wait_for_text("been here");
    browser.forget();
    browser.go(&page);
    browser.wait_for_text("a stranger");
}

/// A page with a form that sets a cookie.
fn greet(mut stream: std::net::TcpStream) {
    let mut head = [0; 8192];
    let read = stream.read(&mut head).unwrap_or(0);
    let head = text(&head[..read]);
    let (cookie, said) = match head {
        head if head.starts_with("POST ") => (
            "Set-Cookie: __Host-visit=1; Secure; HttpOnly; Path=/; SameSite=Lax\r\n",
            "welcome",
        ),
        head if head.contains("__Host-visit=1") => ("", "been here"),
        _ => ("", "a stranger"),
    };
    let body = format!("<form method=post><button>Begin</button></form><p>{said}</p>");
    let length = body.len();
    let _gone = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{cookie}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}
