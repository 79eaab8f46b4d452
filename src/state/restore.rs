//! Going on from a store that was put back to an earlier state.

use super::copy;
use super::db;
use super::error::StoreError;
use super::fence::{self, Fenced};
use super::history::{self, Event};
use super::kept;
use super::records::{json, signed};
use super::writer::Session;
use refreshd_core::grant::state::Doubt;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::time::WallTime;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;

/// The row of `meta` that says whose machine the store was on.
const MACHINE: &str = "machine";

/// So that the fence outlives the outputs that showed it (`/run` is empty after a boot).
pub(super) fn remember_fence(s: &Session<'_>, reason: &Fenced) -> Result<(), StoreError> {
    Ok(db::set_meta(s.conn, "fenced", json(reason))?)
}

/// Whether the store is fenced as it is opened: it was before, it is a backup
/// that was put back, its stamp is ahead, or it was copied from another machine.
pub(super) fn fence_at_start(
    dir: &Path,
    opened: &db::Opened,
    machine: Option<&str>,
) -> rusqlite::Result<Option<Fenced>> {
    let conn = &opened.conn;
    let before: Option<String> = db::meta_if_any(conn, "fenced")?;
    if let Some(reason) = before.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(Some(reason));
    }
    let commit_seq = db::meta::<i64>(conn, "commit_seq")?.unsigned_abs();
    let restored = copy::mark(conn)?.map(|mark| Fenced::Restored { taken: mark.at });
    let fenced = restored.or_else(|| fence::check(dir, &opened.store_id, commit_seq));
    if let Some(reason) = &fenced {
        db::set_meta(conn, "fenced", json(reason))?;
        return Ok(fenced);
    }
    // Not remembered: back on its own machine the store is what it was.
    machine.map_or(Ok(None), |here| check_machine(conn, here))
}

fn check_machine(conn: &Connection, here: &str) -> rusqlite::Result<Option<Fenced>> {
    let known: Option<String> = db::meta_if_any(conn, MACHINE)?;
    match known {
        Some(known) if known != here => Ok(Some(Fenced::OtherMachine)),
        Some(_) => Ok(None),
        None => db::set_meta(conn, MACHINE, here).map(|()| None),
    }
}

pub(super) fn accept(
    s: &Session<'_>,
    now: WallTime,
    published: &BTreeMap<GrantId, u64>,
    rotates: &dyn Fn(&Grant) -> bool,
) -> Result<Vec<Grant>, StoreError> {
    s.saw(now);
    s.conn.execute(
        "DELETE FROM meta WHERE key IN ('fenced', ?1, ?2)",
        [copy::MARK, MACHINE],
    )?;
    if let Some(here) = &s.shared.machine {
        db::set_meta(s.conn, MACHINE, here)?;
    }
    let own: i64 = db::meta(s.conn, "commit_seq")?;
    let stamped = fence::stamped(&s.shared.dir, &s.shared.store_id).unwrap_or(0);
    // This transaction's own commit takes it above both.
    db::set_meta(s.conn, "commit_seq", own.max(signed(stamped)))?;
    let mut grants = s.all_grants()?;
    for grant in &mut grants {
        let doubtful = rotates(grant);
        let ahead = published.get(&grant.id).copied().unwrap_or(0);
        accept_grant(s, now, grant, ahead, doubtful)?;
    }
    Ok(grants)
}

fn accept_grant(
    s: &Session<'_>,
    now: WallTime,
    grant: &mut Grant,
    published: u64,
    doubtful: bool,
) -> Result<(), StoreError> {
    // Opened before, sealed after: the generation is part of what is authenticated.
    let mut tokens = s.tokens(grant)?;
    let mut newer = "";
    if let Some(current) = &mut tokens
        && let Some(token) = kept::take_newer(s, grant, current)?
    {
        // The one in the backup has been exchanged for it: it is void.
        kept::keep_refused(s, grant, current, now)?;
        grant.state = grant.state.trying(s.fingerprints.of(&token));
        current.refresh_token = Some(token);
        newer = ", with a newer refresh token that the journal held";
    }
    grant.revision += 1;
    if grant.state.generation > 0 || published > 0 {
        grant.state.generation = grant.state.generation.max(published) + 1;
    }
    if doubtful && let Some(presents) = grant.state.presents {
        let long_ago = WallTime(0);
        let doubt = grant.state.doubt.get_or_insert(Doubt {
            first_sent: long_ago,
            last_sent: long_ago,
            presents,
            presentations: 0,
            unread: false,
        });
        doubt.first_sent = long_ago;
    }
    s.write_grant(grant, tokens.as_ref())?;
    let event = Event {
        at: now,
        kind: "restored".to_owned(),
        text: format!(
            "the store was put back; generations go on from {}{newer}",
            grant.state.generation
        ),
    };
    history::record(s, grant, None, &event)
}
