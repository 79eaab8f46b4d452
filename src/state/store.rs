//! The store's handle: asks the writer's thread, waits for the commit.

use super::clock_watermark::{self, Seen};
use super::commit::{self, Commit, Committed, Prepared};
use super::commits::{CommitJob, FastJob};
use super::copy::{Copied, CopyError, Draft};
use super::db;
use super::error::{StoreError, panicked};
use super::fence::Fenced;
use super::history::{self, EventRow, Note, Pruned, Pruning, PublishedOutput};
use super::intents;
use super::kept::{self, Unread};
use super::records::{GRANTS, open_tokens};
use super::rescue;
use super::reseal::{self, Walk};
use super::restore;
use super::room::Room;
use super::seal::{KeyId, SealError, Sealer};
use super::writer::{Job, Kind, Message, Op, Reply, Session, Shared, Writer};
use refreshd_core::flight::{ExchangeId, Intent, Settlement};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::ledger::{Candidate, Event};
use refreshd_core::provider::Answer;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::{Stamp, WallTime};
use rusqlite::hooks::Wal;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use tokio::sync::{oneshot, watch};

/// A handle of the store. Clones share one connection, which belongs to a
/// thread of its own; when the last handle is dropped, or by
/// [`Store::close`], the thread finishes what was asked of it and ends.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    queue: Option<Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    fingerprints: Fingerprinter,
    sealer: Sealer,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.shared.store_id)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.lock().map_or(None, |mut thread| thread.take());
        // The database must be closed before another may open it.
        thread.map(JoinHandle::join);
    }
}

