//! Connections to token endpoints: straight or through a proxy, plain or TLS. Whatever
//! fails here, not a byte of a request has left.

use super::resolver::Resolver;
use super::tickets::Tickets;
use super::{HttpError, Profile, explain};
use crate::authorities;
use crate::config::Proxy;
use base64::Engine as _;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use refreshd_core::secret::Secret;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

pub(super) const AGENT: &str = concat!("refreshd/", env!("CARGO_PKG_VERSION"));

type Cause = Box<dyn Error + Send + Sync>;

/// A connection: bytes in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
pub(super) type Connection = Box<dyn Duplex>;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(super) struct Unconnected {
    /// It took too long.
    pub(super) is_timeout: bool,
    #[source]
    cause: Cause,
}

/// Makes connections as a client has configured them.
pub(super) struct Connector {
    plain: Dial,
    tls: Option<Arc<ClientConfig>>,
    proxy: Option<Proxy>,
    resolver: Resolver,
}

impl Connector {
    pub(super) fn new(profile: &Profile) -> Result<Self, HttpError> {
        let resolver = Resolver::new(profile);
        let mut http = HttpConnector::new_with_resolver(resolver.clone());
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let tls = match profile.https {
            true => Some(Arc::new(client_config(profile)?)),
            false => None,
        };
        Ok(Connector {
            plain: Dial { http, tls: None },
            tls,
            proxy: profile.proxy.clone(),
            resolver,
        })
    }

    /// # Errors
    /// Why there is none; nothing was sent.
    pub(super) async fn connect(&self, target: &Url) -> Result<Connection, Unconnected> {
        match tokio::time::timeout(CONNECT_LIMIT, self.reach(target)).await {
            Ok(reached) => reached.map_err(|cause| Unconnected {
                is_timeout: is_timeout(&*cause),
                cause,
            }),
            Err(elapsed) => Err(Unconnected {
                is_timeout: true,
                cause: elapsed.into(),
            }),
        }
    }

    async fn reach(&self, target: &Url) -> Result<Connection, Cause> {
        let to: Uri = place(target).parse()?;
        let reached = match &self.proxy {
            None => self.plain.clone().call(to).await?,
            Some(proxy) if proxy.url.scheme().starts_with("socks") => {
                self.through_socks(proxy, target, to).await?
            }
            Some(proxy) => self.through_tunnel(proxy, to).await?,
        };
        let reached = reached.into_inner();
        match &self.tls {
            Some(tls) if target.scheme() == "https" => secure(tls, target, reached).await,
            _ => Ok(reached),
        }
    }

    async fn through_tunnel(&self, proxy: &Proxy, to: Uri) -> Result<Raw, Cause> {
        let tls = self.tls.clone();
        let dial = Dial {
            tls: tls.filter(|_| proxy.url.scheme() == "https"),
            ..self.plain.clone()
        };
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut tunnel = Tunnel::new(proxy.url.as_str().parse()?, dial).with_headers(headers);
        if let Some((user, password)) = &proxy.login {
            let pair = Secret::new(format!("{user}:{}", password.expose()));
            let coded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
            let value = HeaderValue::from_str(&format!("Basic {coded}"))?;
            tunnel = tunnel.with_auth(value);
        }
        Ok(tunnel.call(to).await?)
    }

    /// `socks5` resolves here, `socks5h` at the proxy.
    async fn through_socks(&self, proxy: &Proxy, target: &Url, to: Uri) -> Result<Raw, Cause> {
        let named = matches!(target.host(), Some(url::Host::Domain(_)));
        let to = match proxy.url.scheme() == "socks5" && named {
            true => {
                let host = target.host_str().unwrap_or_default();
                let found = self.resolver.lookup(host.to_owned()).await?;
                let mut address = *found.first().ok_or("it has no address")?;
                address.set_port(target.port_or_known_default().unwrap_or_default());
                format!("https://{address}/").parse()?
            }
            false => to,
        };
        let address = format!("http://{}", place_of(&proxy.url, 1080)).parse()?;
        let mut socks = SocksV5::new(address, self.plain.clone());
        if let Some((user, password)) = &proxy.login {
            socks = socks.with_auth(user.clone(), password.expose().to_owned());
        }
        Ok(socks.call(to).await?)
    }
}

/// Scheme, host and port, and nothing that could be a secret.
fn place(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}://{}/", url.scheme(), place_of(url, port))
}

fn place_of(url: &Url, port: u16) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port().unwrap_or(port))
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    explain::causes(error).any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut)
    })
}

fn client_config(profile: &Profile) -> Result<ClientConfig, HttpError> {
    let mut found = authorities::of_system();
    if let Some(path) = &profile.ca_file {
        found.extend(authorities::read(path)?);
    }
    if found.is_empty() {
        return Err(HttpError::NoAuthorities);
    }
    let mut roots = RootCertStore::empty();
    for der in found {
        roots
            .add(der)
            .map_err(|e| HttpError::Setup(e.to_string()))?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(Tickets::new()));
    Ok(config)
}

async fn secure(
    tls: &Arc<ClientConfig>,
    target: &Url,
    connection: Connection,
) -> Result<Connection, Cause> {
    let host = target.host_str().unwrap_or_default();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let connector = TlsConnector::from(tls.clone());
    Ok(Box::new(connector.connect(name, connection).await?))
}

/// What hyper's connectors work on.
type Raw = TokioIo<Connection>;

/// Connects to a host, or to a proxy, with TLS where that speaks it.
#[derive(Clone)]
struct Dial {
    http: HttpConnector<Resolver>,
    tls: Option<Arc<ClientConfig>>,
}

impl Service<Uri> for Dial {
    type Response = Raw;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<Raw, Cause>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.http.call(to.clone());
        let tls = self.tls.clone();
        Box::pin(async move {
            let connection: Connection = Box::new(connecting.await?.into_inner());
            let connection = match tls {
                Some(tls) => secure(&tls, &Url::parse(&to.to_string())?, connection).await?,
                None => connection,
            };
            Ok(TokioIo::new(connection))
        })
    }
}
