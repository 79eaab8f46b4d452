//! The latest time that the store has seen, and when that was by the clock that
//! nobody sets: so the next process knows how long none was running, even if the
//! wall clock was set back meanwhile.

use super::allowance::allow_for;
use super::db;
use super::error::StoreError;
use super::lots::Lot;
use super::writer::Session;
use crate::clock;
use refreshd_core::GrantState;
use refreshd_core::ledger::Event;
use refreshd_core::time::{BootTime, Stamp, WallTime};
use rusqlite::Connection;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// The row of `meta` with the boot time; it counts beside the same `last_seen` only.
const BOOT: &str = "last_seen_boot";
/// The row of the last clock that was accepted: what it said then, and in which boot.
const ACCEPTED: &str = "accepted_clock";
/// The row that says that a time passed of which nobody knows how long it was.
const LOST: &str = "lost_time";

#[derive(Debug)]
pub(super) struct Seen {
    latest: Mutex<Option<Stamp>>,
    boot_id: String,
    /// Time was lost, and has not been allowed for.
    pub(super) lost_time: AtomicBool,
}

impl Seen {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Seen> {
        Ok(Seen {
            latest: Mutex::new(stored(conn)?),
            boot_id: clock::boot_id(),
            lost_time: AtomicBool::new(db::meta_if_any::<i64>(conn, LOST)?.is_some()),
        })
    }

    pub(super) fn latest(&self) -> Option<Stamp> {
        self.lock().clone()
    }

    /// Takes in a moment that is not long ago.
    pub(super) fn saw(&self, at: WallTime) {
        let mut latest = self.lock();
        if latest.as_ref().is_none_or(|seen| seen.wall < at) {
            *latest = Some(self.stamp(at));
        }
    }

    /// Takes back what was seen: that is the time. It is remembered for what was
    /// recorded by the clock before it.
    pub(super) fn accept(&self, conn: &Connection, now: WallTime) -> rusqlite::Result<()> {
        let accepted = self.stamp(now);
        db::set_meta(conn, ACCEPTED, written(&accepted))?;
        *self.lock() = Some(accepted);
        Ok(())
    }

    /// Writes it with the transaction under way.
    pub(super) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        let Some(seen) = self.latest() else {
            return Ok(());
        };
        db::set_meta(conn, "last_seen", seen.wall.0)?;
        db::set_meta(conn, BOOT, written(&seen))
    }

    fn stamp(&self, wall: WallTime) -> Stamp {
        Stamp {
            wall,
            boot: clock::reading().boot,
            boot_id: self.boot_id.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Stamp>> {
        self.latest.lock().expect("nothing panics under this lock")
    }
}

/// What stands in the database.
pub(super) fn stored(conn: &Connection) -> rusqlite::Result<Option<Stamp>> {
    let wall = WallTime(db::meta(conn, "last_seen")?);
    let with_boot: Option<String> = db::meta_if_any(conn, BOOT)?;
    let of_boot = with_boot.as_deref().and_then(parse);
    // A program that knows nothing of boots may have been here since.
    let of_boot = of_boot.filter(|seen| seen.wall == wall);
    let alone = Stamp {
        wall,
        boot: BootTime(0),
        boot_id: String::new(),
    };
    Ok((wall.0 > 0).then(|| of_boot.unwrap_or(alone)))
}

/// The last clock that was accepted, as it was then.
pub(super) fn accepted(conn: &Connection) -> rusqlite::Result<Option<Stamp>> {
    let written: Option<String> = db::meta_if_any(conn, ACCEPTED)?;
    Ok(written.as_deref().and_then(parse))
}

fn written(seen: &Stamp) -> String {
    format!("{} {} {}", seen.wall.0, seen.boot.0, seen.boot_id)
}

fn parse(text: &str) -> Option<Stamp> {
    let mut parts = text.splitn(3, ' ');
    Some(Stamp {
        wall: WallTime(parts.next()?.parse().ok()?),
        boot: BootTime(parts.next()?.parse().ok()?),
        boot_id: parts.next()?.to_owned(),
    })
}

/// Notes that time was lost, before anything of this boot is written: until it is
/// allowed for, every start must know.
pub(super) fn lose_time(conn: &Connection) -> rusqlite::Result<()> {
    db::set_meta(conn, LOST, 1_i64)
}

/// Allows for time that was lost: what may be over counts as over.
pub(super) fn allow_for_lost_time(
    s: &Session<'_>,
    now: WallTime,
    after: Option<i64>,
) -> Result<Lot<()>, StoreError> {
    let event = Event {
        at: now,
        kind: "lost-time".to_owned(),
        text: "the machine restarted with a clock that stood back; what may be over by now counts as over".to_owned(),
    };
    allow_for(s, LOST, &event, GrantState::after_lost_time, after)
}
