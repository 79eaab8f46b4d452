//! What is kept because it may still be worth something: candidates, and
//! answers that could not be read.

use super::disk::hex;
use super::error::StoreError;
use super::records::{flight_id, from_json, json, signed};
use super::writer::Session;
use crate::random;
use refreshd_core::flight::{Answer, FlightId, Intent, Settlement};
use refreshd_core::grant::candidate::{self, Kept};
use refreshd_core::grant::state::Binding;
use refreshd_core::grant::{Grant, GrantId, TokenSet};
use refreshd_core::kept;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::secret::Secret;
use refreshd_core::time::WallTime;

/// What a flight brought for a generation that was no longer current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The flight.
    pub flight: FlightId,
    /// The generation it started from.
    pub base_generation: u64,
    /// The token set, when the answer could be read.
    pub tokens: Option<TokenSet>,
    /// The answer, when it could not.
    pub answer: Option<Answer>,
    /// By which description it was read, or was to be; `None`: no flight brought it.
    pub description: Option<DescriptionHash>,
    /// Its refresh token was refused.
    pub refused: bool,
    /// To whom it is bound; `None`: not known.
    pub binding: Option<Binding>,
    /// When it came.
    pub at: WallTime,
}

impl Candidate {
    /// As far as it matters for trying it.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            base_generation: self.base_generation,
            at: self.at,
            refused: self.refused,
            by_flight: self.description.is_some(),
            binding: self.binding.clone(),
        }
    }
}

/// An answer that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The flight.
    pub flight: FlightId,
    /// The generation it started from.
    pub generation: u64,
    /// The answer.
    pub answer: Answer,
    /// The flight's intent: the answer is settled by it once it can be read. Its
    /// description is the one by which it could not be read last.
    pub intent: Intent,
    /// When it came.
    pub at: WallTime,
}

/// Keeps what a stale settlement brought; whether it brought anything.
pub(super) fn keep_candidate(
    s: &Session<'_>,
    grant: &GrantId,
    flight: FlightId,
    settlement: &Settlement,
    description: Option<&DescriptionHash>,
    at: WallTime,
) -> Result<bool, StoreError> {
    if settlement.tokens.is_none() && settlement.unread.is_none() {
        return Ok(false);
    }
    let new = u64::from(settlement.tokens.is_some());
    let base = settlement.state.generation.saturating_sub(new);
    let owner = hex(&flight.0);
    let tokens = settlement
        .tokens
        .as_ref()
        .map(|tokens| s.seal_tokens("candidates", &owner, base, tokens));
    let answer = settlement
        .unread
        .as_ref()
        .map(|answer| s.seal_answer("candidates", &owner, base, answer));
    s.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO candidates
             (flight, grant_id, base_generation, tokens, answer, description, at, binding)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            flight.0,
            &grant.0,
            signed(base),
            tokens,
            answer,
            description.map(|d| &d.0),
            at.0,
            settlement.state.binding.as_ref().map(json),
        ))?;
    Ok(true)
}

/// Keeps a token set whose refresh token was refused, so that it is not tried again.
pub(super) fn keep_refused(
    s: &Session<'_>,
    grant: &Grant,
    tokens: &TokenSet,
    at: WallTime,
) -> Result<(), StoreError> {
    let flight = keep_replaced(s, grant, tokens, at)?;
    s.conn
        .prepare_cached("UPDATE candidates SET refused = 1 WHERE flight = ?1")?
        .execute([flight.0])?;
    Ok(())
}

/// Keeps the token set that another takes the place of.
pub(super) fn keep_replaced(
    s: &Session<'_>,
    grant: &Grant,
    tokens: &TokenSet,
    at: WallTime,
) -> Result<FlightId, StoreError> {
    let settlement = Settlement {
        state: grant.state.clone(),
        tokens: Some(tokens.clone()),
        unread: None,
        sent: None,
    };
    let flight = FlightId(random::bytes());
    keep_candidate(s, &grant.id, flight, &settlement, None, at)?;
    Ok(flight)
}

/// Keeps a token set of a second chance, of which another answer takes the place:
/// to be tried, unless it was refused.
pub(super) fn keep_displaced(
    s: &Session<'_>,
    grant: &Grant,
    tokens: &TokenSet,
    kept: &Kept,
    description: Option<&DescriptionHash>,
) -> Result<(), StoreError> {
    let mut was = grant.clone();
    was.state.generation = kept.base_generation + 1;
    if kept.refused {
        return keep_refused(s, &was, tokens, kept.at);
    }
    let settlement = Settlement {
        state: was.state,
        tokens: Some(tokens.clone()),
        unread: None,
        sent: None,
    };
    let flight = FlightId(random::bytes());
    keep_candidate(s, &grant.id, flight, &settlement, description, kept.at)?;
    Ok(())
}

