//! The commits of one transaction. What makes one of them fail half-way is its own
//! trouble: the others are run again without it.

use super::commit::{self, Commit, Committed, Prepared};
use super::error::StoreError;
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

impl CommitJob {
    /// Its result, if it was made whole or not at all.
    fn run(&self, session: &Session<'_>) -> Result<Result<Committed, StoreError>, StoreError> {
        let conn = session.conn;
        let changes = conn.total_changes();
        let result = commit::commit(session, &self.commit, &self.prepared);
        // SQLite may have rolled everything back by itself.
        let half_done = conn.is_autocommit() || conn.total_changes() != changes;
        match result {
            Err(error) if half_done || !error.is_of_one() => Err(error),
            result => Ok(result),
        }
    }

    /// Sends the result, once the fate of its transaction is known.
    pub(super) fn reply(self, result: Result<Committed, StoreError>) -> Reply {
        Box::new(move |durable| {
            let result = result.and_then(|done| durable.map(|()| done));
            let _gone = self.answer.send(result);
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
    jobs: &[CommitJob],
    execute: impl Fn(&str) -> Result<(), StoreError>,
) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
    let mut left_out = BTreeMap::new();
    loop {
        execute("BEGIN IMMEDIATE")?;
        let run = |(at, job): (usize, &CommitJob)| match left_out.get(&at) {
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
