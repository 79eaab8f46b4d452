//! What stands in a published database. `tokens` is for readers; `meta` says
//! whose a row is, as `.FILE.meta.json` does beside a file. No table is STRICT:
//! readers may have a SQLite that is older than that word.

use super::{DatabaseError, RowJob};
use crate::config::WhenDead;
use crate::publish::output::is_dead;
use refreshd_core::grant::GrantId;
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::collections::BTreeMap;

const SCHEMA: &str = "
CREATE TABLE tokens (
    name         TEXT NOT NULL PRIMARY KEY,
    access_token TEXT NOT NULL,
    token_type   TEXT NOT NULL,
    expires_at   INTEGER,            -- seconds since 1970; NULL where the provider does not say
    scope        TEXT,
    generation   INTEGER NOT NULL,   -- only rises
    updated_at   INTEGER NOT NULL    -- seconds since 1970
);
CREATE TABLE meta (
    name         TEXT NOT NULL PRIMARY KEY,
    store_id     TEXT NOT NULL,
    grant_id     TEXT NOT NULL,
    generation   INTEGER NOT NULL,
    issued_at    INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Version 1 had a word for how the grant is, which changes without the token.
const FROM_1: &str = "ALTER TABLE meta DROP COLUMN state";

/// One thing to do in a transaction.
#[derive(Debug)]
pub(super) enum Work {
    Publish(Box<RowJob>),
    Withdraw { name: String, store_id: String },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A row is as wanted.
    Published {
        /// The generation that stands there; `None`: the token is dead and withdrawn.
        generation: Option<u64>,
        /// It was not before.
        wrote: bool,
    },
    /// Whether a row of ours was there.
    Withdrawn(bool),
}

/// Fills an empty database.
pub(super) fn make_tables(conn: &mut Connection, id: i32, version: i64) -> Result<()> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", id)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// Brings the tables of an earlier version to this one.
pub(super) fn migrate(conn: &mut Connection, version: i64) -> Result<()> {
    let transaction = conn.transaction()?;
    transaction.execute_batch(FROM_1)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// How many tables there are.
pub(super) fn count(conn: &Connection) -> Result<i64> {
    conn.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
}

/// Whether no grant is in it any more.
pub(super) fn is_empty(conn: &Connection) -> Result<bool> {
    conn.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM meta) AND NOT EXISTS (SELECT 1 FROM tokens)",
        [],
        |row| row.get(0),
    )
}

/// The names of the rows that other stores have published.
pub(super) fn of_others(conn: &Connection, store_id: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT name FROM meta WHERE store_id <> ?1 ORDER BY name")?;
    let rows = statement.query_map([store_id], |row| row.get(0))?;
    rows.collect()
}

