//! The exchanges under way: a row for each, durable before a byte of it leaves, and gone
//! in the transaction that settles it.

use super::commits::FastJob;
use super::error::StoreError;
use super::kept;
use super::records::{from_json, json, key_of, signed};
use super::seal::Sealer;
use super::store::Store;
use super::writer::{Job, Message, Session};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::Presents;
use refreshd_core::provider::Answer;
use refreshd_core::time::WallTime;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// An intent that is to be recorded, and who waits for it.
pub(super) struct BeginJob {
    flight: ExchangeId,
    /// Of the grant; `None`: a code is presented, which names no grant of the store.
    grant: Option<i64>,
    /// The fingerprint of the code.
    code: Option<[u8; 16]>,
    generation: i64,
    attempt: u32,
    begun: WallTime,
    intent: String,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
}

impl BeginJob {
    fn new(intent: &Intent, answer: oneshot::Sender<Result<(), StoreError>>) -> BeginJob {
        let code = match intent.presents {
            Presents::Code(code) => Some(code.0),
            Presents::RefreshToken(_) | Presents::ClientCredentials => None,
        };
        BeginJob {
            flight: intent.flight,
            grant: code.is_none().then(|| key_of(&intent.grant)),
            code,
            generation: signed(intent.generation),
            attempt: intent.attempt,
            begun: intent.sent.wall,
            intent: json(intent),
            answer,
        }
    }

    /// One statement: whatever becomes of it, nothing is half done.
    pub(super) fn run(&self, s: &Session<'_>) -> Result<(), StoreError> {
        Ok(self.insert(s.conn)?)
    }

    fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT INTO intents (key, flight, grant_key, code, generation, attempt, begun, intent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            number(self.flight),
            self.flight.0,
            self.grant,
            self.code,
            self.generation,
            self.attempt,
            self.begun.0,
            &self.intent,
        ))
        .map(drop)
    }
}

/// Puts an intent back that an earlier process had, unless it is there, or its grant is gone.
pub(super) fn put_back(conn: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    let (answer, _) = oneshot::channel();
    let begun = BeginJob::new(intent, answer);
    let known = "SELECT 1 FROM grants WHERE key = ?1";
    let has_grant = begun.grant.map(|key| conn.prepare(known)?.exists([key]));
    match is_there(conn, intent.flight)? || !has_grant.unwrap_or(Ok(true))? {
        true => Ok(()),
        false => begun.insert(conn),
    }
}

/// Whether an exchange is under way.
pub(super) fn is_there(conn: &Connection, flight: ExchangeId) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM intents WHERE key = ?1 AND flight = ?2")?
        .exists((number(flight), flight.0))
}

impl Store {
    /// Records what is about to be sent; durable when this returns, and not before.
    ///
    /// # Errors
    /// When it did not become durable: then nothing may be sent, though it may be found at
    /// the next start, if this process is killed before its next commit.
    pub async fn record_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = FastJob::Begin(BeginJob::new(intent, answer));
        self.send(Message::Job(Job::Fast(job)))?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// The number by which the table knows an exchange: the first half of its own.
fn number(flight: ExchangeId) -> i64 {
    let [first, ..] = flight.0.as_chunks::<8>().0 else {
        unreachable!("16 bytes")
    };
    i64::from_be_bytes(*first)
}

/// An exchange has ended.
pub(super) fn end(s: &Session<'_>, flight: ExchangeId) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("DELETE FROM intents WHERE key = ?1 AND flight = ?2")?
        .execute((number(flight), flight.0))?;
    Ok(())
}

/// The doubt of an exchange is settled, and its answer is still waited for.
pub(super) fn mark_overdue(s: &Session<'_>, flight: ExchangeId) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("UPDATE intents SET overdue = 1 WHERE key = ?1 AND flight = ?2")?
        .execute((number(flight), flight.0))?;
    Ok(())
}

/// Whether a grant has an exchange under way: it is not taken away from under its answer.
pub(super) fn is_under_way(s: &Session<'_>, key: i64) -> Result<bool, StoreError> {
    Ok(s.conn
        .prepare_cached("SELECT 1 FROM intents WHERE grant_key = ?1")?
        .exists([key])?)
}

/// How many exchanges are under way.
pub(super) fn count(conn: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM intents")?
        .query_row([], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// An exchange of an earlier run that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What was to be sent; whether it was is not known.
    pub intent: Intent,
    /// What came back, where that was kept though its grant could not take it.
    pub answer: Option<Answer>,
}

/// All that have not ended, as they were recorded, each with what was kept of its answer.
pub(super) fn all(conn: &Connection, sealer: &Sealer) -> rusqlite::Result<Vec<Recovered>> {
    let mut statement = conn.prepare(
        "SELECT i.intent, a.answer, a.generation FROM intents i
         LEFT JOIN answers a ON a.flight = i.flight ORDER BY i.begun, i.key",
    )?;
    let rows = statement.query_map([], |row| {
        let intent: Intent = from_json(row, 0)?;
        let sealed: Option<Vec<u8>> = row.get(1)?;
        let generation = row.get::<_, Option<i64>>(2)?.unwrap_or_default();
        let open = |sealed: Vec<u8>| {
            let answer = kept::open(sealer, intent.flight, generation.unsigned_abs(), &sealed);
            if let Err(error) = &answer {
                tracing::error!(grant = %intent.name, %error, "{}: the answer that was kept of an exchange cannot be read; it stays where it is", intent.name);
            }
            answer.ok()
        };
        let answer = sealed.and_then(open);
        Ok(Recovered { intent, answer })
    })?;
    rows.collect()
}
