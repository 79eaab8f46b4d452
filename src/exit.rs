//! Exit codes, after sysexits(3). Scripts and systemd units rely on them.

use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The command line is wrong.
    Usage = 64,
    /// What was given cannot be used.
    Data = 65,
    /// There is no such grant.
    NoGrant = 66,
    /// The provider or the daemon cannot be reached.
    Unavailable = 69,
    /// A bug.
    Internal = 70,
    /// An output cannot be made.
    CannotCreate = 73,
    /// Not now; trying later helps.
    TempFail = 75,
    /// Not permitted, or a person must authorize again.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A command that failed: what to say, and how to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How to end.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure {
            exit,
            message: message.into(),
        }
    }
}

/// The failure for a name that nobody knows.
#[must_use]
pub fn no_such_grant(name: &str) -> Failure {
    let name = refreshd_core::text::printable(name);
    Failure::new(
        Exit::NoGrant,
        format!("there is no grant {name}; `refreshd status` lists them"),
    )
}

/// The failure for a grant that the configuration does not have any more.
#[must_use]
pub fn retired(grant: &refreshd_core::Grant) -> Failure {
    let name = &grant.name;
    Failure::new(Exit::NoGrant, format!("{name}: {}", why_retired(grant)))
}

/// The failure for what has nothing to do with what was asked.
pub(crate) fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, error.to_string())
}

/// Why a grant is not refreshed any more.
#[must_use]
pub fn why_retired(grant: &refreshd_core::Grant) -> &'static str {
    match grant.state.configured {
        true => "it is not in the configuration any more",
        false => "its client is not configured",
    }
}
