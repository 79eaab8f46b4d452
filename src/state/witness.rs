//! What the store knows of its journal. An exchange that is under way stands in the
//! journal alone: where a file of it is missing, cut or put back to an earlier state,
//! nobody knows what was presented, so every grant that could lose by it is in doubt.
//! After a stop in good order nothing is under way, and nothing is lost with the files.

use super::allowance::allow_for;
use super::db;
use super::error::StoreError;
use super::journal::mark;
use super::lots::Lot;
use super::records::json;
use super::writer::Session;
use refreshd_core::GrantState;
use refreshd_core::ledger::Event;
use refreshd_core::time::WallTime;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The row of `meta` with what is known.
const JOURNAL: &str = "journal";
/// The row that says what is missing, until it has been allowed for.
const LOST: &str = "lost_journal";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// Rises with each start; it stands in the files too.
    session: u64,
    /// The files with their sizes.
    files: BTreeMap<u32, u64>,
    /// The last process stopped with nothing under way.
    clean: bool,
}

/// Looks whether the journal is the one that the store knows, before it is opened, and
/// remembers it where it is not. Whether nothing is missing, as far as is known.
pub(super) fn examine(dir: &Path, conn: &Connection) -> rusqlite::Result<bool> {
    let known = known(conn)?;
    if known.clean {
        return Ok(true);
    }
    let missing = known.files.iter();
    let missing: Vec<String> = missing
        .filter_map(|(number, size)| mark::missing(dir, *number, *size, known.session))
        .collect();
    if missing.is_empty() {
        // What was lost before is remembered until it has been allowed for.
        return Ok(db::meta_if_any::<String>(conn, LOST)?.is_none());
    }
    db::set_meta(conn, LOST, missing.join("; ")).map(|()| false)
}

/// Forgets what was known, before the files change.
pub(super) fn unknow(conn: &Connection) -> rusqlite::Result<()> {
    let known = Known {
        files: BTreeMap::new(),
        clean: false,
        ..known(conn)?
    };
    db::set_meta(conn, JOURNAL, json(&known))
}

/// Notes the files that the journal has now, and that exchanges may be under way.
pub(super) fn know(dir: &Path, conn: &Connection, files: &[u32]) -> rusqlite::Result<()> {
    let session = known(conn)?.session + 1;
    let mut sizes = BTreeMap::new();
    for number in files {
        match mark::put(dir, *number, session) {
            Ok(size) => drop(sizes.insert(*number, size)),
            // It is not watched over then.
            Err(error) => {
                tracing::warn!(%error, file = number, "the journal's file cannot be marked")
            }
        }
    }
    let known = Known {
        session,
        files: sizes,
        clean: false,
    };
    db::set_meta(conn, JOURNAL, json(&known))
}

/// Notes that nothing is under way any more.
pub(super) fn clean(s: &Session<'_>) -> Result<(), StoreError> {
    let known = Known {
        clean: true,
        ..known(s.conn)?
    };
    Ok(db::set_meta(s.conn, JOURNAL, json(&known))?)
}

fn known(conn: &Connection) -> rusqlite::Result<Known> {
    let text: Option<String> = db::meta_if_any(conn, JOURNAL)?;
    let known = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(known.unwrap_or_default())
}

/// What is missing and has not been allowed for.
pub(super) fn lost(s: &Session<'_>) -> Result<Option<String>, StoreError> {
    Ok(db::meta_if_any::<String>(s.conn, LOST)?)
}

/// Allows for what is missing.
pub(super) fn allow_for_lost(
    s: &Session<'_>,
    missing: &str,
    now: WallTime,
    after: Option<i64>,
) -> Result<Lot<()>, StoreError> {
    let event = Event {
        at: now,
        kind: "lost-journal".to_owned(),
        text: format!("{missing}: whether its refresh token was presented is not known"),
    };
    allow_for(s, LOST, &event, GrantState::after_lost_journal, after)
}
