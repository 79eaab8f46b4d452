//! Incidents, where the world is: announced in the log, kept as rows of the
//! store, shown by `status`.
//!
//! What is open stands in memory, so it is announced also while nothing can be
//! written; a task of its own writes it down and reminds. A process that dies in
//! between loses nothing: what is wrong is seen again at the next start.

mod announce;
pub mod at_rest;
pub mod report;

use crate::clock::{MAX_WAIT, SharedClock};
use crate::state::{Store, StoreError};
use refreshd_core::incident::{Book, Incident, Kind, Kinds, Notice, Subject};
use refreshd_core::time::WallTime;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What cannot be written down is tried again after this.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// What is not healthy. Clones are handles to the same book.
#[derive(Clone)]
pub struct Incidents(Arc<Shared>);

struct Shared {
    store: Store,
    clock: SharedClock,
    inner: Mutex<Inner>,
    /// Nothing is open: what is well needs no look into the book.
    calm: AtomicBool,
    /// Something is to be written, or to be reminded of earlier.
    wake: Notify,
}

struct Inner {
    book: Book,
    /// By number; only the latest of each counts.
    unwritten: BTreeMap<u64, Incident>,
}

/// What a person is told of an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What is wrong; it is kept.
    pub text: String,
    /// What holds only now: what serves meanwhile, what comes next.
    pub advice: String,
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        let advice = String::new();
        Told { text, advice }
    }
}

/// What an observation has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Incidents that were opened, and announced.
    pub opened: Kinds,
    /// Incidents that were closed, and announced.
    pub closed: Kinds,
}

impl std::fmt::Debug for Incidents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incidents")
    }
}

