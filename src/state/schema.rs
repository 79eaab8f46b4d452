//! The tables, and how an older schema becomes this one.

use rusqlite::{Connection, Result};

/// Each entry raises `PRAGMA user_version` by one. Entries are never edited
/// once they are released; a change is another entry.
const MIGRATIONS: [&str; 2] = [V1, V2];

/// The schema this program knows.
pub(super) const KNOWN: i64 = MIGRATIONS.len() as i64;

/// `PRAGMA application_id`: "rfsh".
pub(super) const APPLICATION_ID: i64 = 0x7266_7368;

const V1: &str = "
-- store_id, commit_seq, last_seen, key_check, fingerprint_key, fenced, machine; backup in a copy
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    client       TEXT NOT NULL,
    vars         TEXT NOT NULL,
    redirect_uri TEXT,
    revision     INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    state        TEXT NOT NULL,
    tokens       BLOB,
    imported_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every identity ever seen: one refresh token belongs to one grant.
CREATE TABLE fingerprints (
    fp         BLOB PRIMARY KEY,
    grant_id   TEXT NOT NULL,
    generation INTEGER NOT NULL,
    seed       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX fingerprints_by_grant ON fingerprints (grant_id, generation);

CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    grant_id   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    flight     BLOB,
    text       TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_grant ON events (grant_id, id);

-- What came for a generation that was no longer current: kept, never dropped.
CREATE TABLE candidates (
    flight          BLOB PRIMARY KEY,
    grant_id        TEXT NOT NULL,
    base_generation INTEGER NOT NULL,
    tokens          BLOB,
    answer          BLOB,
    description     TEXT,
    at              INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX candidates_by_grant ON candidates (grant_id);

-- Answers that could not be read, to be read again by another description.
CREATE TABLE unread (
    flight      BLOB PRIMARY KEY,
    grant_id    TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    answer      BLOB NOT NULL,
    description TEXT,
    at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX unread_by_grant ON unread (grant_id);

CREATE TABLE descriptions (
    hash TEXT PRIMARY KEY,
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The flight last committed from each journal slot.
CREATE TABLE slots (
    file   INTEGER NOT NULL,
    slot   INTEGER NOT NULL,
    flight BLOB NOT NULL,
    PRIMARY KEY (file, slot)
) STRICT, WITHOUT ROWID;

-- A row of a published database: its path, a NUL, and the row's name.
CREATE TABLE outputs (
    path     BLOB PRIMARY KEY,
    grant_id TEXT NOT NULL,
    name     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

// An unread answer is settled later as its flight would have been; a candidate
// that was refused is not tried again.
const V2: &str = "
ALTER TABLE unread ADD COLUMN intent TEXT;
ALTER TABLE candidates ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
";

/// The schema of an open database; 0 for an empty one.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the schema up to [`KNOWN`], inside the caller's transaction.
pub(super) fn migrate(conn: &Connection, from: i64) -> Result<()> {
    let done = usize::try_from(from).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(done) {
        conn.execute_batch(migration)?;
    }
    if from < KNOWN {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", KNOWN)?;
    }
    Ok(())
}
