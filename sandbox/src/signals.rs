//! Ctrl-C and kin, as a flag.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether somebody wants the program to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens to SIGINT, SIGTERM and SIGHUP. A second one ends the program at once.
    pub(crate) fn listen() -> io::Result<Stop> {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Order matters: the first signal finds the flag unset, and sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, wanted.clone())?;
            flag::register(signal, wanted.clone())?;
        }
        Ok(Stop(wanted))
    }

    /// Whether a signal has come.
    pub(crate) fn wanted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits for a signal.
    pub(crate) async fn waited(&self) {
        while !self.wanted() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
