//! Signals as messages, from the first instruction on.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use std::collections::VecDeque;
use std::io;
use std::os::raw::c_int;
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Drain and end; with the signal's name.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
}

/// A stream of signals. SIGUSR1 and SIGUSR2, which end a process that does not take
/// them, are taken and mean nothing.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::UnboundedReceiver<Signal>,
    /// Those that came while it started.
    held: VecDeque<Signal>,
}

impl Signals {
    /// Takes signals from now on. Whatever comes before this ends the process, so it is
    /// the first thing that the daemon does.
    ///
    /// # Errors
    /// When the handlers or their thread cannot be had.
    pub fn take() -> io::Result<Self> {
        let taken = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2];
        let mut signals = signal_hook::iterator::Signals::new(taken)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let known = signals.forever().filter_map(meaning);
                for signal in known {
                    if sender.send(signal).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Signals {
            receiver,
            held: VecDeque::new(),
        })
    }

    /// For a command that is not the daemon after all: signals end it, as they do others.
    pub fn leave_to_the_system(mut self) {
        std::thread::spawn(move || {
            while let Some(signal) = self.receiver.blocking_recv() {
                let number = match signal {
                    Signal::Stop("SIGINT") => SIGINT,
                    Signal::Stop(_) => SIGTERM,
                    Signal::Reload => SIGHUP,
                };
                let _ends = signal_hook::low_level::emulate_default_handler(number);
            }
        });
    }

    /// The next signal; for ever pending when there can be none.
    pub(super) async fn next(&mut self) -> Signal {
        if let Some(held) = self.held.pop_front() {
            return held;
        }
        match self.receiver.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// The name of a signal to stop, if one has come by now. One to reload stays for
    /// later.
    pub(crate) fn stop_so_far(&mut self) -> Option<&'static str> {
        while let Ok(signal) = self.receiver.try_recv() {
            self.held.push_back(signal);
        }
        self.held.iter().find_map(|signal| match signal {
            Signal::Stop(name) => Some(*name),
            Signal::Reload => None,
        })
    }

    /// The name of the next signal to stop. One to reload stays for later.
    pub(super) async fn stop(&mut self) -> &'static str {
        loop {
            if let Some(name) = self.stop_so_far() {
                return name;
            }
            match self.receiver.recv().await {
                Some(signal) => self.held.push_back(signal),
                None => std::future::pending().await,
            }
        }
    }
}

/// What a person should know where whoever started this process has signals blocked: a
/// mask outlives execve(2), and none of those reaches it then.
#[must_use]
pub(crate) fn remark() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let blocked = blocked_by(&status);
    (!blocked.is_empty()).then(|| {
        format!(
            "{} blocked by whoever started refreshd, and not heeded; start it from a process that blocks no signals, as systemd does",
            match *blocked {
                [one] => format!("{one} is"),
                _ => format!("{} are", blocked.join(", ")),
            }
        )
    })
}

/// Those of our signals that are blocked, by what `/proc/PID/status` says.
fn blocked_by(status: &str) -> Vec<&'static str> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let mask = mask.unwrap_or(0);
    let ours = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP")];
    let blocked = ours
        .iter()
        .filter(|(number, _)| mask >> (number - 1) & 1 == 1);
    blocked.map(|(_, name)| *name).collect()
}

fn meaning(signal: c_int) -> Option<Signal> {
    match signal {
        SIGTERM => Some(Signal::Stop("SIGTERM")),
        SIGINT => Some(Signal::Stop("SIGINT")),
        SIGHUP => Some(Signal::Reload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(signals: &[Signal]) -> Signals {
        let (sender, receiver) = mpsc::unbounded_channel();
        for signal in signals {
            sender.send(*signal).unwrap();
        }
        Signals {
            receiver,
            held: VecDeque::new(),
        }
    }

    #[test]
    fn signals_that_are_blocked_are_named() {
        let status =
            |mask: &str| format!("SigQ:\t0/95\nSigBlk:\t{mask}\nSigIgn:\t0000000000004003\n");
        assert_eq!(
            blocked_by(&status("0000000000004001")),
            ["SIGTERM", "SIGHUP"]
        );
        assert_eq!(blocked_by(&status("0000000000000002")), ["SIGINT"]);
        assert!(blocked_by(&status("0000000000000000")).is_empty());
        assert!(blocked_by("").is_empty());
    }

    #[tokio::test]
    async fn a_reload_that_came_early_is_not_forgotten() {
        let mut signals = with(&[Signal::Reload]);
        assert_eq!(signals.stop_so_far(), None);
        assert_eq!(signals.next().await, Signal::Reload);
    }

    #[tokio::test]
    async fn a_stop_is_found_behind_reloads_and_stays_a_stop() {
        let mut signals = with(&[Signal::Reload, Signal::Stop("SIGTERM")]);
        assert_eq!(signals.stop_so_far(), Some("SIGTERM"));
        assert_eq!(signals.stop().await, "SIGTERM");
        assert_eq!(signals.next().await, Signal::Reload);
        assert_eq!(signals.next().await, Signal::Stop("SIGTERM"));
    }
}
