//! A token set: what one successful exchange returned, as we keep it.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schemes that carry an access token, in IANA's registries of HTTP authentication
/// schemes and of OAuth access token types; MAC is RFC 6749's own example (§7.1).
const SCHEMES: [&str; 8] = [
    "Bearer",
    "DPoP",
    "GNAP",
    "HOBA",
    "MAC",
    "OAuth",
    "PoP",
    "PrivateToken",
];

/// Access token, refresh token if any, and what else the provider returned.
/// All of it is sealed at rest. Its times are in [`crate::grant::GrantState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSet {
    /// The access token (RFC 6749 §1.4).
    pub access_token: Secret,
    /// The refresh token to present next; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// As the provider wrote it; `None` means `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Other members of the answer, in their JSON text (an id token, an instance URL).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Secret>,
    /// The authorization code that began the grant, where a provider wants it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret>,
}

impl TokenSet {
    /// What a grant has before its first token set.
    #[must_use]
    pub fn none() -> TokenSet {
        TokenSet {
            access_token: Secret::new(""),
            refresh_token: None,
            token_type: None,
            scope: None,
            extra: BTreeMap::new(),
            code: None,
        }
    }

    /// The token type: `Bearer` unless the provider says otherwise.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self.token_type.as_deref().map(str::trim) {
            None | Some("") => "Bearer",
            Some(t) if t.eq_ignore_ascii_case("bearer") => "Bearer",
            Some(t) => t,
        }
    }

    /// The scheme of an `Authorization` header with this token (RFC 9110 §11.4). A type
    /// that names no registered scheme (`bot`, `User Access Token`) is the provider's own
    /// word for what its APIs take as `Bearer`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        let kind = self.kind();
        let known = SCHEMES.iter().find(|s| s.eq_ignore_ascii_case(kind));
        known.copied().unwrap_or("Bearer")
    }

    /// The token whose fingerprint tells this grant from others: the refresh
    /// token, or the access token where there is none.
    #[must_use]
    pub fn identity(&self) -> &Secret {
        self.refresh_token.as_ref().unwrap_or(&self.access_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_is_no_scheme_is_sent_as_bearer() {
        let scheme = |token_type: Option<&str>| {
            let token_type = token_type.map(str::to_owned);
            let tokens = TokenSet {
                token_type,
                ..TokenSet::none()
            };
            (tokens.scheme(), tokens.kind().to_owned())
        };
        for bearer in [None, Some(""), Some(" "), Some("bearer"), Some("BEARER ")] {
            assert_eq!(
                scheme(bearer),
                ("Bearer", "Bearer".to_owned()),
                "{bearer:?}"
            );
        }
        for own in [
            "bot",
            "user",
            "User Access Token",
            "access_token",
            "my: type",
            "N_A",
            "bearer_token",
        ] {
            assert_eq!(scheme(Some(own)), ("Bearer", own.to_owned()));
        }
        for (written, sent) in [
            ("dpop", "DPoP"),
            ("DPoP", "DPoP"),
            ("mac", "MAC"),
            ("pop", "PoP"),
            ("OAUTH", "OAuth"),
        ] {
            assert_eq!(scheme(Some(written)).0, sent);
        }
    }
}
