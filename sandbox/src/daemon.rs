//! The hidden subcommand `refreshd`: the real daemon within this binary, so
//! that the demo needs nothing but itself.

use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::OsString;
use std::process::ExitCode;

/// Its name.
pub(crate) const SUBCOMMAND: &str = "refreshd";

/// When set, the process ends with the one that started it. Not of the
/// daemon's own prefix: there it would be a key of its configuration.
pub(crate) const ENDS_WITH_PARENT: &str = "SANDBOX_ENDS_WITH_PARENT";

/// Runs the daemon's command line; the first argument is the program's name.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    if std::env::var_os(ENDS_WITH_PARENT).is_some() {
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
    }
    refreshd::cli::run(args, None)
}
