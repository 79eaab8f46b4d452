//! The thread that owns the only connection. What has queued up shares one
//! transaction and one fsync; nobody is answered before the commit. A command has a
//! savepoint of its own.

use super::clock_watermark::Seen;
use super::commits::{self, Done, FastJob};
use super::copy::{self, CopyError};
use super::db;
use super::disk;
use super::error::StoreError;
use super::fence::{self, Fenced};
use super::group_commit::Gathering;
use super::intents;
use super::room::Room;
use super::seal::Sealer;
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::WallTime;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// The most commands in one transaction.
const BATCH: usize = 1024;
/// Commands after which a pause of [`IDLE`] is used for a checkpoint.
const CHECKPOINT_IDLE: usize = 1000;
/// Commands after which a checkpoint is made even under load: a log of some 40 MiB.
const CHECKPOINT_BUSY: usize = 4000;
/// Commands after which one is made where the disk has little room: the log would
/// take what was put by.
const CHECKPOINT_SCARCE: usize = 64;
/// So long nothing is asked for in a pause.
const IDLE: Duration = Duration::from_millis(100);
/// The stamp is written at most this often.
const STAMP_EVERY: Duration = Duration::from_secs(1);
/// What a failed commit may have left in the log is overwritten, or tried to be, this often.
const OVERWRITE_EVERY: Duration = Duration::from_secs(1);

/// What a command may use while it runs inside the transaction.
pub(super) struct Session<'a> {
    pub(super) conn: &'a Connection,
    pub(super) sealer: &'a Sealer,
    pub(super) fingerprints: &'a Fingerprinter,
    pub(super) shared: &'a Shared,
}

impl Session<'_> {
    /// Remembers the latest time; it is written with this transaction.
    pub(super) fn saw(&self, at: WallTime) {
        self.shared.seen.saw(at);
    }
}

/// What the thread and the handles both look at.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    /// Which machine this is, hashed; `None` where that says nothing.
    pub(super) machine: Option<String>,
    pub(super) store_id: String,
    pub(super) commit_seq: AtomicU64,
    pub(super) seen: Seen,
    pub(super) writable: watch::Sender<bool>,
    pub(super) fenced: Mutex<Option<Fenced>>,
}

impl Shared {
    pub(super) fn fenced(&self) -> MutexGuard<'_, Option<Fenced>> {
        self.fenced.lock().expect("nothing panics under this lock")
    }
}

/// What became of each fast job of a transaction.
type Results = Vec<Result<Done, StoreError>>;
/// Sends a command's answer, once the fate of its transaction is known.
pub(super) type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Runs a command, or tells it why it cannot run; whether its changes are kept.
pub(super) type Op = Box<dyn FnOnce(Result<&Session<'_>, StoreError>) -> (Reply, bool) + Send>;

/// What a command may do to the transaction it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Read,
    /// It writes, in a savepoint of its own: when it fails, it alone is undone.
    Write,
    /// The same for the end of an exchange, which is written also where there is room for
    /// nothing else.
    End,
}

/// Something to do in a transaction.
pub(super) enum Job {
    /// A command.
    Command { kind: Kind, op: Op },
    /// What an exchange writes, which may be run more than once; see [`commits::begin`].
    Fast(FastJob),
}

impl Job {
    fn is_read(&self) -> bool {
        matches!(self, Job::Command { kind, .. } if *kind == Kind::Read)
    }

    fn is_begin(&self) -> bool {
        matches!(self, Job::Fast(job) if job.is_begin())
    }
}

