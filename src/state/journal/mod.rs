//! The journal: a flight is recorded before a byte of it is sent, and its
//! answer before it is parsed.
//!
//! The files are made of slots of fixed size, allocated and written beforehand,
//! so that a record costs one write in place and a shared fdatasync. A slot is
//! occupied from the intent until its flight has been committed to the store, or
//! left there as done with, and [`Journal::free`] was called; so an answer that
//! comes late has a place too, whatever is under way besides. The store knows
//! which flights it has committed; whatever else stands in the slots at the next
//! start is handed out as [`Recovered`].

mod book;
mod error;
mod files;
mod keys;
pub(super) mod mark;
mod medium;
mod record;
mod recover;
mod region;
mod slot;
mod writer;

pub use book::Book;
pub use error::JournalError;
pub(super) use keys::keys_in;
pub use medium::{Directory, Medium, MediumFile};
pub use record::{MAX_BODY, Record, Seal};
pub use recover::flights_in;
pub use slot::{Recovered, SlotRef};

use super::seal::Sealer;
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::provider::Answer;
use region::BLOCK;
use slot::Slots;
use std::fmt;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use tokio::sync::{RwLock, oneshot};
use writer::Job;

/// Whether the store is done with this flight at this place (file, slot).
pub type Settled<'a> = dyn Fn((u32, u16), FlightId) -> bool + 'a;

/// A handle of the journal; clones share one thread, which ends with the last.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    queue: Option<Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    slots: Arc<Mutex<Slots>>,
    sealer: Sealer,
    /// Read while a record is sealed and written.
    writing: RwLock<()>,
    /// The current file at the start, and those that hold flights of earlier runs.
    files: Vec<u32>,
    #[cfg(test)]
    directory: Directory,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journal({} slots free)", self.free_slots())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        let thread = self.thread.lock().map_or(None, |mut thread| thread.take());
        thread.map(JoinHandle::join);
    }
}

impl Journal {
    /// Opens the journal in `dir`, with at least one slot, and hands out the
    /// flights that `settled` does not know. Files in which there is nothing
    /// to be kept are removed when they are not the current one.
    ///
    /// # Errors
    /// When a file cannot be read, made, or opened with this key.
    pub fn open(
        dir: &Path,
        slots: u16,
        sealer: Sealer,
        settled: &Settled<'_>,
    ) -> Result<(Journal, Vec<Recovered>), JournalError> {
        let (book, recovered) = Book::open(Directory::new(dir), slots, &sealer, settled)?;
        Ok((Journal::start(book, sealer), recovered))
    }

    /// The journal of a copy in memory: it takes no records, and its flights stay where
    /// they are.
    pub(super) fn of_copy(sealer: Sealer) -> Journal {
        Journal(Arc::new(Inner {
            queue: None,
            thread: Mutex::new(None),
            slots: Arc::new(Mutex::new(Slots::all_of(0, 0))),
            sealer,
            writing: RwLock::default(),
            files: Vec::new(),
            #[cfg(test)]
            directory: Directory::new(Path::new("")),
        }))
    }

    fn start(book: Book<Directory>, sealer: Sealer) -> Journal {
        let (slots, files) = (book.slots(), book.files().to_vec());
        #[cfg(test)]
        let directory = book.medium().clone();
        let (queue, jobs) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(book, &jobs))
            .expect("a thread can be started");
        Journal(Arc::new(Inner {
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
            slots,
            sealer,
            writing: RwLock::default(),
            files,
            #[cfg(test)]
            directory,
        }))
    }

    /// Records an intent in a free slot; durable when this returns, and not
    /// before. Not to be cancelled: the slot would stay occupied.
    ///
    /// # Errors
    /// [`JournalError::NoSlot`], or when it is not durable: then nothing may be sent.
    pub async fn record_intent(&self, intent: &Intent) -> Result<SlotRef, JournalError> {
        let _writing = self.0.writing.read().await;
        self.record(Record::intent(&self.0.sealer, intent)?).await
    }

    /// Records an answer beside its intent. Where that file was given up, it goes to
    /// the slot that has been kept for it in the current one: go on with what is
    /// returned. With `slot: None` it takes a slot of its own, if one is free.
    ///
    /// # Errors
    /// When it is not durable. The answer is still the caller's; and what the error
    /// calls its [place](JournalError::place) is where it may come back from, so the
    /// commit must name that.
    pub async fn record_answer(
        &self,
        slot: Option<SlotRef>,
        intent: &Intent,
        answer: &Answer,
    ) -> Result<SlotRef, JournalError> {
        let _writing = self.0.writing.read().await;
        self.record(Record::answer(&self.0.sealer, slot, intent, answer)?)
            .await
    }

    async fn record(&self, record: Record) -> Result<SlotRef, JournalError> {
        let (reply, replied) = oneshot::channel();
        let queue = self.0.queue.as_ref().ok_or(JournalError::Closed)?;
        let job = Job { record, reply };
        queue.send(job).map_err(|_| JournalError::Closed)?;
        replied.await.map_err(|_| JournalError::Closed)?
    }

    /// Waits until every record that has been sealed so far is written. Those
    /// that are asked for meanwhile wait as well, for as long as an fsync takes.
    pub(super) async fn quiesce(&self) {
        drop(self.0.writing.write().await);
    }

    /// Gives a slot back, after its flight was committed to the store.
    pub fn free(&self, slot: SlotRef) {
        self.slots().give_back(slot);
    }

    /// Whether no flight has a slot.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.slots().are_all_free()
    }

    /// How many flights have a slot at a time, at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots().capacity()
    }

    /// How many flights may still begin; 0 also while the disk takes no records.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.slots().unclaimed()
    }

    /// The numbers of the files that were there, and needed, at the start.
    pub(super) fn files(&self) -> &[u32] {
        &self.0.files
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().expect("nothing panics under this lock")
    }

    #[cfg(test)]
    fn fail_syncs(&self, times: u32) {
        self.0.directory.fail_syncs(times);
    }
}

/// A torn write must not reach from one region into the other.
const _: () = assert!(region::SLOT.is_multiple_of(BLOCK) && region::ANSWER.is_multiple_of(BLOCK));

/// The flights in the journal that `settled` does not know; nothing is made or removed.
pub(super) fn look(
    dir: &Path,
    sealer: &Sealer,
    settled: &Settled<'_>,
) -> Result<Vec<Recovered>, JournalError> {
    let medium = Directory::to_look_at(dir);
    let io = |number, error: &std::io::Error| JournalError::io(&medium, number, error);
    let mut recovery = recover::Recovery::new(&medium, sealer, settled);
    for number in files::numbers(dir).map_err(|e| io(0, &e))? {
        let file = files::open(&medium, number)
            .map_err(|e| io(number, &e))?
            .ok_or_else(|| JournalError::Foreign(medium.path(&files::name(number))))?;
        recovery.read(number, &file)?;
    }
    Ok(recovery.finish())
}

#[cfg(test)]
mod tests;
