//! `[enroll]` and `[clients.NAME.push]`: how first tokens come to the daemon itself.

use std::net::SocketAddr;
use std::time::Duration;
use url::{Origin, Url};

/// `[enroll]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// Where links, callbacks and pushes are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Where the rest of the world finds that; without a slash at its end.
    pub public_url: Option<Url>,
    /// How long a link, and an installation at a provider that pushes, may be used.
    pub link_valid: Duration,
}

/// `[clients.NAME.push]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The last part of the path that the provider posts to.
    pub path: String,
    /// Whether pushes without our state are kept for an operator.
    pub quarantine: bool,
    /// The name of a new business's grant, with variables in it.
    pub grant: String,
}

impl Enroll {
    /// The address of a path below `public_url`, whose parts are joined by `/`.
    #[must_use]
    pub fn public(&self, path: &str) -> Option<String> {
        let base = self.public_url.as_ref()?.as_str().trim_end_matches('/');
        Some(format!("{base}/{path}"))
    }

    /// The path that `public_url` has; empty at a host's root.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let path = self.public_url.as_ref().map_or("", Url::path);
        path.trim_end_matches('/')
    }

    /// Whether browsers reach us by https, as cookies with the `__Host-` prefix want it.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url
            .as_ref()
            .is_some_and(|url| url.scheme() == "https")
    }

    /// The origin of our pages, as browsers name it.
    #[must_use]
    pub fn origin(&self) -> Option<String> {
        let origin = self.public_url.as_ref().map(Url::origin);
        origin.as_ref().map(Origin::ascii_serialization)
    }
}
