//! Sends one token request, safely: HTTP/1.1, no redirect, no proxy or
//! certificate from the environment, no retry of its own, bounded in size. It
//! tells "nothing was sent" from "the answer was lost".
//!
//! The system's certificate authorities are read from where distributions put
//! them, since the usual loader obeys `SSL_CERT_FILE`.

use crate::config::Client as ClientConfig;
use refreshd_core::flight::Answer;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use refreshd_core::grant::settle::Ending;
use refreshd_core::provider::description::{OldValid, Reuse, is_loopback};
use refreshd_core::provider::request::TokenRequest;
use refreshd_core::text::printable;
use refreshd_core::time::WallTime;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::error::Error as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::{Host, Url};

/// The largest body that is read.
pub const BODY_CAP: usize = 256 * 1024;
/// A late answer is waited for this long in all.
pub const READ_LIMIT: Duration = Duration::from_secs(600);

/// Where distributions keep their bundle: Debian, Fedora, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const READ_HEADERS: [&str; 3] = ["content-type", "retry-after", "date"];

/// Connections to token endpoints, kept apart by what a client configures.
#[derive(Clone, Debug, Default)]
pub struct Http {
    clients: Arc<Mutex<HashMap<Profile, reqwest::Client>>>,
}

/// What tells one set of connections from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Profile {
    proxy: Option<Url>,
    ca_file: Option<PathBuf>,
    fresh: bool,
    https: bool,
}

/// A client's connection settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The CA file is missing or holds no certificate.
    #[error("ca_file {path}: {problem}; it must hold PEM certificates")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There are no certificate authorities to check a server with.
    #[error(
        "this machine has no CA certificates; install the package ca-certificates, or set ca_file for the client"
    )]
    NoAuthorities,
    /// No connection can be set up at all.
    #[error("cannot set up HTTPS: {0}")]
    Setup(String),
}

impl Http {
    /// Sends the request and reads the answer to its end, however late it comes
    /// ([`READ_LIMIT`]). It must not be cancelled once begun.
    pub async fn exchange(
        &self,
        client: &ClientConfig,
        request: TokenRequest,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let http = match self.client(client) {
            Ok(http) => http,
            Err(e) => {
                return Ending::NotSent {
                    text: e.to_string(),
                };
            }
        };
        let mut post = http
            .post(request.url)
            .body(request.body.expose().to_owned());
        for (name, value) in &request.headers {
            let Ok(mut value) = reqwest::header::HeaderValue::from_str(value.expose()) else {
                return Ending::NotSent {
                    text: format!("header {name} has a value that HTTP does not carry"),
                };
            };
            value.set_sensitive(true);
            post = post.header(name, value);
        }
        match post.send().await {
            Ok(response) => read(response, now).await,
            Err(e) if e.is_connect() || e.is_builder() => Ending::NotSent { text: explain(&e) },
            Err(e) => Ending::Lost { text: explain(&e) },
        }
    }

    fn client(&self, client: &ClientConfig) -> Result<reqwest::Client, HttpError> {
        let profile = Profile {
            proxy: client.proxy.clone(),
            ca_file: client.ca_file.clone(),
            fresh: a_lost_answer_hurts(client),
            https: client.description.refresh_url().starts_with("https:"),
        };
        let mut clients = self
            .clients
            .lock()
            .expect("nothing panics while it holds the clients");
        if let Some(found) = clients.get(&profile) {
            return Ok(found.clone());
        }
        let built = build(&profile)?;
        clients.insert(profile, built.clone());
        Ok(built)
    }

    /// Forgets all connections, so that changed CA files are read again.
    pub fn forget(&self) {
        self.clients
            .lock()
            .expect("nothing panics while it holds the clients")
            .clear();
    }
}

/// A kept-alive connection may be closed by the other side at the moment a
/// request goes out on it, which looks like a lost answer.
fn a_lost_answer_hurts(client: &ClientConfig) -> bool {
    let rotation = &client.description.rotation;
    rotation.reuse == Reuse::Revokes && matches!(rotation.old_valid, OldValid::For(_))
}

fn build(profile: &Profile) -> Result<reqwest::Client, HttpError> {
    let mut builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("refreshd/", env!("CARGO_PKG_VERSION")))
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(CONNECT_LIMIT)
        .timeout(READ_LIMIT)
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(Resolver))
        .no_proxy();
    if profile.fresh {
        builder = builder.pool_max_idle_per_host(0);
    }
    if let Some(proxy) = &profile.proxy {
        // Plain http is for loopback alone, and has no business elsewhere.
        let proxy = reqwest::Proxy::https(proxy.as_str());
        builder = builder.proxy(proxy.map_err(|e| HttpError::Setup(explain(&e)))?);
    }
    let mut authorities = system_authorities();
    if let Some(path) = &profile.ca_file {
        authorities.extend(certificates(path)?);
    }
    if authorities.is_empty() && profile.https {
        return Err(HttpError::NoAuthorities);
    }
    builder
        .tls_certs_only(authorities)
        .build()
        .map_err(|e| HttpError::Setup(explain(&e)))
}

/// The system's bundle; empty where there is none.
fn system_authorities() -> Vec<reqwest::Certificate> {
    let bundles = BUNDLES.iter().map(Path::new);
    let found = bundles.map(certificates).find_map(Result::ok);
    found.unwrap_or_default()
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let error = |problem: String| HttpError::CaFile {
        path: path.to_owned(),
        problem,
    };
    let pem = std::fs::read(path).map_err(|e| error(e.to_string()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| error(explain(&e)))?;
    if certificates.is_empty() {
        Err(error("no certificate in it".to_owned()))
    } else {
        Ok(certificates)
    }
}

async fn read(mut response: reqwest::Response, now: impl Fn() -> WallTime) -> Ending {
    let headers = READ_HEADERS.iter().filter_map(|name| {
        let value = response.headers().get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    let mut answer = Answer {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: Vec::new(),
        complete: false,
        received: now(),
    };
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if answer.body.len() + chunk.len() <= BODY_CAP => {
                answer.body.extend_from_slice(&chunk)
            }
            Ok(None) => {
                answer.complete = true;
                break;
            }
            Ok(Some(_)) | Err(_) => break,
        }
    }
    answer.received = now();
    Ending::Answered(answer)
}

/// What went wrong, innermost cause last, without the URL: its query may hold a secret.
fn explain(error: &reqwest::Error) -> String {
    let mut text = match error {
        e if e.is_timeout() && e.is_connect() => {
            format!("no connection within {} s", CONNECT_LIMIT.as_secs())
        }
        e if e.is_timeout() => format!("no answer within {} s", READ_LIMIT.as_secs()),
        e if e.is_connect() => "could not connect".to_owned(),
        _ => "the exchange failed".to_owned(),
    };
    let mut cause = error.source();
    let mut innermost = None;
    while let Some(source) = cause {
        innermost = Some(source.to_string());
        cause = source.source();
    }
    if let Some(innermost) = innermost {
        text.push_str(": ");
        text.push_str(&printable(&innermost));
    }
    text
}

/// The system's resolver, but for `*.localhost`, which is this machine by
/// RFC 6761 and which plain systems do not resolve.
#[derive(Debug)]
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            if is_loopback(&Host::Domain(&host)) {
                let both = [
                    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
                ];
                return Ok(Box::new(both.into_iter()) as Addrs);
            }
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
