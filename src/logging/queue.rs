//! Lines on their way to standard error. Nobody waits for it but one thread: where
//! nobody reads a pipe, a terminal is stopped or a disk is full, lines are lost, and
//! counted, and nothing else is.

use rustix::event::{PollFd, PollFlags, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many bytes wait at the most.
const ROOM: usize = 1024 * 1024;

/// What waits to be written.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something has been pushed, or written.
    turned: Condvar,
    /// Without a thread, lines are written by whoever has them.
    has_thread: bool,
    /// The line about a loss.
    loss: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// One is being written.
    writing: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Line(Vec<u8>),
    /// So many lines had no room here.
    Lost(u64),
}

impl Queue {
    /// A queue to standard error, with its thread.
    pub(super) fn start(loss: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> Arc<Self> {
        let mut queue = Arc::new(Queue::new(true, loss));
        let writer = queue.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        let started = thread.spawn(move || writer.write_on(rustix::stdio::stderr()));
        if started.is_err() {
            let lone =
                Arc::get_mut(&mut queue).expect("the thread that would share it is not there");
            lone.has_thread = false;
        }
        queue
    }

    fn new(has_thread: bool, loss: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Queue {
            waiting: Mutex::default(),
            turned: Condvar::new(),
            has_thread,
            loss: Box::new(loss),
        }
    }

    /// Queues a line; where there is no room, it is lost and counted. Never waits.
    pub(super) fn push(&self, line: Vec<u8>) {
        if !self.has_thread {
            let _lost = write_all(rustix::stdio::stderr(), &line);
            return;
        }
        self.waiting().push(line);
        self.turned.notify_all();
    }

    /// Waits until everything has been written, but no longer than the limit.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut waiting = self.waiting();
        while !waiting.items.is_empty() || waiting.writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.turned.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write_on(&self, descriptor: BorrowedFd<'_>) {
        let mut failed = 0;
        loop {
            let item = self.next();
            failed = self.write(descriptor, item, failed);
            self.waiting().writing = false;
            self.turned.notify_all();
        }
    }

    /// Writes an item; how many lines could not be written since the last that could.
    fn write(&self, descriptor: BorrowedFd<'_>, item: Item, failed: u64) -> u64 {
        let (lost, line) = match item {
            Item::Line(line) => (failed, line),
            Item::Lost(lost) => (failed + lost, Vec::new()),
        };
        if lost > 0 && write_all(descriptor, &(self.loss)(lost)).is_err() {
            return lost + u64::from(!line.is_empty());
        }
        u64::from(write_all(descriptor, &line).is_err())
    }

    fn next(&self) -> Item {
        let mut waiting = self.waiting();
        loop {
            if let Some(item) = waiting.pop() {
                waiting.writing = true;
                return item;
            }
            let woken = self.turned.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A panic elsewhere is to be logged, too.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Waiting {
    fn push(&mut self, line: Vec<u8>) {
        if self.bytes + line.len() <= ROOM {
            self.bytes += line.len();
            self.items.push_back(Item::Line(line));
        } else if let Some(Item::Lost(lost)) = self.items.back_mut() {
            *lost += 1;
        } else {
            self.items.push_back(Item::Lost(1));
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Line(line) = &item {
            self.bytes -= line.len();
        }
        Some(item)
    }
}

/// Past the lock of [`std::io::Stderr`], which would be held for as long as it takes.
fn write_all(descriptor: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(descriptor, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            // Whoever shares it may have set it so.
            Err(rustix::io::Errno::AGAIN) => {
                let mut ready = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::OUT)];
                match poll(&mut ready, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Read;

    fn queue() -> Queue {
        Queue::new(true, |lost| format!("{lost} lost\n").into_bytes())
    }

    fn line(length: usize) -> Vec<u8> {
        let mut line = vec![b'x'; length - 1];
        line.push(b'\n');
        line
    }

    #[test]
    fn what_has_no_room_is_counted_where_it_is_missing() {
        let queue = queue();
        queue.push(line(ROOM));
        queue.push(line(10));
        queue.push(line(10));
        assert!(matches!(queue.next(), Item::Line(_)));
        queue.push(line(10));
        assert_eq!(queue.next(), Item::Lost(2));
        assert_eq!(queue.next(), Item::Line(line(10)));
        assert_eq!(queue.waiting().bytes, 0);
    }

    #[test]
    fn a_pipe_that_nobody_reads_costs_lines_and_a_reader_is_told() {
        let queue: &'static Queue = Box::leak(Box::new(queue()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer: &'static std::io::PipeWriter = Box::leak(Box::new(writer));
        std::thread::spawn(move || queue.write_on(writer.as_fd()));
        for _ in 0..3 * ROOM / 1000 {
            queue.push(line(1000));
        }
        let begun = Instant::now();
        queue.flush(Duration::from_millis(20));
        assert!(begun.elapsed() < Duration::from_secs(10));
        // Lines are lost in one place or in several: all of them are told.
        let (mut read, mut buffer) = (Vec::new(), [0; 65536]);
        let (lines, lost) = loop {
            let count = reader.read(&mut buffer).unwrap();
            read.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&read);
            let lost = text.lines().filter_map(|line| line.strip_suffix(" lost"));
            let lost: usize = lost.map(|lost| lost.parse::<usize>().unwrap()).sum();
            let lines = text.matches("x\n").count();
            if lines + lost >= 3 * ROOM / 1000 {
                break (lines, lost);
            }
        };
        assert_eq!(lines + lost, 3 * ROOM / 1000);
        assert!(lost > 0);
    }

    #[test]
    fn what_cannot_be_written_is_told_when_it_can() {
        let queue = queue();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut failed = 0;
        for _ in 0..3 {
            failed = queue.write(full.as_fd(), Item::Line(line(10)), failed);
        }
        failed = queue.write(full.as_fd(), Item::Lost(4), failed);
        assert_eq!(failed, 7);
        let (mut reader, writer) = std::io::pipe().unwrap();
        assert_eq!(queue.write(writer.as_fd(), Item::Line(line(2)), failed), 0);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "7 lost\nx\n");
    }

    #[test]
    fn a_reader_that_has_gone_is_no_reason_to_wait() {
        let queue = queue();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(queue.write(writer.as_fd(), Item::Line(line(2)), 0), 1);
    }
}