pub(super) enum Message {
    Job(Job),
    Checkpoint(oneshot::Sender<Result<(), StoreError>>),
    /// Copies the database into an empty file, a few pages at a time.
    Copy(PathBuf, oneshot::Sender<Result<(), CopyError>>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// What a turn leaves to its caller.
#[derive(Default)]
struct Rest {
    closing: Option<oneshot::Sender<Result<(), StoreError>>>,
    copies: Vec<(PathBuf, oneshot::Sender<Result<(), CopyError>>)>,
}

pub(super) struct Writer {
    /// Shared with a copy that is being made between transactions.
    pub(super) conn: Rc<Connection>,
    pub(super) sealer: Sealer,
    pub(super) fingerprints: Fingerprinter,
    pub(super) shared: std::sync::Arc<Shared>,
    pub(super) since_checkpoint: usize,
    pub(super) last_stamp: Option<Instant>,
    pub(super) stamp_pending: bool,
    pub(super) room: Room,
    /// Why nothing is written but settlements and ends.
    pub(super) short: Option<StoreError>,
    /// The last transaction that wrote was committed.
    pub(super) took_last: bool,
    /// The last try to write it failed, and that was told.
    pub(super) stamp_failed: bool,
    /// The database is a copy, of which the stamp must not speak.
    pub(super) in_memory: bool,
    /// See [`db::empty_log`].
    pub(super) log_is_ours: bool,
    /// An intent that was told to have failed may stand in the log all the same, and would
    /// count after a kill: nothing begins before another commit has taken its place.
    pub(super) begins_in_doubt: bool,
}

impl Writer {
    /// Works until it is closed or every handle is gone.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        let mut closing = None;
        let mut gathering = Gathering::default();
        while closing.is_none() {
            let Some(first) = self.next(queue) else { break };
            let arrived = gathering.gather(queue, first, BATCH, |lot| self.read(lot));
            if arrived.is_empty() {
                continue;
            }
            let rest = self.turn(arrived);
            gathering.turn_ended();
            closing = rest.closing;
            for (path, reply) in rest.copies {
                let copied = if closing.is_some() {
                    Err(StoreError::Closed.into())
                } else {
                    self.copy(&path, queue, &mut closing)
                };
                drop(reply.send(copied));
            }
        }
        let closed = self.move_log("TRUNCATE");
        self.write_stamp();
        drop(self.conn);
        if let Some(reply) = closing {
            drop(reply.send(closed));
        }
    }

    /// Does what only reads, and leaves the rest. It has a transaction of its own:
    /// on a full disk what lives is still served, whatever it was asked for together
    /// with; and it does not wait for a sync.
    fn read(&mut self, messages: Vec<Message>) -> Vec<Message> {
        let (reads, rest): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|m| matches!(m, Message::Job(job) if job.is_read()));
        let jobs = reads.into_iter().filter_map(|message| match message {
            Message::Job(job) => Some(job),
            _ => None,
        });
        self.run_alike(jobs.collect(), false);
        rest
    }

