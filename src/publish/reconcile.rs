//! The reconciler: for each output, the wanted generation against the
//! published one, until they agree.
//!
//! An output at rest is an entry in a table and no task. A commit marks the
//! outputs of its grant; a dispatcher takes what is marked and runs it, a
//! bounded number at once, each output once at a time. What fails is tried
//! again with back-off; what hangs gives its place back and goes on by itself.

mod address;
mod entry;
mod look;
mod table;
mod tending;
#[cfg(test)]
mod tests;
mod worker;

use super::View;
use super::database::Databases;
use super::file::DirectoryRights;
use super::output::{Job, PublishError, Published};
use crate::config::{Database, Output};
pub use address::Address;
use refreshd_core::backoff::Backoff;
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use table::Table;
use tokio::sync::{Notify, Semaphore, watch};

/// A future that can be stored.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
/// Looks a grant up by name; `None` while there is nothing to publish of it
/// (what is published then stays).
pub type Source = Arc<dyn Fn(String) -> BoxFuture<Result<Option<View>, String>> + Send + Sync>;
/// The trusted wall time.
pub type WallClock = Arc<dyn Fn() -> WallTime + Send + Sync>;

/// Something to tell of an output.
#[derive(Clone, Copy, Debug)]
pub struct Trouble<'a> {
    /// Which.
    pub address: &'a Address,
    /// The grant's name.
    pub grant: &'a str,
    /// What it is.
    pub what: What<'a>,
}

/// What there is to tell of an output.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// It fails, and why.
    Fails(&'a str),
    /// It works: for the first time in this process, or again.
    Works,
    /// It is no output any more.
    Gone,
    /// Somebody else has written there, and it was put right.
    Disturbed(&'a str),
    /// Nobody else has written there for a while.
    Calm,
}

/// Is told of trouble with outputs, when it begins and when it is over.
pub type Listener = Arc<dyn Fn(Trouble<'_>) + Send + Sync>;

/// What was or is about to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file or the row.
    pub address: Address,
    /// The grant's name, for messages.
    pub grant: String,
    /// Whose token it holds.
    pub grant_id: GrantId,
}

/// Something that is noted of paths.
pub type Noted<T> = Vec<(PathBuf, T)>;

/// The store's memory of what is published where, so that an output taken out
/// of the configuration while the daemon was down is withdrawn all the same.
/// Errors are sentences for a log.
pub trait PublishedBook: Send + Sync {
    /// Remembers an address, in place of what was known of it. It must be durable
    /// when the future is done: the first write comes after it, and a file
    /// that is not in the book is a file that nobody withdraws.
    fn record(&self, record: Record) -> BoxFuture<Result<(), String>>;
    /// Forgets an address; it was withdrawn, or is not ours.
    fn forget(&self, address: Address) -> BoxFuture<Result<(), String>>;
    /// All that is remembered.
    fn list(&self) -> BoxFuture<Result<Vec<Record>, String>>;
    /// Remembers for which group a directory is, in place of what was known of it.
    fn keep_directory(
        &self,
        path: PathBuf,
        rights: DirectoryRights,
    ) -> BoxFuture<Result<(), String>>;
    /// Remembers where a file's metadata are, or are still to be taken away, other than
    /// beside it; in place of what was known of it. Forgotten with the file.
    fn keep_metadata(&self, path: PathBuf, places: Vec<PathBuf>) -> BoxFuture<Result<(), String>>;
    /// The files whose metadata are remembered.
    fn metadata(&self) -> BoxFuture<Result<Noted<Vec<PathBuf>>, String>>;
    /// The directories that are remembered.
    fn directories(&self) -> BoxFuture<Result<Noted<DirectoryRights>, String>>;
}

/// Where and how a grant is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file; in its path, `{grant}` is filled in.
    File(Arc<Output>),
    /// A row of a database.
    Row(Arc<Database>),
}

