//! An authorization request's parameters, and what can be wrong with them.

use crate::options::{Options, Pkce};
use crate::pages::field;
use url::{Host, Url};

/// The parameters that a form carries on.
const CARRIED: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "nonce",
];

/// Parameters as they came.
pub(super) struct Asking(pub(super) Vec<(String, String)>);

/// What is wrong.
pub(super) enum Problem {
    /// Nothing may be redirected (RFC 6749 §4.1.2.1, RFC 9700 §4.11).
    Page(String),
    /// The client is told.
    Redirect { error: &'static str, why: String },
}

impl Asking {
    /// A parameter; one without a value counts as omitted (RFC 6749 §3.1).
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        field(&self.0, name)
    }

    /// What the consent form has to send again.
    pub(super) fn carried(&self) -> impl Iterator<Item = (&str, &str)> {
        CARRIED
            .iter()
            .filter_map(|name| Some((*name, self.value(name)?)))
    }

    /// Whether it is a request of the client that the server knows.
    pub(super) fn check(&self, options: &Options) -> Result<(), Problem> {
        self.sender_and_receiver(options).map_err(Problem::Page)?;
        self.rest(options)
            .map_err(|(error, why)| Problem::Redirect { error, why })
    }

    /// The challenge to keep with the code, where such are known.
    pub(super) fn challenge(&self, options: &Options) -> Option<String> {
        let challenge = self.value("code_challenge")?;
        (options.pkce != Pkce::Unknown).then(|| challenge.to_owned())
    }

    fn sender_and_receiver(&self, options: &Options) -> Result<(), String> {
        for name in ["client_id", "redirect_uri"] {
            match self.0.iter().filter(|(n, _)| n == name).count() {
                0 => return Err(format!("{name} is missing")),
                1 => {}
                _ => return Err(format!("{name} stands there twice")),
            }
        }
        if self.value("client_id") != Some(&options.client_id) {
            return Err("the client is not known".to_owned());
        }
        let redirect_uri = self.value("redirect_uri").unwrap_or_default();
        let url = Url::parse(redirect_uri).ok();
        let url = url.filter(|url| url.fragment().is_none() && !url.cannot_be_a_base());
        let Some(url) = url else {
            return Err("redirect_uri is not an absolute URI without a fragment".to_owned());
        };
        let registered = &options.redirect_uris;
        if registered.is_empty() || registered.iter().any(|r| same(r, redirect_uri, &url)) {
            Ok(())
        } else {
            Err("redirect_uri is not registered".to_owned())
        }
    }

    fn rest(&self, options: &Options) -> Result<(), (&'static str, String)> {
        let invalid = |why: &str| Err(("invalid_request", why.to_owned()));
        let twice = |name: &&str| self.0.iter().filter(|(n, _)| n == *name).count() > 1;
        if let Some(name) = CARRIED.iter().find(|name| twice(name)) {
            return invalid(&format!("{name} stands there twice"));
        }
        match self.value("response_type") {
            Some("code") => {}
            None => return invalid("response_type is missing"),
            Some(_) => {
                let why = "only response_type=code is supported".to_owned();
                return Err(("unsupported_response_type", why));
            }
        }
        if options.pkce == Pkce::Unknown {
            return Ok(());
        }
        let method = self.value("code_challenge_method");
        match (self.value("code_challenge"), method) {
            (None, None) if options.pkce == Pkce::Required => {
                invalid("a code_challenge is required")
            }
            (None, None) => Ok(()),
            (None, Some(_)) => invalid("there is a code_challenge_method without a challenge"),
            (Some(challenge), Some("S256")) if is_hash(challenge) => Ok(()),
            (Some(_), Some("S256")) => invalid("the code_challenge is no SHA-256 in base64url"),
            // Without a method it is `plain` (RFC 7636 §4.3).
            (Some(_), _) => invalid("transform algorithm not supported"),
        }
    }
}

/// Whether a URI is the registered one; on a loopback address with whatever
/// port (RFC 8252 §7.3).
fn same(registered: &str, sent: &str, url: &Url) -> bool {
    if registered == sent {
        return true;
    }
    let Ok(mut registered) = Url::parse(registered) else {
        return false;
    };
    let loopback = match registered.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    loopback && registered.set_port(url.port()).is_ok() && registered == *url
}

fn is_hash(challenge: &str) -> bool {
    let base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    challenge.len() == 43 && challenge.bytes().all(base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_port_may_differ_and_nothing_else() {
        let same = |a: &str, b: &str| same(a, b, &Url::parse(b).unwrap());
        assert!(same("http://127.0.0.1/back", "http://127.0.0.1:4711/back"));
        assert!(same("http://[::1]:1/back", "http://[::1]:2/back"));
        assert!(same("https://a.example/x", "https://a.example/x"));
        assert!(!same("http://127.0.0.1/back", "http://127.0.0.1:4711/b"));
        assert!(!same("http://127.0.0.1/back", "http://127.0.0.2/back"));
        assert!(!same("https://a.example/x", "https://a.example:444/x"));
        assert!(!same("https://a.example/x", "https://a.example/x/"));
    }
}
