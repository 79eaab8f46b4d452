//! The thread of one database: it owns the writing connection, puts what has
//! queued up into one transaction, and keeps the `-wal` short.

use super::open::{BUSY, Open, is_ours, open, open_existing, set_aside, sorted};
use super::rows::{self, Outcome, Work};
use super::{DatabaseError, Remade, whole};
use crate::config::{Database, PublishBy};
use crate::publish::file::Stand;
use rusqlite::TransactionBehavior;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The most rows in one transaction.
const BATCH: usize = 1024;
/// A `-wal` of this size is emptied also under load.
const LONG_WAL: u64 = 8 * 1024 * 1024;
/// At this size something is wrong with a reader.
const HUGE_WAL: u64 = 64 * 1024 * 1024;
/// How long readers may be waited for when the `-wal` is emptied under load or at the end.
const EMPTYING: Duration = Duration::from_millis(100);
/// After a reader was in the way, at most so often.
const EMPTY_EVERY: Duration = Duration::from_secs(30);
/// How long a commit stands before the `-wal` is emptied: longer than a reader
/// takes to begin.
const STANDS: Duration = Duration::from_millis(50);
/// A pause after which the `-wal` is emptied.
const PAUSE: Duration = Duration::from_secs(5);
/// How often an idle thread looks whether its files are still there.
const LOOK: Duration = Duration::from_secs(30);

type Answer = Result<Outcome, Arc<DatabaseError>>;

