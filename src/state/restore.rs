//! Going on from a store that was put back to an earlier state.

use super::copy;
use super::db;
use super::error::StoreError;
use super::fence::{self, Fenced};
use super::ledger;
use super::lots::Lot;
use super::records::{json, signed};
use super::writer::Session;
use refreshd_core::fence::{Found, at_start};
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::ledger::restore::{self, Restored};
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

/// Goes on from the store as it is with a lot of its grants; with the last the fence goes.
pub(super) fn accept(
    s: &Session<'_>,
    now: WallTime,
    published: &BTreeMap<GrantId, u64>,
    rotates: &dyn Fn(&Grant) -> bool,
    after: Option<i64>,
) -> Result<Lot<Grant>, StoreError> {
    s.saw(now);
    let lot = Lot::each(s, after, |grant| {
        let restored = Restored {
            published: published.get(&grant.id).copied().unwrap_or(0),
            may_be_rotated: rotates(&grant),
            at: now,
        };
        let entry = ledger::entry(s, grant, true)?;
        let facts = ledger::facts(s, None)?;
        let changes = restore::accept(&entry, &facts, restored, s.fingerprints);
        ledger::write(s, Some(&entry.grant), &changes).map(Some)
    })?;
    if lot.last.is_none() {
        lift(s)?;
    }
    Ok(lot)
}

fn lift(s: &Session<'_>) -> Result<(), StoreError> {
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
    Ok(db::set_meta(
        s.conn,
        "commit_seq",
        own.max(signed(stamped)),
    )?)
}
