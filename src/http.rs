//! Sends one token request, safely: HTTP/1.1, no redirect, no proxy or
//! certificate from the environment, no retry of its own, bounded in size. It
//! tells "nothing was sent" from "the answer was lost".

mod explain;
mod places;
pub mod probe;
mod resolver;

use crate::authorities::{self, CaFileError};
use crate::config::{Client as ClientConfig, Proxy};
use crate::descriptors::Ration;
use crate::net::{self, Network};
use base64::Engine as _;
use explain::{Route, explain};
use places::{KEPT_FOR, KEPT_OF_HOST, Places};
use refreshd_core::TokenSet;
use refreshd_core::flight::Answer;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use refreshd_core::grant::settle::Ending;
use refreshd_core::provider::description::{OldValid, Reuse};
use refreshd_core::provider::request::TokenRequest;
use refreshd_core::secret::Secret;
use refreshd_core::time::WallTime;
use reqwest::Method;
use reqwest::header::HeaderValue;
use resolver::Resolver;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// The largest body that is read.
pub const BODY_CAP: usize = 256 * 1024;
/// A late answer is waited for this long in all.
pub const READ_LIMIT: Duration = Duration::from_secs(600);

const READ_HEADERS: [&str; 3] = ["content-type", "retry-after", "date"];

/// Connections to token endpoints, kept apart by what a client configures.
#[derive(Clone, Debug)]
pub struct Http {
    clients: Arc<Mutex<HashMap<Profile, reqwest::Client>>>,
    places: Arc<Places>,
    flights: usize,
}

/// For a command, which sends little.
impl Default for Http {
    fn default() -> Self {
        Http::within(&Ration::of(1024, 0))
    }
}

/// What tells one set of connections from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Profile {
    proxy: Option<Proxy>,
    ca_file: Option<PathBuf>,
    allowed: Vec<Network>,
    fresh: bool,
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
            clients: Arc::default(),
            places: Places::new(ration),
            flights: ration.flights,
        }
    }

    /// How many exchanges may begin at once, as far as descriptors go.
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
        let route = Route::new(client, &request.url);
        self.send(&route, Method::POST, &request, now).await
    }

    /// Asks with a GET for what a holder of an access token may know.
    pub async fn get(
        &self,
        client: &ClientConfig,
        request: TokenRequest,
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let route = Route::new(client, &request.url);
        self.send(&route, Method::GET, &request, now).await
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
        now: impl Fn() -> WallTime,
    ) -> Ending {
        let not_sent = |text: String| Ending::NotSent { text };
        if let Some(text) = barred_literal(route) {
            return not_sent(text);
        }
        let _place = match self.places.take(route.target).await {
            Ok(place) => place,
            Err(text) => return not_sent(text),
        };
        let http = match self.client(route) {
            Ok(http) => http,
            Err(e) => return not_sent(e.to_string()),
        };
        let mut sending = http.request(method.clone(), request.url.clone());
        if method == Method::POST {
            sending = sending.body(request.body.expose().to_owned());
        }
        for (name, value) in &request.headers {
            let Ok(mut value) = HeaderValue::from_str(value.expose()) else {
                let text = format!("header {name} has a value that HTTP does not carry");
                return not_sent(text);
            };
            value.set_sensitive(true);
            sending = sending.header(name, value);
        }
        match sending.send().await {
            Ok(response) => read(response, now).await,
            Err(e) if e.is_connect() || e.is_builder() => Ending::NotSent {
                text: explain(&e, route),
            },
            Err(e) => Ending::Lost {
                text: explain(&e, route),
            },
        }
    }

    fn client(&self, route: &Route<'_>) -> Result<reqwest::Client, HttpError> {
        let client = route.client;
        let https = route.target.scheme() == "https";
        let profile = Profile {
            proxy: route.proxy().cloned(),
            ca_file: client.ca_file.clone().filter(|_| https),
            allowed: client.allow_networks.clone(),
            fresh: a_lost_answer_hurts(client) || !self.places.may_keep(route.target),
            https,
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
    rotation.reuse == Reuse::Revokes && matches!(rotation.old_valid(), OldValid::For(_))
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
        .dns_resolver(Arc::new(Resolver::new(profile)))
        .no_proxy();
    builder = match profile.fresh {
        true => builder.pool_max_idle_per_host(0),
        false => (builder.pool_max_idle_per_host(KEPT_OF_HOST)).pool_idle_timeout(KEPT_FOR),
    };
    if let Some(proxy) = &profile.proxy {
        builder = builder.proxy(through(proxy)?);
    }
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
    authorities
        .and_then(|authorities| builder.tls_certs_only(authorities).build())
        .map_err(|e| HttpError::Setup(explain::innermost(&e)))
}

fn through(proxy: &Proxy) -> Result<reqwest::Proxy, HttpError> {
    let setup = |e: reqwest::Error| HttpError::Setup(explain::innermost(&e));
    let mut url = proxy.url.clone();
    let Some((user, password)) = &proxy.login else {
        return reqwest::Proxy::https(url).map_err(setup);
    };
    if url.scheme().starts_with("socks") {
        // It takes them from the URL alone, and decodes them there.
        let encode = |text: &str| text.replace('%', "%25");
        url.set_username(&encode(user))
            .and_then(|()| url.set_password(Some(&encode(password.expose()))))
            .expect("a proxy has a host");
        return reqwest::Proxy::https(url).map_err(setup);
    }
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    let coded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
    let mut header = reqwest::header::HeaderValue::from_str(&format!("Basic {coded}"))
        .expect("base64 is fit for a header");
    header.set_sensitive(true);
    let plain = reqwest::Proxy::https(url).map_err(setup)?;
    Ok(plain.custom_http_auth(header))
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