/// What the thread is asked to do.
pub(super) enum Command {
    Row(Work, oneshot::Sender<Answer>),
    Look(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// See the module.
pub(super) struct Writer {
    path: PathBuf,
    remade: Remade,
    open: Option<Open>,
    /// It was open before, so rows may be missing in what is opened next.
    was_open: bool,
    /// Something stands in the `-wal`, and it has not been tried to empty it.
    dirty: bool,
    /// The last commit.
    committed: Option<Instant>,
    /// When a reader was in the way.
    hindered: Option<Instant>,
    told_huge: bool,
    /// What was left there, where the file is published whole.
    whole: Option<Stand>,
    /// It was ours in this process, whatever stands there by now.
    had: bool,
}

impl Writer {
    pub(super) fn new(path: &Path, remade: Remade) -> Writer {
        Writer {
            path: path.to_owned(),
            remade,
            open: None,
            was_open: false,
            dirty: false,
            committed: None,
            hindered: None,
            told_huge: false,
            whole: None,
            had: false,
        }
    }

    /// Works until it is closed or nobody can ask any more.
    pub(super) fn run(mut self, queue: &Receiver<Command>) {
        let mut closing = None;
        while closing.is_none() {
            let wait = if self.dirty { PAUSE } else { LOOK };
            let first = match queue.recv_timeout(wait) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.rest();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (mut work, mut replies, mut looks) = (Vec::new(), Vec::new(), Vec::new());
            for command in std::iter::once(first).chain(queue.try_iter()).take(BATCH) {
                match command {
                    Command::Row(row, reply) => {
                        work.push(row);
                        replies.push(reply);
                    }
                    Command::Look(reply) => looks.push(reply),
                    Command::Close(reply) => closing = Some(reply),
                }
            }
            self.answer(&work, replies);
            if !looks.is_empty() {
                self.look();
                for reply in looks {
                    let _nobody_waits = reply.send(());
                }
            }
        }
        self.empty_wal(EMPTYING);
        drop(self.open);
        if let Some(reply) = closing {
            let _nobody_waits = reply.send(());
        }
    }

    fn answer(&mut self, work: &[Work], replies: Vec<oneshot::Sender<Answer>>) {
        if work.is_empty() {
            return;
        }
        let answers = match self.attempt(work) {
            Ok(answers) => answers,
            Err(error) => {
                let error = Arc::new(error);
                work.iter().map(|_| Err(error.clone())).collect()
            }
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _nobody_waits = reply.send(answer);
        }
        self.tidy();
    }

    /// Does the work; a database that turns out to be damaged is made anew, once.
    fn attempt(&mut self, work: &[Work]) -> Result<Vec<Answer>, DatabaseError> {
        match self.transact(work) {
            Err(DatabaseError::Damaged { path, text }) => {
                self.open = None;
                if !is_ours(&path) && !self.had {
                    return Err(DatabaseError::NotADatabase(path));
                }
                let aside = set_aside(&self.path)?;
                let (path, aside) = (self.path.display(), aside.display());
                tracing::error!(%path, "{path} is damaged ({text}); it was set aside as {aside} and is made again");
                // What it held besides these rows is wanted again too.
                self.was_open = true;
                self.transact(work)
            }
            Err(
                DatabaseError::NotADatabase(_)
                | DatabaseError::NotAFile(_)
                | DatabaseError::Foreign(_),
            ) if self.had => {
                self.open = None;
                let aside = set_aside(&self.path)?;
                let (path, aside) = (self.path.display(), aside.display());
                tracing::error!(%path, "something else stands where {path} was; it was set aside as {aside}, and {path} is made again");
                self.was_open = true;
                self.transact(work)
            }
            Err(error) if error.is_busy() => {
                // Whoever is in the way has had his time. Should it be a lock of our own
                // that could not be given back, it ends with the connection; it is the
                // same database then, and its other rows are as they were.
                self.open = None;
                self.was_open = false;
                Err(error)
            }
            done => done,
        }
    }

    fn transact(&mut self, work: &[Work]) -> Result<Vec<Answer>, DatabaseError> {
        let path = self.path.clone();
        let database = work.iter().rev().find_map(|work| match work {
            Work::Publish(job) => Some(job.database.clone()),
            Work::Withdraw { .. } => None,
        });
        if self.open.is_none() && whole::is_meant(&path, database.as_deref()) {
            return self.transact_whole(database.as_deref(), work);
        }
        if database
            .as_deref()
            .is_some_and(|database| database.publish == PublishBy::Rename)
        {
            // A reload has changed how it is published.
            self.empty_wal(EMPTYING);
            self.open = None;
            return self.transact_whole(database.as_deref(), work);
        }
        self.whole = None;
        let Some(open) = self.ready(database.as_deref())? else {
            return Ok(vec![Ok(Outcome::Withdrawn(false)); work.len()]);
        };
        let sql = |source| sorted(&path, source);
        let before = open.conn.total_changes();
        let transaction = open
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql)?;
        let answers: Result<Vec<_>, _> = work.iter().map(|row| row.run(&transaction)).collect();
        let answers = answers.map_err(sql)?;
        transaction.commit().map_err(sql)?;
        let empty = database.is_none() && rows::is_empty(&open.conn).map_err(sql)?;
        if open.conn.total_changes() != before {
            open.hold_mark().map_err(sql)?;
            self.dirty = true;
            self.committed = Some(Instant::now());
        }
        if empty {
            // Nothing is published here any more: nobody is to find the old tokens.
            self.empty_wal(EMPTYING);
            self.open = None;
        }
        let answers = answers.into_iter();
        Ok(answers.map(|answer| answer.map_err(Arc::new)).collect())
    }

    fn transact_whole(
        &mut self,
        database: Option<&Database>,
        work: &[Work],
    ) -> Result<Vec<Answer>, DatabaseError> {
        let done = whole::transact(&self.path, database, work)?;
        self.whole = done.stand;
        self.had |= done.stand.is_some();
        if done.anew {
            (self.remade)(&self.path, None);
        }
        let answers = done.answers.into_iter();
        Ok(answers.map(|answer| answer.map_err(Arc::new)).collect())
    }

    /// The open database; `None` when there is none and nothing to put into one.
    fn ready(&mut self, database: Option<&Database>) -> Result<Option<&mut Open>, DatabaseError> {
        if self.open.as_ref().is_some_and(|open| !open.is_there()) {
            self.open = None;
        }
        if self.open.is_none() {
            self.open = match database {
                Some(database) => Some(open(&self.path, database)?),
                None => open_existing(&self.path)?,
            };
            self.had |= self.open.is_some();
            if self.open.is_some() && std::mem::replace(&mut self.was_open, true) {
                (self.remade)(&self.path, None);
            }
        }
        if let (Some(open), Some(database)) = (&mut self.open, database) {
            open.keep_rights(database)?;
        }
        Ok(self.open.as_mut())
    }

    /// Between two batches: the `-wal` must not grow for ever.
    fn tidy(&mut self) {
        let Some(open) = &self.open else { return };
        let long = open.wal_bytes();
        if long < LONG_WAL {
            self.told_huge = false;
            return;
        }
        if self.hindered.is_none_or(|at| at.elapsed() >= EMPTY_EVERY) {
            self.empty_wal(EMPTYING);
        }
        if long >= HUGE_WAL && !std::mem::replace(&mut self.told_huge, true) {
            let path = self.path.display();
            tracing::warn!(%path, "{path}-wal grows beyond {} MiB: a reader keeps a transaction open", HUGE_WAL >> 20);
        }
    }

    /// Nothing is asked at the moment.
    fn rest(&mut self) {
        if !self.look() && self.dirty {
            self.empty_wal(Duration::ZERO);
            // A reader in the way is no reason to try all the time.
            self.dirty = false;
        }
    }

    /// Whether somebody else was at the database, so that its rows are wanted again.
    fn look(&mut self) -> bool {
        let path = self.path.display();
        if let Some(left) = &self.whole {
            let now = Stand::at(&self.path);
            let same = now.as_ref().is_ok_and(|now| now.as_ref() == Some(left));
            if !same {
                tracing::warn!(%path, "{path} was removed, replaced or written to by somebody else; it is made again");
                self.whole = None;
                (self.remade)(&self.path, Some("the database was removed or changed"));
            }
            return !same;
        }
        let Some(open) = &mut self.open else {
            return false;
        };
        if !open.is_there() {
            tracing::warn!(%path, "{path} was removed or replaced; it is made again");
            self.open = None;
            // What is opened next is told of here.
            self.was_open = false;
            (self.remade)(&self.path, Some("the database was removed or replaced"));
            return true;
        }
        let written = open.was_written_by_others();
        if written {
            tracing::warn!(%path, "somebody else has written to {path}; its rows are looked at again");
            (self.remade)(
                &self.path,
                Some("somebody else has written to the database"),
            );
        }
        written
    }

    /// Copies the `-wal` into the database and empties it. A reader in the way
    /// is no error: then it is copied as far as he lets it.
    fn empty_wal(&mut self, wait: Duration) {
        let Some(open) = &mut self.open else { return };
        let stands = self.committed.map_or(STANDS, |at| at.elapsed());
        std::thread::sleep(STANDS.saturating_sub(stands));
        open.let_mark_go();
        let conn = &open.conn;
        let busy = conn.busy_timeout(wait).and_then(|()| {
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                row.get::<_, bool>(0)
            })
        });
        let _set = conn.busy_timeout(BUSY);
        if let Err(error) = &busy {
            let path = self.path.display();
            tracing::debug!(%path, %error, "{path}-wal could not be copied; it is tried again");
        }
        let emptied = busy.is_ok_and(|busy| !busy);
        self.dirty &= !emptied;
        self.hindered = (!emptied).then(Instant::now);
    }
}
