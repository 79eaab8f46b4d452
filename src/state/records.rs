//! How things become columns: JSON, sealed bytes, and SQLite's signed numbers.

use super::disk;
use super::error::StoreError;
use super::seal::{Context, Sealer};
use super::writer::Session;
use crate::random;
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::{Grant, GrantId, TokenSet};
use refreshd_core::provider::Answer;
use refreshd_core::secret::Secret;
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

/// JSON of something secret, in a buffer that is wiped. `room` is about its
/// length: a buffer that has to grow leaves a copy behind, and one that is far
/// too large takes long to wipe.
pub(super) fn secret_json(value: &impl Serialize, room: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *bytes, value).expect("records are plain data");
    bytes
}

/// Room for a token set's JSON, also if a good part of it has to be escaped.
fn room_for(tokens: &TokenSet) -> usize {
    let length = |secret: &Secret| secret.expose().len() * 5 / 4;
    let words = [&tokens.token_type, &tokens.scope].into_iter().flatten();
    let secrets = [&tokens.refresh_token, &tokens.code].into_iter().flatten();
    let extra = tokens.extra.iter();
    256 + length(&tokens.access_token)
        + words.map(String::len).sum::<usize>()
        + secrets.map(length).sum::<usize>()
        + extra
            .map(|(name, value)| name.len() + 2 * length(value) + 8)
            .sum::<usize>()
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

pub(super) fn flight_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ExchangeId> {
    row.get(column).map(ExchangeId)
}

/// The number by which the tables know a grant: the first half of its id. What
/// is no id of ours has one as well, and no row.
pub(super) fn key_of(id: &GrantId) -> i64 {
    let half = id.0.get(..16);
    let number = half.and_then(|half| u64::from_str_radix(half, 16).ok());
    number.unwrap_or_default().cast_signed()
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

    /// So many grants behind this key, with their keys, in the order of those.
    pub(super) fn grants_after(
        &self,
        after: Option<i64>,
        most: usize,
    ) -> Result<Vec<(i64, Grant)>, StoreError> {
        let sql = format!("{GRANT} WHERE key >= ?1 ORDER BY key LIMIT ?2");
        let first = after.map_or(i64::MIN, |key| key.saturating_add(1));
        let mut statement = self.conn.prepare_cached(&sql)?;
        let rows = statement.query_map((first, signed(most as u64)), grant)?;
        let keyed = rows.map(|grant| grant.map(|grant| (key_of(&grant.id), grant)));
        Ok(keyed.collect::<Result<_, _>>()?)
    }

    pub(super) fn grant_named(&self, name: &str) -> Result<Option<Grant>, StoreError> {
        let sql = format!("{GRANT} WHERE name = ?1");
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement.query_row([name], grant).optional()?)
    }

    pub(super) fn find_grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        let sql = format!("{GRANT} WHERE key = ?1 AND id = ?2");
        let mut statement = self.conn.prepare_cached(&sql)?;
        Ok(statement.query_row((key_of(id), &id.0), grant).optional()?)
    }

    pub(super) fn grant(&self, id: &GrantId) -> Result<Grant, StoreError> {
        self.find_grant(id)?
            .ok_or_else(|| StoreError::NoSuchGrant(id.0.clone()))
    }

    /// An id that no grant has, nor its number.
    pub(super) fn new_id(&self) -> Result<GrantId, StoreError> {
        loop {
            let id = GrantId(disk::hex(&random::bytes::<16>()));
            let taken = self
                .conn
                .prepare_cached("SELECT 1 FROM grants WHERE key = ?1")?
                .exists([key_of(&id)])?;
            if !taken {
                return Ok(id);
            }
        }
    }

    /// The sealed token set of a grant, if the store's grant is of that revision.
    pub(super) fn sealed_tokens(
        &self,
        id: &GrantId,
        revision: u64,
    ) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        let mut statement = self.conn.prepare_cached(
            "SELECT tokens FROM grants WHERE key = ?1 AND id = ?2 AND revision = ?3",
        )?;
        let row = (key_of(id), &id.0, signed(revision));
        Ok(statement.query_row(row, |row| row.get(0)).optional()?)
    }

    pub(super) fn tokens(&self, grant: &Grant) -> Result<Option<TokenSet>, StoreError> {
        let sealed: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT tokens FROM grants WHERE key = ?1")?
            .query_row([key_of(&grant.id)], |row| row.get(0))?;
        sealed
            .map(|sealed| {
                open_tokens(
                    self.sealer,
                    GRANTS,
                    &grant.id.0,
                    grant.state.generation,
                    &sealed,
                )
            })
            .transpose()
    }

    /// Adds a grant, without tokens.
    pub(super) fn insert_grant(&self, grant: &Grant, at: WallTime) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO grants
                 (key, id, name, client, vars, redirect_uri, revision, generation, state, imported_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                key_of(&grant.id),
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

    pub(super) fn seal_tokens(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        tokens: &TokenSet,
    ) -> Vec<u8> {
        seal_tokens(self.sealer, purpose, owner, generation, tokens)
    }

    pub(super) fn open_tokens(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        sealed: &[u8],
    ) -> Result<TokenSet, StoreError> {
        open_tokens(self.sealer, purpose, owner, generation, sealed)
    }

    pub(super) fn seal_answer(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        answer: &Answer,
    ) -> Vec<u8> {
        seal_answer(self.sealer, purpose, owner, generation, answer)
    }

    pub(super) fn open_answer(
        &self,
        purpose: &str,
        owner: &str,
        generation: u64,
        sealed: &[u8],
    ) -> Result<Answer, StoreError> {
        open_answer(self.sealer, purpose, owner, generation, sealed)
    }
}

/// The table of the grants, in the seal's context.
pub(super) const GRANTS: &str = "grants";

/// Seals a token set for its row. It takes no connection, so that it need not be
/// done on the store's thread.
pub(super) fn seal_tokens(
    sealer: &Sealer,
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
    sealer.seal(&context, &secret_json(tokens, room_for(tokens)))
}

/// The way back from [`seal_tokens`].
pub(super) fn open_tokens(
    sealer: &Sealer,
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
    let bytes = sealer.open(&context, sealed)?;
    serde_json::from_slice(&bytes).map_err(|_| StoreError::Record {
        purpose: purpose.to_owned(),
    })
}

/// Seals an answer for its row.
pub(super) fn seal_answer(
    sealer: &Sealer,
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
    sealer.seal(&context, &answer_bytes(answer, &answer.body))
}

/// The way back from [`seal_answer`].
pub(super) fn open_answer(
    sealer: &Sealer,
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
    let bytes = sealer.open(&context, sealed)?;
    let (mut answer, body): (Answer, _) =
        split_answer(&bytes).ok_or_else(|| StoreError::Record {
            purpose: purpose.to_owned(),
        })?;
    answer.body = body;
    Ok(answer)
}
