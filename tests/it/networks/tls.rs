//! A TLS token endpoint with an authority of its own. It notes from where it
//! was connected to.

use crate::support::House;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Issues certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { issuer, pem }
    }

    /// Writes its certificate to `ca.pem`.
    pub(super) fn publish(&self, house: &House) {
        house.write("ca.pem", &self.pem);
    }

    pub(super) fn acceptor(
        &self,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = tokio_rustls::rustls::crypto::ring::default_provider();
        let config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A running endpoint; it ends with the test's runtime.
pub(super) struct TlsEndpoint {
    pub(super) port: u16,
    connections: Arc<Mutex<Vec<IpAddr>>>,
    requests: Arc<AtomicU64>,
}

impl TlsEndpoint {
    /// With a certificate for these names and addresses.
    pub(super) async fn start(at: &str, authority: &Authority, names: &[&str]) -> Self {
        Self::with(at, authority, names, |_| ()).await
    }

    /// With a certificate that something is odd about.
    pub(super) async fn with(
        at: &str,
        authority: &Authority,
        names: &[&str],
        change: impl Fn(&mut CertificateParams),
    ) -> Self {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let endpoint = TlsEndpoint {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let acceptor = authority.acceptor(names, change);
        let (connections, requests) = (endpoint.connections.clone(), endpoint.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                connections.lock().unwrap().push(from.ip());
                let (acceptor, requests) = (acceptor.clone(), requests.clone());
                tokio::spawn(async move { answer(stream, acceptor, &requests).await });
            }
        });
        endpoint
    }

    /// From where it was connected to, TLS or not.
    pub(super) fn connections(&self) -> Vec<IpAddr> {
        self.connections.lock().unwrap().clone()
    }

    /// How many token requests it has answered.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    requests: &AtomicU64,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    // The refresh token is at the end of the form.
    while !String::from_utf8_lossy(&request).contains("refresh_token=") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let serial = requests.fetch_add(1, Ordering::Relaxed) + 2;
    let body = format!(
        "{{\"access_token\":\"at-{serial}\",\"token_type\":\"Bearer\",\"expires_in\":3600,\"refresh_token\":\"rt-{serial}\"}}"
    );
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
