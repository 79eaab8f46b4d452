//! The tables, and how an older schema becomes this one.

use super::records::key_of;
use refreshd_core::grant::GrantId;
use rusqlite::{Connection, Result};

/// One step from a schema to the next.
type Migration = fn(&Connection) -> Result<()>;

/// Each entry raises `PRAGMA user_version` by one. Entries are never edited
/// once they are released; a change is another entry.
const MIGRATIONS: [Migration; 8] = [
    |conn| conn.execute_batch(V1),
    |conn| conn.execute_batch(V2),
    by_number,
    |conn| conn.execute_batch(V4),
    |conn| conn.execute_batch(V5),
    |conn| conn.execute_batch(V6),
    |conn| conn.execute_batch(V7),
    |conn| conn.execute_batch(V8),
];

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

// A refresh touches as few pages as can be: one of `grants`, one of `fingerprints`, and the
// last of `events`. So grants are found by a number that follows from their id, their rows are
// whole in one page, and an event names the grant's event before it instead of being in an index.
const V3: &str = "
ALTER TABLE grants RENAME TO old_grants;
ALTER TABLE fingerprints RENAME TO old_fingerprints;
ALTER TABLE events RENAME TO old_events;

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
";

const TO_V3: &str = "
INSERT INTO fingerprints SELECT fp, g.key, f.generation, f.seed
    FROM old_fingerprints f JOIN grants g ON g.id = f.grant_id;
INSERT INTO events SELECT e.id, e.at, g.key, e.kind, e.generation, e.flight, e.text,
        lag(e.id) OVER (PARTITION BY e.grant_id ORDER BY e.id)
    FROM old_events e JOIN grants g ON g.id = e.grant_id;
UPDATE grants SET last_event = last.id
    FROM (SELECT grant_key, max(id) AS id FROM events GROUP BY grant_key) AS last
    WHERE last.grant_key = grants.key;
DROP TABLE old_grants;
DROP TABLE old_fingerprints;
DROP TABLE old_events;
";

fn by_number(conn: &Connection) -> Result<()> {
    conn.execute_batch(V3)?;
    let mut ids = conn.prepare("SELECT id FROM old_grants")?;
    let mut copy = conn.prepare(
        "INSERT INTO grants SELECT ?1, id, name, client, vars, redirect_uri, revision, generation,
             state, tokens, imported_at, NULL FROM old_grants WHERE id = ?2",
    )?;
    let mut rows = ids.query([])?;
    while let Some(row) = rows.next()? {
        let id = GrantId(row.get(0)?);
        copy.execute((key_of(&id), &id.0))?;
    }
    conn.execute_batch(TO_V3)
}

// The times something was not healthy. At most one of a kind is open of a subject.
const V4: &str = "
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
";

// After a failed write a slot may hold either of two flights.
const V5: &str = "
ALTER TABLE slots RENAME TO old_slots;
CREATE TABLE slots (
    file   INTEGER NOT NULL,
    slot   INTEGER NOT NULL,
    flight BLOB NOT NULL,
    PRIMARY KEY (file, slot, flight)
) STRICT, WITHOUT ROWID;
INSERT INTO slots SELECT file, slot, flight FROM old_slots;
DROP TABLE old_slots;
";

// Authorizations, from the moment they are asked for. `record` has no secrets in it;
// `code` is the fingerprint of the code that came, which comes once.
const V6: &str = "
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

// What is kept is presented to nobody but those to whom it is bound.
const V7: &str = "ALTER TABLE candidates ADD COLUMN binding TEXT;";

// Exchanges under way. A grant is not taken away while it has one; a code names no grant.
// What was on its way before stands in the journal alone.
const V8: &str = "
CREATE TABLE intents (
    flight     BLOB PRIMARY KEY,
    grant_key  INTEGER REFERENCES grants (key),
    code       BLOB,
    generation INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    begun      INTEGER NOT NULL,
    overdue    INTEGER NOT NULL DEFAULT 0, -- its doubt is settled, its answer may still come
    intent     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR REPLACE INTO meta (key, value) VALUES ('intents', 'as in the journal');
";

/// The schema of an open database; 0 for an empty one.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the schema up to [`KNOWN`], inside the caller's transaction.
pub(super) fn migrate(conn: &Connection, from: i64) -> Result<()> {
    let done = usize::try_from(from).unwrap_or_default();
    for migration in MIGRATIONS.iter().skip(done) {
        migration(conn)?;
    }
    if from < KNOWN {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", KNOWN)?;
    }
    Ok(())
}
