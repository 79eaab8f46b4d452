//! History, descriptions, what has been published, and their upkeep.

use super::error::StoreError;
use super::records::{key_of, signed};
use super::writer::Session;
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::ledger::Event;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::time::WallTime;
use rusqlite::{Connection, OptionalExtension};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Of how many generations the fingerprints are kept, beside the seeds.
const FINGERPRINTS: i64 = 32;
/// Rows that are looked at in one transaction.
const PRUNED_AT_ONCE: i64 = 1000;

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
    pub flight: Option<ExchangeId>,
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

/// Writes an event; its number is to become the grant's `last_event`.
pub(super) fn append(
    s: &Session<'_>,
    grant: &Grant,
    flight: Option<ExchangeId>,
    event: &Event,
    previous: Option<i64>,
) -> Result<i64, StoreError> {
    s.saw(event.at);
    let mut insert = s.conn.prepare_cached(
        "INSERT INTO events (at, grant_key, kind, generation, flight, text, previous)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    Ok(insert.insert((
        event.at.0,
        key_of(&grant.id),
        &event.kind,
        signed(grant.state.generation),
        flight.map(|f| f.0),
        &event.text,
        previous,
    ))?)
}

/// Whether something is written of what a flight came to. It looks at the whole history.
pub(super) fn has_settled(conn: &Connection, flight: ExchangeId) -> rusqlite::Result<bool> {
    conn.prepare("SELECT 1 FROM events WHERE flight = ?1")?
        .exists([flight.0])
}

/// The latest events, newest first. Numbers may come again after everything was
/// pruned: one that is not smaller, or another grant's, is not the one before.
pub(super) fn events(
    s: &Session<'_>,
    grant: &GrantId,
    limit: u32,
) -> Result<Vec<EventRow>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "WITH RECURSIVE list (n, id, at, kind, generation, flight, text, previous) AS (
             SELECT 1, e.id, e.at, e.kind, e.generation, e.flight, e.text, e.previous
                 FROM grants g JOIN events e ON e.id = g.last_event AND e.grant_key = g.key
                 WHERE g.key = ?1 AND g.id = ?2
             UNION ALL
             SELECT n + 1, e.id, e.at, e.kind, e.generation, e.flight, e.text, e.previous
                 FROM list JOIN events e ON e.id = list.previous AND e.grant_key = ?1
                 WHERE n < ?3 AND e.id < list.id
         )
         SELECT at, kind, generation, flight, text FROM list ORDER BY n LIMIT ?3",
    )?;
    let rows = statement.query_map((key_of(grant), &grant.0, limit), |row| {
        Ok(EventRow {
            at: WallTime(row.get(0)?),
            kind: row.get(1)?,
            generation: row.get::<_, i64>(2)?.unsigned_abs(),
            flight: row.get::<_, Option<[u8; 16]>>(3)?.map(ExchangeId),
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
    let note = path.to_str().map(|path| Note::Metadata.key(path));
    s.conn.execute("DELETE FROM meta WHERE key = ?1", [note])?;
    Ok(())
}

/// What is noted of a path that is published to, as text.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    /// For which group a directory is.
    Directory,
    /// Where the metadata of a file are, other than beside it.
    Metadata,
}

impl Note {
    /// What its keys in `meta` begin with.
    fn prefix(self) -> &'static str {
        match self {
            Note::Directory => "directory:",
            Note::Metadata => "metadata:",
        }
    }

    fn key(self, path: &str) -> String {
        format!("{}{path}", self.prefix())
    }
}

pub(super) fn keep_note(
    s: &Session<'_>,
    note: Note,
    path: &str,
    text: &str,
) -> Result<(), StoreError> {
    Ok(super::db::set_meta(s.conn, &note.key(path), text)?)
}

pub(super) fn notes(s: &Session<'_>, note: Note) -> Result<Vec<(String, String)>, StoreError> {
    let mut statement = s
        .conn
        .prepare_cached("SELECT key, value FROM meta WHERE key GLOB ?1 || '*'")?;
    let prefix = note.prefix();
    let rows = statement.query_map([prefix], |row| {
        let key: String = row.get(0)?;
        Ok((key[prefix.len()..].to_owned(), row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
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

/// How far pruning has come; it is gone on with until it is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Pruning {
    pub(super) pruned: Pruned,
    /// Old events are all gone.
    events_done: bool,
    after: Option<[u8; 16]>,
    pub(super) done: bool,
}

/// Prunes a little: what takes a few milliseconds. Seeds are kept for ever: a
/// provisioning script may import one again after years. Candidates and unread
/// answers are kept as well: they may hold the only living refresh token.
pub(super) fn prune(
    s: &Session<'_>,
    before: WallTime,
    mut pruning: Pruning,
) -> Result<Pruning, StoreError> {
    if pruning.events_done {
        return prune_fingerprints(s, pruning);
    }
    // Events are written in the order of their times, but for a clock that was set.
    let gone = s.conn.execute(
        "DELETE FROM events WHERE at < ?1
             AND id <= (SELECT min(id) FROM events) + ?2",
        (before.0, PRUNED_AT_ONCE),
    )?;
    pruning.pruned.events += gone;
    pruning.events_done = gone == 0;
    Ok(pruning)
}

fn prune_fingerprints(s: &Session<'_>, mut pruning: Pruning) -> Result<Pruning, StoreError> {
    let after = pruning.after.unwrap_or_default();
    let mut last = s.conn.prepare_cached(
        "SELECT max(fp), count(*) FROM
             (SELECT fp FROM fingerprints WHERE fp > ?1 ORDER BY fp LIMIT ?2)",
    )?;
    let (last, count): (Option<[u8; 16]>, i64) = last
        .query_row((after, PRUNED_AT_ONCE), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    // What is presented now may have been so for many generations.
    pruning.pruned.fingerprints += s.conn.execute(
        "DELETE FROM fingerprints AS f WHERE fp > ?1 AND fp <= ?2 AND seed = 0 AND EXISTS (
             SELECT 1 FROM grants WHERE key = f.grant_key AND generation - f.generation >= ?3
                 AND json_extract(state, '$.presents') IS NOT lower(hex(f.fp)))",
        (after, last.unwrap_or(after), FINGERPRINTS),
    )?;
    pruning.after = last;
    pruning.done = count < PRUNED_AT_ONCE;
    Ok(pruning)
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
