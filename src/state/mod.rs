//! What survives a crash, and the order in which it does.
//!
//! A flight goes: [`Store::record_intent`] (durable) → send → read → [`Store::commit`]
//! (durable). At the next start [`State::open`] hands out the flights that did not get to
//! the commit.
//!
//! - [`Store`]: grants, sealed token sets, exchanges under way, history; SQLite, one writer
//! - [`Sealer`]: what is secret is encrypted before it reaches the store
//! - [`Keys`]: one sealing key after another; [`backups`]: copies to restore from
//! - [`fence`]: notices a store that was put back to an earlier state
//! - [`lock`]: one process at a time

mod allowance;
pub mod backups;
mod begin;
mod clock_watermark;
mod commit;
mod commits;
mod copy;
mod db;
mod disk;
mod enrollments;
mod error;
mod fallback;
pub mod fence;
mod group_commit;
mod history;
mod import;
mod incidents;
mod intents;
mod kept;
pub mod key;
mod keys;
mod ledger;
pub mod lock;
mod look;
mod lots;
mod machine;
mod missing;
mod records;
mod remove;
mod rescue;
mod reseal;
mod restore;
mod room;
mod schema;
pub mod seal;
mod store;
mod takeover;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use disk::network_file_system;

pub use commit::{Commit, Committed};
pub use copy::{Copied, CopyError};
pub use db::DbError;
pub use enrollments::{
    GrantsByName, Landing, MOST_OPEN, MOST_QUARANTINED, OfAuthorization, Received, TakenIn, Wanted,
};
pub use error::StoreError;
pub use fence::Fenced;
pub(crate) use fence::fence_text;
pub use history::{EventRow, Note, Pruned, PublishedOutput};
pub use import::{ImportRefusal, ImportRequest, Imported};
pub use intents::Recovered;
pub use kept::Unread;
pub use key::KeyError;
pub use keys::{KeyUse, Keys, KeysError};
pub use lock::{Holder, LockError, StateLock, holder};
pub use machine::Machine;
pub use refreshd_core::ledger::{Candidate, Event};
pub use rescue::RescueError;
pub use reseal::Walk;
pub use seal::{KeyId, Sealer};
pub use store::Store;

use crate::clock;
use crate::config::KeySource;
use refreshd_core::flight::Intent;
use refreshd_core::provider::Answer;
use refreshd_core::time::{Clock, Stamp};
use std::path::Path;

/// Where the state is and how it is opened.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions<'a> {
    /// The state directory.
    pub state_dir: &'a Path,
    /// Whether a state is made, the directory (0700) included, where there is none.
    pub may_make: bool,
    /// The sealing key.
    pub key: &'a KeySource,
}

/// A state that is not opened. It is left as it was; each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The sealing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// What was rescued at the last stop.
    #[error(transparent)]
    Rescue(#[from] RescueError),
}

/// The opened state. Dropping it waits for what was asked of it.
#[derive(Debug)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The sealing keys.
    pub keys: Keys,
    /// Flights of the last run that were not committed.
    pub recovered: Vec<Recovered>,
    /// The directory is ours until this is dropped, which must be last. Whoever only
    /// looks does not hold it.
    pub lock: Option<StateLock>,
}

/// Whether there is a state in a directory.
#[must_use]
pub fn exists(dir: &Path) -> bool {
    db::exists(dir)
}

impl State {
    /// Opens everything, in the order in which each part guards the next. It
    /// blocks: for a moment, or for seconds where the database is large.
    ///
    /// # Errors
    /// When any part cannot be had; nothing is overwritten then.
    pub fn open(options: &OpenOptions<'_>) -> Result<State, OpenError> {
        State::open_on(options, &Machine::this())
    }

    /// Opens everything on a machine that is told.
    ///
    /// # Errors
    /// As for [`State::open`].
    pub fn open_on(options: &OpenOptions<'_>, machine: &Machine) -> Result<State, OpenError> {
        let dir = options.state_dir;
        missing::check(dir, options.key)?;
        let lock = StateLock::take(dir, options.may_make)?;
        if !options.may_make && !db::exists(dir) {
            return Err(LockError::Absent(dir.to_owned()).into());
        }
        let sealer = Sealer::load(options.key, db::exists(dir))?;
        let opened = db::open(dir, &sealer).map_err(|error| name_key(error, options.key))?;
        missing::note_use(dir, options.key);
        let rescued = rescued(dir, &opened, &sealer)?;
        rescue::take_in(dir, &opened.conn, &sealer, &rescued);
        let mut state = State::start(options, machine, opened, sealer, rescued)?;
        state.lock = Some(lock);
        Ok(state)
    }

    /// Starts on a database, with what was rescued beside it.
    fn start(
        options: &OpenOptions<'_>,
        machine: &Machine,
        opened: db::Opened,
        sealer: Sealer,
        rescued: Vec<(Intent, Answer)>,
    ) -> Result<State, OpenError> {
        let dir = options.state_dir;
        let sql = |source| DbError::Sql {
            path: dir.join(db::FILE),
            source,
        };
        let machine = machine.identity(&opened.store_id);
        let fenced = restore::fence_at_start(dir, &opened, machine.as_deref()).map_err(sql)?;
        let mut recovered = intents::all(&opened.conn, &sealer).map_err(sql)?;
        rescue::merge(&mut recovered, rescued);
        let accepted = clock_watermark::accepted(&opened.conn).map_err(sql)?;
        let dated = |found: Recovered| Recovered {
            intent: found.intent.by_accepted_clock(accepted.as_ref()),
            ..found
        };
        let recovered: Vec<Recovered> = recovered.into_iter().map(dated).collect();
        let last_seen = latest(
            clock_watermark::stored(&opened.conn).map_err(sql)?,
            &recovered,
        );
        let clock = Clock::new(clock::reading(), &clock::boot_id(), last_seen.as_ref());
        if clock.lost_time() {
            clock_watermark::lose_time(&opened.conn).map_err(sql)?;
        }
        let store = Store::start(dir, opened, sealer.clone(), fenced, machine).map_err(sql)?;
        let keys = Keys {
            store: store.clone(),
            sealer,
            source: options.key.clone(),
        };
        Ok(State {
            store,
            keys,
            recovered,
            lock: None,
        })
    }

    /// The latest moment that the store remembers.
    #[must_use]
    pub fn last_seen(&self) -> Option<Stamp> {
        latest(self.store.last_seen(), &self.recovered)
    }

    /// Closes the store in good order.
    ///
    /// # Errors
    /// When the last checkpoint failed; nothing is lost by it.
    pub async fn close(self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

/// What was rescued at the last stop and is not settled.
fn rescued(
    dir: &Path,
    opened: &db::Opened,
    sealer: &Sealer,
) -> Result<Vec<(Intent, Answer)>, OpenError> {
    let all = rescue::read(dir, sealer)?;
    let left = rescue::unsettled(&opened.conn, all).map_err(|source| DbError::Sql {
        path: dir.join(db::FILE),
        source,
    })?;
    Ok(left)
}

/// The store knows of commits alone; a flight that was under way began later.
fn latest(stored: Option<Stamp>, recovered: &[Recovered]) -> Option<Stamp> {
    let sent = recovered.iter().map(|found| found.intent.sent.clone());
    Stamp::latest(stored, sent)
}

/// A person knows the key by its file.
fn name_key(error: DbError, key: &KeySource) -> OpenError {
    match error {
        DbError::WrongKey { sealed_by, given } => OpenError::Key(KeyError::Wrong {
            path: key::path(key).to_owned(),
            given,
            sealed_by,
        }),
        other => OpenError::Db(other),
    }
}
