//! How an exchange ended, before anybody has read the answer.

use crate::time::WallTime;
use serde::{Deserialize, Serialize};

/// How an exchange ended, as the shell saw it.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Not a byte of the request left: no connection, no TLS.
    NotSent {
        /// Why, for people.
        text: String,
    },
    /// The request left, and no answer will come; or none has come in time; or
    /// the process ended before it could be written down.
    Lost {
        /// Why, for people.
        text: String,
    },
    /// An answer came.
    Answered(Answer),
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
