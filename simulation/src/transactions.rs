//! The store's thread: what has queued up shares one transaction, settlements first. What
//! SQLite does where a commit fails was shown with the real one: within the process the next
//! commit takes its place; after a kill it may count all the same.

use crate::audit::{Check, ensure};
use crate::world::{Inside, World};
use refreshd::state::{Recovered, SlotRef};
use refreshd_core::flight::{Commit, Event, FlightId, Intent};
use refreshd_core::time::WallTime;

/// What the store is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A flight is settled.
    Commit(u64),
    /// A flight's intent is recorded.
    Begin(u64, Box<Intent>),
    /// A flight is over that has nothing to commit.
    End(FlightId, SlotRef),
}

impl Job {
    fn turn(&self) -> u8 {
        match self {
            Job::Commit(_) => 0,
            Job::Begin(..) => 1,
            Job::End(..) => 2,
        }
    }

    fn is_begin(&self) -> bool {
        matches!(self, Job::Begin(..))
    }
}

/// A settlement, with what it is written for.
#[derive(Clone)]
pub(crate) struct Settling {
    pub(crate) index: u32,
    pub(crate) intent: Intent,
    pub(crate) slot: Option<SlotRef>,
    pub(crate) commit: Commit,
    pub(crate) asked: Option<WallTime>,
}

enum Failed {
    Commit(Box<Settling>),
    Begin(Box<Intent>),
    End(FlightId, SlotRef),
}

/// What a failed commit may have left in the log. It counts after a kill, unless another
/// commit was made since.
pub(crate) struct Ghost {
    /// The number of the commit before it.
    after: u64,
    jobs: Vec<Failed>,
}

impl World {
    pub(crate) fn ask_store(&mut self, job: Job) {
        let process = self.process();
        process.jobs.push(job);
        if !std::mem::replace(&mut process.transacting, true) {
            let wait = self.rng.millis(1, 10);
            self.inside(wait, Inside::Transact);
        }
    }

    /// What has queued up, in one transaction.
    pub(crate) fn transact(&mut self) -> Check {
        let process = self.process();
        process.transacting = false;
        let mut jobs = std::mem::take(&mut process.jobs);
        let doubtful = process.begins_in_doubt && jobs.iter().any(Job::is_begin);
        jobs.sort_by_key(Job::turn);
        if doubtful && !self.overwrite() {
            let (begins, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::is_begin);
            self.turned_down(begins);
            jobs = others;
        }
        if jobs.is_empty() {
            return Ok(());
        }
        if !self.transaction_fails() {
            self.process().begins_in_doubt = false;
            return jobs.into_iter().try_for_each(|job| self.do_job(job));
        }
        self.report.count("commits failed");
        self.cannot_write();
        if !self.store.full {
            let after = self.store.commit_seq;
            let failed = jobs.iter().filter_map(|job| self.failed(job));
            let jobs = failed.collect();
            self.ghost = Some(Ghost { after, jobs });
            // Before the next commit takes its place, which is soon.
            if self.rng.percent(25) {
                return self.end_process();
            }
        }
        let begins = jobs.iter().any(Job::is_begin);
        self.turned_down(jobs);
        if begins {
            self.process().begins_in_doubt = true;
            let _tried_again = self.overwrite();
        }
        Ok(())
    }

    /// Whether the next transaction fails. A sync that failed is none any more.
    fn transaction_fails(&mut self) -> bool {
        let failing = self.failing_commits > 0;
        self.failing_commits = self.failing_commits.saturating_sub(1);
        failing || self.store.full
    }

    /// A commit of nothing but its own number; whether it worked.
    pub(crate) fn overwrite(&mut self) -> bool {
        if self.transaction_fails() {
            // It may have got as far as to take the place of what stood there.
            if self.rng.percent(50) {
                self.ghost = None;
            }
            self.inside(1000, Inside::Overwrite);
            return false;
        }
        self.store.commit_seq += 1;
        self.process().begins_in_doubt = false;
        true
    }

    fn failed(&self, job: &Job) -> Option<Failed> {
        Some(match job {
            Job::Commit(number) => Failed::Commit(Box::new(self.settling(*number)?)),
            Job::Begin(_, intent) => Failed::Begin(intent.clone()),
            Job::End(flight, slot) => Failed::End(*flight, *slot),
        })
    }

    /// Each is told that it failed.
    fn turned_down(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            match job {
                Job::Commit(number) => self.commit_later(number),
                Job::Begin(number, _) => {
                    self.report.count("begins failed");
                    self.leave(number);
                    let text = "the store took no intent".to_owned();
                    let event = Box::new(Event::IntentFailed { text });
                    self.inside(0, Inside::Tell(number, event));
                }
                Job::End(..) => {
                    let wait = self.rng.millis(250, 30_000);
                    self.inside(wait, Inside::Again(Box::new(job)));
                }
            }
        }
    }

    fn do_job(&mut self, job: Job) -> Check {
        match job {
            Job::Commit(number) => self.commit(number),
            Job::Begin(number, intent) => {
                self.store.begin(*intent);
                self.inside(0, Inside::Tell(number, Box::new(Event::IntentRecorded)));
                Ok(())
            }
            Job::End(flight, slot) => {
                self.store.settle(flight, slot);
                self.audit.closes(flight);
                let process = self.process();
                process.ending -= 1;
                process.book.free(slot);
                Ok(())
            }
        }
    }

    /// The process ends: what its last commit left counts, or does not.
    pub(crate) fn settle_ghost(&mut self) -> Check {
        let Some(ghost) = self.ghost.take() else {
            return Ok(());
        };
        self.failing_commits = 0;
        if ghost.after != self.store.commit_seq || self.rng.percent(50) {
            return Ok(());
        }
        self.report.count("failed commits that count");
        for job in ghost.jobs {
            match job {
                Failed::Commit(it) => {
                    self.commit_now(it.index, &it.intent, it.slot, &it.commit, it.asked)?;
                }
                Failed::Begin(intent) => self.store.begin(*intent),
                Failed::End(flight, slot) => {
                    self.store.settle(flight, slot);
                    self.audit.closes(flight);
                }
            }
        }
        Ok(())
    }

    /// The journal and the rows say the same of what is under way; but for a store that was
    /// put back, whose rows follow the journal.
    pub(crate) fn compare_rows(&mut self, recovered: &[Recovered]) -> Check {
        if self.store.fenced.is_some() {
            self.store.follow(recovered);
            return Ok(());
        }
        let found = |flight: FlightId| recovered.iter().find(|it| it.intent.flight == flight);
        for row in self.store.intents() {
            let same = found(row.flight).is_some_and(|it| is_same(row, it));
            ensure(same, "rows-agree", || {
                format!("a row {row:?}, a record {:?}", found(row.flight))
            })?;
        }
        for it in recovered {
            let has_row = self.store.has_intent(it.intent.flight);
            // One without a row was never sent: the process ended between the two. What was
            // settled in the time that a restore has lost may come back in the journal.
            let sent = it.answer.is_some() || self.audit.open.contains_key(&it.intent.flight);
            let lost = self.audit.was_put_back;
            ensure(has_row || !sent || lost, "rows-agree", || {
                format!("no row: {it:?}")
            })?;
        }
        Ok(())
    }
}

/// An answer's record has its intent by the clock of that moment.
fn is_same(row: &Intent, found: &Recovered) -> bool {
    let mut intent = found.intent.clone();
    if found.answer.is_some() {
        intent.sent.wall = row.sent.wall;
        intent.first_sent = row.first_sent;
    }
    *row == intent
}
