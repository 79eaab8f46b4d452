//! A token set: what one successful exchange returned, as we keep it.

use crate::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Access token, refresh token if any, and what else the provider returned.
/// All of it is sealed at rest. Its times are in [`super::GrantState`].
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

    /// The token type as HTTP wants it: `Bearer` unless the provider says otherwise.
    #[must_use]
    pub fn scheme(&self) -> &str {
        match self.token_type.as_deref().map(str::trim) {
            None | Some("") => "Bearer",
            Some(t) if t.eq_ignore_ascii_case("bearer") => "Bearer",
            Some(t) => t,
        }
    }

    /// The token whose fingerprint tells this grant from others: the refresh
    /// token, or the access token where there is none.
    #[must_use]
    pub fn identity(&self) -> &Secret {
        self.refresh_token.as_ref().unwrap_or(&self.access_token)
    }
}
