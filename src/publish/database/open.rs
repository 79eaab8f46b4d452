//! Opening a published database: nothing that is not ours is touched; what is
//! ours and damaged is set aside, since it is only a copy.

use super::DatabaseError;
use super::gate::{Gate, check_room};
use super::rights::{Rights, close, look};
use super::rows;
use crate::config::{DATABASE_SUFFIXES, Database};
use crate::publish::file::{Access, FileError, Place, failed, split, with_suffix};
use crate::state::network_file_system;
use refreshd_core::grant::GrantId;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `PRAGMA application_id`: "rfpd". Not that of the private store.
pub(super) const APPLICATION_ID: i32 = 0x7266_7064;
pub(super) const SCHEMA_VERSION: i64 = 2;
/// What a damaged database is renamed to ends so.
pub(super) const DAMAGED: &str = ".damaged";
/// A database that is being made ends so.
const NEW: &str = ".new";
/// A reader can be in the way for a moment, at recovery or at a checkpoint.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// A database that is open for writing.
pub(super) struct Open {
    pub(super) conn: Connection,
    anchor: Anchor,
    /// Dropped after the connection.
    _gate: Gate,
    place: Place,
    name: OsString,
    rights: Rights,
    /// Changes when others write.
    version: i64,
    /// Which files they were: somebody may remove or replace them.
    files: [Option<(u64, u64)>; 3],
}

/// A read transaction of ours. A reader picks a mark in the `-shm` that is not
/// ahead of what he saw a moment ago, and one who may not write cannot set it:
/// were all marks raised in that moment, he would get `SQLITE_READONLY`. While
/// this transaction is open its mark stays where it is.
struct Anchor {
    conn: Connection,
    held: bool,
}

impl Open {
    /// To be called after a commit: before one, no mark is taken.
    pub(super) fn hold_mark(&mut self) -> rusqlite::Result<()> {
        if !self.anchor.held {
            self.anchor.conn.execute_batch("BEGIN")?;
            self.anchor.held = true;
            rows::count(&self.anchor.conn)?;
        }
        Ok(())
    }

    /// Before the `-wal` is emptied.
    pub(super) fn let_mark_go(&mut self) {
        if std::mem::take(&mut self.anchor.held) {
            let _ended = self.anchor.conn.execute_batch("ROLLBACK");
        }
    }

    /// Whether its files are still those that were opened.
    pub(super) fn is_there(&self) -> bool {
        identities(&self.place, &self.name).is_ok_and(|files| files == self.files)
    }

    /// Whether another connection has changed the database since this was last asked.
    pub(super) fn was_written_by_others(&mut self) -> bool {
        let version = data_version(&self.conn).unwrap_or(self.version);
        std::mem::replace(&mut self.version, version) != version
    }

    /// Takes over what a reload may have changed.
    pub(super) fn keep_rights(&mut self, database: &Database) -> Result<(), DatabaseError> {
        let rights = Rights::of(&self.place, database);
        if rights != self.rights {
            rights.settle(&self.place, &self.name)?;
            self.rights = rights;
            tell_shut_out(&rights, &self.place);
        }
        Ok(())
    }

    /// How long the `-wal` is.
    pub(super) fn wal_bytes(&self) -> u64 {
        let wal = look(&self.place, &with_suffix(&self.name, "-wal"));
        let size = wal.ok().flatten().map(|stat| stat.st_size);
        size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
    }
}

/// Opens the database, which is made when there is none.
pub(super) fn open(path: &Path, database: &Database) -> Result<Open, DatabaseError> {
    let (dir, name) = split(path)?;
    let access = Access {
        mode: database.mode,
        group: database.group,
        ..Access::default()
    };
    let place = Place::open_or_make(dir, &access)?;
    place.check_target(name)?;
    check_disk(&place, path)?;
    let rights = Rights::of(&place, database);
    if look(&place, name)?.is_none() {
        make(&place, name, &rights)?;
    }
    let opened = enter(place, name, path, rights)?;
    opened.rights.settle(&opened.place, &opened.name)?;
    tell_shut_out(&opened.rights, &opened.place);
    Ok(opened)
}

/// Opens the database to remove from it; `None` when there is none.
pub(super) fn open_existing(path: &Path) -> Result<Option<Open>, DatabaseError> {
    let (dir, name) = split(path)?;
    let Some(place) = Place::open(dir)? else {
        return Ok(None);
    };
    let Some(stat) = look(&place, name)? else {
        return Ok(None);
    };
    // Its rights stay as they are.
    let as_it_is = Database {
        path: path.to_owned(),
        group: Some(stat.st_gid),
        mode: Some(stat.st_mode),
        grants: Vec::new(),
        publish: crate::config::PublishBy::Wal,
        when_dead: crate::config::WhenDead::Leave,
    };
    let rights = Rights::of(&place, &as_it_is);
    enter(place, name, path, rights).map(Some)
}

