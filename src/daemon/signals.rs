//! Signals as messages.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Drain and end; with the signal's name.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
}

/// A stream of signals.
#[derive(Debug)]
pub(super) struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Takes SIGTERM, SIGINT and SIGHUP from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(super) fn start() -> std::io::Result<Self> {
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    let signal = match signal {
                        SIGTERM => Signal::Stop("SIGTERM"),
                        SIGINT => Signal::Stop("SIGINT"),
                        _ => Signal::Reload,
                    };
                    if sender.send(signal).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Signals(receiver))
    }

    /// The next signal; for ever pending when there can be none.
    pub(super) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
