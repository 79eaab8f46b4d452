//! The store's thread: what has queued up shares one transaction, settlements first. What
//! SQLite does where a commit fails was shown with the real one: within the process the next
//! commit takes its place; after a kill it may count all the same.

use crate::audit::Check;
use crate::flight::{brought, form_of};
use crate::world::{Inside, World};
use refreshd_core::exchange::Event;
use refreshd_core::exchange::grant::Commit;
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::mutation::{self, Mutation};
use refreshd_core::provider::Answer;
use refreshd_core::time::WallTime;

/// What the store is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A flight is settled.
    Commit(u64),
    /// A flight's intent is recorded.
    Begin(u64, Box<Intent>),
    /// A flight is over that has nothing to commit.
    End(ExchangeId),
    /// What a flight has brought is kept as it came.
    Keep(u64),
}

impl Job {
    fn turn(&self) -> u8 {
        match self {
            Job::Commit(_) => 0,
            Job::Begin(..) => 1,
            Job::End(_) | Job::Keep(_) => 2,
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
    pub(crate) ends: bool,
    pub(crate) commit: Commit,
    pub(crate) asked: Option<WallTime>,
}

enum Failed {
    Commit(Box<Settling>),
    Begin(Box<Intent>),
    End(ExchangeId),
    Keep(Keeping),
}

/// An answer to be kept as it came.
#[derive(Clone)]
pub(crate) struct Keeping {
    pub(crate) flight: ExchangeId,
    pub(crate) answer: Answer,
    /// The form that is read.
    pub(crate) reads: usize,
}

/// What a failed commit may have left in the log. It counts after a kill, unless another
/// commit was made since.
pub(crate) struct Ghost {
    /// The number of the commit before it.
    after: u64,
    jobs: Vec<Failed>,
}

impl World {
    /// Asks for something; the disk `hangs` over it for so long.
    pub(crate) fn ask_store(&mut self, job: Job, hangs: i64) {
        let process = self.process();
        process.jobs.push(job);
        if !std::mem::replace(&mut process.transacting, true) {
            let wait = self.rng.millis(1, 10) + hangs;
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
        if std::mem::take(&mut self.dies_committing) {
            self.report.count("died committing");
            self.leave_ghost(&jobs);
            return self.end_process();
        }
        if !self.transaction_fails() {
            self.process().begins_in_doubt = false;
            return jobs.into_iter().try_for_each(|job| self.do_job(job));
        }
        self.report.count("commits failed");
        self.cannot_write();
        if !self.store.full {
            self.leave_ghost(&jobs);
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

    fn leave_ghost(&mut self, jobs: &[Job]) {
        let after = self.store.commit_seq;
        let failed = jobs.iter().filter_map(|job| self.failed(job));
        let jobs = failed.collect();
        self.ghost = Some(Ghost { after, jobs });
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
            Job::End(flight) => Failed::End(*flight),
            Job::Keep(number) => {
                let aloft = self.process.as_ref()?.aloft.get(number)?;
                Failed::Keep(aloft.brought()?)
            }
        })
    }

    /// Each is told that it failed.
    fn turned_down(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            match job {
                Job::Commit(number) => self.commit_later(number),
                Job::Begin(number, _) => {
                    self.report.count("begins failed");
                    if mutation::is(Mutation::FailedBeginIgnored) {
                        let event = Box::new(Event::IntentRecorded);
                        self.inside(0, Inside::Tell(number, event));
                        continue;
                    }
                    let text = "the store took no intent".to_owned();
                    let event = Box::new(Event::IntentFailed { text });
                    self.inside(0, Inside::Tell(number, event));
                }
                Job::Keep(_) => {}
                Job::End(_) => {
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
                if let Some(aloft) = self.process().aloft.get_mut(&number) {
                    aloft.recorded();
                }
                self.inside(0, Inside::Tell(number, Box::new(Event::IntentRecorded)));
                Ok(())
            }
            Job::End(flight) => {
                self.store.end(flight);
                self.audit.closes(flight);
                self.process().ending -= 1;
                Ok(())
            }
            Job::Keep(number) => {
                let Some(aloft) = self.process().aloft.get_mut(&number) else {
                    return Ok(());
                };
                let Some(keeping) = aloft.brought() else {
                    return Ok(());
                };
                aloft.is_kept = true;
                self.keep_raw(keeping);
                Ok(())
            }
        }
    }

    /// An answer is durable as it came: the next start has it, if this process does not
    /// settle it.
    fn keep_raw(&mut self, keeping: Keeping) {
        let Keeping {
            flight,
            answer,
            reads,
        } = keeping;
        let Some(answered) = self.audit.open.get_mut(&flight) else {
            return;
        };
        self.report.count("kept as they came");
        *answered = true;
        let form = form_of(&answer);
        match brought(&answer) {
            Some(token) if form != 0 && form != reads => self.audit.cannot_read(token),
            Some(token) => self.audit.durable_token(token),
            None => {}
        }
        self.store.keep(flight, answer);
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
                    self.commit_now(it.index, &it.intent, it.ends, &it.commit, it.asked)?;
                }
                Failed::Begin(intent) => self.store.begin(*intent),
                Failed::End(flight) => {
                    self.store.end(flight);
                    self.audit.closes(flight);
                }
                Failed::Keep(keeping) => self.keep_raw(keeping),
            }
        }
        Ok(())
    }
}
