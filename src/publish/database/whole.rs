//! A database that is published as a file: made beside its place from the one that
//! stands there, and renamed over it. It has no `-wal` and no `-shm`, so no reader can
//! lock out another, and one who has it open goes on reading what he opened.

use super::open::{
    APPLICATION_ID, SCHEMA_VERSION, Tables, check_header, check_ours, check_whole, sorted,
};
use super::rows::{self, Outcome, Work};
use super::{DatabaseError, rights};
use crate::config::{DATABASE_SUFFIXES, Database, PublishBy, WhenDead};
use crate::publish::file::{Access, Place, Stand, split, with_suffix};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::path::Path;

/// What came of a transaction.
pub(super) struct Done {
    pub(super) answers: Vec<Result<Outcome, DatabaseError>>,
    /// What stands there now.
    pub(super) stand: Option<Stand>,
    /// Nothing of what stood there could be taken over: all rows are wanted again.
    pub(super) anew: bool,
}

/// Whether a database is published so: as it is configured, else as it stands there.
pub(super) fn is_meant(path: &Path, database: Option<&Database>) -> bool {
    match database {
        Some(database) => database.publish == PublishBy::Rename,
        None => is_whole(path),
    }
}

/// Whether all of a database stands in its one file: byte 18 of its header.
fn is_whole(path: &Path) -> bool {
    super::open::header(path).is_ok_and(|header| header.get(18) == Some(&1))
}

/// Does the work in a copy, and puts that in its place if anything has changed.
pub(super) fn transact(
    path: &Path,
    database: Option<&Database>,
    work: &[Work],
) -> Result<Done, DatabaseError> {
    let (dir, name) = split(path)?;
    let there = match Place::open(dir)? {
        Some(place) => rights::look(&place, name)?,
        None => None,
    };
    let as_it_is = there.map(|stat| Database {
        path: path.to_owned(),
        group: Some(stat.st_gid),
        mode: Some(stat.st_mode & 0o777),
        grants: Vec::new(),
        publish: PublishBy::Rename,
        when_dead: WhenDead::Leave,
    });
    let Some(database) = database.or(as_it_is.as_ref()) else {
        let answers = work.iter().map(|_| Ok(Outcome::Withdrawn(false))).collect();
        return Ok(Done {
            answers,
            stand: None,
            anew: false,
        });
    };
    let access = Access {
        mode: database.mode,
        group: database.group,
        ..Access::default()
    };
    let place = Place::open_or_make(dir, &access)?;
    place.check_target(name)?;
    if there.is_some() {
        check_header(path)?;
    }
    let old = match there.is_some() && is_whole(path) {
        true => place.read_any(name)?,
        false => None,
    };
    let draft = place.draft(name, &access, old.as_deref().map_or(&[], |old| &old[..]))?;
    let mut old_is_in = old.is_some();
    if there.is_some() && !old_is_in {
        // Until now it had a log of its own; no reader is to miss its rows meanwhile.
        old_is_in = copy(path, &draft.path()).is_ok();
    }
    let (answers, changed) = fill(&draft.path(), path, work)?;
    let stood = place.stand(name)?;
    let rights_differ = stood.is_some_and(|stand| !place.is_kept(&stand, &access));
    if changed || old.is_none() || rights_differ {
        clear(&place, name)?;
        draft.put()?;
        place.sync()?;
    }
    let stand = place.stand(name)?;
    let anew = !old_is_in && there.is_some();
    Ok(Done {
        answers,
        stand,
        anew,
    })
}

/// Copies a database with what its log holds.
fn copy(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    let sql = |source| sorted(from, source);
    let conn = super::open::reader(from).map_err(sql)?;
    let to = to.to_string_lossy();
    conn.execute("VACUUM INTO ?1", [to]).map_err(sql)?;
    Ok(())
}

type Answers = Vec<Result<Outcome, DatabaseError>>;

fn fill(draft: &Path, path: &Path, work: &[Work]) -> Result<(Answers, bool), DatabaseError> {
    let sql = |source| sorted(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(draft, flags).map_err(sql)?;
    // Nobody else has it, and it is synced as a whole before it is put in its place.
    for (pragma, value) in [
        ("journal_mode", "MEMORY"),
        ("synchronous", "OFF"),
        ("temp_store", "MEMORY"),
    ] {
        conn.pragma_update(None, pragma, value).map_err(sql)?;
    }
    conn.pragma_update(None, "secure_delete", true)
        .map_err(sql)?;
    let tables = check_ours(&conn, path)?;
    check_whole(&conn, path)?;
    let before = conn.total_changes();
    match tables {
        Tables::None => rows::make_tables(&mut conn, APPLICATION_ID, SCHEMA_VERSION),
        Tables::Earlier => rows::migrate(&mut conn, SCHEMA_VERSION),
        Tables::These => Ok(()),
    }
    .map_err(sql)?;
    let transaction = conn.transaction().map_err(sql)?;
    let answers: Result<Vec<_>, _> = work.iter().map(|row| row.run(&transaction)).collect();
    let answers = answers.map_err(sql)?;
    transaction.commit().map_err(sql)?;
    let changed = tables != Tables::These || conn.total_changes() != before;
    conn.close().map_err(|(_, error)| sql(error))?;
    Ok((answers, changed))
}

/// A `-wal` that an earlier database has left would be taken for this one's.
fn clear(place: &Place, name: &OsStr) -> Result<(), DatabaseError> {
    for suffix in DATABASE_SUFFIXES {
        place.remove(&with_suffix(name, suffix))?;
    }
    Ok(())
}
