//! What threads that end each turn with an fsync do before it: an fsync costs
//! more than the commands that share it, so under load it waits for company.

use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

/// A turn of fewer commands is no sign of load: whoever comes alone is served at once.
const LOAD: usize = 4;
/// So many are company enough.
const ENOUGH: usize = 16;
/// How long to wait for more at a time, and how many times.
const PAUSE: Duration = Duration::from_micros(200);
const PAUSES: usize = 5;

/// The commands of a turn: the first, which has come, what has queued up behind
/// it, and under load (the last turn had `last` commands) what comes while it is
/// worth waiting; `most` at most. Each lot goes through `sift` as it comes, which
/// does at once what needs no sync and leaves the rest.
pub(super) fn gather<T>(
    queue: &Receiver<T>,
    first: T,
    last: usize,
    most: usize,
    mut sift: impl FnMut(Vec<T>) -> Vec<T>,
) -> Vec<T> {
    let waiting = queue.try_iter().take(most - 1);
    let mut turn = sift(std::iter::once(first).chain(waiting).collect());
    if last < LOAD || turn.is_empty() {
        return turn;
    }
    for _ in 0..PAUSES {
        let before = turn.len();
        if before >= ENOUGH {
            break;
        }
        thread::sleep(PAUSE);
        turn.extend(sift(queue.try_iter().take(most - before).collect()));
        if turn.len() == before {
            break;
        }
    }
    turn
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_turn_is_bounded_and_keeps_the_order() {
        let (sender, queue) = mpsc::channel();
        (1..30).for_each(|n| sender.send(n).unwrap());
        let all = |turn| turn;
        assert_eq!(gather(&queue, 0, 0, 10, all), (0..10).collect::<Vec<_>>());
        let rest = gather(&queue, queue.recv().unwrap(), 10, 100, all);
        assert_eq!(rest, (10..30).collect::<Vec<_>>());
    }

    #[test]
    fn what_needs_no_sync_is_done_at_once() {
        let (sender, queue) = mpsc::channel();
        (1..9).for_each(|n| sender.send(n).unwrap());
        let mut done = Vec::new();
        let left = gather(&queue, 0, LOAD, 100, |lot| {
            let (even, odd) = lot.into_iter().partition(|n| n % 2 == 0);
            done.extend::<Vec<_>>(even);
            odd
        });
        assert_eq!((done, left), (vec![0, 2, 4, 6, 8], vec![1, 3, 5, 7]));
    }
}
