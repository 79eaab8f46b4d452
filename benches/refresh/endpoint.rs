//! The cheapest token endpoint that both sides can talk to: it reads a request,
//! counts it and answers with new tokens, on plain TCP or TLS.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A running endpoint, on a runtime of its own.
pub(crate) struct Endpoint {
    /// Where token requests go.
    pub(crate) url: String,
    /// The certificate authority that clients must trust, as PEM; `None` without TLS.
    pub(crate) authority: Option<String>,
    served: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

impl Endpoint {
    /// Starts one on a free port.
    pub(crate) fn start(tls: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let identity = tls.then(identity);
        let (acceptor, authority) = identity.unzip();
        let served = Arc::new(AtomicU64::new(0));
        runtime.spawn(accept(listener, acceptor, served.clone()));
        let origin = if tls {
            format!("https://localhost:{port}")
        } else {
            format!("http://127.0.0.1:{port}")
        };
        Endpoint {
            url: format!("{origin}/token"),
            authority,
            served,
            _runtime: runtime,
        }
    }

    /// How many requests have been answered.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// A certificate for `localhost` by an authority made for this run.
fn identity() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority");
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .and_then(|params| params.signed_by(&key, &issuer))
        .expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("versions that ring has")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a key that fits");
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, served: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, served) = (acceptor.clone(), served.clone());
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            match acceptor {
                Some(acceptor) => serve(acceptor.accept(stream).await?, &served).await,
                None => serve(stream, &served).await,
            }
        });
    }
}

/// Answers requests until the other side closes.
async fn serve<S>(mut stream: S, served: &AtomicU64) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::with_capacity(4096);
    let mut answer = Vec::with_capacity(1024);
    loop {
        while let Some(length) = request_length(&buffer) {
            buffer.drain(..length);
            write_answer(&mut answer, served.fetch_add(1, Ordering::Relaxed));
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return stream.shutdown().await;
        }
    }
}

/// The length of the first request, once it is there as a whole.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(4).position(|at| at == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let length = end + length.unwrap_or(0);
    (buffer.len() >= length).then_some(length)
}

/// Tokens that live for a second: a grant is due again as soon as the rules let it.
fn write_answer(answer: &mut Vec<u8>, serial: u64) {
    let body = format!(
        "{{\"access_token\":\"at-{serial:0>200}\",\"token_type\":\"Bearer\",\"expires_in\":1,\"refresh_token\":\"rt-{serial:0>100}\"}}"
    );
    answer.clear();
    write!(
        answer,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("a vector takes everything");
}
