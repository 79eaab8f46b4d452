//! One entry of the reconciler's table, and what passes between the table and
//! the tasks that do the work.

use super::tending::Tending;
use super::{Address, OutputReport, Sink};
use crate::publish::output::Stands;
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::sync::Arc;
use std::time::Instant;

/// What an entry is to become.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// Known from the book; the targets have not been set yet.
    Known,
    /// The store's generation.
    Publish(Sink),
    /// Nothing.
    Withdraw,
}

/// Where an entry is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Queued,
    Running {
        /// Marked meanwhile.
        again: bool,
    },
}

/// An output, or an address that was one.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) address: Address,
    pub(super) grant: Arc<str>,
    pub(super) goal: Goal,
    /// The grant that the book has for the address.
    pub(super) booked: Option<GrantId>,
    pub(super) phase: Phase,
    pub(super) hung: bool,
    pub(super) tried: bool,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    pub(super) recheck_at: Option<WallTime>,
    pub(super) published: Option<u64>,
    pub(super) wanted: Option<u64>,
    /// The last run brought it to `wanted`.
    pub(super) settled: bool,
    pub(super) trouble: Option<(String, WallTime)>,
    /// What was left there by the last run, for a glance; rows have none.
    pub(super) stands: Option<Stands>,
    /// Somebody else was at it, and it is not mended yet.
    pub(super) astray: Option<Astray>,
    pub(super) tending: Tending,
}

/// What somebody else did, and when it is mended.
#[derive(Debug)]
pub(super) struct Astray {
    pub(super) why: String,
    pub(super) plan: String,
}

/// What a run over an entry needs to know.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) address: Address,
    pub(super) grant: Arc<str>,
    pub(super) goal: Goal,
    pub(super) booked: Option<GrantId>,
    pub(super) fenced: bool,
    /// The first run of this process.
    pub(super) first: bool,
    /// Why it is not to be run now.
    pub(super) refused: Option<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Look again then, as the grant's state changes by itself.
    pub(super) recheck_at: Option<WallTime>,
    /// The generation that is published; `None`: left as it was.
    pub(super) published: Option<Option<u64>>,
    /// Something was written.
    pub(super) wrote: bool,
    /// What was left there.
    pub(super) stands: Option<Stands>,
    /// It was written, but not everybody can read it.
    pub(super) complaint: Option<String>,
    /// Neither file, database nor book have it any more.
    pub(super) withdrawn: bool,
}

/// What is to be told of a run; a trouble that goes on is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    pub(super) trouble: Turn,
    /// Somebody else was at it, and it was mended.
    pub(super) mended: Option<Mended>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It began to fail.
    Began(String),
    /// It no longer does.
    Ended,
    /// It is no output any more.
    Gone,
    #[default]
    Same,
}

/// What somebody else did to an output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mended {
    pub(super) why: String,
    /// How many times of late.
    pub(super) times: u32,
}

impl Astray {
    fn told(&self) -> String {
        format!("{}; {}", self.why, self.plan)
    }
}

impl Entry {
    pub(super) fn new(address: Address, grant: Arc<str>) -> Entry {
        Entry {
            address,
            grant,
            goal: Goal::Known,
            booked: None,
            phase: Phase::Idle,
            hung: false,
            tried: false,
            failures: 0,
            retry_at: None,
            recheck_at: None,
            published: None,
            wanted: None,
            settled: false,
            trouble: None,
            stands: None,
            astray: None,
            tending: Tending::default(),
        }
    }

    pub(super) fn task(&self, fenced: bool, refused: Option<String>) -> Task {
        Task {
            address: self.address.clone(),
            grant: self.grant.clone(),
            goal: self.goal.clone(),
            booked: self.booked.clone(),
            fenced,
            first: !self.tried,
            refused,
        }
    }

    /// What somebody else did, when this run has put it right.
    pub(super) fn is_mended(&mut self, done: &Done) -> Option<Mended> {
        let why = self.astray.take()?.why;
        if !done.wrote {
            self.tending.was_nothing();
            return None;
        }
        let times = self.tending.times();
        Some(Mended { why, times })
    }

    /// Notes a trouble; only its beginning is a turn.
    pub(super) fn fails(&mut self, error: String, wall: WallTime) -> Turn {
        self.settled = false;
        if let Some((known, _)) = &mut self.trouble {
            *known = error;
            return Turn::Same;
        }
        self.trouble = Some((error.clone(), wall));
        Turn::Began(error)
    }

    pub(super) fn report(&self) -> OutputReport {
        OutputReport {
            grant: self.grant.to_string(),
            path: self.address.path().to_path_buf(),
            is_row: self.address.is_row(),
            published_generation: self.published,
            wanted_generation: self.wanted,
            settled: self.settled,
            withdrawing: matches!(self.goal, Goal::Withdraw),
            error: (self.trouble.as_ref().map(|(error, _)| error.clone()))
                .or_else(|| self.astray.as_ref().map(Astray::told)),
            disturbed: self.tending.times() > 0,
            since: self.trouble.as_ref().map(|(_, since)| *since),
        }
    }
}
