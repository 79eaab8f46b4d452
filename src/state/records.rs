//! How things become columns: JSON, sealed bytes, and SQLite's signed numbers.

use super::error::StoreError;
use super::seal::Context;
use super::writer::Session;
use refreshd_core::flight::{Answer, FlightId};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::time::WallTime;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// SQLite has signed numbers; ours never come near the end of them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// JSON of something secret, in a buffer that is wiped.
pub(super) fn secret_json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Room enough that the buffer hardly ever moves and leaves a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(8 * 1024));
    serde_json::to_writer(&mut *bytes, value).expect("records are plain data");
    bytes
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain data")
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}

/// The metadata of an answer as JSON, its length before it, and the raw body.
pub(super) fn answer_bytes(metadata: &impl Serialize, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let metadata = json(metadata);
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + metadata.len() + body.len()));
    let length = u32::try_from(metadata.len()).expect("metadata are short");
    bytes.extend(length.to_be_bytes());
    bytes.extend(metadata.as_bytes());
    bytes.extend(body);
    bytes
}

/// The way back from [`answer_bytes`].
pub(super) fn split_answer<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, Vec<u8>)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (metadata, body) = rest.split_at_checked(length)?;
    Some((serde_json::from_slice(metadata).ok()?, body.to_vec()))
}

pub(super) fn flight_id(row: &Row<'_>, column: usize) -> rusqlite::Result<FlightId> {
    row.get(column).map(FlightId)
}

const GRANT: &str = "SELECT id, name, client, vars, redirect_uri, revision, state FROM grants";

fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    Ok(Grant {
        id: GrantId(row.get(0)?),
        name: row.get(1)?,
        client: row.get(2)?,
        vars: from_json(row, 3)?,
        redirect_uri: row.get(4)?,
        revision: row.get::<_, i64>(5)?.unsigned_abs(),
        state: from_json(row, 6)?,
    })
}

impl Session<'_> {
    pub(super) fn all_grants(&self) -> Result<Vec<Grant>, StoreError> {
        let mut statement = self
            .conn
            .prepare_cached(&format!("{GRANT} ORDER BY name"))?;
        let rows = statement.query_map([], grant)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn grant_by(&self, column: &str, value: &str) -> Result<Option<Grant>, StoreError> {
        let sql = format!("{GRANT} WHERE {column} = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement.query_row([value], grant).optional()?)
    }

    pub(super) fn grant(&self, id: &GrantId) -> Result<Grant, StoreError> {
        self.grant_by("id", &id.0)?
            .ok_or_else(|| StoreError::NoSuchGrant(id.0.clone()))
    }

    pub(super) fn tokens(&self, grant: &Grant) -> Result<Option<TokenSet>, StoreError> {
        let sealed: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT tokens FROM grants WHERE id = ?1")?
            .query_row([&grant.id.0], |row| row.get(0))?;
        sealed
            .map(|sealed| self.open_tokens("grants", &grant.id.0, grant.state.generation, &sealed))
            .transpose()
    }

    /// Adds a grant, without tokens.
    pub(super) fn insert_grant(&self, grant: &Grant, at: WallTime) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO grants
                 (id, name, client, vars, redirect_uri, revision, generation, state, imported_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute((
                &grant.id.0,
                &grant.name,
                &grant.client,
                json(&grant.vars),
                &grant.redirect_uri,
                signed(grant.revision),
                signed(grant.state.generation),
                json(&grant.state),
                at.0,
            ))?;
        Ok(())
    }

    /// Writes revision, state and, where there are new ones, tokens.
    pub(super) fn write_grant(
        &self,
        grant: &Grant,
        tokens: Option<&TokenSet>,
    ) -> Result<(), StoreError> {
        let state: &GrantState = &grant.state;
        let sealed = tokens.map(|t| self.seal_tokens("grants", &grant.id.0, state.generation, t));
        self.conn
            .prepare_cached(
                "UPDATE grants SET client = ?2, vars = ?3, redirect_uri = ?4, revision = ?5,
                 generation = ?6, state = ?7, tokens = coalesce(?8, tokens) WHERE id = ?1",
            )?
            .execute((
                &grant.id.0,
                &grant.client,
                json(&grant.vars),
                &grant.redirect_uri,
                signed(grant.revision),
                signed(state.generation),
                json(state),
                sealed,
            ))?;
        Ok(())
    }

    pub(super) fn seal_tokens(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        tokens: &TokenSet,
    ) -> Vec<u8> {
        let context = Context {
            purpose,
            owner,
            column: "tokens",
            generation,
        };
        self.sealer.seal(&context, &secret_json(tokens))
    }

    pub(super) fn open_tokens(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        sealed: &[u8],
    ) -> Result<TokenSet, StoreError> {
        let context = Context {
            purpose,
            owner,
            column: "tokens",
            generation,
        };
        let bytes = self.sealer.open(&context, sealed)?;
        serde_json::from_slice(&bytes).map_err(|_| StoreError::Record {
            purpose: purpose.to_owned(),
        })
    }

    pub(super) fn seal_answer(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        answer: &Answer,
    ) -> Vec<u8> {
        let context = Context {
            purpose,
            owner,
            column: "answer",
            generation,
        };
        self.sealer
            .seal(&context, &answer_bytes(answer, &answer.body))
    }

    pub(super) fn open_answer(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        sealed: &[u8],
    ) -> Result<Answer, StoreError> {
        let context = Context {
            purpose,
            owner,
            column: "answer",
            generation,
        };
        let bytes = self.sealer.open(&context, sealed)?;
        let (mut answer, body): (Answer, _) =
            split_answer(&bytes).ok_or_else(|| StoreError::Record {
                purpose: purpose.to_owned(),
            })?;
        answer.body = body;
        Ok(answer)
    }
}
