//! The journal: a flight is recorded before a byte of it is sent, and its
//! answer before it is parsed.
//!
//! The files are made of slots of fixed size, allocated and written beforehand,
//! so that a record costs one write in place and a shared fdatasync. A slot is
//! occupied from the intent until its flight has been committed to the store
//! and [`Journal::free`] was called. The store knows which flights it has
//! committed; whatever else stands in the slots at the next start is handed
//! out as [`Recovered`].

mod error;
mod files;
mod keys;
mod recover;
mod region;
mod slot;
mod writer;

pub use error::JournalError;
pub(super) use keys::keys_in;
pub use slot::{Recovered, SlotRef};

use super::disk;
use super::records::{answer_bytes, secret_json};
use super::seal::{Context, OVERHEAD, Sealer};
use recover::Recovery;
use refreshd_core::flight::{Answer, FlightId, Intent};
use region::{BLOCK, Kind};
use slot::Slots;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use tokio::sync::{RwLock, oneshot};
use writer::{Job, Writer};

/// The most bytes of an answer's body that are recorded.
pub const MAX_BODY: usize = region::MAX_BODY;

/// The most bytes of one header value that are recorded.
const MAX_HEADER: usize = 1024;

/// Whether the store committed this flight from this place (file, slot). It
/// goes by place: the late answer of a flight whose doubt was committed from
/// another slot is still to be had.
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
    faults: Arc<std::sync::atomic::AtomicU32>,
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
        let count = slots.max(1);
        let io = |source: io::Error| JournalError::Io {
            path: dir.to_owned(),
            text: source.to_string(),
        };
        let numbers = files::list(dir).map_err(io)?;
        let mut recovery = Recovery::new(dir, &sealer, settled);
        let mut newest = None;
        for &number in &numbers {
            let file = files::open(dir, number)
                .map_err(|e| JournalError::io(dir, number, &e))?
                .ok_or_else(|| JournalError::Foreign(files::path(dir, number)))?;
            let found = recovery.read(number, &file)?;
            newest = Some((number, file, found));
        }
        let recovered = recovery.finish();
        let (number, file) = match newest {
            Some((number, file, found)) if found == count => (number, file),
            other => {
                let number = other.map_or(1, |(number, ..)| number + 1);
                let file = files::create(dir, number, count)
                    .map_err(|e| JournalError::io(dir, number, &e))?;
                (number, file)
            }
        };
        let mut files = remove_old(dir, &numbers, number, &recovered).map_err(io)?;
        files.push(number);
        let mut free = Slots::all_of(number, count);
        let taken = |slot: &u16| {
            recovered
                .iter()
                .any(|r| r.slot.places().any(|p| p == (number, *slot)))
        };
        free.free.retain(|slot| !taken(slot));
        let journal = Journal::start(dir, file, number, count, free, sealer, files);
        Ok((journal, recovered))
    }

    fn start(
        dir: &Path,
        file: fs::File,
        number: u32,
        count: u16,
        free: Slots,
        sealer: Sealer,
        files: Vec<u32>,
    ) -> Journal {
        let slots = Arc::new(Mutex::new(free));
        #[cfg(test)]
        let faults = Arc::default();
        let writer = Writer {
            dir: dir.to_owned(),
            file: Some(file),
            number,
            count,
            slots: Arc::clone(&slots),
            #[cfg(test)]
            faults: Arc::clone(&faults),
        };
        let (queue, jobs) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&jobs))
            .expect("a thread can be started");
        Journal(Arc::new(Inner {
            queue: Some(queue),
            thread: Mutex::new(Some(thread)),
            slots,
            sealer,
            writing: RwLock::default(),
            files,
            #[cfg(test)]
            faults,
        }))
    }

    /// Records an intent in a free slot; durable when this returns, and not
    /// before. Not to be cancelled: the slot would stay occupied.
    ///
    /// # Errors
    /// [`JournalError::NoSlot`], or when it is not durable: then nothing may be sent.
    pub async fn record_intent(&self, intent: &Intent) -> Result<SlotRef, JournalError> {
        self.record(Kind::Intent, None, intent, &secret_json(intent))
            .await
    }

    /// Records an answer beside its intent, or with `slot: None` in a slot of
    /// its own (a late answer, after the doubt was committed). The slot may be
    /// another one than before: go on with what is returned.
    ///
    /// # Errors
    /// When it is not durable. The answer is still the caller's; it may be tried again.
    pub async fn record_answer(
        &self,
        slot: Option<SlotRef>,
        intent: &Intent,
        answer: &Answer,
    ) -> Result<SlotRef, JournalError> {
        let answer = &bounded(answer);
        let bytes = answer_bytes(&(intent, answer), &answer.body);
        self.record(Kind::Answer, slot, intent, &bytes).await
    }

    async fn record(
        &self,
        kind: Kind,
        slot: Option<SlotRef>,
        intent: &Intent,
        plain: &[u8],
    ) -> Result<SlotRef, JournalError> {
        if plain.len() + OVERHEAD + 64 > kind.size() {
            return Err(JournalError::TooLarge(plain.len()));
        }
        let context = Context {
            purpose: "journal",
            owner: &disk::hex(&intent.flight.0),
            column: kind.column(),
            generation: intent.generation,
        };
        let _writing = self.0.writing.read().await;
        let (reply, replied) = oneshot::channel();
        let job = Job {
            kind,
            slot,
            flight: intent.flight,
            generation: intent.generation,
            sealed: self.0.sealer.seal(&context, plain),
            reply,
        };
        let queue = self.0.queue.as_ref().ok_or(JournalError::Closed)?;
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
        let mut slots = self.slots();
        for (file, number) in slot.places() {
            // What stands in an older file goes with that file.
            if file == slots.file && !slots.free.contains(&number) {
                slots.free.push(number);
            }
        }
    }

    /// How many flights may still begin; 0 also while the disk takes no records.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.slots().free.len()
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
        self.0
            .faults
            .store(times, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Removes the files that hold nothing to be kept; the numbers of the others.
fn remove_old(
    dir: &Path,
    numbers: &[u32],
    current: u32,
    recovered: &[Recovered],
) -> io::Result<Vec<u32>> {
    let mut kept = Vec::new();
    for &number in numbers.iter().filter(|n| **n != current) {
        if recovered
            .iter()
            .any(|r| r.slot.places().any(|p| p.0 == number))
        {
            kept.push(number);
        } else {
            fs::remove_file(files::path(dir, number))?;
        }
    }
    Ok(kept)
}

/// The answer as far as a slot holds it. What is cut off is said to be missing.
fn bounded(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if answer.body.len() > MAX_BODY {
        answer.body.truncate(MAX_BODY);
        answer.complete = false;
    }
    for (_, value) in &mut answer.headers {
        let cut = (0..=MAX_HEADER)
            .rev()
            .find(|at| value.is_char_boundary(*at));
        value.truncate(cut.unwrap_or(0));
    }
    answer
}

/// A torn write must not reach from one region into the other.
const _: () = assert!(region::SLOT.is_multiple_of(BLOCK) && region::ANSWER.is_multiple_of(BLOCK));

#[cfg(test)]
mod tests;
