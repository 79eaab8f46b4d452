//! File descriptors, rationed: a process has so many, and what it must never lack one
//! for is the state, the outputs and the control socket. So providers' connections, of
//! which there may be one for each of thousands of hosts, get a share and no more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// More than this is of no use.
const ENOUGH: u64 = 65_536;
/// What is open as long as the process runs: standard streams, database, log and stamp
/// of the state, its lock, timers, listeners, the runtime's own.
const ALWAYS: usize = 32;
/// A published database with its log and index.
const A_DATABASE: usize = 4;
/// A file that is being written: itself, its directory, the one for temporary files,
/// and what stands there.
const AN_OUTPUT: usize = 4;
/// The most outputs that are written at once, however many descriptors there are.
const MOST_OUTPUTS: usize = 16;
/// The most connections that are served at once, for each who asks.
const MOST_SERVED: usize = 256;

/// Who may use how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ration {
    /// How many there are in all.
    pub limit: usize,
    /// Exchanges that begin at once: a connection each, and a name that is looked up.
    pub flights: usize,
    /// Connections to providers in all, those whose answer is overdue too.
    pub exchanges: usize,
    /// Connections to providers that nobody uses, kept for the next exchange.
    pub idle: usize,
    /// Outputs that are written at once.
    pub outputs: usize,
    /// Connections to the control socket, and as many to `[enroll] listen`.
    pub served: usize,
}

impl Ration {
    /// Raises this process's soft limit, and shares out what there is.
    #[must_use]
    pub fn raised(databases: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let soft = current.unwrap_or(ENOUGH);
        let wanted = maximum.unwrap_or(ENOUGH).min(ENOUGH);
        let raised = Rlimit {
            current: Some(wanted),
            maximum,
        };
        let limit = match wanted > soft && setrlimit(Resource::Nofile, raised).is_ok() {
            true => wanted,
            false => soft,
        };
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX), databases)
    }

    /// The shares of so many descriptors beside so many published databases.
    #[must_use]
    pub fn of(limit: usize, databases: usize) -> Self {
        let always = ALWAYS + A_DATABASE * databases;
        let rest = limit.saturating_sub(always);
        Ration {
            limit,
            flights: (rest / 5).max(1),
            exchanges: (rest / 2).max(1),
            idle: rest / 10,
            outputs: (rest / 5 / AN_OUTPUT).clamp(1, MOST_OUTPUTS),
            served: (rest / 16).clamp(2, MOST_SERVED),
        }
    }

    /// What is left to what must go on when everybody else uses all of their shares.
    #[must_use]
    pub fn reserved(&self) -> usize {
        let shared = self.exchanges + self.idle + 2 * self.served;
        self.limit.saturating_sub(shared)
    }

    /// How it is now, with so many descriptors open.
    #[must_use]
    pub fn count(&self, open: usize, max_flights: u16) -> Count {
        Count {
            open,
            limit: self.limit,
            reserved: self.reserved(),
            short: match self.is_short(open) {
                true => Some(self.shortage(open)),
                false => self.remark(max_flights),
            },
        }
    }

    /// Whether there is little left.
    #[must_use]
    pub fn is_short(&self, open: usize) -> bool {
        open * 10 >= self.limit * 8
    }

    /// What to do where little is left.
    #[must_use]
    pub fn shortage(&self, open: usize) -> String {
        let limit = self.limit;
        format!(
            "{open} of {limit} file descriptors are open; raise the limit (LimitNOFILE= in the unit, ulimit -n), and restart refreshd"
        )
    }

    /// What a person should know of it, where it is little.
    #[must_use]
    pub fn remark(&self, max_flights: u16) -> Option<String> {
        let wanted = usize::from(max_flights);
        (self.flights < wanted).then(|| {
            format!(
                "only {} file descriptors may be open (ulimit -n; LimitNOFILE= in a unit): at most {} exchanges begin at once, where max_flights is {wanted}",
                self.limit, self.flights
            )
        })
    }
}

/// How many descriptors are open, of how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Open now.
    pub open: usize,
    /// The most that may be.
    pub limit: usize,
    /// Of those: only for state, outputs and whatever else must go on.
    pub reserved: usize,
    /// What a person should know, where they are short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
}

/// How many are open now, where the system tells.
#[must_use]
pub fn open_now() -> Option<usize> {
    // The one that is being read by is among them.
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(entries.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_leave_room_for_what_must_go_on() {
        for limit in [128, 256, 1024, 4096, 16_384, 65_536] {
            for databases in [0, 4] {
                let ration = Ration::of(limit, databases);
                let used = ALWAYS
                    + A_DATABASE * databases
                    + ration.exchanges
                    + ration.idle
                    + AN_OUTPUT * ration.outputs
                    + 2 * ration.served;
                assert!(used <= limit, "{limit}, {databases}: {ration:?}");
                assert!(2 * ration.flights <= ration.exchanges, "{ration:?}");
            }
        }
    }

    #[test]
    fn the_usual_limits_take_nothing_away() {
        let ration = Ration::of(1024, 0);
        assert_eq!(ration.remark(64), None);
        assert_eq!((ration.outputs, ration.exchanges), (16, 496));
        assert!(
            Ration::of(128, 0)
                .remark(64)
                .unwrap()
                .contains("at most 19")
        );
    }

    #[test]
    fn what_is_short_is_told() {
        let ration = Ration::of(1024, 0);
        let count = ration.count(100, 64);
        assert_eq!((count.open, count.limit, count.short), (100, 1024, None));
        assert_eq!(count.reserved, 1024 - 496 - 99 - 124);
        let short = ration.count(820, 64).short.unwrap();
        assert!(short.contains("820 of 1024") && short.contains("LimitNOFILE="));
        let short = Ration::of(128, 0).count(20, 64).short.unwrap();
        assert!(short.contains("only 128"), "{short}");
        assert_eq!(Ration::of(0, 0).reserved(), 0);
    }

    #[test]
    fn however_few_there_are_something_goes_on() {
        let ration = Ration::of(0, 0);
        assert_eq!(
            (ration.flights, ration.exchanges, ration.outputs),
            (1, 1, 1)
        );
    }
}
