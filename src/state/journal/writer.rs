//! The journal's thread: writes what has queued up in place, syncs once, then
//! answers all.

use super::region::{self, BLOCK, Kind, Region};
use super::slot::Slots;
use super::{JournalError, SlotRef, files};
use refreshd_core::flight::FlightId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long to wait before another try to begin a file.
const RETRY: Duration = Duration::from_secs(1);

/// One region to be written.
pub(super) struct Job {
    pub(super) kind: Kind,
    /// The slot the flight has; `None`: a free one.
    pub(super) slot: Option<SlotRef>,
    pub(super) flight: FlightId,
    pub(super) generation: u64,
    pub(super) sealed: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<SlotRef, JournalError>>,
}

pub(super) struct Writer {
    pub(super) dir: PathBuf,
    /// The current file; `None` while none can be begun.
    pub(super) file: Option<File>,
    pub(super) number: u32,
    pub(super) count: u16,
    pub(super) slots: Arc<Mutex<Slots>>,
    #[cfg(test)]
    pub(super) faults: Arc<std::sync::atomic::AtomicU32>,
}

type Written = (
    oneshot::Sender<Result<SlotRef, JournalError>>,
    SlotRef,
    Kind,
);

impl Writer {
    /// Works until every handle is gone.
    pub(super) fn run(mut self, queue: &Receiver<Job>) {
        loop {
            let first = if self.file.is_some() {
                queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                queue.recv_timeout(RETRY)
            };
            match first {
                Ok(first) => {
                    let jobs = std::iter::once(first).chain(queue.try_iter()).collect();
                    self.process(jobs);
                }
                // Nothing new starts while no slot is free: only we can end that.
                Err(RecvTimeoutError::Timeout) => drop(self.begin_file()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn process(&mut self, jobs: Vec<Job>) {
        if self.file.is_none()
            && let Err(error) = self.begin_file()
        {
            for job in jobs {
                drop(job.reply.send(Err(error.clone())));
            }
            return;
        }
        let mut written: Vec<Written> = Vec::with_capacity(jobs.len());
        let mut done = Ok(());
        for job in jobs {
            let Some(slot) = self.place(job.slot) else {
                drop(job.reply.send(Err(JournalError::NoSlot)));
                continue;
            };
            if done.is_ok() {
                done = self.write(slot, &job);
            }
            written.push((job.reply, slot, job.kind));
        }
        if written.is_empty() {
            return;
        }
        match done.and_then(|()| self.sync()) {
            Ok(()) => {
                for (reply, slot, _) in written {
                    drop(reply.send(Ok(slot)));
                }
            }
            Err(error) => self.give_up(&error, written),
        }
    }

    /// The slot to write to. A slot in a file that was given up is exchanged
    /// for one in the current file.
    fn place(&self, slot: Option<SlotRef>) -> Option<SlotRef> {
        match slot {
            Some(slot) if slot.file() == self.number => Some(slot),
            _ => {
                let free = self
                    .slots
                    .lock()
                    .expect("nothing panics under this lock")
                    .free
                    .pop()?;
                let new = SlotRef::new(self.number, free);
                Some(slot.map_or(new, |old| new.after(old)))
            }
        }
    }

    /// An intent makes the answer region absent, and an answer in a slot of its
    /// own the intent region: so nothing of an older flight is ever found
    /// beside a younger one's durable record.
    fn write(&self, slot: SlotRef, job: &Job) -> io::Result<()> {
        let region = Region {
            flight: job.flight,
            generation: job.generation,
            payload: job.sealed.clone(),
        };
        let mut bytes =
            region::encode(job.kind, &region).expect("the size was checked when it was asked for");
        let mut start = region::offset(slot.slot());
        match (job.kind, job.slot == Some(slot)) {
            (Kind::Intent, _) => bytes.resize(2 * BLOCK, 0),
            (Kind::Answer, true) => start += BLOCK as u64,
            (Kind::Answer, false) => drop(bytes.splice(..0, [0; BLOCK])),
        }
        self.current()?.write_all_at(&bytes, start)
    }

    fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.take_fault() {
            return Err(io::Error::other("injected"));
        }
        self.current()?.sync_data()
    }

    #[cfg(test)]
    fn take_fault(&self) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        self.faults
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok()
    }

    fn current(&self) -> io::Result<&File> {
        self.file
            .as_ref()
            .ok_or_else(|| io::Error::other("no journal file is open"))
    }

    /// After a failed sync the kernel may have dropped the pages and call the
    /// file clean: nothing that shared it counts, and the file is not used again.
    fn give_up(&mut self, error: &io::Error, written: Vec<Written>) {
        tracing::error!(%error, file = self.number, records = written.len(), "the journal could not be made durable; a new file is begun");
        let failed = JournalError::io(&self.dir, self.number, error);
        for (_, slot, kind) in &written {
            // Its flight will not be sent: spare the next start a doubt about it.
            if *kind == Kind::Intent
                && let Ok(file) = self.current()
            {
                let start = region::offset(slot.slot());
                file.write_all_at(&[0; BLOCK], start).ok();
            }
        }
        if let Some(file) = self.file.take() {
            file.sync_data().ok();
        }
        drop(self.begin_file());
        for (reply, _, _) in written {
            drop(reply.send(Err(failed.clone())));
        }
    }

    fn begin_file(&mut self) -> Result<(), JournalError> {
        let next = self.number + 1;
        {
            let mut slots = self.slots.lock().expect("nothing panics under this lock");
            *slots = Slots {
                file: next,
                free: Vec::new(),
            };
        }
        #[cfg(test)]
        if self.take_fault() {
            return Err(JournalError::io(
                &self.dir,
                next,
                &io::Error::other("injected"),
            ));
        }
        let file = files::create(&self.dir, next, self.count).map_err(|error| {
            tracing::error!(%error, file = next, "no new journal file can be begun; no exchange starts until one can");
            JournalError::io(&self.dir, next, &error)
        })?;
        self.file = Some(file);
        self.number = next;
        let mut slots = self.slots.lock().expect("nothing panics under this lock");
        *slots = Slots::all_of(next, self.count);
        Ok(())
    }
}
