//! Sends one token request, safely: HTTP/1.1, no redirect, no proxy or
//! certificate from the environment, no retry of its own, bounded in size. It
//! tells "nothing was sent" from "the answer was lost", and what came of an answer is
//! handed on however broken it is: HTTP libraries refuse such answers, and their bytes
//! may be the only copy of a refresh token. So the answer is read here.

mod connect;
mod explain;
mod framing;
mod head;
mod idle;
mod lookup;
mod places;
pub mod probe;
mod receive;
mod resolver;
mod tickets;
mod tls;
mod wire;

use crate::authorities::{self, CaFileError};
use crate::clock;
use crate::config::{Client as ClientConfig, Proxy};
use crate::descriptors::Ration;
use crate::net::{self, Network};
use connect::{Connection, Connector};
use explain::{Route, explain};
use idle::Idle;
use places::Places;
use receive::{Received, receive};
use refreshd_core::TokenSet;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use refreshd_core::provider::Ending;
use refreshd_core::provider::description::{OldValid, Reuse};
use refreshd_core::provider::request::TokenRequest;
use refreshd_core::secret::Secret;
use refreshd_core::time::{BootTime, WallTime};
use reqwest::Method;
use resolver::Resolver;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use url::Url;

/// Makes ring the process's cryptography; once is enough.
pub(crate) fn install_tls() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

/// The largest body that is read.
pub const BODY_CAP: usize = 256 * 1024;
const TOO_LATE: &str = "when the connection stood, the time was over in which a refresh token that was presented before may be presented again";
/// A late answer is waited for this long in all.
pub const READ_LIMIT: Duration = Duration::from_secs(600);

/// Connections to token endpoints, kept apart by what a client configures.
#[derive(Clone)]
pub struct Http {
    lines: Arc<Mutex<HashMap<Profile, Arc<Line>>>>,
    places: Arc<Places>,
    flights: usize,
    exchanges: usize,
}

/// For a command, which sends little.
impl Default for Http {
    fn default() -> Self {
        Http::within(&Ration::of(1024, 0))
    }
}

/// What connects for a profile, and the connections that wait for another request.
struct Line {
    connector: Connector,
    idle: Arc<Idle>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

/// What tells one set of connections from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Profile {
    proxy: Option<Proxy>,
    ca_file: Option<PathBuf>,
    allowed: Vec<Network>,
    https: bool,
}

