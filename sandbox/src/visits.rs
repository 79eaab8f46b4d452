//! The log of visits to authorization pages. It keeps no code and no state.

use serde::{Deserialize, Serialize};

/// One request to an authorization page, an install link or a device's page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// When, in milliseconds since the server began.
    pub at_ms: u64,
    /// `GET` or `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it was refused.
    pub why: Option<String>,
    /// The client that it says.
    pub client_id: Option<String>,
    /// Where it wants the code.
    pub redirect_uri: Option<String>,
    /// Whether it had a `state` (at an install link: anything that becomes `data`).
    pub has_state: bool,
    /// The scope that it wants.
    pub scope: Option<String>,
    /// Its `code_challenge_method`, where it has a challenge.
    pub challenge_method: Option<String>,
    /// Who allowed or denied it; a business at an install link.
    pub account: Option<String>,
}

/// What came of a visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An error page, no redirect.
    #[default]
    Refused,
    /// An error redirect without a person's decision.
    ErrorRedirect,
    /// The form.
    Shown,
    /// A code was made.
    Allowed,
    /// Somebody said no.
    Denied,
}