/// The generations of one store's grants.
pub(super) fn generations(conn: &Connection, store_id: &str) -> Result<BTreeMap<GrantId, u64>> {
    let mut statement =
        conn.prepare("SELECT grant_id, generation FROM meta WHERE store_id = ?1")?;
    let rows = statement.query_map([store_id], |row| {
        Ok((GrantId(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    rows.collect()
}

impl Work {
    /// Does it inside the caller's transaction. What only this row suffers from
    /// is the inner error.
    pub(super) fn run(&self, conn: &Connection) -> Result<Result<Outcome, DatabaseError>> {
        match self {
            Work::Publish(job) => publish(conn, job),
            Work::Withdraw { name, store_id } => withdraw(conn, name, store_id).map(Ok),
        }
    }
}

/// A row of `meta`.
#[derive(PartialEq, Eq)]
struct Meta {
    store_id: String,
    grant_id: String,
    generation: i64,
    issued_at: i64,
}

fn publish(conn: &Connection, job: &RowJob) -> Result<Result<Outcome, DatabaseError>> {
    let (view, state) = (&job.view, &job.view.grant.state);
    if view.tokens.access_token.is_empty() {
        return Ok(Err(DatabaseError::Empty));
    }
    let wanted = Meta {
        store_id: view.store_id.clone(),
        grant_id: view.grant.id.0.clone(),
        generation: i64::try_from(state.generation).unwrap_or(i64::MAX),
        issued_at: state.issued_at.secs(),
    };
    let found = meta(conn, &view.grant.name)?;
    // Also while nothing has fenced the store: within a grant, generations only rise.
    if let Some(found) = &found
        && (&found.store_id, &found.grant_id) == (&wanted.store_id, &wanted.grant_id)
        && found.generation > wanted.generation
    {
        let published = found.generation.unsigned_abs();
        let held = state.generation;
        return Ok(Err(DatabaseError::Ahead { published, held }));
    }
    let dead = job.database.when_dead == WhenDead::Withdraw && is_dead(view, job.now);
    let mut wrote = if dead {
        conn.prepare_cached("DELETE FROM tokens WHERE name = ?1")?
            .execute([&view.grant.name])?
    } else {
        put_token(conn, job, wanted.generation)?
    };
    if found.as_ref() != Some(&wanted) {
        put_meta(conn, &view.grant.name, &wanted)?;
        wrote += 1;
    }
    Ok(Ok(Outcome::Published {
        generation: (!dead).then_some(state.generation),
        wrote: wrote > 0,
    }))
}

fn meta(conn: &Connection, name: &str) -> Result<Option<Meta>> {
    conn.prepare_cached(
        "SELECT store_id, grant_id, generation, issued_at FROM meta WHERE name = ?1",
    )?
    .query_row([name], |row| {
        Ok(Meta {
            store_id: row.get(0)?,
            grant_id: row.get(1)?,
            generation: row.get(2)?,
            issued_at: row.get(3)?,
        })
    })
    .optional()
}

fn put_meta(conn: &Connection, name: &str, meta: &Meta) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, store_id, grant_id, generation, issued_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET store_id = excluded.store_id, grant_id = excluded.grant_id,
           generation = excluded.generation, issued_at = excluded.issued_at",
    )?
    .execute(params![
        name,
        meta.store_id,
        meta.grant_id,
        meta.generation,
        meta.issued_at
    ])
    .map(drop)
}

/// Writes the token unless it stands there already; how many rows that changed.
fn put_token(conn: &Connection, job: &RowJob, generation: i64) -> Result<usize> {
    let (state, tokens) = (&job.view.grant.state, &job.view.tokens);
    // A guessed expiry is not passed on as a fact.
    let expires_at = (!state.expiry_unknown).then(|| state.expires_at.secs());
    let scope = tokens.scope.as_deref().filter(|scope| !scope.is_empty());
    conn.prepare_cached(
        "INSERT INTO tokens (name, access_token, token_type, expires_at, scope, generation, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name) DO UPDATE SET access_token = excluded.access_token,
           token_type = excluded.token_type, expires_at = excluded.expires_at, scope = excluded.scope,
           generation = excluded.generation, updated_at = excluded.updated_at
         WHERE access_token IS NOT excluded.access_token OR token_type IS NOT excluded.token_type
           OR expires_at IS NOT excluded.expires_at OR scope IS NOT excluded.scope
           OR generation IS NOT excluded.generation",
    )?
    .execute(params![
        job.view.grant.name,
        tokens.access_token.expose(),
        tokens.kind(),
        expires_at,
        scope,
        generation,
        job.now.secs()
    ])
}

/// Removes a row that this store wrote; another's stays.
fn withdraw(conn: &Connection, name: &str, store_id: &str) -> Result<Outcome> {
    if meta(conn, name)?.is_none_or(|meta| meta.store_id != store_id) {
        return Ok(Outcome::Withdrawn(false));
    }
    for statement in [
        "DELETE FROM tokens WHERE name = ?1",
        "DELETE FROM meta WHERE name = ?1",
    ] {
        conn.prepare_cached(statement)?.execute([name])?;
    }
    Ok(Outcome::Withdrawn(true))
}