/// A client's connection settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The CA file is missing or holds something else than certificates.
    #[error("{0}{hint}", hint = .0.remedy().map_or_else(String::new, |remedy| format!("; {remedy}")))]
    CaFile(#[from] CaFileError),
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
    /// No more connections than that.
    #[must_use]
    pub fn within(ration: &Ration) -> Self {
        Http {
            lines: Arc::default(),
            places: Places::new(ration),
            flights: ration.flights,
            exchanges: ration.exchanges,
        }
    }

    /// How many exchanges may be under way, read on ones included, as far as descriptors go.
    #[must_use]
    pub fn exchanges(&self) -> u32 {
        u32::try_from(self.exchanges).unwrap_or(u32::MAX)
    }

    /// How many exchanges may begin at a time, by the descriptors that there are.
    #[must_use]
    pub fn flights(&self) -> u32 {
        u32::try_from(self.flights).unwrap_or(u32::MAX)
    }

    /// Sends the request and reads the answer to its end, however late it comes
    /// ([`READ_LIMIT`]). It must not be cancelled once begun.
    pub async fn exchange(
        &self,
        client: &ClientConfig,
        request: TokenRequest,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        self.exchange_within(None, client, request, now).await
    }

    /// As [`Http::exchange`], but not a byte leaves later than that, however long it takes
    /// to connect; suspend counts.
    pub async fn exchange_within(
        &self,
        within: Option<Duration>,
        client: &ClientConfig,
        request: TokenRequest,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let until = within.map(|within| clock::reading().boot + within);
        let route = Route::new(client, &request.url);
        self.send(&route, Method::POST, &request, until, now).await
    }

    /// Asks with a GET for what a holder of an access token may know.
    pub async fn get(
        &self,
        client: &ClientConfig,
        request: TokenRequest,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let route = Route::new(client, &request.url);
        self.send(&route, Method::GET, &request, None, now).await
    }

    /// Asks the verify URL with an access token.
    pub async fn verify(
        &self,
        client: &ClientConfig,
        url: Url,
        tokens: &TokenSet,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let bearer = format!("{} {}", tokens.scheme(), tokens.access_token.expose());
        let request = TokenRequest {
            url,
            headers: vec![
                ("authorization".to_owned(), Secret::new(bearer)),
                ("accept".to_owned(), Secret::new("*/*")),
            ],
            body: Secret::new(""),
        };
        self.get(client, request, now).await
    }

    async fn send(
        &self,
        route: &Route<'_>,
        method: Method,
        request: &TokenRequest,
        until: Option<BootTime>,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let not_sent = |text: String| Ending::NotSent { text };
        let barred = route.client.lacks.clone().or_else(|| barred_literal(route));
        if let Some(text) = barred {
            return not_sent(text);
        }
        let _place = match self.places.take(route.target).await {
            Ok(place) => place,
            Err(text) => return not_sent(text),
        };
        let bytes = match wire::write(&method, request) {
            Ok(bytes) => bytes,
            Err(text) => return not_sent(text),
        };
        let line = match self.line(route) {
            Ok(line) => line,
            Err(e) => return not_sent(e.to_string()),
        };
        let origin = request.origin();
        let mut connection = match line.idle.take(&origin) {
            Some(connection) => connection,
            None => match line.connector.connect(&request.url).await {
                Ok(connection) => connection,
                Err(e) => return not_sent(explain(&e, route)),
            },
        };
        if until.is_some_and(|until| until <= clock::reading().boot) {
            return not_sent(TOO_LATE.to_owned());
        }
        // Whatever becomes of the sending: a server may have answered before it had read all.
        let sent = post(&mut connection, bytes.as_bytes()).await;
        match receive(&mut connection, now).await {
            Received::Answer { answer, reusable } => {
                let harmless = !a_lost_answer_hurts(route.client);
                if reusable && harmless && self.places.may_keep(route.target) {
                    line.idle.put(origin, connection);
                }
                Ending::Answered(answer)
            }
            Received::Nothing(text) => Ending::Lost {
                text: sent
                    .err()
                    .map_or(text, |e| format!("the exchange failed: {e}")),
            },
        }
    }

    fn line(&self, route: &Route<'_>) -> Result<Arc<Line>, HttpError> {
        let client = route.client;
        let https = route.target.scheme() == "https";
        let profile = Profile {
            proxy: route.proxy().cloned(),
            ca_file: client.ca_file.clone().filter(|_| https),
            allowed: client.allow_networks.clone(),
            https,
        };
        let mut lines = self
            .lines
            .lock()
            .expect("nothing panics while it holds the lines");
        if let Some(found) = lines.get(&profile) {
            return Ok(found.clone());
        }
        let line = Arc::new(Line {
            connector: Connector::new(&profile)?,
            idle: Arc::default(),
        });
        lines.insert(profile, line.clone());
        Ok(line)
    }

    /// Forgets all connections, so that changed CA files are read again.
    pub fn forget(&self) {
        self.lines
            .lock()
            .expect("nothing panics while it holds the lines")
            .clear();
    }
}

async fn post(connection: &mut Connection, bytes: &[u8]) -> std::io::Result<()> {
    connection.write_all(bytes).await?;
    connection.flush().await
}

/// A kept-alive connection may be closed by the other side at the moment a
/// request goes out on it, which looks like a lost answer.
fn a_lost_answer_hurts(client: &ClientConfig) -> bool {
    let rotation = &client.description.rotation;
    rotation.reuse == Reuse::Revokes && matches!(rotation.old_valid, OldValid::For(_))
}

/// The resolver is not asked about an address, so it is looked at here.
fn barred_literal(route: &Route<'_>) -> Option<String> {
    let client = route.client;
    let address = net::literal(route.target).filter(|_| route.is_ours_to_resolve())?;
    let kind = net::barred(address, &client.allow_networks)?;
    let remedy = net::remedy(&client.name, &client.allow_networks, address, kind);
    Some(format!(
        "the token URL's address {address} is {kind}, and no token is sent there unasked; {remedy}"
    ))
}

/// A client for public documents.
fn build(profile: &Profile) -> Result<reqwest::Client, HttpError> {
    let mut authorities = Vec::new();
    if profile.https {
        authorities = authorities::of_system();
        if let Some(path) = &profile.ca_file {
            authorities.extend(authorities::read(path)?);
        }
        if authorities.is_empty() {
            return Err(HttpError::NoAuthorities);
        }
    }
    let authorities: Result<Vec<_>, _> = (authorities.iter())
        .map(|der| reqwest::Certificate::from_der(der))
        .collect();
    let builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(connect::AGENT)
        .tls_version_min(reqwest::tls::Version::TLS_1_2)
        .connect_timeout(CONNECT_LIMIT)
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(Resolver::new(profile)))
        .no_proxy();
    authorities
        .and_then(|authorities| builder.tls_certs_only(authorities).build())
        .map_err(|e| HttpError::Setup(explain::innermost(&e)))
}

#[cfg(test)]
mod tests;
