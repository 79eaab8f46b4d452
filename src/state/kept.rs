//! What is kept because it may still be worth something: candidates, and
//! answers that could not be read.

use super::disk::hex;
use super::error::StoreError;
use super::records::{flight_id, from_json, json, open_answer, seal_answer, signed};
use super::seal::Sealer;
use super::writer::Session;
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::{Binding, GrantId};
use refreshd_core::kept;
use refreshd_core::ledger::{Candidate, UnreadAnswer};
use refreshd_core::provider::Answer;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::time::WallTime;
use rusqlite::Connection;

/// The table of answers, also in the seal's context.
pub(super) const ANSWERS: &str = "answers";

/// An answer that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The flight.
    pub flight: ExchangeId,
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

/// Keeps a candidate.
pub(super) fn keep_candidate(
    s: &Session<'_>,
    grant: &GrantId,
    candidate: &Candidate,
) -> Result<(), StoreError> {
    let (owner, base) = (hex(&candidate.flight.0), candidate.base_generation);
    let tokens = candidate.tokens.as_ref();
    let tokens = tokens.map(|tokens| s.seal_tokens("candidates", &owner, base, tokens));
    let answer = candidate.answer.as_ref();
    let answer = answer.map(|answer| s.seal_answer("candidates", &owner, base, answer));
    s.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO candidates
             (flight, grant_id, base_generation, tokens, answer, description, at, binding, refused)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            candidate.flight.0,
            &grant.0,
            signed(base),
            tokens,
            answer,
            candidate.description.as_ref().map(|d| &d.0),
            candidate.at.0,
            candidate.binding.as_ref().map(json),
            candidate.refused,
        ))?;
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

/// Candidates as an entry has them: without answers, which no rule reads, and with the
/// token sets where `with_tokens` says so. One that does not open stays where it is, and
/// is not tried.
pub(super) fn candidates_of_entry(
    s: &Session<'_>,
    grant: &GrantId,
    with_tokens: bool,
) -> Result<Vec<Candidate>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT flight, base_generation, CASE WHEN ?2 THEN tokens END, description, refused, at,
             binding FROM candidates WHERE grant_id = ?1 ORDER BY at, flight",
    )?;
    let mut rows = statement.query((&grant.0, with_tokens))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let flight = flight_id(row, 0)?;
        let base = row.get::<_, i64>(1)?.unsigned_abs();
        let sealed: Option<Vec<u8>> = row.get(2)?;
        let open = |sealed: Vec<u8>| {
            s.open_tokens("candidates", &hex(&flight.0), base, &sealed)
                .ok()
        };
        found.push(Candidate {
            flight,
            base_generation: base,
            tokens: sealed.and_then(open),
            answer: None,
            description: row.get::<_, Option<String>>(3)?.map(DescriptionHash),
            refused: row.get(4)?,
            at: WallTime(row.get(5)?),
            binding: binding(row, 6)?,
        });
    }
    Ok(found)
}

fn binding(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Binding>> {
    let text: Option<String> = row.get(column)?;
    text.map(|_| from_json(row, column)).transpose()
}

/// Keeps an answer that could not be read; once more when another description
/// did no better.
pub(super) fn keep_unread(s: &Session<'_>, kept: &UnreadAnswer) -> Result<(), StoreError> {
    let (intent, generation) = (&kept.intent, kept.generation);
    let flight = intent.flight;
    let sealed = s.seal_answer(ANSWERS, &hex(&flight.0), generation, &kept.answer);
    s.conn
        .prepare_cached(
            "INSERT INTO answers (flight, grant_id, generation, answer, description, at, intent)
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
            kept.at.0,
            json(intent),
        ))?;
    let_go(s, intent)
}

/// Keeps an answer as it came, by one statement which touches no row of its grant: that
/// may be what could not be written.
pub(super) fn keep_raw(
    s: &Session<'_>,
    intent: &Intent,
    answer: &Answer,
) -> Result<(), StoreError> {
    Ok(put_raw(s.conn, s.sealer, intent, answer)?)
}

/// The same, where there is no session yet.
pub(super) fn put_raw(
    conn: &Connection,
    sealer: &Sealer,
    intent: &Intent,
    answer: &Answer,
) -> rusqlite::Result<()> {
    let (flight, generation) = (intent.flight, intent.generation);
    let sealed = seal_answer(sealer, ANSWERS, &hex(&flight.0), generation, answer);
    conn.prepare_cached(
        "INSERT OR IGNORE INTO answers
         (flight, grant_id, generation, answer, description, at, intent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute((
        flight.0,
        &intent.grant.0,
        signed(generation),
        sealed,
        &intent.description.0,
        answer.received.0,
        json(intent),
    ))
    .map(drop)
}

/// Opens an answer that was kept.
pub(super) fn open(
    sealer: &Sealer,
    flight: ExchangeId,
    generation: u64,
    sealed: &[u8],
) -> Result<Answer, StoreError> {
    open_answer(sealer, ANSWERS, &hex(&flight.0), generation, sealed)
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
        forget(s, ANSWERS, all[at].flight)?;
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

/// The answers of a grant that could not be read. What its grant could not take is not
/// among them: that is settled by its own exchange.
pub(super) fn unread(s: &Session<'_>, grant: &GrantId) -> Result<Vec<Unread>, StoreError> {
    let mut statement = s.conn.prepare_cached(
        "SELECT flight, generation, answer, intent, at FROM answers AS a
         WHERE grant_id = ?1 AND intent IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM intents WHERE flight = a.flight)
         ORDER BY at, flight",
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
            answer: open(s.sealer, flight, generation, &sealed)?,
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
    flight: ExchangeId,
) -> Result<(), StoreError> {
    s.conn.execute(
        &format!("DELETE FROM {table} WHERE flight = ?1"),
        [flight.0],
    )?;
    Ok(())
}
