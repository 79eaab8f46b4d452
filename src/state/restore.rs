//! Going on from a store that was put back to an earlier state.

use super::copy;
use super::db;
use super::error::StoreError;
use super::fence::{self, Fenced};
use super::history::{self, Event};
use super::kept;
use super::records::{json, signed};
use super::writer::Session;
use refreshd_core::fence::{Found, accepted, at_start};
use refreshd_core::grant::candidate::Kept;
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
    let found = Found {
        fenced: before.and_then(|text| serde_json::from_str(&text).ok()),
        backup_of: copy::mark(conn)?.map(|mark| mark.at),
        commit_seq: db::meta::<i64>(conn, "commit_seq")?.unsigned_abs(),
        stamp: fence::stamped(dir, &opened.store_id),
    };
    if let Some(reason) = at_start(&found) {
        db::set_meta(conn, "fenced", json(&reason))?;
        return Ok(Some(reason));
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
        && let Some((token, kept)) = kept::take_newer(s, grant, current)?
    {
        // The one in the backup has been exchanged for it: it is void.
        kept::keep_refused(s, grant, current, now)?;
        grant.state = grant.state.trying(s.fingerprints.of(&token), &kept);
        current.refresh_token = Some(token);
        newer = ", with a newer refresh token that the journal held";
    }
    grant.revision += 1;
    let kept = kept::candidates(s, &grant.id)?;
    let kept: Vec<Kept> = kept.iter().map(|candidate| candidate.kept()).collect();
    grant.state = accepted(&grant.state, published, &kept, doubtful);
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