pub(super) fn candidates(s: &Session<'_>, grant: &GrantId) -> Result<Vec<Candidate>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT flight, base_generation, tokens, answer, description, refused, at, binding
         FROM candidates WHERE grant_id = ?1 ORDER BY at, flight",
    )?;
    let mut rows = statement.query([&grant.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let flight = flight_id(row, 0)?;
        let owner = hex(&flight.0);
        let base = row.get::<_, i64>(1)?.unsigned_abs();
        let tokens: Option<Vec<u8>> = row.get(2)?;
        let answer: Option<Vec<u8>> = row.get(3)?;
        found.push(Candidate {
            flight,
            base_generation: base,
            tokens: tokens
                .map(|sealed| s.open_tokens("candidates", &owner, base, &sealed))
                .transpose()?,
            answer: answer
                .map(|sealed| s.open_answer("candidates", &owner, base, &sealed))
                .transpose()?,
            description: row.get::<_, Option<String>>(4)?.map(DescriptionHash),
            refused: row.get(5)?,
            at: WallTime(row.get(6)?),
            binding: binding(row, 7)?,
        });
    }
    Ok(found)
}

fn binding(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Binding>> {
    let text: Option<String> = row.get(column)?;
    text.map(|_| from_json(row, column)).transpose()
}

/// Takes out of the candidates what is newer than the store's own, which only one
/// that was put back can have: its refresh token, and what is known of it.
pub(super) fn take_newer(
    s: &Session<'_>,
    grant: &Grant,
    current: &TokenSet,
) -> Result<Option<(Secret, Kept)>, StoreError> {
    let mut candidates = candidates(s, &grant.id)?;
    let mut kept: Vec<Kept> = candidates.iter().map(Candidate::kept).collect();
    let Some(newest) = candidate::newer(&kept, &grant.state) else {
        return Ok(None);
    };
    let Candidate { flight, tokens, .. } = candidates.swap_remove(newest);
    let token = tokens.and_then(|tokens| tokens.refresh_token);
    let token = token.filter(|token| Some(token) != current.refresh_token.as_ref());
    if token.is_some() {
        forget(s, "candidates", flight)?;
    }
    Ok(token.map(|token| (token, kept.swap_remove(newest))))
}

/// Keeps an answer that could not be read; once more when another description
/// did no better.
pub(super) fn keep_unread(
    s: &Session<'_>,
    intent: &Intent,
    generation: u64,
    answer: &Answer,
    at: WallTime,
) -> Result<(), StoreError> {
    let flight = intent.flight;
    let sealed = s.seal_answer("unread", &hex(&flight.0), generation, answer);
    s.conn
        .prepare_cached(
            "INSERT INTO unread (flight, grant_id, generation, answer, description, at, intent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (flight) DO UPDATE SET description = excluded.description,
                 intent = excluded.intent",
        )?
        .execute((
            flight.0,
            &intent.grant.0,
            signed(generation),
            sealed,
            &intent.description.0,
            at.0,
            json(intent),
        ))?;
    let_go(s, intent)
}

/// Bounds what is kept of a grant (`core/src/kept.rs`), so that a server which answers
/// nonsense for months does not fill the disk.
fn let_go(s: &Session<'_>, newest: &Intent) -> Result<(), StoreError> {
    let mut all = match unread(s, &newest.grant) {
        Ok(all) => all,
        // One is damaged: none is let go, and the new one is kept all the same.
        Err(StoreError::Seal(_) | StoreError::Record { .. }) => return Ok(()),
        Err(e) => return Err(e),
    };
    all.sort_by_key(|kept| kept.flight == newest.flight);
    let answers: Vec<&Answer> = all.iter().map(|kept| &kept.answer).collect();
    let gone = kept::let_go(&answers);
    for &at in &gone {
        forget(s, "unread", all[at].flight)?;
    }
    let name = &newest.name;
    let left = all.len() - gone.len();
    if gone.is_empty() && left.is_multiple_of(kept::MOST) {
        tracing::warn!(grant = %name, "{name}: {left} answers are kept that could not be read, and may hold a token; look at them with `refreshd answers {name}`, and drop those that hold none");
    }
    if !gone.is_empty() {
        tracing::info!(grant = %name, "{name}: of the answers that are kept since they could not be read, {} had come once more or were too many, and held nothing that looks like a token: they were let go", gone.len());
    }
    Ok(())
}

pub(super) fn unread(s: &Session<'_>, grant: &GrantId) -> Result<Vec<Unread>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT flight, generation, answer, intent, at FROM unread
         WHERE grant_id = ?1 AND intent IS NOT NULL ORDER BY at, flight",
    )?;
    let mut rows = statement.query([&grant.0])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let flight = flight_id(row, 0)?;
        let generation = row.get::<_, i64>(1)?.unsigned_abs();
        let sealed: Vec<u8> = row.get(2)?;
        found.push(Unread {
            flight,
            generation,
            answer: s.open_answer("unread", &hex(&flight.0), generation, &sealed)?,
            intent: from_json(row, 3)?,
            at: WallTime(row.get(4)?),
        });
    }
    Ok(found)
}

/// `table` is a name of this module's, never text from outside.
pub(super) fn forget(
    s: &Session<'_>,
    table: &'static str,
    flight: FlightId,
) -> Result<(), StoreError> {
    s.conn.execute(
        &format!("DELETE FROM {table} WHERE flight = ?1"),
        [flight.0],
    )?;
    Ok(())
}
