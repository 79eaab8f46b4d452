//! An HTTP client for tests and the demo. It talks to this machine only.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A client without proxies, redirects or certificates, with a limit of 30 s.
/// `*.localhost` is this machine (RFC 6761 §6.3); other names are not known.
///
/// # Panics
/// When the client cannot be built, which needs nothing from outside.
#[must_use]
pub fn client() -> reqwest::Client {
    // reqwest wants a TLS provider even for plain http; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Loopback))
        // An empty list: a machine without a CA bundle will do.
        .tls_certs_only([])
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client that needs nothing from outside")
}

/// Knows `localhost` and what ends in it, which not every system's resolver does.
#[derive(Debug)]
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let known = name == "localhost" || name.ends_with(".localhost");
        Box::pin(async move {
            if !known {
                let problem = format!("{name} is not this machine");
                return Err(io::Error::new(io::ErrorKind::NotFound, problem).into());
            }
            // The port is the URL's.
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            Ok(Box::new(std::iter::once(here)) as Addrs)
        })
    }
}
