//! What the journal does, one batch at a time: records are written in place and
//! made durable by one sync. It knows no thread and no queue, so that a
//! simulation can run it on a disk that fails.

use super::medium::{Medium, MediumFile};
use super::recover::Recovery;
use super::region::{self, BLOCK, Kind, Region};
use super::slot::Slots;
use super::{JournalError, Record, Recovered, Seal, Settled, SlotRef, files};
use refreshd_core::mischief::{self, Mischief};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// The journal's files: what stands in them is handed out once, when they are
/// opened; from then on records are written.
pub struct Book<M: Medium> {
    medium: M,
    /// The current file; `None` while none can be begun.
    file: Option<M::File>,
    number: u32,
    count: u16,
    /// The last try to begin a file failed, and that was told.
    refused: bool,
    slots: Arc<Mutex<Slots>>,
    /// The current file at the start, and those that hold flights of earlier runs.
    files: Vec<u32>,
}

impl<M: Medium> Book<M> {
    /// Opens the files, with at least one slot, and hands out the flights that
    /// `settled` does not know. Files in which there is nothing to be kept are
    /// removed when they are not the current one.
    ///
    /// # Errors
    /// When a file cannot be read, made, or opened with this key.
    pub fn open(
        medium: M,
        slots: u16,
        sealer: &impl Seal,
        settled: &Settled<'_>,
    ) -> Result<(Self, Vec<Recovered>), JournalError> {
        let count = slots.max(1);
        let io = |source: io::Error| JournalError::Io {
            path: medium.path(""),
            text: source.to_string(),
            place: None,
        };
        let numbers = files::list(&medium).map_err(io)?;
        let mut recovery = Recovery::new(&medium, sealer, settled);
        let mut newest = None;
        for &number in &numbers {
            let file = files::open(&medium, number)
                .map_err(|e| JournalError::io(&medium, number, &e))?
                .ok_or_else(|| JournalError::Foreign(medium.path(&files::name(number))))?;
            // A process that was killed may have left records that only the page cache
            // has. What is adopted must not be undone by a power loss after that.
            file.sync()
                .map_err(|e| JournalError::io(&medium, number, &e))?;
            let found = recovery.read(number, &file)?;
            newest = Some((number, file, found));
        }
        let recovered = recovery.finish();
        let (number, file) = match newest {
            Some((number, file, found)) if found == count => (number, file),
            other => {
                let number = other.map_or(1, |(number, ..)| number + 1);
                let file = files::create(&medium, number, count)
                    .map_err(|e| JournalError::io(&medium, number, &e))?;
                (number, file)
            }
        };
        let mut files = remove_old(&medium, &numbers, number, &recovered).map_err(io)?;
        files.push(number);
        // A crash may have come between a file's name and its durability; and what
        // is removed must not be there again when the store has forgotten its flights.
        medium.sync_names().map_err(io)?;
        let mut free = Slots::all_of(number, count);
        let taken = |slot: &u16| {
            recovered
                .iter()
                .any(|r| r.slot.places().any(|p| p == (number, *slot)))
        };
        free.free.retain(|slot| !taken(slot));
        let book = Book {
            medium,
            file: Some(file),
            number,
            count,
            refused: false,
            slots: Arc::new(Mutex::new(free)),
            files,
        };
        Ok((book, recovered))
    }

    /// The numbers of the files that were there, and needed, when it was opened.
    #[must_use]
    pub fn files(&self) -> &[u32] {
        &self.files
    }

    /// How many flights may still begin; 0 also while the disk takes no records.
    #[must_use]
    pub fn free_slots(&self) -> usize {
        self.lock().unclaimed()
    }

    /// Gives a slot back, after its flight was committed to the store.
    pub fn free(&self, slot: SlotRef) {
        self.lock().give_back(slot);
    }

