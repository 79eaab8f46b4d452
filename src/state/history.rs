//! History, descriptions, what has been published, and their upkeep.

use super::error::StoreError;
use super::records::{flight_id, json, signed};
use super::writer::Session;
use refreshd_core::flight::FlightId;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::time::WallTime;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How many fingerprints of a grant are kept beside its seeds.
const FINGERPRINTS: i64 = 32;

/// Something that happened to a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// One word, as in metrics.
    pub kind: String,
    /// A sentence for a person, printable.
    pub text: String,
}

/// An event as the history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// When.
    pub at: WallTime,
    /// One word, as in metrics.
    pub kind: String,
    /// The grant's generation after it.
    pub generation: u64,
    /// The flight it ended.
    pub flight: Option<FlightId>,
    /// A sentence for a person, printable.
    pub text: String,
}

/// An output that has been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedOutput {
    /// Where.
    pub path: PathBuf,
    /// Whose.
    pub grant: GrantId,
    /// The grant's name at that time.
    pub name: String,
}

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows of history.
    pub events: usize,
    /// Fingerprints of token sets long gone.
    pub fingerprints: usize,
}

pub(super) fn record(
    s: &Session<'_>,
    grant: &Grant,
    flight: Option<FlightId>,
    event: &Event,
) -> Result<(), StoreError> {
    s.saw(event.at);
    s.conn
        .prepare_cached(
            "INSERT INTO events (at, grant_id, kind, generation, flight, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((
            event.at.0,
            &grant.id.0,
            &event.kind,
            signed(grant.state.generation),
            flight.map(|f| f.0),
            &event.text,
        ))?;
    Ok(())
}

pub(super) fn events(
    s: &Session<'_>,
    grant: &GrantId,
    limit: u32,
) -> Result<Vec<EventRow>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT at, kind, generation, flight, text FROM events
         WHERE grant_id = ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map((&grant.0, limit), |row| {
        Ok(EventRow {
            at: WallTime(row.get(0)?),
            kind: row.get(1)?,
            generation: row.get::<_, i64>(2)?.unsigned_abs(),
            flight: row.get::<_, Option<[u8; 16]>>(3)?.map(FlightId),
            text: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn put_description(
    s: &Session<'_>,
    hash: &DescriptionHash,
    text: &str,
) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("INSERT OR IGNORE INTO descriptions (hash, json) VALUES (?1, ?2)")?
        .execute((&hash.0, text))?;
    Ok(())
}

pub(super) fn description(
    s: &Session<'_>,
    hash: &DescriptionHash,
) -> Result<Option<String>, StoreError> {
    Ok(s.conn
        .prepare_cached("SELECT json FROM descriptions WHERE hash = ?1")?
        .query_row([&hash.0], |row| row.get(0))
        .optional()?)
}

pub(super) fn published(s: &Session<'_>, output: &PublishedOutput) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO outputs (path, grant_id, name) VALUES (?1, ?2, ?3)",
        )?
        .execute((
            output.path.as_os_str().as_bytes(),
            &output.grant.0,
            &output.name,
        ))?;
    Ok(())
}

pub(super) fn forget_output(s: &Session<'_>, path: &Path) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("DELETE FROM outputs WHERE path = ?1")?
        .execute([path.as_os_str().as_bytes()])?;
    Ok(())
}

pub(super) fn outputs(s: &Session<'_>) -> Result<Vec<PublishedOutput>, StoreError> {
    let mut statement = s
        .conn
        .prepare_cached("SELECT path, grant_id, name FROM outputs ORDER BY path")?;
    let rows = statement.query_map([], |row| {
        Ok(PublishedOutput {
            path: OsString::from_vec(row.get(0)?).into(),
            grant: GrantId(row.get(1)?),
            name: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Seeds are kept for ever: a provisioning script may import one again after
/// years. Candidates and unread answers are kept as well: they may hold the
/// only living refresh token.
pub(super) fn prune(s: &Session<'_>, before: WallTime) -> Result<Pruned, StoreError> {
    let events = s
        .conn
        .execute("DELETE FROM events WHERE at < ?1", [before.0])?;
    let fingerprints = s.conn.execute(
        "DELETE FROM fingerprints WHERE fp IN (
             SELECT fp FROM (
                 SELECT fp, row_number() OVER (
                     PARTITION BY grant_id ORDER BY generation DESC
                 ) AS place FROM fingerprints WHERE seed = 0
             ) WHERE place > ?1
         )",
        [FINGERPRINTS],
    )?;
    Ok(Pruned {
        events,
        fingerprints,
    })
}

pub(super) fn integrity_check(s: &Session<'_>) -> Result<(), StoreError> {
    let found: String = s
        .conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged(found))
}

/// The flight last committed from each journal slot.
pub(super) fn settled_flights(
    conn: &Connection,
) -> rusqlite::Result<HashMap<(u32, u16), FlightId>> {
    let mut statement = conn.prepare("SELECT file, slot, flight FROM slots")?;
    let rows = statement.query_map([], |row| {
        Ok(((row.get(0)?, row.get(1)?), flight_id(row, 2)?))
    })?;
    rows.collect()
}

/// Forgets the slots of journal files that are gone.
pub(super) fn keep_slots_of(conn: &Connection, files: &[u32]) -> rusqlite::Result<()> {
    conn.execute(
        "DELETE FROM slots WHERE file NOT IN (SELECT value FROM json_each(?1))",
        [json(&files)],
    )
    .map(drop)
}