/// Makes an empty database beside its place and renames it: readers find none,
/// or one that they can read.
fn make(place: &Place, name: &OsStr, rights: &Rights) -> Result<(), DatabaseError> {
    let (dir, path) = place.parts();
    let new = with_suffix(name, NEW);
    // What an earlier database left beside it is not this one's.
    for name in [name, &new] {
        for suffix in DATABASE_SUFFIXES {
            place.remove(&with_suffix(name, suffix))?;
        }
    }
    rights.make(place, &new)?;
    fill(&path.join(&new)).map_err(|source| sorted(&path.join(name), source))?;
    // A reader could not make these.
    for suffix in ["-wal", "-shm"] {
        rights.make(place, &with_suffix(name, suffix))?;
    }
    rustix::fs::renameat(dir, &new, dir, name).map_err(failed("make", &path.join(name)))?;
    Ok(place.sync()?)
}

/// Fills an empty file; all of it stands in the file itself in the end.
fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    rows::make_tables(&mut conn, APPLICATION_ID, SCHEMA_VERSION)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.close().map_err(|(_, error)| error)
}

fn enter(place: Place, name: &OsStr, path: &Path, rights: Rights) -> Result<Open, DatabaseError> {
    check_header(path)?;
    let sql = |source| sorted(path, source);
    check_room(&place, name)?;
    let gate = Gate::close(&place, name);
    let mut conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
    let tables = check_ours(&conn, path)?;
    check_whole(&conn, path)?;
    match tables {
        Tables::None => {
            rows::make_tables(&mut conn, APPLICATION_ID, SCHEMA_VERSION).map_err(sql)?;
        }
        Tables::Earlier => rows::migrate(&mut conn, SCHEMA_VERSION).map_err(sql)?,
        Tables::These => {}
    }
    conn.pragma_update(None, "journal_mode", "WAL")
        .map_err(sql)?;
    // Opens -wal and -shm, which gets them made where they are missing.
    rows::count(&conn).map_err(sql)?;
    let gate = gate.map_or_else(|| Gate::hold(&place, name), Ok)?;
    gate.allocate(&place, name)?;
    // Takes and gives back what the gate may still hold.
    let copied = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    copied.map_err(sql)?;
    let anchor = Anchor {
        conn: connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sql)?,
        held: false,
    };
    let files = identities(&place, name)?;
    Ok(Open {
        version: data_version(&conn).map_err(sql)?,
        conn,
        anchor,
        _gate: gate,
        place,
        name: name.to_owned(),
        rights,
        files,
    })
}

/// A number that only commits of other connections change.
fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "data_version", |row| row.get(0))
}

fn check_disk(place: &Place, path: &Path) -> Result<(), DatabaseError> {
    let (_, dir) = place.parts();
    match network_file_system(dir) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(DatabaseError::Network {
            path: path.to_owned(),
            kind,
        }),
        Err(source) => Err(failed("look at", dir)(source).into()),
    }
}

/// Looks at the file before SQLite does, which would bring in a journal.
pub(super) fn check_header(path: &Path) -> Result<(), DatabaseError> {
    match application_id(path).map_err(failed("read", path))? {
        Some(0 | APPLICATION_ID) => Ok(()),
        Some(_) => Err(DatabaseError::Foreign(path.to_owned())),
        None => Err(DatabaseError::NotADatabase(path.to_owned())),
    }
}

/// Whether a database that SQLite cannot read was one of ours.
pub(super) fn is_ours(path: &Path) -> bool {
    application_id(path).is_ok_and(|id| id == Some(APPLICATION_ID))
}

/// The first bytes of a file that is not open, a link not followed.
pub(super) fn header(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(100);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    File::from(file).take(100).read_to_end(&mut header)?;
    Ok(header)
}

/// What the header says; 0 for an empty file, `None` where it is no header.
/// Only for a file that is not open: closing it ends SQLite's locks.
fn application_id(path: &Path) -> std::io::Result<Option<i32>> {
    let header = header(path)?;
    if header.is_empty() {
        return Ok(Some(0));
    }
    let ours = header.len() == 100 && header.starts_with(b"SQLite format 3\0");
    let id = || i32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    Ok(ours.then(id))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // A link may lead to the directory, but not to the file: where others may write,
    // one can be put in its place at any moment.
    let (real, nofollow) = match real(path) {
        Some(real) => (real, OpenFlags::SQLITE_OPEN_NOFOLLOW),
        None => (path.to_owned(), OpenFlags::empty()),
    };
    let flags = flags | nofollow | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(real, flags)?;
    conn.busy_timeout(BUSY)?;
    // Readers that cannot make -wal and -shm need those that we leave.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 1024 * 1024)?;
    // A withdrawn token is not to be found in a free page.
    conn.pragma_update(None, "secure_delete", true)?;
    Ok(conn)
}

