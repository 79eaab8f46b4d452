//! The `refreshd` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    // Before anything else: until then, a signal that should be harmless ends the daemon.
    let signals = args
        .iter()
        .any(|arg| arg == "run")
        .then(refreshd::daemon::signals::Signals::take);
    refreshd::cli::run(args, signals)
}
