//! Exchanges under way stand in the journal and as rows. Each start looks whether both say
//! the same of them.

use super::db;
use super::intents::{self, BeginJob};
use super::journal::Recovered;
use refreshd_core::flight::Intent;
use rusqlite::Connection;

/// The row of `meta` that is there until the rows have followed the journal.
const FOLLOW: &str = "intents";

/// What is logged where they do not: it never is, but for a mistake of this program.
pub const DISAGREE: &str = "the journal and the rows of exchanges under way disagree";

/// Looks where the two disagree. `comparable`: both are of the same time, so that they
/// have to agree; where they are not, the rows follow the journal.
pub(super) fn compare(
    conn: &Connection,
    recovered: &[Recovered],
    comparable: bool,
) -> rusqlite::Result<Vec<String>> {
    let follows = db::meta_if_any::<String>(conn, FOLLOW)?.is_some();
    let rows = intents::all(conn)?;
    if !comparable || follows {
        let followed = follow(conn, recovered, &rows)
            .and_then(|()| conn.execute("DELETE FROM meta WHERE key = ?1", [FOLLOW]));
        // On a full disk what lives is served; nothing begins there.
        if let Err(error) = followed {
            tracing::warn!(%error, "the rows of exchanges under way cannot follow the journal");
        }
        return Ok(Vec::new());
    }
    let of_row = |row: &Intent| recovered.iter().find(|it| it.intent.flight == row.flight);
    let mut wrong = Vec::new();
    for row in &rows {
        match of_row(row) {
            // A row is written after the record, and goes before the record may.
            None => wrong.push(format!("only a row: {row:?}")),
            Some(it) if !is_same(row, it) => {
                wrong.push(format!("a row {row:?}, a record {:?}", it.intent));
            }
            Some(_) => {}
        }
    }
    // A record without a row was never sent: the process ended between the two. Or a restore
    // has lost the time in which it was settled, and the journal brings it back.
    for what in &wrong {
        tracing::error!("{DISAGREE}: {what}");
    }
    if !wrong.is_empty()
        && let Err(error) = follow(conn, recovered, &rows)
    {
        tracing::warn!(%error, "the rows of exchanges under way cannot follow the journal");
    }
    Ok(wrong)
}

/// An answer's record has its intent by the clock of that moment.
fn is_same(row: &Intent, found: &Recovered) -> bool {
    let mut intent = found.intent.clone();
    if found.answer.is_some() {
        intent.sent.wall = row.sent.wall;
        intent.first_sent = row.first_sent;
    }
    *row == intent
}

/// Makes the rows what the journal says.
fn follow(conn: &Connection, recovered: &[Recovered], rows: &[Intent]) -> rusqlite::Result<()> {
    let known = |row: &&Intent| recovered.iter().any(|it| it.intent.flight == row.flight);
    for row in rows.iter().filter(|row| !known(row)) {
        conn.execute("DELETE FROM intents WHERE flight = ?1", [row.flight.0])?;
    }
    for it in recovered {
        let has_row = rows.iter().any(|row| row.flight == it.intent.flight);
        // The grant of one may be gone with the store that is.
        if !has_row && let Err(error) = BeginJob::put(conn, &it.intent) {
            tracing::debug!(%error, "an exchange in the journal has no grant in the store");
        }
    }
    Ok(())
}