/// The file by the real path of its directory; `None` for what is no plain path.
fn real(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

/// Which tables a database has.
#[derive(PartialEq, Eq)]
pub(super) enum Tables {
    None,
    Earlier,
    These,
}

/// What is to be done with it; if it is neither empty nor ours, it is refused.
pub(super) fn check_ours(conn: &Connection, path: &Path) -> Result<Tables, DatabaseError> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let sql = |source| sorted(path, source);
    let id = number("application_id").map_err(sql)?;
    let version = number("user_version").map_err(sql)?;
    if id == i64::from(APPLICATION_ID) {
        return match version {
            SCHEMA_VERSION => Ok(Tables::These),
            1 => Ok(Tables::Earlier),
            _ => Err(DatabaseError::Newer(path.to_owned())),
        };
    }
    if id == 0 && version == 0 && rows::count(conn).map_err(sql)? == 0 {
        return Ok(Tables::None);
    }
    Err(DatabaseError::Foreign(path.to_owned()))
}

pub(super) fn check_whole(conn: &Connection, path: &Path) -> Result<(), DatabaseError> {
    let found: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| sorted(path, source))?;
    if found == "ok" {
        return Ok(());
    }
    Err(damaged(path, found))
}

fn identities(place: &Place, name: &OsStr) -> Result<[Option<(u64, u64)>; 3], DatabaseError> {
    let of = |name: &OsStr| {
        let stat = look(place, name)?;
        Ok::<_, DatabaseError>(stat.map(|stat| (stat.st_dev, stat.st_ino)))
    };
    Ok([
        of(name)?,
        of(&with_suffix(name, "-wal"))?,
        of(&with_suffix(name, "-shm"))?,
    ])
}

fn tell_shut_out(rights: &Rights, place: &Place) {
    if let Some(remark) = rights.shut_out(place) {
        tracing::warn!("{remark}");
    }
}

/// Renames a damaged database and its `-wal`, for its owner alone to look at.
/// An earlier one that was set aside is replaced.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, DatabaseError> {
    let (dir, name) = split(path)?;
    let Some(place) = Place::open(dir)? else {
        return Ok(path.to_owned());
    };
    let aside = with_suffix(name, DAMAGED);
    let (fd, dir) = place.parts();
    for suffix in ["", "-wal"] {
        let (from, to) = (with_suffix(name, suffix), with_suffix(&aside, suffix));
        match rustix::fs::renameat(fd, &from, fd, &to) {
            Ok(()) => close(&place, &to)?,
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(failed("set aside", &dir.join(&from))(errno).into()),
        }
    }
    place.remove(&with_suffix(name, "-shm"))?;
    Ok(dir.join(aside))
}

/// The names of the rows that other stores have published.
pub(super) fn rows_of_others(path: &Path, store_id: &str) -> Result<Vec<String>, DatabaseError> {
    let sql = |source| sorted(path, source);
    let conn = reader(path).map_err(sql)?;
    if check_ours(&conn, path)? == Tables::None {
        return Ok(Vec::new());
    }
    rows::of_others(&conn, store_id).map_err(sql)
}

/// Reads what a store has published, without a write.
pub(super) fn generations(
    path: &Path,
    store_id: &str,
) -> Result<BTreeMap<GrantId, u64>, DatabaseError> {
    let sql = |source| sorted(path, source);
    let conn = reader(path).map_err(sql)?;
    if check_ours(&conn, path)? == Tables::None {
        return Ok(BTreeMap::new());
    }
    rows::generations(&conn, store_id).map_err(sql)
}

/// As a reader without rights would open it, so that none has to wait for an index.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let (name, flags) = match with_suffix(path.as_os_str(), "-shm") {
        shm if Path::new(&shm).exists() => (uri(path), OpenFlags::SQLITE_OPEN_URI),
        _ => (path.to_owned(), OpenFlags::empty()),
    };
    connect(&name, flags | OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The database with a `-shm` that is only read.
fn uri(path: &Path) -> PathBuf {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    let bytes = path.as_os_str().as_bytes().iter();
    let encoded = bytes.map(|b| match *b {
        b if plain(b) => char::from(b).to_string(),
        b => format!("%{b:02x}"),
    });
    format!("file:{}?readonly_shm=1", encoded.collect::<String>()).into()
}

fn damaged(path: &Path, text: String) -> DatabaseError {
    let path = path.to_owned();
    DatabaseError::Damaged { path, text }
}

/// What an error of SQLite's means.
pub(super) fn sorted(path: &Path, source: rusqlite::Error) -> DatabaseError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            damaged(path, source.to_string())
        }
        Some(ErrorCode::CannotOpen) if !path.exists() => {
            let missing = std::io::ErrorKind::NotFound;
            let source = FileError::Io {
                action: "open",
                path: path.to_owned(),
                source: missing.into(),
            };
            source.into()
        }
        _ => DatabaseError::Sql {
            path: path.to_owned(),
            source,
        },
    }
}