/// An output of a grant. Each address may occur once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The grant's name.
    pub grant: String,
    /// Where and how it is published.
    pub sink: Sink,
}

/// What the reconciler is connected to.
#[derive(Clone)]
pub struct Wiring {
    /// The store's identity.
    pub store_id: String,
    /// Where views come from.
    pub source: Source,
    /// Where paths are remembered.
    pub book: Arc<dyn PublishedBook>,
    /// The time to go by.
    pub clock: WallClock,
    /// Who announces what fails.
    pub trouble: Listener,
    /// How many files may be written at once.
    pub at_once: usize,
}

/// How an output is, for `status` and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputReport {
    /// The grant's name.
    pub grant: String,
    /// The file, or the database in which it has a row.
    pub path: PathBuf,
    /// It is a row.
    pub is_row: bool,
    /// The generation that is known to be published; `None`: none, or not tried yet.
    pub published_generation: Option<u64>,
    /// The generation that the store held at the last try.
    pub wanted_generation: Option<u64>,
    /// The last try brought it to what was wanted then.
    pub settled: bool,
    /// It is no longer configured and about to be removed.
    pub withdrawing: bool,
    /// Why it is not as it should be.
    pub error: Option<String>,
    /// Others have written there of late.
    pub disturbed: bool,
    /// Since when not.
    pub since: Option<WallTime>,
}

impl OutputReport {
    /// Where it is, for a person: the file, or the database and the row.
    #[must_use]
    pub fn place(&self) -> String {
        let address = match self.is_row {
            true => Address::row(&self.path, &self.grant),
            false => Address::file(&self.path),
        };
        address.place()
    }

    /// Whether it is as a store that holds this generation would have it. A dead
    /// token that was withdrawn is, too.
    #[must_use]
    pub fn is_up_to_date(&self, generation: u64) -> bool {
        let current = self.settled && self.wanted_generation == Some(generation);
        !self.withdrawing && (current || generation == 0)
    }
}

/// The book could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot list what was published before: {0}")]
pub struct BookError(String);

/// Limits, as fields so that tests need not wait.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// After this long a write hangs.
    hang: Duration,
    backoff: Backoff,
    /// How often each output is glanced at.
    look: Duration,
}

const TUNING: Tuning = Tuning {
    hang: Duration::from_secs(30),
    backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
    look: Duration::from_secs(20),
};

/// How long a database may take to be closed.
const CLOSING: Duration = Duration::from_secs(5);

type Writer = Arc<dyn Fn(&Job) -> Result<Published, PublishError> + Send + Sync>;

