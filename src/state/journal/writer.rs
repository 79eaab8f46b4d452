//! The journal's thread: takes what has queued up, has the book write and sync
//! it at once, then answers all.

use super::book::Book;
use super::medium::Directory;
use super::{JournalError, Record, SlotRef};
use crate::state::gather::Gathering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long to wait before another try to begin a file.
const RETRY: Duration = Duration::from_secs(1);

/// The most records of one sync.
const MOST: usize = 1024;

/// A record, and who waits for it.
pub(super) struct Job {
    pub(super) record: Record,
    pub(super) reply: oneshot::Sender<Result<SlotRef, JournalError>>,
}

/// Works until every handle is gone.
pub(super) fn run(mut book: Book<Directory>, queue: &Receiver<Job>) {
    let mut gathering = Gathering::default();
    loop {
        let first = if book.is_open() {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(RETRY)
        };
        match first {
            Ok(first) => {
                let jobs = gathering.gather(queue, first, MOST, |lot| lot);
                let jobs = jobs.into_iter();
                let (records, replies): (Vec<_>, Vec<_>) =
                    jobs.map(|job| (job.record, job.reply)).unzip();
                for (reply, result) in replies.into_iter().zip(book.process(&records)) {
                    drop(reply.send(result));
                }
                gathering.turn_ended();
            }
            // Nothing new starts while no slot is free: only we can end that.
            Err(RecvTimeoutError::Timeout) => drop(book.begin_file()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
