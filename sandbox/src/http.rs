//! An HTTP client for tests and the demo. It talks to this machine only.

use std::time::Duration;

/// A client without proxies, redirects or certificates, with a limit of 30 s.
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
        // An empty list: a machine without a CA bundle will do.
        .tls_certs_only([])
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client that needs nothing from outside")
}
