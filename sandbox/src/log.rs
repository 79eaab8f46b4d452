//! The log of presentations: what was presented to the token endpoint, when,
//! and what came of it. It names tokens by ordinal, never by their text.

use crate::Flow;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// The oldest entries go when there are more.
const MOST_ENTRIES: usize = 200_000;

/// One token request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// When it arrived, in milliseconds since the server began.
    pub at_ms: u64,
    /// Milliseconds since the same grant's last one.
    pub gap_ms: Option<u64>,
    /// What was to be exchanged, where the request says so.
    pub flow: Option<Flow>,
    /// Whose refresh token or code was presented, or the client's own grant;
    /// `None` when it is nobody's.
    pub grant: Option<String>,
    /// Which of the grant's token sets the refresh token is of, from 0.
    pub token_set: Option<usize>,
    /// The ordinal of the refresh token within its token set, from 0.
    pub refresh: Option<usize>,
    /// The ordinal of the token set's newest refresh token before the request.
    pub newest: Option<usize>,
    /// How much longer the access token that came with the presented refresh
    /// token would be taken, in milliseconds; 0 or less when it is dead.
    pub access_left_ms: Option<i64>,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it was refused: the answer's `error_description`.
    pub why: Option<String>,
    /// The fault that it met.
    pub fault: Option<String>,
}

/// What came of a token request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A new access token.
    Issued,
    /// The answer of an earlier presentation again.
    Replayed,
    /// The refresh token is superseded: an error and nothing else.
    Void,
    /// The refresh token is superseded: the family was revoked.
    Reused,
    /// The refresh token or the code has expired.
    Expired,
    /// The family had ended before.
    Dead,
    /// No such refresh token or code.
    Unknown,
    /// The code was exchanged before.
    CodeUsed,
    /// The code or the `redirect_uri` is not the one that the grant began with.
    Mismatch,
    /// The host is that of another business.
    OtherBusiness,
    /// The client is not accepted.
    Unauthorized,
    /// The request is not one that the provider knows: the wrong content type,
    /// a parameter missing, a grant type that it does not have.
    Malformed,
    /// A POST to where no token endpoint is.
    NotFound,
    /// Nobody has decided at the device's page yet.
    Pending,
    /// The device asks too often.
    TooSoon,
    /// The person said no at the device's page.
    Denied,
    /// A fault kept it from the exchange.
    #[default]
    Unseen,
}

/// Adds to a log, which forgets its older half when it is long.
pub(crate) fn keep<T>(entries: &mut Vec<T>, entry: T) {
    if entries.len() >= MOST_ENTRIES {
        entries.drain(..MOST_ENTRIES / 2);
    }
    entries.push(entry);
}

/// Keeps [`Presentation`]s.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Presentation>,
    last_ms: HashMap<String, u64>,
}

impl Log {
    /// Adds an entry and fills in its gap.
    pub(crate) fn add(&mut self, mut entry: Presentation) {
        if let Some(grant) = &entry.grant {
            let last_ms = self.last_ms.insert(grant.clone(), entry.at_ms);
            entry.gap_ms = last_ms.map(|last| entry.at_ms.saturating_sub(last));
        }
        if self.entries.len() == MOST_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// All entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<Presentation> {
        self.entries.iter().cloned().collect()
    }
}
