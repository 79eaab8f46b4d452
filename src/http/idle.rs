//! Connections that wait for another request to the same place. They are kept where a
//! lost answer does not hurt: the other side may close one at the moment a request goes
//! out on it.

use super::connect::Connection;
use super::places::{KEPT_FOR, KEPT_OF_HOST};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};

/// How often those are closed that nobody came for.
const SWEEP: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Idle {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    by_origin: HashMap<String, Vec<(Instant, Connection)>>,
    /// A task closes those that nobody comes for.
    swept: bool,
}

impl Idle {
    /// The one that was used last, if it is still open.
    pub(super) fn take(&self, origin: &str) -> Option<Connection> {
        let mut waiting = self.lock();
        let found = waiting.by_origin.get_mut(origin)?;
        while let Some((since, mut connection)) = found.pop() {
            if since.elapsed() < KEPT_FOR && is_open(&mut connection) {
                return Some(connection);
            }
        }
        waiting.by_origin.remove(origin);
        None
    }

    pub(super) fn put(self: &Arc<Self>, origin: String, connection: Connection) {
        let mut waiting = self.lock();
        let found = waiting.by_origin.entry(origin).or_default();
        if found.len() < KEPT_OF_HOST {
            found.push((Instant::now(), connection));
        }
        if !std::mem::replace(&mut waiting.swept, true) {
            let idle = self.clone();
            tokio::spawn(async move {
                while idle.sweep() {
                    tokio::time::sleep(SWEEP).await;
                }
            });
        }
    }

    /// Closes what has waited for too long; whether anything is left.
    fn sweep(&self) -> bool {
        let mut waiting = self.lock();
        waiting.by_origin.retain(|_, found| {
            found.retain(|(since, _)| since.elapsed() < KEPT_FOR);
            !found.is_empty()
        });
        waiting.swept = !waiting.by_origin.is_empty();
        waiting.swept
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("nothing panics while it holds the connections")
    }
}

/// Whether nothing has come of it, not even its end.
fn is_open(connection: &mut Connection) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut context = Context::from_waker(Waker::noop());
    let polled = Pin::new(connection).poll_read(&mut context, &mut buffer);
    matches!(polled, Poll::Pending)
}