    /// Does what has queued up, but for what takes more than one turn.
    fn turn(&mut self, messages: Vec<Message>) -> Rest {
        let mut rest = Rest::default();
        let mut checkpoints = Vec::new();
        let mut jobs = Vec::new();
        for message in self.read(messages) {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Checkpoint(reply) => checkpoints.push(reply),
                Message::Copy(path, reply) => rest.copies.push((path, reply)),
                Message::Close(reply) => rest.closing = Some(reply),
            }
        }
        self.run_alike(jobs, true);
        for reply in checkpoints {
            drop(reply.send(self.checkpoint()));
        }
        if self.since_checkpoint >= CHECKPOINT_SCARCE && disk::is_scarce(&self.shared.dir) {
            self.checkpoint_after(CHECKPOINT_SCARCE);
        }
        self.checkpoint_after(CHECKPOINT_BUSY);
        rest
    }

    /// Copies the database a few pages at a time; between them everything else
    /// goes on. SQLite carries what this connection writes over into the copy.
    fn copy(
        &mut self,
        path: &Path,
        queue: &Receiver<Message>,
        closing: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> Result<(), CopyError> {
        let source = Rc::clone(&self.conn);
        let mut target = copy::target(path)?;
        let copying = copy::begin(&source, &mut target, path)?;
        while !copying.step()? {
            // The disk is for others first: a pause, which ends when something is asked.
            let first = queue.recv_timeout(copy::PAUSE);
            let arrived = first.into_iter().chain(queue.try_iter());
            let rest = self.turn(arrived.take(BATCH).collect());
            for (_, reply) in rest.copies {
                drop(reply.send(Err(CopyError::Busy)));
            }
            if rest.closing.is_some() {
                *closing = rest.closing;
                return Err(StoreError::Closed.into());
            }
        }
        Ok(())
    }

    fn next(&mut self, queue: &Receiver<Message>) -> Option<Message> {
        match queue.try_recv() {
            Ok(message) => return Some(message),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        loop {
            let since = self.last_stamp.map_or(STAMP_EVERY, |at| at.elapsed());
            let stamp = self
                .stamp_pending
                .then(|| STAMP_EVERY.saturating_sub(since));
            let checkpoint = (self.since_checkpoint >= CHECKPOINT_IDLE).then_some(IDLE);
            let overwrite = self.begins_in_doubt.then_some(OVERWRITE_EVERY);
            let waits = stamp.into_iter().chain(checkpoint).chain(overwrite);
            let Some(wait) = waits.min() else {
                return queue.recv().ok();
            };
            match queue.recv_timeout(wait) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if stamp == Some(wait) => self.write_stamp(),
                Err(RecvTimeoutError::Timeout) if overwrite == Some(wait) => {
                    let _tried_again = self.overwrite();
                }
                Err(RecvTimeoutError::Timeout) => self.checkpoint_after(CHECKPOINT_IDLE),
            }
        }
    }

    fn run_alike(&mut self, mut jobs: Vec<Job>, writes: bool) {
        let begins = jobs.iter().filter(|job| job.is_begin()).count();
        if begins > 0
            && self.begins_in_doubt
            && let Err(error) = self.overwrite()
        {
            jobs = turn_down_begins(jobs, &error);
        }
        if jobs.is_empty() {
            return;
        }
        let begins = jobs.iter().any(Job::is_begin);
        let done = self.run_together(jobs, writes);
        if begins && done.is_err() && !self.took_last {
            tracing::warn!(
                "the intents of this transaction may stand in the log all the same: no exchange begins before another commit has taken their place"
            );
            self.begins_in_doubt = true;
        }
    }

    /// A commit of nothing but its own number: what a failed one has left in the log before
    /// it counts no longer, whatever becomes of this process.
    fn overwrite(&mut self) -> Result<(), StoreError> {
        self.run_together(Vec::new(), true)
    }

    /// Runs jobs in one transaction, and tells what became of it. Where it cannot be
    /// committed, each settlement is run again by itself: one that touches a damaged page
    /// takes none of the others with it.
    fn run_together(&mut self, jobs: Vec<Job>, writes: bool) -> Result<(), StoreError> {
        let (mut commands, mut fast) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Command { kind, op } => commands.push((kind, op)),
                Job::Fast(job) => fast.push(job),
            }
        }
        // What exchanges brought comes first, then those that begin.
        fast.sort_by_key(FastJob::is_begin);
        let mut replies = Vec::new();
        if writes {
            self.keep_to_room(&mut commands, &mut fast, &mut replies);
        }
        let done = self.transact((commands, &fast), writes, &mut replies);
        let failed = done.as_ref().err().cloned();
        let results = match done {
            Ok(results) => results,
            Err(error) => {
                // What it may have left in the log is overwritten by it, too.
                let works = writes && self.commit_nothing();
                self.one_by_one(&fast, &error, works)
            }
        };
        if failed.is_some() && !replies.is_empty() && writes {
            // Whoever was told so may try again, also where that was all.
            self.shared.writable.send_replace(false);
        }
        self.tell_whether_writable(writes);
        self.tell(&failed.clone().map_or(Ok(()), Err), replies);
        for (job, result) in fast.into_iter().zip(results) {
            job.reply(result)(Ok(()));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs the settlements of a transaction that failed again, each by itself, where the
    /// database takes anything at all.
    fn one_by_one(&mut self, fast: &[FastJob], failed: &StoreError, works: bool) -> Results {
        let again = |job: &FastJob| {
            if job.is_begin() || !works {
                return Err(failed.clone());
            }
            let one = std::slice::from_ref(job);
            let done = self.transact((Vec::new(), one), true, &mut Vec::new());
            match done {
                Ok(mut results) => results.remove(0),
                Err(error) if self.short.is_none() && self.commit_nothing() => {
                    Err(StoreError::Alone(error.to_string()))
                }
                Err(error) => Err(error),
            }
        };
        fast.iter().map(again).collect()
    }

    /// Whether a transaction of nothing but its own number can be committed.
    fn commit_nothing(&mut self) -> bool {
        let nothing = (Vec::new(), [].as_slice());
        self.transact(nothing, true, &mut Vec::new()).is_ok()
    }

    /// Whether a commit can be expected to work, as of the last one.
    fn tell_whether_writable(&self, writes: bool) {
        let writable = self.took_last && self.short.is_none();
        let changed = |now: &mut bool| std::mem::replace(now, writable) != writable;
        if writes {
            self.shared.writable.send_if_modified(changed);
        }
    }

    /// Tells commands what became of their transaction.
    fn tell(&mut self, done: &Result<(), StoreError>, replies: Vec<Reply>) {
        for reply in replies {
            reply(done.clone());
        }
        if self.stamp_pending && self.last_stamp.is_none_or(|at| at.elapsed() >= STAMP_EVERY) {
            self.write_stamp();
        }
    }

    /// Puts room by for what begins. Where there is none, nothing begins, and nothing is
    /// written but settlements and ends.
    fn keep_to_room(
        &mut self,
        commands: &mut Vec<(Kind, Op)>,
        fast: &mut Vec<FastJob>,
        replies: &mut Vec<Reply>,
    ) {
        let begins = fast.iter().filter(|job| job.is_begin()).count() as u64;
        if begins == 0 && self.short.is_none() {
            return;
        }
        self.look_for_room(begins);
        let Some(short) = self.short.clone() else {
            return;
        };
        let (refused, left): (Vec<_>, Vec<_>) = std::mem::take(fast)
            .into_iter()
            .partition(FastJob::is_begin);
        *fast = left;
        for job in refused {
            job.reply(Err(short.clone()))(Ok(()));
        }
        let refused = |(kind, _): &(Kind, Op)| *kind == Kind::Write;
        let (refused, left): (Vec<_>, Vec<_>) =
            std::mem::take(commands).into_iter().partition(refused);
        *commands = left;
        for (_, op) in refused {
            replies.push(op(Err(short.clone())).0);
        }
    }

    /// Whether there is room for what is under way, and for so many more.
    fn look_for_room(&mut self, begins: u64) {
        let under_way = intents::count(&self.conn).unwrap_or(0);
        let found = self.room.put_by(under_way + begins);
        let was_short = self.short.is_some();
        self.short = found.err().map(|error| StoreError::NoRoom {
            dir: self.shared.dir.clone(),
            text: error.to_string(),
        });
        if let (Some(error), false) = (&self.short, was_short) {
            tracing::error!(%error, "the disk is full: what is under way is settled in the space put by for it, and nothing else is begun or written; make room on this disk");
        }
    }

    /// One transaction; what became of the fast ones.
    fn transact(
        &mut self,
        jobs: (Vec<(Kind, Op)>, &[FastJob]),
        writes: bool,
        replies: &mut Vec<Reply>,
    ) -> Result<Results, StoreError> {
        let count = jobs.0.len() + jobs.1.len();
        let was_writable = self.took_last;
        let done = self.try_transact(jobs, writes, replies);
        if writes {
            if done.is_ok() {
                self.look_for_room(0);
            }
            self.took_last = done.is_ok();
        }
        match &done {
            Ok((Some(commit_seq), _)) => {
                self.shared.commit_seq.store(*commit_seq, Ordering::Release);
                self.since_checkpoint += count.max(1);
                self.stamp_pending = true;
                self.begins_in_doubt = false;
            }
            Ok((None, _)) => {}
            // Once, and not with every try until there is room.
            Err(error) if was_writable => {
                tracing::error!(%error, commands = count, "a transaction failed");
            }
            Err(error) => tracing::debug!(%error, commands = count, "a transaction failed"),
        }
        done.map(|(_, results)| results)
    }

    fn try_transact(
        &mut self,
        (commands, fast): (Vec<(Kind, Op)>, &[FastJob]),
        writes: bool,
        replies: &mut Vec<Reply>,
    ) -> Result<(Option<u64>, Results), StoreError> {
        let emptied = match writes && !self.log_is_ours {
            true => db::empty_log(&self.conn, &self.shared.dir).map_err(|e| self.not_durable(&e)),
            false => Ok(()),
        };
        self.log_is_ours |= writes && emptied.is_ok();
        let begun = emptied.and_then(|()| match writes {
            true => commits::begin(&self.session(), fast, |sql| self.execute(sql)),
            false => self.execute("BEGIN").map(|()| Vec::new()),
        });
        let (mut failed, mut results) = (None, Vec::new());
        match begun {
            Ok(came) => results = came,
            Err(error) => failed = Some(error),
        }
        for (kind, op) in commands {
            match &failed {
                None => failed = self.run_command(kind, op, replies).err(),
                Some(error) => replies.push(op(Err(error.clone())).0),
            }
        }
        let ended = match failed {
            // Nothing was to become durable, and each knows what it has read. SQLite refuses
            // this where one of them met a damaged page.
            None if !writes => {
                self.execute("COMMIT").ok();
                Ok(None)
            }
            None => self.commit(),
            Some(error) => Err(error),
        };
        if !self.conn.is_autocommit() {
            // A roll-back that fails as well leaves nothing that a commit could make durable.
            self.conn.execute_batch("ROLLBACK").ok();
        }
        ended.map(|commit_seq| (commit_seq, results))
    }

    fn session(&self) -> Session<'_> {
        Session {
            conn: &self.conn,
            sealer: &self.sealer,
            fingerprints: &self.fingerprints,
            shared: &self.shared,
        }
    }

    fn run_command(&self, kind: Kind, op: Op, replies: &mut Vec<Reply>) -> Result<(), StoreError> {
        if kind == Kind::Read {
            replies.push(op(Ok(&self.session())).0);
            return Ok(());
        }
        if let Err(error) = self.execute("SAVEPOINT command") {
            replies.push(op(Err(error.clone())).0);
            return Err(error);
        }
        let (reply, keep) = op(Ok(&self.session()));
        replies.push(reply);
        // A full disk can make SQLite roll back everything by itself.
        if self.conn.is_autocommit() {
            return Err(StoreError::NotDurable {
                path: self.shared.dir.join(db::FILE),
                text: "the transaction was rolled back".to_owned(),
            });
        }
        if !keep {
            self.execute("ROLLBACK TO command")?;
        }
        self.execute("RELEASE command")
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        let ran = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]));
        ran.map(drop).map_err(|e| self.not_durable(&e))
    }

    fn commit(&self) -> Result<Option<u64>, StoreError> {
        let number = || -> rusqlite::Result<u64> {
            self.shared.seen.save(&self.conn)?;
            let next: i64 = db::meta::<i64>(&self.conn, "commit_seq")? + 1;
            db::set_meta(&self.conn, "commit_seq", next)?;
            Ok(next.unsigned_abs())
        };
        let commit_seq = number().map_err(|e| self.not_durable(&e))?;
        self.execute("COMMIT")?;
        Ok(Some(commit_seq))
    }

    fn not_durable(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::NotDurable {
            path: self.shared.dir.join(db::FILE),
            text: error.to_string(),
        }
    }

    fn checkpoint_after(&mut self, commands: usize) {
        if self.since_checkpoint >= commands
            && let Err(error) = self.checkpoint()
        {
            tracing::warn!(%error, "a checkpoint failed; it is tried again later");
        }
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        // A log that has become long is cut, unless the disk wants for the room in it.
        let long = self.short.is_none() && self.room.is_long();
        let moved = self.move_log(if long { "TRUNCATE" } else { "PASSIVE" });
        // At once: what the checkpoint gave up may be gone otherwise before the next commit.
        self.look_for_room(0);
        moved
    }

    fn move_log(&mut self, mode: &str) -> Result<(), StoreError> {
        self.since_checkpoint = 0;
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let ran = self.conn.query_row(&sql, [], |row| {
            Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        self.room
            .checkpointed(ran.as_ref().is_ok_and(|whole| *whole));
        ran.map(drop).map_err(|e| self.not_durable(&e))
    }

    /// A fenced store leaves the stamp alone: it is what proves the roll-back.
    fn write_stamp(&mut self) {
        self.stamp_pending = false;
        self.last_stamp = Some(Instant::now());
        if self.in_memory || self.shared.fenced().is_some() {
            return;
        }
        let commit_seq = self.shared.commit_seq.load(Ordering::Acquire);
        match fence::stamp(&self.shared.dir, &self.shared.store_id, commit_seq) {
            Ok(()) => self.stamp_failed = false,
            Err(error) => {
                // Tried again also when nothing more is committed for hours; told once.
                self.stamp_pending = true;
                if !std::mem::replace(&mut self.stamp_failed, true) {
                    tracing::warn!(%error, dir = %self.shared.dir.display(), "the stamp cannot be written; it is tried again every second, and until then a rolled-back store might go unnoticed");
                }
            }
        }
    }
}

/// The jobs without those that begin something, which are told why.
fn turn_down_begins(jobs: Vec<Job>, error: &StoreError) -> Vec<Job> {
    let (begins, others): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(Job::is_begin);
    for begin in begins {
        if let Job::Fast(job) = begin {
            job.reply(Err(error.clone()))(Err(error.clone()));
        }
    }
    others
}