struct Shared {
    wiring: Wiring,
    tuning: Tuning,
    writer: Writer,
    databases: Databases,
    table: Arc<Mutex<Table>>,
    /// Which directory is for which group.
    directories: Mutex<HashMap<PathBuf, DirectoryRights>>,
    /// Where the metadata of files are, or were, other than beside them.
    metadata: Mutex<HashMap<PathBuf, Vec<PathBuf>>>,
    /// Directories in which a glance hangs.
    hanging: Arc<Mutex<HashSet<PathBuf>>>,
    permits: Arc<Semaphore>,
    /// The dispatcher has something to look at.
    wake: Arc<Notify>,
    /// Ticks whenever an output was tried.
    progress: watch::Sender<()>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<PathBuf, DirectoryRights>> {
        self.directories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// For which group the directory of a file was.
    fn directory_of(&self, file: &Path) -> Option<DirectoryRights> {
        self.directories().get(file.parent()?).copied()
    }

    fn metadata(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<PathBuf>>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the metadata of a file were put, other than beside it.
    fn metadata_of(&self, file: &Path) -> Vec<PathBuf> {
        self.metadata().get(file).cloned().unwrap_or_default()
    }

    /// Waits until the table is as wanted.
    async fn until(&self, reached: impl Fn(&Table) -> bool) {
        let mut progress = self.progress.subscribe();
        while !reached(&self.table()) {
            if progress.changed().await.is_err() {
                return;
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The databases; the rows of one that had to be made anew are wanted again.
fn databases(table: &Arc<Mutex<Table>>, wake: &Arc<Notify>) -> Databases {
    let (table, wake) = (Arc::downgrade(table), wake.clone());
    Databases::new(Arc::new(move |path, why| {
        if let Some(table) = table.upgrade() {
            lock(&table).mark_database(path, why, Instant::now());
            wake.notify_one();
        }
    }))
}

/// Keeps every output at the generation that the store holds. Clones are
/// handles to the same reconciler.
#[derive(Clone)]
pub struct Reconciler(Arc<Shared>);

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reconciler")
    }
}

impl Reconciler {
    /// Reads the book and starts; nothing is touched before the targets are set.
    ///
    /// # Errors
    /// When the book cannot be read.
    pub async fn start(wiring: Wiring) -> Result<Reconciler, BookError> {
        Self::start_with(wiring, TUNING, Arc::new(super::output::publish)).await
    }

    async fn start_with(
        wiring: Wiring,
        tuning: Tuning,
        writer: Writer,
    ) -> Result<Reconciler, BookError> {
        let permits = wiring.at_once;
        let records = wiring.book.list().await.map_err(BookError)?;
        let directories = wiring.book.directories().await.map_err(BookError)?;
        let metadata = wiring.book.metadata().await.map_err(BookError)?;
        let table = Arc::new(Mutex::new(Table::new(records)));
        let wake = Arc::<Notify>::default();
        let shared = Arc::new(Shared {
            wiring,
            tuning,
            writer,
            databases: databases(&table, &wake),
            table,
            directories: Mutex::new(directories.into_iter().collect()),
            metadata: Mutex::new(metadata.into_iter().collect()),
            hanging: Arc::default(),
            permits: Arc::new(Semaphore::new(permits)),
            wake,
            progress: watch::Sender::new(()),
        });
        tokio::spawn(worker::scheduler(shared.clone()));
        tokio::spawn(look::watch(Arc::downgrade(&shared)));
        Ok(Reconciler(shared))
    }

    /// Says what is to be published, at start and at reload. Every output is
    /// looked at again; what is no longer there is withdrawn, also what the
    /// book knows from earlier runs.
    pub fn set_targets(&self, targets: Vec<Target>) {
        let twice = self.0.table().set_targets(targets);
        for address in twice {
            tracing::error!(path = %address.path().display(), "two outputs have the same path; the first is published");
        }
        self.0.wake.notify_one();
    }

    /// To be called after each commit of a grant, also when only its state
    /// changed. Cheap; many calls during a write become one more write.
    pub fn notify(&self, grant: &str) {
        self.0.table().notify(grant);
        self.0.wake.notify_one();
    }

    /// While the store is fenced, no newer output is overwritten and nothing is
    /// withdrawn. Lifting the fence tries every output again.
    pub fn set_fenced(&self, fenced: bool) {
        self.0.table().set_fenced(fenced);
        self.0.wake.notify_one();
    }

    /// Waits until every output has been tried once; false if the limit came first.
    pub async fn first_pass(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.0.until(Table::all_tried))
            .await
            .is_ok()
    }

    /// Looks at every output now, for the limit at most; what is not as it was left is
    /// reported so, and mended.
    pub async fn look(&self, limit: Duration) {
        let _in_time = tokio::time::timeout(limit, look::all(&self.0)).await;
    }

    /// How every output is, by path.
    #[must_use]
    pub fn reports(&self) -> Vec<OutputReport> {
        self.0.table().reports()
    }

    /// Finishes what is being written or waits to be, retries apart, and closes
    /// the databases. What hangs is not waited for. Nothing is published afterwards.
    pub async fn stop(&self) {
        self.0.table().stop();
        self.0.wake.notify_one();
        self.0.until(Table::is_quiet).await;
        self.0.databases.close(CLOSING).await;
    }
}