impl Incidents {
    /// With what an earlier process left open.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn recall(store: Store, clock: SharedClock) -> Result<Self, StoreError> {
        let (open, last_id) = store.open_incidents().await?;
        if !open.is_empty() {
            tracing::info!(
                "incidents that are open from before: {}; `refreshd status` shows them",
                open.len()
            );
        }
        let book = Book::recalled(open, last_id);
        Ok(Incidents(Arc::new(Shared {
            store,
            clock,
            calm: AtomicBool::new(book.is_empty()),
            inner: Mutex::new(Inner {
                book,
                unwritten: BTreeMap::new(),
            }),
            wake: Notify::new(),
        })))
    }

    /// Something is wrong; whether that is news.
    pub fn raise(&self, subject: &Subject, kind: Kind, text: impl FnOnce() -> String) -> bool {
        let now = self.0.clock.wall();
        let mut inner = self.inner();
        let notices = inner.book.raise(subject, kind, None, text, now);
        let news = !notices.is_empty();
        self.tell(inner, notices, "");
        news
    }

    /// It is not wrong any more; whether that is news.
    pub fn close(&self, subject: &Subject, kind: Kind, why: &str) -> bool {
        if self.is_calm() {
            return false;
        }
        let now = self.0.clock.wall();
        let mut inner = self.inner();
        let notice = inner.book.close(subject, kind, || why.to_owned(), now);
        let news = notice.is_some();
        self.tell(inner, notice, "");
        news
    }

    /// As [`Incidents::close`], for what an earlier process left open and this one
    /// has not seen.
    pub fn disprove(&self, subject: &Subject, kind: Kind, why: &str) {
        let now = self.0.clock.wall();
        let mut inner = self.inner();
        let notice = inner.book.disprove(subject, kind, why, now);
        self.tell(inner, notice, "");
    }

    /// Something is wrong with so many, or is wrong with more or fewer of them by now.
    pub fn recount(&self, subject: &Subject, kind: Kind, text: &str) {
        self.raise(subject, kind, || text.to_owned());
        let mut inner = self.inner();
        if let Some(incident) = inner.book.reword(subject, kind, text.to_owned()) {
            inner.unwritten.insert(incident.id, incident);
            self.0.wake.notify_one();
        }
    }

    /// All that is wrong with a grant; whatever else was open of it is over.
    pub fn observe(
        &self,
        grant: &str,
        wrong: Kinds,
        ends_at: Option<WallTime>,
        mut told: impl FnMut(Kind) -> Told,
        mut over: impl FnMut(Kind) -> String,
    ) -> Turned {
        let mut turned = Turned::default();
        if wrong.is_empty() && self.is_calm() {
            return turned;
        }
        let now = self.0.clock.wall();
        let subject = Subject::Grant(grant.to_owned());
        turned.closed = self.inner().book.kinds(&subject).without(wrong);
        for kind in turned.closed.iter() {
            let mut inner = self.inner();
            let notice = inner.book.close(&subject, kind, || over(kind), now);
            self.tell(inner, notice, "");
        }
        for kind in wrong.iter() {
            let mut advice = String::new();
            let text = || {
                let told = told(kind);
                advice = told.advice;
                told.text
            };
            let end = ends_at.filter(|_| kind == Kind::NeedsAuthorization);
            let mut inner = self.inner();
            let notices = inner.book.raise(&subject, kind, end, text, now);
            turned.opened = turned.opened.with_if(kind, !notices.is_empty());
            self.tell(inner, notices, &advice);
        }
        turned
    }

    /// Closes what is open of things that are gone.
    pub fn forget(&self, is_gone: impl Fn(&Subject) -> bool) {
        for incident in self.open() {
            if is_gone(&incident.subject) {
                self.close(&incident.subject, incident.kind, "it is not there any more");
            }
        }
    }

    /// Whether an earlier process left anything open that was not seen since.
    #[must_use]
    pub fn may_disprove(&self) -> bool {
        !self.is_calm() && self.inner().book.unconfirmed().next().is_some()
    }

    /// What is open, the oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<Incident> {
        let mut open: Vec<Incident> = self.inner().book.open().cloned().collect();
        open.sort_by_key(|incident| incident.id);
        open
    }

    /// Writes down what turns, and reminds, for as long as the process lives.
    pub async fn keep(self) {
        loop {
            let written = self.write().await;
            let wait = self.remind();
            let wait = if written { wait } else { WRITE_AGAIN };
            let woken = self.0.wake.notified();
            let _either = tokio::time::timeout(wait, woken).await;
            if !written {
                // The store's own keeper finds out when there is room again.
                while !self.0.store.took_last_commit() {
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
    }

    /// Announces what is open for long; returns how long there is nothing to announce.
    fn remind(&self) -> Duration {
        let now = self.0.clock.wall();
        let mut inner = self.inner();
        let due = inner.book.handle_time(now);
        let next = inner.book.poll_time();
        self.tell(inner, due, "");
        next.map_or(MAX_WAIT, |at| at.since(now).min(MAX_WAIT))
    }

    /// Writes down what is not written; whether nothing is left.
    pub async fn write(&self) -> bool {
        let rows: Vec<Incident> = self.inner().unwritten.values().cloned().collect();
        if rows.is_empty() {
            return true;
        }
        if let Err(error) = self.0.store.keep_incidents(rows.clone()).await {
            tracing::debug!(%error, "incidents could not be written down; that is tried again");
            return false;
        }
        let mut inner = self.inner();
        for row in rows {
            // It may have turned meanwhile.
            if inner.unwritten.get(&row.id) == Some(&row) {
                inner.unwritten.remove(&row.id);
            }
        }
        inner.unwritten.is_empty()
    }

    fn is_calm(&self) -> bool {
        self.0.calm.load(Ordering::Acquire)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        let inner = self.0.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces, under the lock, so that the log has the order of the book.
    fn tell(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        notices: impl IntoIterator<Item = Notice>,
        advice: &str,
    ) {
        let now = self.0.clock.wall();
        let mut any = false;
        for notice in notices {
            any = true;
            announce::log(&notice, advice, now);
            let incident = notice.incident().clone();
            inner.unwritten.insert(incident.id, incident);
        }
        if any {
            self.0.calm.store(inner.book.is_empty(), Ordering::Release);
            self.0.wake.notify_one();
        }
    }
}
