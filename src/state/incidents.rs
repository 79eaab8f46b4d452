//! Incidents as rows: what is open, and for a while what was.

use super::error::StoreError;
use super::records::signed;
use super::store::Store;
use super::writer::Session;
use refreshd_core::incident::{Incident, Kind, Subject};
use refreshd_core::time::WallTime;
use rusqlite::{OptionalExtension as _, Row};
use std::time::Duration;

/// How long one that is over is kept.
const KEPT_FOR: Duration = Duration::from_secs(90 * 86_400);
/// How many that are over are kept.
const KEPT: i64 = 10_000;

const COLUMNS: &str = "id, kind, about, subject, grant_name, text, opened_at, ends_at, \
     reminded_at, reminders, closed_at, closed_because";

impl Store {
    /// What is open, and the highest number ever given.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_incidents(&self) -> Result<(Vec<Incident>, u64), StoreError> {
        self.read(|s| {
            let last: Option<i64> = s
                .conn
                .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'incidents'")?
                .query_row([], |row| row.get(0))
                .optional()?;
            let open = select(s, "closed_at IS NULL ORDER BY id", ())?;
            Ok((open, last.unwrap_or_default().unsigned_abs()))
        })
        .await
    }

    /// The last incidents of a grant that are over, the latest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn closed_incidents(
        &self,
        grant: &str,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        let grant = grant.to_owned();
        let of =
            "grant_name = ?1 AND closed_at IS NOT NULL ORDER BY closed_at DESC, id DESC LIMIT ?2";
        self.read(move |s| select(s, of, (grant, limit))).await
    }

    /// Keeps incidents as they are now, in one transaction.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn keep_incidents(&self, incidents: Vec<Incident>) -> Result<(), StoreError> {
        self.write(move |s| incidents.iter().try_for_each(|incident| put(s, incident)))
            .await
    }

    /// Forgets what has been over for long; returns how many.
    ///
    /// # Errors
    /// When it did not become durable.
    pub async fn prune_incidents(&self, now: WallTime) -> Result<usize, StoreError> {
        self.write(move |s| prune(s, now)).await
    }
}

fn select(
    s: &Session<'_>,
    of: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Incident>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM incidents WHERE {of}");
    let mut statement = s.conn.prepare_cached(&query)?;
    let rows = statement.query_map(params, incident)?;
    let found: Vec<Option<Incident>> = rows.collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// `None` for one of a kind that this program does not know.
fn incident(row: &Row<'_>) -> rusqlite::Result<Option<Incident>> {
    let (kind, about, name): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let grant: Option<String> = row.get(4)?;
    let subject = Subject::from_parts(&about, &name, grant.as_deref());
    let (Some(kind), Some(subject)) = (Kind::from_word(&kind), subject) else {
        return Ok(None);
    };
    let closed_at: Option<i64> = row.get(10)?;
    let because: Option<String> = row.get(11)?;
    Ok(Some(Incident {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        kind,
        subject,
        text: row.get(5)?,
        opened_at: WallTime(row.get(6)?),
        ends_at: row.get::<_, Option<i64>>(7)?.map(WallTime),
        reminded_at: row.get::<_, Option<i64>>(8)?.map(WallTime),
        reminders: row.get(9)?,
        closed: closed_at.map(|at| (WallTime(at), because.unwrap_or_default())),
    }))
}

fn put(s: &Session<'_>, incident: &Incident) -> Result<(), StoreError> {
    let closed = incident.closed.as_ref();
    s.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO incidents
                 (id, kind, about, subject, grant_name, text, opened_at, ends_at,
                  reminded_at, reminders, closed_at, closed_because)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute((
            signed(incident.id),
            incident.kind.word(),
            incident.subject.word(),
            incident.subject.name(),
            incident.subject.grant(),
            &incident.text,
            incident.opened_at.0,
            incident.ends_at.map(|at| at.0),
            incident.reminded_at.map(|at| at.0),
            incident.reminders,
            closed.map(|(at, _)| at.0),
            closed.map(|(_, why)| why),
        ))?;
    Ok(())
}

/// Bounded in time, and in number.
fn prune(s: &Session<'_>, now: WallTime) -> Result<usize, StoreError> {
    let old = s.conn.execute(
        "DELETE FROM incidents WHERE closed_at < ?1",
        [(now - KEPT_FOR).0],
    )?;
    let many = s.conn.execute(
        "DELETE FROM incidents WHERE id IN (
             SELECT id FROM incidents WHERE closed_at IS NOT NULL
             ORDER BY closed_at DESC, id DESC LIMIT -1 OFFSET ?1
         )",
        [KEPT],
    )?;
    Ok(old + many)
}
