//! Published databases: SQLite files with a row for each grant, for readers of
//! another user who have nothing but the group.
//!
//! Each database has one thread, which owns its only writing connection
//! ([`writer`]); what has queued up shares one transaction. The database stays
//! in WAL mode and is closed without removing `-wal` and `-shm`, since a reader
//! who may not write could not make them again ([`open`]).

mod error;
mod gate;
mod open;
mod rights;
mod rows;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use error::DatabaseError;

use super::View;
use super::output::Published;
use crate::config::Database;
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use rows::{Outcome, Work};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use writer::{Command, Writer};

/// Called with a database's path when its rows are wanted again: it had to be made anew,
/// or somebody else has written to it. With what happened, where somebody did it.
pub type Remade = Arc<dyn Fn(&Path, Option<&str>) + Send + Sync>;

/// A row to be brought to what the store holds.
#[derive(Debug)]
pub struct RowJob {
    /// The database.
    pub database: Arc<Database>,
    /// What the store holds.
    pub view: View,
    /// The time to go by.
    pub now: WallTime,
}

/// The databases that are open, each with its thread.
pub struct Databases {
    writers: Mutex<HashMap<PathBuf, Sender<Command>>>,
    remade: Remade,
}

impl std::fmt::Debug for Databases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Databases")
    }
}

impl Databases {
    /// None is open yet.
    #[must_use]
    pub fn new(remade: Remade) -> Databases {
        Databases {
            writers: Mutex::default(),
            remade,
        }
    }

    /// Brings a row to a view.
    ///
    /// # Errors
    /// When the row cannot be brought there; what was published stays.
    pub async fn publish(&self, job: RowJob) -> Result<Published, Arc<DatabaseError>> {
        let path = job.database.path.clone();
        match self.ask(&path, Work::Publish(Box::new(job))).await? {
            Outcome::Published { generation, wrote } => Ok(Published {
                generation,
                wrote,
                ..Published::default()
            }),
            Outcome::Withdrawn(_) => Err(Arc::new(DatabaseError::Lost(path))),
        }
    }

    /// Removes a grant's row, if this store wrote it. Returns whether it was there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn withdraw(
        &self,
        path: &Path,
        name: &str,
        store_id: &str,
    ) -> Result<bool, Arc<DatabaseError>> {
        let (name, store_id) = (name.to_owned(), store_id.to_owned());
        let outcome = self.ask(path, Work::Withdraw { name, store_id }).await?;
        Ok(matches!(outcome, Outcome::Withdrawn(true)))
    }

    /// Has each look whether its files and rows are as they were left, and waits for
    /// that up to the limit.
    pub async fn look(&self, limit: Duration) {
        let looks: Vec<_> = (self.lock().values())
            .filter_map(|writer| {
                let (reply, looked) = oneshot::channel();
                writer.send(Command::Look(reply)).ok()?;
                Some(looked)
            })
            .collect();
        let deadline = tokio::time::Instant::now() + limit;
        for look in looks {
            let _in_time = tokio::time::timeout_at(deadline, look).await;
        }
    }

    /// Closes all, each after what it has been asked before. One that hangs is
    /// left behind after the limit: its file is as after a crash.
    pub async fn close(&self, limit: Duration) {
        let writers = std::mem::take(&mut *self.lock());
        let closing: Vec<_> = (writers.into_iter())
            .filter_map(|(path, writer)| {
                let (reply, closed) = oneshot::channel();
                writer.send(Command::Close(reply)).ok()?;
                Some((path, closed))
            })
            .collect();
        let deadline = tokio::time::Instant::now() + limit;
        for (path, closed) in closing {
            if tokio::time::timeout_at(deadline, closed).await.is_err() {
                tracing::warn!(path = %path.display(), "{} could not be closed in time", path.display());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Sender<Command>>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, path: &Path, work: Work) -> Result<Outcome, Arc<DatabaseError>> {
        let (reply, answer) = oneshot::channel();
        self.send(path, Command::Row(work, reply))?;
        let lost = || Arc::new(DatabaseError::Lost(path.to_owned()));
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Hands a command to the database's thread, which is begun when there is none.
    fn send(&self, path: &Path, command: Command) -> Result<(), Arc<DatabaseError>> {
        let mut writers = self.lock();
        let command = match writers.get(path) {
            Some(writer) => match writer.send(command) {
                Ok(()) => return Ok(()),
                // It has panicked; its place is taken by another.
                Err(unsent) => unsent.0,
            },
            None => command,
        };
        let (sender, queue) = channel();
        let writer = Writer::new(path, self.remade.clone());
        let spawned = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || writer.run(&queue));
        spawned.map_err(|source| {
            let path = path.to_owned();
            Arc::new(DatabaseError::Io { path, source })
        })?;
        // A thread that has just begun takes commands.
        let _taken = sender.send(command);
        writers.insert(path.to_owned(), sender);
        Ok(())
    }
}

/// The names of the rows that another store has published in a database; with `None`,
/// any store. One that cannot be read says nothing.
#[must_use]
pub fn rows_of_others(path: &Path, store_id: Option<&str>) -> Vec<String> {
    match path.exists() {
        true => open::rows_of_others(path, store_id.unwrap_or_default()).unwrap_or_default(),
        false => Vec::new(),
    }
}

/// The generations that this store has published in a database. One that
/// cannot be read says nothing.
#[must_use]
pub fn read_generations(path: &Path, store_id: &str) -> BTreeMap<GrantId, u64> {
    if !path.exists() {
        return BTreeMap::new();
    }
    open::generations(path, store_id).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "what {} holds is not known", path.display());
        BTreeMap::new()
    })
}