impl Store {
    /// Starts the writer's thread on an opened database.
    pub(super) fn start(
        dir: &Path,
        opened: db::Opened,
        sealer: Sealer,
        fenced: Option<Fenced>,
        machine: Option<String>,
    ) -> rusqlite::Result<Store> {
        let mut conn = opened.conn;
        let mut room = Room::none();
        if !opened.in_memory {
            let pages = Arc::new(AtomicU32::new(0));
            room = Room::of(&dir.join(db::FILE), pages.clone());
            conn.wal_hook(Some(move |_: &mut Wal, count| {
                pages.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
                Ok(())
            }))?;
        }
        let under_way = intents::count(&conn)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            machine,
            store_id: opened.store_id,
            commit_seq: AtomicU64::new(db::meta::<i64>(&conn, "commit_seq")?.unsigned_abs()),
            seen: Seen::load(&conn)?,
            // A start on a full disk: what would come could not be saved.
            writable: watch::Sender::new(room.put_by(under_way).is_ok() && opened.log_is_ours),
            fenced: Mutex::new(fenced),
        });
        let fingerprints = Fingerprinter::new(*opened.fingerprint_key);
        let (queue, messages) = mpsc::channel();
        let (keys, printer, both) = (sealer.clone(), fingerprints.clone(), shared.clone());
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let writer = Writer {
                    conn: Rc::new(conn),
                    sealer: keys,
                    fingerprints: printer,
                    shared: both,
                    since_checkpoint: 0,
                    last_stamp: None,
                    stamp_pending: false,
                    room,
                    short: None,
                    took_last: true,
                    stamp_failed: false,
                    in_memory: opened.in_memory,
                    log_is_ours: opened.log_is_ours,
                    begins_in_doubt: false,
                };
                writer.run(&messages);
            })
            .expect("a thread can be started");
        Ok(Store(Arc::new(Inner {
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
            shared,
            fingerprints,
            sealer,
        })))
    }

    pub(super) fn send(&self, message: Message) -> Result<(), StoreError> {
        let queue = self.0.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(message).map_err(|_| StoreError::Closed)
    }

    /// Runs a command on the store's thread and waits until it is durable.
    pub(super) async fn run<T, E, F>(&self, kind: Kind, command: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Session<'_>) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let op: Op = Box::new(move |session| {
            let command = |session| {
                let ran = catch_unwind(AssertUnwindSafe(|| command(session)));
                ran.unwrap_or_else(|panic| Err(panicked(&*panic).into()))
            };
            let result = session.map_err(E::from).and_then(command);
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |durable| {
                let result = result.and_then(|value| durable.map(|()| value).map_err(E::from));
                drop(answer.send(result));
            });
            (reply, keep)
        });
        self.send(Message::Job(Job::Command { kind, op }))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    pub(super) async fn read<T, F>(&self, command: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Kind::Read, command).await
    }

    pub(super) async fn write<T, F>(&self, command: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Kind::Write, command).await
    }

    /// All grants, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.read(|s| s.all_grants()).await
    }

    /// The grant of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn grant_by_name(&self, name: &str) -> Result<Option<Grant>, StoreError> {
        let name = name.to_owned();
        self.read(move |s| s.grant_named(&name)).await
    }

    /// A grant with its token set.
    ///
    /// # Errors
    /// When the database cannot be read or the token set does not open.
    pub async fn load(
        &self,
        grant: &GrantId,
    ) -> Result<Option<(Grant, Option<TokenSet>)>, StoreError> {
        let id = grant.clone();
        self.load_by(move |s| s.find_grant(&id)).await
    }

    /// The grant of that name with its token set.
    ///
    /// # Errors
    /// As for [`Store::load`].
    pub async fn load_named(
        &self,
        name: &str,
    ) -> Result<Option<(Grant, Option<TokenSet>)>, StoreError> {
        let name = name.to_owned();
        self.load_by(move |s| s.grant_named(&name)).await
    }

    async fn load_by(
        &self,
        find: impl FnOnce(&Session<'_>) -> Result<Option<Grant>, StoreError> + Send + 'static,
    ) -> Result<Option<(Grant, Option<TokenSet>)>, StoreError> {
        let found = self.read(move |s| {
            let Some(grant) = find(s)? else {
                return Ok(None);
            };
            let sealed = s.sealed_tokens(&grant.id, grant.revision)?;
            Ok(Some((grant, sealed.flatten())))
        });
        let Some((grant, sealed)) = found.await? else {
            return Ok(None);
        };
        match self.open_tokens(&grant, sealed) {
            // A rotation came to its end in between: what is read now is of the new key.
            Err(StoreError::Seal(SealError::OtherKey { .. })) => {
                let tokens = self.read(move |s| Ok((s.tokens(&grant)?, grant)));
                tokens.await.map(|(tokens, grant)| Some((grant, tokens)))
            }
            opened => Ok(Some((grant, opened?))),
        }
    }

    /// The same, for whoever knows the grant already: only its token set is read.
    /// Where the store's grant has moved on, that one comes.
    ///
    /// # Errors
    /// As for [`Store::load`].
    pub async fn load_known(
        &self,
        known: Grant,
    ) -> Result<Option<(Grant, Option<TokenSet>)>, StoreError> {
        let (id, revision) = (known.id.clone(), known.revision);
        match self.read(move |s| s.sealed_tokens(&id, revision)).await? {
            Some(sealed) => match self.open_tokens(&known, sealed) {
                Err(StoreError::Seal(SealError::OtherKey { .. })) => self.load(&known.id).await,
                opened => Ok(Some((known, opened?))),
            },
            None => self.load(&known.id).await,
        }
    }

    /// Opened by whoever asked: the store's thread has enough to do.
    fn open_tokens(
        &self,
        grant: &Grant,
        sealed: Option<Vec<u8>>,
    ) -> Result<Option<TokenSet>, StoreError> {
        let (owner, generation) = (&grant.id.0, grant.state.generation);
        sealed
            .map(|sealed| open_tokens(&self.0.sealer, GRANTS, owner, generation, &sealed))
            .transpose()
    }

    /// Ends a flight: its settlement, its event and its intent in one transaction.
    /// A flight that started from another revision changes nothing of the
    /// grant; what it brought is kept as a candidate.
    ///
    /// # Errors
    /// When it did not become durable, the grant is gone, or the generation does not fit.
    pub async fn commit(&self, commit: impl Into<Arc<Commit>>) -> Result<Committed, StoreError> {
        let commit = commit.into();
        let prepared = Prepared::of(&commit, &self.0.sealer, &self.0.fingerprints);
        let (answer, answered) = oneshot::channel();
        self.send(Message::Job(Job::Fast(FastJob::Commit(CommitJob {
            commit,
            prepared,
            answer,
        }))))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Ends a flight that has nothing to commit: its intent goes.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn end(&self, flight: ExchangeId) -> Result<(), StoreError> {
        self.run(Kind::End, move |s| commit::end(s, flight)).await
    }

    /// Writes answers down that the store did not take, beside it: the next start settles
    /// them.
    ///
    /// # Errors
    /// When the disk does not take them either.
    pub fn rescue(&self, answers: &[(Intent, Answer)]) -> std::io::Result<()> {
        rescue::write(&self.0.shared.dir, &self.0.sealer, answers)
    }

    /// The key of answers that lie beside the store still.
    pub(super) fn rescued_with(&self) -> Option<KeyId> {
        rescue::sealed_with(&self.0.shared.dir)
    }

    /// Keeps what a flight has brought as it came, since its grant does not take it, or
    /// until it is looked at. It touches no row of the grant; the intent stays, by which it
    /// is settled.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn keep_answer(&self, intent: &Intent, answer: &Answer) -> Result<(), StoreError> {
        let (intent, answer) = (intent.clone(), answer.clone());
        self.run(Kind::End, move |s| kept::keep_raw(s, &intent, &answer))
            .await
    }

    /// Changes a grant's state without a flight (a pause, a wish, a learned lead).
    ///
    /// # Errors
    /// As for [`Store::commit`].
    pub async fn update_state(
        &self,
        grant: &Grant,
        state: GrantState,
        event: Event,
    ) -> Result<Committed, StoreError> {
        self.commit(Commit {
            base: grant.clone(),
            settlement: Settlement {
                state,
                tokens: None,
                unread: None,
                sent: None,
            },
            event,
            intent: None,
            ends: false,
            was_kept: false,
        })
        .await
    }

    /// The latest events of a grant, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events(&self, grant: &GrantId, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let grant = grant.clone();
        self.read(move |s| history::events(s, &grant, limit)).await
    }

    /// What came for generations of this grant that were no longer current.
    ///
    /// # Errors
    /// When the database cannot be read or a record does not open.
    pub async fn candidates(&self, grant: &GrantId) -> Result<Vec<Candidate>, StoreError> {
        let grant = grant.clone();
        self.read(move |s| kept::candidates(s, &grant)).await
    }

    /// Forgets a candidate that has been used or refused.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn forget_candidate(&self, flight: ExchangeId) -> Result<(), StoreError> {
        self.write(move |s| kept::forget(s, "candidates", flight))
            .await
    }

    /// The answers of this grant that could not be read.
    ///
    /// # Errors
    /// When the database cannot be read or a record does not open.
    pub async fn unread(&self, grant: &GrantId) -> Result<Vec<Unread>, StoreError> {
        let grant = grant.clone();
        self.read(move |s| kept::unread(s, &grant)).await
    }

    /// Forgets an answer that has been read after all.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn forget_unread(&self, flight: ExchangeId) -> Result<(), StoreError> {
        self.write(move |s| kept::forget(s, kept::ANSWERS, flight))
            .await
    }

    /// Keeps a description under its hash, for the flights that refer to it.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn put_description(
        &self,
        hash: &DescriptionHash,
        json: &str,
    ) -> Result<(), StoreError> {
        let (hash, json) = (hash.clone(), json.to_owned());
        self.write(move |s| history::put_description(s, &hash, &json))
            .await
    }

    /// The description that was kept under a hash.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn description(&self, hash: &DescriptionHash) -> Result<Option<String>, StoreError> {
        let hash = hash.clone();
        self.read(move |s| history::description(s, &hash)).await
    }

    /// Notes that an output of a grant has been published.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn published(&self, output: PublishedOutput) -> Result<(), StoreError> {
        self.write(move |s| history::published(s, &output)).await
    }

    /// Notes that an output has been withdrawn.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn forget_output(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_owned();
        self.write(move |s| history::forget_output(s, &path)).await
    }

    /// Notes something of a path that is published to, in place of what was noted.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn keep_note(
        &self,
        note: Note,
        path: String,
        text: String,
    ) -> Result<(), StoreError> {
        self.write(move |s| history::keep_note(s, note, &path, &text))
            .await
    }

    /// The paths of which something is noted, with what was noted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn notes(&self, note: Note) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |s| history::notes(s, note)).await
    }

    /// Everything that has been published and not withdrawn.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn outputs(&self) -> Result<Vec<PublishedOutput>, StoreError> {
        self.read(history::outputs).await
    }

    /// Drops history older than `before`, and fingerprints beyond the latest of each grant.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn prune(&self, before: WallTime) -> Result<Pruned, StoreError> {
        let mut pruning = Pruning::default();
        while !pruning.done {
            pruning = self
                .write(move |s| history::prune(s, before, pruning))
                .await?;
        }
        Ok(pruning.pruned)
    }

    /// SQLite's full check of the database.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first thing it finds.
    pub async fn integrity_check(&self) -> Result<(), StoreError> {
        self.read(history::integrity_check).await
    }

    /// Moves the write-ahead log into the database. The store also does so by itself.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let (reply, replied) = oneshot::channel();
        self.send(Message::Checkpoint(reply))?;
        replied.await.map_err(|_| StoreError::Closed)?
    }

    /// Copies the store into a file, which the sealing key is not in. It goes on
    /// meanwhile; nothing waits for more than a few pages to be copied.
    ///
    /// # Errors
    /// When the file is there and not to be replaced, cannot be written, or the
    /// copy is not sound. What stood there stays then.
    pub async fn copy_to(
        &self,
        path: &Path,
        replace: bool,
        now: WallTime,
    ) -> Result<Copied, CopyError> {
        let (path, dir) = (path.to_owned(), self.0.shared.dir.clone());
        let draft = blocking(move || Draft::begin(&path, &dir, replace)).await?;
        let (reply, replied) = oneshot::channel();
        self.send(Message::Copy(draft.temporary.clone(), reply))?;
        draft.filled(replied).await?;
        let sealer = self.0.sealer.clone();
        blocking(move || draft.finish(&sealer, now)).await
    }

    /// Looks at some sealed records, and seals them with the newest key if
    /// asked to: a few milliseconds of the store's time. It is gone on with
    /// until the walk is done.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn walk(&self, walk: Walk, reseal: bool) -> Result<Walk, StoreError> {
        let kind = if reseal { Kind::Write } else { Kind::Read };
        self.run(kind, move |s| reseal::walk(s, walk, reseal)).await
    }

    /// The key that everything in the store has been sealed with; others may
    /// have sealed something since a rotation that has not come to its end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sealed_by(&self) -> Result<Option<KeyId>, StoreError> {
        self.read(|s| {
            let check: Vec<u8> = db::meta(s.conn, "key_check")?;
            Ok(KeyId::of(&check))
        })
        .await
    }

    /// Remembers the time, so that a clock that went back is noticed at the next start.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn remember_time(&self, now: WallTime) -> Result<(), StoreError> {
        self.write(move |s| {
            s.saw(now);
            Ok(())
        })
        .await
    }

    /// Takes back what was remembered: an operator accepted the clock as it is.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn accept_time(&self, now: WallTime) -> Result<(), StoreError> {
        self.write(move |s| {
            s.shared.seen.accept(s.conn, now)?;
            Ok(())
        })
        .await
    }

    /// Where the machine was started anew with a clock that stood back, nobody knows
    /// how much time has passed: what may be over counts as over. How many grants
    /// that concerned; `None` where no time was lost.
    ///
    /// # Errors
    /// When it did not become durable; then it is still to be done.
    pub async fn allow_for_lost_time(&self, now: WallTime) -> Result<Option<usize>, StoreError> {
        let lost = &self.0.shared.seen.lost_time;
        if !lost.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let allow =
            move |s: &Session<'_>, after| clock_watermark::allow_for_lost_time(s, now, after);
        let grants = self.in_lots(allow).await?;
        lost.store(false, Ordering::Relaxed);
        Ok(Some(grants.len()))
    }

    /// The latest moment the store remembers; `None` before the first.
    #[must_use]
    pub fn last_seen(&self) -> Option<Stamp> {
        self.0.shared.seen.latest()
    }

    /// Makes the fingerprints of this store.
    #[must_use]
    pub fn fingerprinter(&self) -> Fingerprinter {
        self.0.fingerprints.clone()
    }

    /// The store's identity: 32 hexadecimal digits, drawn when it was made.
    #[must_use]
    pub fn store_id(&self) -> &str {
        &self.0.shared.store_id
    }

    /// How many transactions have been committed; it only rises.
    #[must_use]
    pub fn commit_seq(&self) -> u64 {
        self.0.shared.commit_seq.load(Ordering::Acquire)
    }

    /// Whether the last commit became durable. Cheap; [`Store::is_writable`] probes.
    #[must_use]
    pub fn took_last_commit(&self) -> bool {
        *self.0.shared.writable.borrow()
    }

    /// Changes whenever commits begin to fail, and when they work again.
    #[must_use]
    pub fn watch_writable(&self) -> watch::Receiver<bool> {
        self.0.shared.writable.subscribe()
    }

    /// Whether a commit can be expected to work. After a failed one it tries a
    /// small write each time it is asked.
    pub async fn is_writable(&self) -> bool {
        if !self.took_last_commit() {
            let _told_by_the_flag = self.write(|_| Ok(())).await;
        }
        self.took_last_commit()
    }

    /// Why the store is fenced, if it is. A fenced store must not refresh, nor
    /// overwrite an output that is newer.
    #[must_use]
    pub fn fence(&self) -> Option<Fenced> {
        self.0.shared.fenced().clone()
    }

    /// Fences the store, until [`Store::accept_restore`].
    ///
    /// # Errors
    /// When it did not become durable; the store is fenced for this run all the same.
    pub async fn set_fenced(&self, reason: Fenced) -> Result<(), StoreError> {
        *self.0.shared.fenced() = Some(reason.clone());
        self.write(move |s| restore::remember_fence(s, &reason))
            .await
    }

    /// Lifts the fence: an operator says that this state is to be gone on from.
    /// Each grant's generation rises above its own and the published one, and
    /// the grants that `rotates` names are in doubt with their windows over.
    ///
    /// # Errors
    /// When it did not become durable; the fence stays.
    pub async fn accept_restore(
        &self,
        now: WallTime,
        published: &BTreeMap<GrantId, u64>,
        rotates: impl Fn(&Grant) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<Grant>, StoreError> {
        let (published, rotates) = (Arc::new(published.clone()), Arc::new(rotates));
        let accept =
            move |s: &Session<'_>, after| restore::accept(s, now, &published, &*rotates, after);
        let grants = self.in_lots(accept).await?;
        *self.0.shared.fenced() = None;
        // Another commit, so that the stamp learns of it.
        self.remember_time(now).await?;
        Ok(grants)
    }

    /// Finishes what was asked, moves the log into the database, writes the
    /// stamp and closes. Commands after it fail with [`StoreError::Closed`].
    ///
    /// # Errors
    /// When the last checkpoint failed; nothing is lost by it.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (reply, replied) = oneshot::channel();
        self.send(Message::Close(reply))?;
        replied.await.map_err(|_| StoreError::Closed)?
    }
}

/// Runs what waits for the disk where waiting does no harm.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it is not cancelled, and does not panic")
}
