//! What threads that end each turn with an fsync do before it: an fsync costs
//! more than the commands that share it, so under load it waits for company.

use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

/// Where a command comes so soon after the end of a turn, so many times in a row,
/// there is load. Whoever comes alone is served at once.
const SOON: Duration = Duration::from_millis(1);
const LOAD: u32 = 8;
/// So many are company enough.
const ENOUGH: usize = 16;
/// How long to wait for more at a time, and how many times.
const PAUSE: Duration = Duration::from_micros(200);
const PAUSES: usize = 5;

/// Gathers turn after turn.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    ended: Option<Instant>,
    soon: u32,
}

impl Gathering {
    /// The commands of a turn: the first, which has just come, what has queued up
    /// behind it, and under load what comes in a millisecond; `most` at most. Each
    /// lot goes through `sift` as it comes, which does at once what needs no sync
    /// and leaves the rest.
    pub(super) fn gather<T>(
        &mut self,
        queue: &Receiver<T>,
        first: T,
        most: usize,
        mut sift: impl FnMut(Vec<T>) -> Vec<T>,
    ) -> Vec<T> {
        let soon = self.ended.is_some_and(|ended| ended.elapsed() < SOON);
        self.soon = if soon { self.soon.saturating_add(1) } else { 0 };
        let waiting = queue.try_iter().take(most - 1);
        let mut turn = sift(std::iter::once(first).chain(waiting).collect());
        if self.soon < LOAD || turn.is_empty() {
            return turn;
        }
        for _ in 0..PAUSES {
            if turn.len() >= ENOUGH {
                break;
            }
            thread::sleep(PAUSE);
            turn.extend(sift(queue.try_iter().take(most - turn.len()).collect()));
        }
        turn
    }

    /// To be told when a turn has ended.
    pub(super) fn turn_ended(&mut self) {
        self.ended = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_turn_is_bounded_and_keeps_the_order() {
        let (sender, queue) = mpsc::channel();
        (1..30).for_each(|n| sender.send(n).unwrap());
        let (all, mut gathering) = (|turn| turn, Gathering::default());
        let turn = gathering.gather(&queue, 0, 10, all);
        assert_eq!(turn, (0..10).collect::<Vec<_>>());
        gathering.turn_ended();
        let rest = gathering.gather(&queue, queue.recv().unwrap(), 100, all);
        assert_eq!(rest, (10..30).collect::<Vec<_>>());
    }

    #[test]
    fn what_needs_no_sync_is_done_at_once() {
        let (sender, queue) = mpsc::channel();
        (1..9).for_each(|n| sender.send(n).unwrap());
        let mut done = Vec::new();
        let left = Gathering::default().gather(&queue, 0, 100, |lot| {
            let (even, odd) = lot.into_iter().partition(|n| n % 2 == 0);
            done.extend::<Vec<_>>(even);
            odd
        });
        assert_eq!((done, left), (vec![0, 2, 4, 6, 8], vec![1, 3, 5, 7]));
    }
}
