//! What is asked and answered, as JSON.

use super::import::LineReport;
use crate::engine::message::WhichGrants;
use crate::state::{Copied, KeyUse};
use refreshd_core::grant::{Grant, TokenSet};
use refreshd_core::secret::Secret;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Query of `GET /v1/status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StatusQuery {
    /// Names of grants, with commas between them; absent: all.
    #[serde(default)]
    pub names: Option<String>,
    /// How many events of each that is named.
    #[serde(default)]
    pub history: u32,
}

impl StatusQuery {
    /// The grants that are meant.
    #[must_use]
    pub fn named(&self) -> WhichGrants {
        match &self.names {
            None => WhichGrants::All,
            Some(names) => WhichGrants::These(names.split(',').map(str::to_owned).collect()),
        }
    }
}

/// Query of `GET /v1/grants/NAME/history`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// How many events.
    pub limit: u32,
}

/// Query of `GET /v1/grants/NAME/token`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct TokenQuery {
    /// The token must live at least this long, in milliseconds.
    #[serde(default)]
    pub min_valid_ms: u64,
    /// How long to wait for a refresh, in milliseconds.
    #[serde(default)]
    pub timeout_ms: u64,
}

impl TokenQuery {
    /// The token must live at least this long.
    #[must_use]
    pub fn min_valid(self) -> Duration {
        Duration::from_millis(self.min_valid_ms)
    }

    /// How long to wait for a refresh.
    #[must_use]
    pub fn timeout(self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// Answer to `GET /v1/grants/NAME/token`. No refresh token, ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The grant.
    pub name: String,
    /// The access token.
    pub access_token: Secret,
    /// Its type, as HTTP wants it.
    pub token_type: String,
    /// Its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires_at: i64,
    /// When it ends, RFC 3339.
    pub expiry: String,
    /// Number of its token set.
    pub generation: u64,
}

impl Token {
    /// From a grant and its token set.
    #[must_use]
    pub fn new(grant: &Grant, tokens: &TokenSet) -> Self {
        Token {
            name: grant.name.clone(),
            access_token: tokens.access_token.clone(),
            token_type: tokens.scheme().to_owned(),
            scope: tokens.scope.clone(),
            expires_at: grant.state.expires_at.secs(),
            expiry: grant.state.expires_at.rfc3339(),
            generation: grant.state.generation,
        }
    }
}

/// Query of `POST /v1/import`; the body is a JSON object a line.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ImportQuery {
    /// Also take an older token set in the place of a newer one.
    #[serde(default)]
    pub replace: bool,
}

/// Answer to `POST /v1/import`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// What became of each line.
    pub lines: Vec<LineReport>,
}

/// Body of `POST /v1/backup`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The file, absolute; `None`: another one in the configured directory.
    pub file: Option<PathBuf>,
    /// Whether a file that is there is replaced.
    #[serde(default)]
    pub replace: bool,
}

/// Answer to `POST /v1/backup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// The copy.
    #[serde(flatten)]
    pub copied: Copied,
    /// Older ones that were removed.
    pub removed: Vec<PathBuf>,
}

/// Answer to `GET /v1/key` and `POST /v1/key/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// The file or credential with the keys.
    pub path: PathBuf,
    /// Whether it is a credential, which `refreshd` only reads.
    pub credential: bool,
    /// Whether everything is sealed with the newest key, but for what cannot be read.
    pub finished: bool,
    /// The keys, newest first.
    pub keys: Vec<KeyUse>,
}

/// Answer to `GET /v1/key/progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyProgress {
    /// Whether records are being sealed anew.
    pub running: bool,
    /// Records that have been looked at.
    pub looked_at: u64,
    /// Records that have been sealed anew.
    pub resealed: u64,
}

/// Body of `POST /v1/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// The grant.
    pub grant: String,
    /// Have it replaced if it is refused.
    #[serde(default)]
    pub refresh: bool,
}

/// Body of `POST /v1/revoke` and `POST /v1/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The grant.
    pub grant: String,
    /// It is meant. Otherwise it is only looked whether it can be done, and the
    /// answer is what to ask the operator.
    #[serde(default)]
    pub confirmed: bool,
}

impl Operation {
    /// One about which its operator is asked first.
    #[must_use]
    pub fn asked(grant: &str) -> Self {
        Operation {
            grant: grant.to_owned(),
            confirmed: false,
        }
    }

    /// One that is meant.
    #[must_use]
    pub fn confirmed(grant: &str) -> Self {
        Operation {
            grant: grant.to_owned(),
            confirmed: true,
        }
    }
}

/// Answer to what only succeeds or fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for a person.
    pub message: String,
}

impl Done {
    /// With these words.
    #[must_use]
    pub fn told(message: impl Into<String>) -> Self {
        Done {
            message: message.into(),
        }
    }
}

/// Body of `POST /v1/enroll/ID/redirect`: what the browser was sent back with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Redirect {
    /// The query; or, by hand, whatever the person has of it.
    pub query: Secret,
    /// A person pasted it.
    #[serde(default)]
    pub by_hand: bool,
}

/// Query of `GET /v1/enroll/ID`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Patience {
    /// How long to wait for it to turn, in milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Query of `GET /v1/answers`, and body of `POST /v1/answers/drop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRequest {
    /// Only what is kept of this grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Which one, in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The generation that was taken out of it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub became: Option<u64>,
}
