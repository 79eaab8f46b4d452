//! The exchanges under way: a row for each, durable before a byte of it leaves, and gone
//! in the transaction that settles it.

use super::commits::FastJob;
use super::error::StoreError;
use super::records::{from_json, json, key_of, signed};
use super::store::Store;
use super::writer::{Job, Message, Session};
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::grant::Presents;
use refreshd_core::time::WallTime;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// An intent that is to be recorded, and who waits for it.
pub(super) struct BeginJob {
    flight: FlightId,
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
        s.saw(self.begun);
        Ok(self.insert(s.conn)?)
    }

    /// Writes the row of an exchange that is known already.
    pub(super) fn put(conn: &Connection, intent: &Intent) -> rusqlite::Result<()> {
        let (nobody, _) = oneshot::channel();
        BeginJob::new(intent, nobody).insert(conn)
    }

    fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT INTO intents (flight, grant_key, code, generation, attempt, begun, intent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
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

/// An exchange has ended.
pub(super) fn end(s: &Session<'_>, flight: FlightId) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("DELETE FROM intents WHERE flight = ?1")?
        .execute([flight.0])?;
    Ok(())
}

/// The doubt of an exchange is settled, and its answer is still waited for.
pub(super) fn mark_overdue(s: &Session<'_>, flight: FlightId) -> Result<(), StoreError> {
    s.conn
        .prepare_cached("UPDATE intents SET overdue = 1 WHERE flight = ?1")?
        .execute([flight.0])?;
    Ok(())
}

/// Whether a grant has an exchange under way: it is not taken away from under its answer.
pub(super) fn is_under_way(s: &Session<'_>, key: i64) -> Result<bool, StoreError> {
    Ok(s.conn
        .prepare_cached("SELECT 1 FROM intents WHERE grant_key = ?1")?
        .exists([key])?)
}

/// All that have not ended, as they were recorded.
pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<Intent>> {
    let mut statement = conn.prepare("SELECT intent FROM intents ORDER BY begun, flight")?;
    let rows = statement.query_map([], |row| from_json(row, 0))?;
    rows.collect()
}
