//! What exchanges write, in one transaction: settlements first, then intents. What makes
//! one of them fail half-way is its own trouble: the others are run again without it.

use super::commit::{self, Commit, Committed, Prepared};
use super::error::{StoreError, caught};
use super::intents::BeginJob;
use super::writer::{Reply, Session};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A commit that somebody waits for.
pub(super) struct CommitJob {
    pub(super) commit: Arc<Commit>,
    pub(super) prepared: Prepared,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// What is run without a savepoint, and perhaps more than once.
pub(super) enum FastJob {
    /// A settlement, or a change of state.
    Commit(CommitJob),
    /// An intent.
    Begin(BeginJob),
}

/// What a job did.
pub(super) enum Done {
    Committed(Box<Committed>),
    Begun,
}

impl FastJob {
    pub(super) fn is_begin(&self) -> bool {
        matches!(self, FastJob::Begin(_))
    }

    /// Its result, if it was done whole or not at all.
    fn run(&self, session: &Session<'_>) -> Result<Result<Done, StoreError>, StoreError> {
        let conn = session.conn;
        let changes = conn.total_changes();
        let result = caught(|| match self {
            FastJob::Commit(job) => commit::commit(session, &job.commit, &job.prepared)
                .map(|committed| Done::Committed(Box::new(committed))),
            FastJob::Begin(job) => job.run(session).map(|()| Done::Begun),
        });
        // SQLite may have rolled everything back by itself; and it commits nothing after it has
        // met a damaged page.
        let half_done = conn.is_autocommit()
            || conn.total_changes() != changes
            || matches!(result, Err(StoreError::Malformed(_)));
        match result {
            Err(error) if half_done || !error.is_of_one() => Err(error),
            result => Ok(result),
        }
    }

    /// Sends the result, once the fate of its transaction is known.
    pub(super) fn reply(self, result: Result<Done, StoreError>) -> Reply {
        Box::new(move |durable| {
            let result = result.and_then(|done| durable.map(|()| done));
            match (self, result) {
                (FastJob::Commit(job), Ok(Done::Committed(done))) => {
                    let _gone = job.answer.send(Ok(*done));
                }
                (FastJob::Commit(job), Err(error)) => {
                    let _gone = job.answer.send(Err(error));
                }
                (FastJob::Begin(job), result) => {
                    let _gone = job.answer.send(result.map(drop));
                }
                (FastJob::Commit(_), Ok(Done::Begun)) => {
                    unreachable!("a commit begins nothing")
                }
            }
        })
    }
}

/// Begins a transaction and runs all of them in it; what each came to, in their order.
/// Savepoints would cost more than the rest: where one fails half-way, everything is undone
/// and run again without it.
///
/// # Errors
/// When nothing can be committed at present; no transaction is open then.
pub(super) fn begin(
    session: &Session<'_>,
    jobs: &[FastJob],
    execute: impl Fn(&str) -> Result<(), StoreError>,
) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
    let mut left_out = BTreeMap::new();
    loop {
        execute("BEGIN IMMEDIATE")?;
        let run = |(at, job): (usize, &FastJob)| match left_out.get(&at) {
            Some(error) => Ok(Err(StoreError::clone(error))),
            None => job.run(session).map_err(|error| (at, error)),
        };
        let ran: Result<Vec<_>, _> = jobs.iter().enumerate().map(run).collect();
        let (at, error) = match ran {
            Ok(results) => return Ok(results),
            Err(failed) => failed,
        };
        if !session.conn.is_autocommit() {
            execute("ROLLBACK")?;
        }
        if !error.is_of_one() {
            return Err(error);
        }
        left_out.insert(at, error);
    }
}
