//! What survives a crash, and the order in which it does.
//!
//! A flight goes: [`Journal::record_intent`] (durable) → [`Store::record_intent`]
//! (durable) → send → [`Journal::record_answer`] (durable) → read →
//! [`Store::commit`] (durable) → [`Journal::free`]. At the next start [`State::open`] hands out the flights
//! that did not get to the commit.
//!
//! - [`Store`]: grants, sealed token sets, history; SQLite, one writer
//! - [`Journal`]: the flights under way
//! - [`Sealer`]: what is secret is encrypted before it reaches either
//! - [`Keys`]: one sealing key after another; [`backups`]: copies to restore from
//! - [`fence`]: notices a store that was put back to an earlier state
//! - [`lock`]: one process at a time

mod allowance;
pub mod backups;
mod begin;
mod both;
mod commit;
mod commits;
mod copy;
mod db;
mod disk;
mod enrollments;
mod error;
mod fallback;
pub mod fence;
mod gather;
mod history;
mod import;
mod incidents;
mod intents;
pub mod journal;
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
mod reseal;
mod reserve;
mod restore;
mod schema;
pub mod seal;
mod seen;
mod store;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use disk::network_file_system;

pub use both::DISAGREE;
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
pub use journal::{Journal, JournalError, Recovered, SlotRef};
pub use kept::Unread;
pub use key::KeyError;
pub use keys::{KeyUse, Keys, KeysError};
pub use lock::{Holder, LockError, StateLock, holder};
pub use machine::Machine;
pub use refreshd_core::ledger::{Candidate, Event};
pub use reseal::Walk;
pub use seal::{KeyId, Sealer};
pub use store::Store;

use crate::clock;
use crate::config::KeySource;
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
    /// How many flights may be under way at once, but for those whose answer is
    /// overdue and still listened for.
    pub flights: u16,
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
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The opened state. Dropping it waits for what was asked of it.
#[derive(Debug)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The journal.
    pub journal: Journal,
    /// The sealing keys.
    pub keys: Keys,
    /// Flights of the last run that were not committed; their slots are occupied.
    pub recovered: Vec<Recovered>,
    /// Where the journal and the rows of exchanges under way disagreed; see [`DISAGREE`].
    pub disagreements: Vec<String>,
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
        let slots = slots_for(options.flights);
        let mut state = State::start(options, machine, opened, sealer.clone(), |conn, settled| {
            let sql = |source| DbError::Sql {
                path: dir.join(db::FILE),
                source,
            };
            let noted = witness::unknow(conn);
            let (journal, recovered) = Journal::open(dir, slots, sealer, settled)?;
            history::keep_slots_of(conn, journal.files()).map_err(sql)?;
            let noted = noted.and_then(|()| witness::know(dir, conn, journal.files()));
            // On a full disk what lives is served; the journal is not watched over then.
            if let Err(error) = noted {
                tracing::warn!(%error, "a journal that goes missing would not be noticed");
            }
            Ok((journal, recovered))
        })?;
        state.lock = Some(lock);
        Ok(state)
    }

    /// Starts on a database, with what stands in the journal.
    fn start(
        options: &OpenOptions<'_>,
        machine: &Machine,
        opened: db::Opened,
        sealer: Sealer,
        journal: impl FnOnce(
            &rusqlite::Connection,
            &journal::Settled<'_>,
        ) -> Result<(Journal, Vec<Recovered>), OpenError>,
    ) -> Result<State, OpenError> {
        let dir = options.state_dir;
        let sql = |source| DbError::Sql {
            path: dir.join(db::FILE),
            source,
        };
        let machine = machine.identity(&opened.store_id);
        let fenced = restore::fence_at_start(dir, &opened, machine.as_deref()).map_err(sql)?;
        // A store that was put back has another journal anyway, and is doubted as a whole.
        let comparable = match fenced {
            None => witness::examine(dir, &opened.conn).map_err(sql)?,
            Some(_) => false,
        };
        let settled = history::settled_flights(&opened.conn).map_err(sql)?;
        let (journal, recovered) = journal(&opened.conn, &|place, flight| {
            settled.contains(&(place, flight))
        })?;
        let compared = both::compare(&opened.conn, &recovered, comparable);
        let accepted = seen::accepted(&opened.conn).map_err(sql)?;
        let dated = |found: Recovered| Recovered {
            intent: found.intent.by_accepted_clock(accepted.as_ref()),
            ..found
        };
        let recovered: Vec<Recovered> = recovered.into_iter().map(dated).collect();
        let last_seen = latest(seen::stored(&opened.conn).map_err(sql)?, &recovered);
        let clock = Clock::new(clock::reading(), &clock::boot_id(), last_seen.as_ref());
        if clock.lost_time() {
            seen::lose_time(&opened.conn).map_err(sql)?;
        }
        let store = Store::start(dir, opened, sealer.clone(), fenced, machine).map_err(sql)?;
        let keys = Keys {
            store: store.clone(),
            journal: journal.clone(),
            sealer,
            source: options.key.clone(),
            dir: dir.to_owned(),
        };
        Ok(State {
            store,
            journal,
            keys,
            recovered,
            disagreements: compared.map_err(sql)?,
            lock: None,
        })
    }

    /// The latest moment that the store and the journal remember.
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

/// The store knows of commits alone; a flight that was under way began later.
fn latest(stored: Option<Stamp>, recovered: &[Recovered]) -> Option<Stamp> {
    let sent = recovered.iter().map(|found| found.intent.sent.clone());
    Stamp::latest(stored, sent)
}

/// A flight keeps its slot while it is read on, though it has given back its place: hosts
/// that hang get no more than two in three slots (see `Caps::read_on`), so that the
/// others find one.
fn slots_for(flights: u16) -> u16 {
    flights.saturating_mul(2).max(8).saturating_add(flights)
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
