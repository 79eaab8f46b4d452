//! What came of a script: what was sent, and who lacked a token.

use super::script::Kind;
use refreshd_core::limits::Trouble;
use std::collections::BTreeMap;

/// A request that left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Send {
    pub(crate) at: i64,
    pub(crate) grant: u32,
    pub(crate) generation: u64,
    /// How many times the grant was asked before, for this generation.
    pub(crate) tries: u32,
    /// A brake gave it its turn.
    pub(crate) taken: bool,
    /// A brake of its host or client was on, in that trouble, and proven.
    pub(crate) brake: Option<(Trouble, bool)>,
    pub(crate) succeeded: bool,
    /// What was wrong when it reached its host.
    pub(crate) wrong: Option<Kind>,
    /// When the daemon knew what came of it, or that it is in doubt.
    pub(crate) done: Option<i64>,
    /// It rotated the refresh token, and the answer was lost.
    pub(crate) spent: bool,
    /// It was told to wait so long, in seconds.
    pub(crate) told: Option<i64>,
    /// Its refresh token was refused.
    pub(crate) refused: bool,
    /// It presents once more what was refused.
    pub(crate) probe: bool,
    /// When the access token that it is to replace ends, and how long that lives in all.
    pub(crate) ends_at: i64,
    pub(crate) life: i64,
    /// How many exchanges at its host are under way and not in doubt, with it.
    pub(crate) at_host: u32,
    /// How many are under way or read on, without it.
    pub(crate) read_on: u32,
    /// Whether its host leaves one without an answer, and has answered none since.
    pub(crate) host_hangs: bool,
}

/// A time for which a grant has no living token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lack {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// When the shell looked, and saw it.
    pub(crate) told: Option<i64>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Course {
    /// How long each grant's published access token was dead.
    pub(crate) dead: Vec<i64>,
    pub(crate) sends: Vec<Send>,
    /// Of each grant, the times for which it had no living token.
    pub(crate) lacks: Vec<Vec<Lack>>,
    /// When the brake of a host was over, and whose.
    pub(crate) freed: Vec<(i64, u32)>,
    /// Brakes that began without reason.
    pub(crate) unfounded: Vec<String>,
    pub(crate) history: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}