    /// Whether records can be written; if not, [`Book::begin_file`] tries to mend that.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn slots(&self) -> Arc<Mutex<Slots>> {
        Arc::clone(&self.slots)
    }

    #[cfg(test)]
    pub(super) fn medium(&self) -> &M {
        &self.medium
    }

    /// Writes records and makes them durable together. Returns the slot of each,
    /// in their order; where the sync failed, nothing counts of what shared it, and
    /// the errors say where it may stand all the same ([`JournalError::place`]).
    pub fn process(&mut self, records: &[Record]) -> Vec<Result<SlotRef, JournalError>> {
        if self.file.is_none()
            && let Err(error) = self.begin_file()
        {
            return records.iter().map(|_| Err(error.clone())).collect();
        }
        let slots: Vec<Option<SlotRef>> = records.iter().map(|r| self.place(r)).collect();
        let written: Vec<(SlotRef, &Record)> = slots
            .iter()
            .zip(records)
            .filter_map(|(slot, record)| Some(((*slot)?, record)))
            .collect();
        let mut done = Ok(());
        if !written.is_empty() {
            let mut writes = written.iter();
            done = writes
                .try_for_each(|(slot, record)| self.write(*slot, record))
                .and_then(|()| self.sync())
                .map_err(|error| self.give_up(&error, &written));
        }
        let result = |slot: Option<SlotRef>| match (slot, &done) {
            (None, _) => Err(JournalError::NoSlot),
            (Some(slot), Ok(())) => Ok(slot),
            (Some(slot), Err(error)) => Err(error.at(slot.doubted())),
        };
        slots.into_iter().map(result).collect()
    }

    /// The slot to write to. A slot in a file that was given up is exchanged
    /// for the one in the current file that has been kept for it.
    fn place(&self, record: &Record) -> Option<SlotRef> {
        let new = |slot| SlotRef::new(self.number, slot);
        match record.slot {
            Some(slot) if slot.file() == self.number => Some(slot),
            Some(old) => Some(new(self.lock().redeem(old)?).after(old)),
            None => self.lock().take().map(new),
        }
    }

    /// An intent makes the answer region absent, and an answer in a slot of its
    /// own the intent region: so nothing of an older flight is ever found
    /// beside a younger one's durable record.
    fn write(&self, slot: SlotRef, record: &Record) -> io::Result<()> {
        let region = Region {
            flight: record.flight,
            generation: record.generation,
            payload: record.sealed.clone(),
        };
        let mut bytes = region::encode(record.kind, &region)
            .expect("the size was checked when it was asked for");
        let mut start = region::offset(slot.slot());
        match (record.kind, record.slot == Some(slot)) {
            (Kind::Intent, _) if mischief::is(Mischief::OldAnswerKept) => {}
            (Kind::Intent, _) => bytes.resize(2 * BLOCK, 0),
            (Kind::Answer, true) => start += BLOCK as u64,
            (Kind::Answer, false) => drop(bytes.splice(..0, [0; BLOCK])),
        }
        self.current()?.write_all_at(&bytes, start)
    }

    fn sync(&self) -> io::Result<()> {
        if mischief::is(Mischief::SyncSkipped) {
            return Ok(());
        }
        let synced = self.current()?.sync();
        synced.or_else(|e| match mischief::is(Mischief::SyncFailureIgnored) {
            true => Ok(()),
            false => Err(e),
        })
    }

    fn current(&self) -> io::Result<&M::File> {
        self.file
            .as_ref()
            .ok_or_else(|| io::Error::other("no journal file is open"))
    }

    /// After a failed sync the kernel may have dropped the pages and call the
    /// file clean: nothing that shared it counts, and the file is not used again.
    fn give_up(&mut self, error: &io::Error, written: &[(SlotRef, &Record)]) -> JournalError {
        tracing::error!(%error, file = self.number, records = written.len(), "the journal could not be made durable; a new file is begun");
        let failed = JournalError::io(&self.medium, self.number, error);
        for (slot, record) in written {
            if record.kind != Kind::Intent {
                continue;
            }
            // Its flight will not be sent: spare the next start a doubt about it.
            if let Ok(file) = self.current() {
                let start = region::offset(slot.slot());
                file.write_all_at(&[0; BLOCK], start).ok();
            }
            self.lock().give_back(*slot);
        }
        if let Some(file) = self.file.take() {
            file.sync().ok();
        }
        drop(self.begin_file());
        failed
    }

    /// Begins the next file; until that works no slot is free.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn begin_file(&mut self) -> Result<(), JournalError> {
        let next = self.number + 1;
        self.lock().go_on_in(next, 0);
        let file = files::create(&self.medium, next, self.count).map_err(|error| {
            // Tried every second; told once.
            if !std::mem::replace(&mut self.refused, true) {
                tracing::error!(%error, file = next, "no new journal file can be begun; no exchange starts until one can");
            }
            JournalError::io(&self.medium, next, &error)
        })?;
        self.file = Some(file);
        self.number = next;
        if std::mem::take(&mut self.refused) {
            tracing::info!(file = next, "a new journal file was begun after all");
        }
        self.lock().go_on_in(next, self.count);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().expect("nothing panics under this lock")
    }
}

/// Removes the files that hold nothing to be kept; the numbers of the others.
fn remove_old(
    medium: &impl Medium,
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
            medium.remove(&files::name(number))?;
        }
    }
    Ok(kept)
}
