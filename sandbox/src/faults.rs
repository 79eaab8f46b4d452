//! What can go wrong with a token request, and when it does.

mod plan;

pub use plan::{NowAndThen, Plan, Queued};
use serde::{Deserialize, Serialize};

/// One fault of a token request. Where `performed` is true the exchange has
/// taken place behind the fault, and its answer is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing happens for so long; then the request is performed and answered.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// The request is performed at once and answered so much later.
    Late {
        /// Milliseconds.
        ms: u64,
    },
    /// 500 with a gateway's page.
    InternalError {
        /// Whether the exchange took place.
        #[serde(default)]
        performed: bool,
    },
    /// 503 with `Retry-After`.
    Unavailable {
        /// Seconds.
        retry_after: u64,
        /// Whether the exchange took place.
        #[serde(default)]
        performed: bool,
    },
    /// 429 with `Retry-After`; the exchange did not take place.
    TooMany {
        /// Seconds.
        retry_after: u64,
    },
    /// The connection is reset before the exchange.
    ResetBefore,
    /// The connection is reset after the exchange, before a byte of the answer.
    ResetAfter,
    /// 200 with an HTML page.
    HtmlPage {
        /// Whether the exchange took place.
        #[serde(default)]
        performed: bool,
    },
    /// 302 to a login page.
    LoginRedirect {
        /// Whether the exchange took place.
        #[serde(default)]
        performed: bool,
    },
    /// The exchange takes place; half of the answer's body comes, then the end of the connection.
    Truncated,
    /// 401 `invalid_client`, though the client is right.
    InvalidClient,
    /// 400 `invalid_grant`, though the token is good and stays good.
    InvalidGrant,
    /// The grant's refresh tokens die, and 400 `invalid_grant` says so.
    DeadRefreshToken,
    /// All tokens of the grant die, as when somebody else has presented an old
    /// refresh token, and 400 `invalid_grant` says so.
    FamilyRevoked,
}

/// While it lasts, nothing but `/admin` works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outage {
    /// 503 with `Retry-After`.
    Unavailable {
        /// Seconds.
        retry_after: u64,
    },
    /// Connections are reset.
    Reset,
}

impl From<Outage> for Fault {
    fn from(outage: Outage) -> Fault {
        match outage {
            Outage::Unavailable { retry_after } => Fault::Unavailable {
                retry_after,
                performed: false,
            },
            Outage::Reset => Fault::ResetBefore,
        }
    }
}

impl Fault {
    /// The fault's name, as in JSON's `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Slow { .. } => "slow",
            Fault::Late { .. } => "late",
            Fault::InternalError { .. } => "internal-error",
            Fault::Unavailable { .. } => "unavailable",
            Fault::TooMany { .. } => "too-many",
            Fault::ResetBefore => "reset-before",
            Fault::ResetAfter => "reset-after",
            Fault::HtmlPage { .. } => "html-page",
            Fault::LoginRedirect { .. } => "login-redirect",
            Fault::Truncated => "truncated",
            Fault::InvalidClient => "invalid-client",
            Fault::InvalidGrant => "invalid-grant",
            Fault::DeadRefreshToken => "dead-refresh-token",
            Fault::FamilyRevoked => "family-revoked",
        }
    }

    /// Whether the exchange takes place.
    #[must_use]
    pub fn performs(&self) -> bool {
        match self {
            Fault::Slow { .. } | Fault::Late { .. } | Fault::ResetAfter | Fault::Truncated => true,
            Fault::InternalError { performed }
            | Fault::Unavailable { performed, .. }
            | Fault::HtmlPage { performed }
            | Fault::LoginRedirect { performed } => *performed,
            Fault::TooMany { .. }
            | Fault::ResetBefore
            | Fault::InvalidClient
            | Fault::InvalidGrant
            | Fault::DeadRefreshToken
            | Fault::FamilyRevoked => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_names_are_the_kinds() {
        let fault: Fault =
            serde_json::from_str(r#"{"kind":"unavailable","retry_after":3}"#).unwrap();
        assert_eq!(
            fault,
            Fault::Unavailable {
                retry_after: 3,
                performed: false
            }
        );
        let fault = Fault::DeadRefreshToken;
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!(json["kind"], fault.kind());
    }
}
