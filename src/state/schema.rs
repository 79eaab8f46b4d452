//! The tables.

use rusqlite::{Connection, Result};

/// The schema that this program makes and knows. Those before it are taken over by
/// [`super::takeover`].
pub(super) const KNOWN: i64 = 8;

/// `PRAGMA application_id`: "rfsh".
pub(super) const APPLICATION_ID: i64 = 0x7266_7368;

/// A refresh touches as few pages as can be: one of `intents`, of `grants` and of
/// `fingerprints`, and the last of `events`. So grants and intents are found by a number
/// that follows from their id, their rows are whole in one page, and an event names the
/// grant's event before it instead of being in an index.
pub(super) const TABLES: &str = "
-- store_id, commit_seq, last_seen, key_check, fingerprint_key, fenced, machine; backup in a copy
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    key          INTEGER PRIMARY KEY, -- the first half of the id
    id           TEXT NOT NULL,
    name         TEXT NOT NULL UNIQUE,
    client       TEXT NOT NULL,
    vars         TEXT NOT NULL,
    redirect_uri TEXT,
    revision     INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    state        TEXT NOT NULL,
    tokens       BLOB,
    imported_at  INTEGER NOT NULL,
    last_event   INTEGER
) STRICT;

-- Every identity ever seen: one refresh token belongs to one grant.
CREATE TABLE fingerprints (
    fp         BLOB PRIMARY KEY,
    grant_key  INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    seed       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The events of a grant are a list: it begins at grants.last_event.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    grant_key  INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    generation INTEGER NOT NULL,
    flight     BLOB,
    text       TEXT NOT NULL,
    previous   INTEGER
) STRICT;

-- What came for a generation that was no longer current: kept, never dropped. It is
-- presented to nobody but those to whom it is bound, and not again once it was refused.
CREATE TABLE candidates (
    flight          BLOB PRIMARY KEY,
    grant_id        TEXT NOT NULL,
    base_generation INTEGER NOT NULL,
    tokens          BLOB,
    answer          BLOB,
    description     TEXT,
    at              INTEGER NOT NULL,
    refused         INTEGER NOT NULL DEFAULT 0,
    binding         TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX candidates_by_grant ON candidates (grant_id);

CREATE TABLE descriptions (
    hash TEXT PRIMARY KEY,
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A row of a published database: its path, a NUL, and the row's name.
CREATE TABLE outputs (
    path     BLOB PRIMARY KEY,
    grant_id TEXT NOT NULL,
    name     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The times something was not healthy. At most one of a kind is open of a subject.
CREATE TABLE incidents (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    kind           TEXT NOT NULL,
    about          TEXT NOT NULL,
    subject        TEXT NOT NULL,
    grant_name     TEXT,
    text           TEXT NOT NULL,
    opened_at      INTEGER NOT NULL,
    ends_at        INTEGER,
    reminded_at    INTEGER,
    reminders      INTEGER NOT NULL,
    closed_at      INTEGER,
    closed_because TEXT
) STRICT;
CREATE INDEX incidents_open ON incidents (id) WHERE closed_at IS NULL;
CREATE INDEX incidents_by_grant ON incidents (grant_name, closed_at);
CREATE INDEX incidents_closed ON incidents (closed_at);

-- Authorizations, from the moment they are asked for. `record` has no secrets in it;
-- `code` is the fingerprint of the code that came, which comes once.
CREATE TABLE enrollments (
    id         BLOB PRIMARY KEY,
    stage      TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    code       BLOB UNIQUE,
    record     TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0,
    secrets    BLOB
) STRICT;
CREATE INDEX enrollments_by_stage ON enrollments (stage, expires_at);
";

/// What schema 7 had not, or had otherwise.
pub(super) const NEW: &str = "
-- Exchanges under way. A grant is not taken away while it has one; a code names no grant.
CREATE TABLE intents (
    key        INTEGER PRIMARY KEY, -- the first half of the exchange's number
    flight     BLOB NOT NULL,
    grant_key  INTEGER REFERENCES grants (key),
    code       BLOB,
    generation INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    begun      INTEGER NOT NULL,
    overdue    INTEGER NOT NULL DEFAULT 0, -- its doubt is settled, its answer may still come
    intent     TEXT NOT NULL
) STRICT;

-- Answers as they came: what could not be read, to be read again by another description,
-- and what its grant could not take. They are settled by their intent.
CREATE TABLE answers (
    flight      BLOB PRIMARY KEY,
    grant_id    TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    answer      BLOB NOT NULL,
    description TEXT,
    at          INTEGER NOT NULL,
    intent      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_grant ON answers (grant_id);
";

/// The schema of an open database; 0 for an empty one.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Makes all tables, inside the caller's transaction.
pub(super) fn make(conn: &Connection) -> Result<()> {
    conn.execute_batch(TABLES)?;
    conn.execute_batch(NEW)?;
    mark(conn)
}

/// Says that the schema is the one that is known.
pub(super) fn mark(conn: &Connection) -> Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", KNOWN)
}
