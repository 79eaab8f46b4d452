//! One exchange, from the recorded intent to the commit.

use crate::grant::{GrantId, GrantState, TokenSet};
use crate::provider::description::DescriptionHash;
use crate::secret::Fingerprint;
use crate::time::{BootTime, WallTime};
use serde::{Deserialize, Serialize};

/// Tells one flight from every other: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlightId(pub [u8; 16]);

/// A moment, so that a later process can tell how long ago it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Trusted wall time.
    pub wall: WallTime,
    /// Boot time.
    pub boot: BootTime,
    /// The kernel's boot id: boot times of other boots do not compare.
    pub boot_id: String,
}

/// What is durable before the first byte of an exchange leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// This flight.
    pub flight: FlightId,
    /// The grant it is for.
    pub grant: GrantId,
    /// The grant's name, for messages.
    pub name: String,
    /// The grant's revision at the start; another one at the commit: stale.
    pub revision: u64,
    /// The generation it starts from.
    pub generation: u64,
    /// The how-many-th presentation of this refresh token.
    pub attempt: u32,
    /// When this refresh token was first presented.
    pub first_sent: WallTime,
    /// This presentation.
    pub sent: Stamp,
    /// What is presented.
    pub presents: Fingerprint,
    /// The description by which the answer will be read.
    pub description: DescriptionHash,
    /// A random number for the next generation's jitter and for back-off.
    pub roll: u64,
}

/// What came back, as it came.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The headers that are read: `content-type`, `retry-after`, `date`; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body. Not part of the serialized form: it is stored beside it.
    #[serde(skip)]
    pub body: Vec<u8>,
    /// Whether the body came to its end (and within the cap).
    pub complete: bool,
    /// When the last byte came.
    pub received: WallTime,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Answer({}, {} bytes, complete: {})",
            self.status,
            self.body.len(),
            self.complete
        )
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.body);
    }
}

/// What a flight commits, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The grant's new state.
    pub state: GrantState,
    /// The new token set, on success.
    pub tokens: Option<TokenSet>,
    /// The answer to keep because it could not be read yet.
    pub unread: Option<Answer>,
}
