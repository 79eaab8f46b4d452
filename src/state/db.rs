//! Opening the database: every reason not to touch it is looked for first.

use super::disk;
use super::schema;
use super::seal::{Context, KeyId, SealError, Sealer};
use super::takeover::{self, Refusal};
use crate::random;
pub(super) use crate::trust::DATABASE as FILE;
use crate::trust::{self, Owners};
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pages that are copied at once; nobody else waits for the copy.
const COPIED_AT_ONCE: std::ffi::c_int = 4096;

/// A database that is not opened. It is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Locks and fsync mean little there.
    #[error(
        "{dir} is on a network file system ({kind}), where neither locks nor fsync are to be relied upon; set daemon.state_dir to a local disk"
    )]
    Network {
        /// The state directory.
        dir: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// A later refreshd has been here.
    #[error(
        "{path} was made by a newer refreshd (schema {found}, this one knows {known}); run the newer one, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An earlier refreshd made it, of which nothing is known here.
    #[error(
        "{path} was made by an older refreshd (schema {found}, this one knows {known} and the one before); start the versions in between once, each in turn"
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The refreshd before has left exchanges in its journal.
    #[error(
        "{journal} holds exchanges that are not settled, which this refreshd does not read: start the old build once and stop it"
    )]
    Unsettled {
        /// The journal's file.
        journal: PathBuf,
    },
    /// A journal of an older version lies beside the database.
    #[error(
        "{list} {verb} of an older refreshd, and may hold exchanges that are not settled: put the database back that belongs to {it}, start the old build once and stop it; or, if nothing in {it} is to be kept, move {it} away",
        verb = if journal.len() == 1 { "is the journal" } else { "are the journal" },
        it = if journal.len() == 1 { "it" } else { "them" },
        list = listed(journal, ", ")
    )]
    Journal {
        /// Its files.
        journal: Vec<PathBuf>,
    },
    /// Its pages do not hold together, or it is no database at all.
    #[error(
        "{path} is damaged ({text}); it was left untouched: copy it aside and restore a backup, or move it away to begin anew"
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        text: String,
    },
    /// A database, but someone else's.
    #[error(
        "{0} is a SQLite database, but not one of refreshd's; set daemon.state_dir to a directory of its own"
    )]
    Foreign(PathBuf),
    /// A backup was put back beside the log of the database that stood there.
    #[error(
        "{log} belongs to the database that stood here before, and would be mixed into the backup; move it away: mv {log} {log}.old"
    )]
    OtherLog {
        /// The write-ahead log.
        log: PathBuf,
    },
    /// It was there, and is no more: begun anew, everything it held would be given up.
    #[error(
        "{path} {what}, but there {verb} {list}: this is no first start. Nothing was touched. Put the database back (a backup: docs/operations.md); or, to begin anew without what it held, move {it} away: mkdir {dir}.old && mv {all} {dir}.old/",
        what = if *empty { "is empty" } else { "is missing" },
        verb = if found.len() == 1 { "is" } else { "are" },
        list = listed(found, ", "),
        it = if found.len() == 1 { "it" } else { "them" },
        all = listed(found, " "),
        dir = path.parent().unwrap_or(path).display()
    )]
    Gone {
        /// Where it was.
        path: PathBuf,
        /// The file is there, with nothing in it.
        empty: bool,
        /// What it has left behind.
        found: Vec<PathBuf>,
    },
    /// Sealed with another key.
    #[error("the database was sealed with key {sealed_by}, and the key given is {given}")]
    WrongKey {
        /// The key that sealed it.
        sealed_by: KeyId,
        /// The key that was given.
        given: KeyId,
    },
    /// Others may have changed it.
    #[error("{path} is not used: {why}; look at who did that, and put the right file back")]
    Distrusted {
        /// The database.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The file cannot be made, read or written.
    #[error("{path} cannot be opened: {source}")]
    Io {
        /// The database.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Anything else SQLite says.
    #[error("{path} cannot be opened: {source}")]
    Sql {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

fn listed(paths: &[PathBuf], between: &str) -> String {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(between)
}

/// An open, checked and migrated database.
pub(super) struct Opened {
    pub(super) conn: Connection,
    pub(super) store_id: String,
    pub(super) fingerprint_key: zeroize::Zeroizing<[u8; 32]>,
    /// It is a copy in memory: nothing beside it is written.
    pub(super) in_memory: bool,
    /// Nothing that another process wrote stands in its log; see [`empty_log`].
    pub(super) log_is_ours: bool,
}

/// Whether there is a database that a key may have sealed.
pub(super) fn exists(dir: &Path) -> bool {
    fs::metadata(dir.join(FILE)).is_ok_and(|m| m.len() > 0 || !m.is_file())
}

/// Opens the database in `dir`, and makes it where there is none.
pub(super) fn open(dir: &Path, sealer: &Sealer) -> Result<Opened, DbError> {
    let path = dir.join(FILE);
    let kind = disk::network_file_system(dir).map_err(|source| DbError::Io {
        path: path.clone(),
        source,
    })?;
    if let Some(kind) = kind {
        let dir = dir.to_owned();
        return Err(DbError::Network { dir, kind });
    }
    check_file(&path)?;
    make_private(dir, &path).map_err(|source| DbError::Io {
        path: path.clone(),
        source,
    })?;
    let sql = |source| sorted(&path, source);
    check_log(&path)?;
    let mut conn = connect(&path).map_err(sql)?;
    prepare(&mut conn, &path, sealer)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
        .map_err(sql)?;
    let log_is_ours = match empty_log(&conn, dir) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "the database's log cannot be moved into it; nothing is written before that works");
            false
        }
    };
    if log_is_ours {
        takeover::clear(dir, &conn).map_err(sql)?;
    }
    let opened = finish(conn, &path, sealer)?;
    Ok(Opened {
        log_is_ours,
        ..opened
    })
}

/// Moves the log into the database. A process that was killed may have left a tail in it
/// which was never synced, since a sync had failed: what is written behind it would be
/// lost with it when the power goes, though it was synced itself.
///
/// Its name is synced with the first commit, but SQLite does not mind whether that works.
/// So a commit of nothing comes before the first that counts, and the name is synced here.
pub(super) fn empty_log(conn: &Connection, dir: &Path) -> rusqlite::Result<()> {
    conn.execute_batch("UPDATE meta SET value = value WHERE key = 'commit_seq'")?;
    let moved = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    });
    moved?;
    disk::sync_dir(dir).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Copies the database in `dir` into memory and opens the copy. The file and its log
/// are only read; whoever else would write them must be kept away meanwhile.
pub(super) fn look(dir: &Path, sealer: &Sealer) -> Result<Opened, DbError> {
    let path = dir.join(FILE);
    let sql = |source| sorted(&path, source);
    check_file(&path)?;
    check_log(&path)?;
    let log = fs::metadata(path.with_extension("db-wal"));
    let source = match log.is_ok_and(|log| log.len() > 0) {
        true => connect_to_log(&path),
        // Even an empty log would be made beside it.
        false => connect_unchanging(&path),
    };
    let source = source.map_err(sql)?;
    let mut conn = Connection::open_in_memory().map_err(sql)?;
    Backup::new(&source, &mut conn)
        .and_then(|copy| copy.run_to_completion(COPIED_AT_ONCE, Duration::ZERO, None))
        .map_err(sql)?;
    drop(source);
    prepare(&mut conn, &path, sealer)?;
    let opened = finish(conn, &path, sealer)?;
    Ok(Opened {
        in_memory: true,
        ..opened
    })
}

/// Checks what can be checked, and takes over the schema before.
fn prepare(conn: &mut Connection, path: &Path, sealer: &Sealer) -> Result<(), DbError> {
    let path = path.to_owned();
    let sql = |source| sorted(&path, source);
    let version = schema::version(conn).map_err(sql)?;
    if version > schema::KNOWN {
        return Err(DbError::Newer {
            path,
            found: version,
            known: schema::KNOWN,
        });
    }
    check_whole(conn, &path)?;
    check_ours(conn, &path, version)?;
    if version > 0 {
        check_key(conn, &path, sealer)?;
    }
    let due = check_version(conn, &path, version)?;
    make_durable(conn).map_err(sql)?;
    let transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql)?;
    if version == 0 {
        schema::make(&transaction).map_err(sql)?;
        begin(&transaction, sealer).map_err(sql)?;
    } else if due {
        takeover::take_over(&transaction, sealer).map_err(sql)?;
    }
    transaction.commit().map_err(sql)?;
    Ok(())
}

/// Refuses what cannot be taken over; whether there is anything to take over.
fn check_version(conn: &Connection, path: &Path, version: i64) -> Result<bool, DbError> {
    let sql = |source| sorted(path, source);
    let dir = disk::parent(path);
    if takeover::is_due(conn, version).map_err(sql)? {
        return match takeover::check(dir, conn).map_err(sql)? {
            Ok(()) => Ok(true),
            Err(Refusal::Unsettled(journal)) => Err(DbError::Unsettled { journal }),
            Err(Refusal::Io(path, source)) => Err(DbError::Io { path, source }),
        };
    }
    if version > 0 && version < schema::KNOWN {
        return Err(DbError::Older {
            path: path.to_owned(),
            found: version,
            known: schema::KNOWN,
        });
    }
    let journal = match version {
        0 => Vec::new(),
        _ => takeover::strange(dir, conn).map_err(sql)?,
    };
    match journal.is_empty() {
        true => Ok(false),
        false => Err(DbError::Journal { journal }),
    }
}

/// Refuses a database that is no file, or that others own or may write: it could say
/// anything.
fn check_file(path: &Path) -> Result<(), DbError> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|source| DbError::Io {
            path: path.to_owned(),
            source,
        })?,
    };
    let why = if !found.is_file() {
        "it is not a regular file".to_owned()
    } else if !Owners::own().has(found.uid()) {
        format!("it belongs to {}", trust::user_name(found.uid()))
    } else if found.mode() & 0o002 != 0 {
        format!("everyone can write it (mode {:04o})", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(DbError::Distrusted {
        path: path.to_owned(),
        why,
    })
}

/// Opens a database that nobody changes, without a log.
fn connect_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let uri = url::Url::from_file_path(path)
        .map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("{uri}?immutable=1"), flags)
}

/// Opens a database with its log, neither of which is changed or locked: who looks holds
/// the state's own lock. With `unix-none` SQLite takes no locks, for which it would have
/// to write; in exclusive mode the log's index is in memory, as there is none beside it.
fn connect_to_log(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags_and_vfs(path, flags, "unix-none")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok(conn)
}

fn make_private(dir: &Path, path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // SQLite gives its -wal the mode of the database.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    disk::sync_dir(dir)
}

/// Backups are made without a log, and the store never is without: a database
/// that says it has none, beside one, is a backup that was put back.
fn check_log(path: &Path) -> Result<(), DbError> {
    let log = path.with_extension("db-wal");
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let alone = read.is_ok() && header[18..20] == [1, 1];
    match fs::metadata(&log) {
        Ok(found) if alone && found.len() > 0 => Err(DbError::OtherLog { log }),
        _ => Ok(()),
    }
}

/// Connects without a write: not even a WAL left by a crash is moved into the
/// file before all checks have passed.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    Ok(conn)
}

fn make_durable(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(())
}

fn check_whole(conn: &Connection, path: &Path) -> Result<(), DbError> {
    let found: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| sorted(path, source))?;
    if found == "ok" {
        return Ok(());
    }
    Err(damaged(path, &found))
}

fn check_ours(conn: &Connection, path: &Path, version: i64) -> Result<(), DbError> {
    let sql = |source| sorted(path, source);
    let id: i64 = conn
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(sql)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql)?;
    if id == schema::APPLICATION_ID || (version == 0 && id == 0 && tables == 0) {
        return Ok(());
    }
    Err(DbError::Foreign(path.to_owned()))
}

pub(super) fn check_key(conn: &Connection, path: &Path, sealer: &Sealer) -> Result<(), DbError> {
    let envelope: Vec<u8> = meta(conn, "key_check").map_err(|source| sorted(path, source))?;
    match sealer.open(&KEY_CHECK, &envelope) {
        Ok(_) => Ok(()),
        Err(SealError::OtherKey { sealed_by, given }) => {
            Err(DbError::WrongKey { sealed_by, given })
        }
        Err(_) => Err(damaged(path, "the key check does not open")),
    }
}

pub(super) const KEY_CHECK: Context<'static> = Context {
    purpose: "meta",
    owner: "",
    column: "key_check",
    generation: 0,
};

pub(super) const FINGERPRINT_KEY: Context<'static> = Context {
    purpose: "meta",
    owner: "",
    column: "fingerprint_key",
    generation: 0,
};

/// What a new store has from its first moment.
fn begin(conn: &Connection, sealer: &Sealer) -> rusqlite::Result<()> {
    let key = zeroize::Zeroizing::new(random::bytes::<32>());
    set_meta(conn, "store_id", disk::hex(&random::bytes::<16>()))?;
    set_meta(conn, "commit_seq", 0_i64)?;
    set_meta(conn, "last_seen", 0_i64)?;
    set_meta(conn, "key_check", sealer.seal(&KEY_CHECK, b"refreshd"))?;
    set_meta(
        conn,
        "fingerprint_key",
        sealer.seal(&FINGERPRINT_KEY, &*key),
    )
}

fn finish(conn: Connection, path: &Path, sealer: &Sealer) -> Result<Opened, DbError> {
    let sql = |source| sorted(path, source);
    let store_id = meta(&conn, "store_id").map_err(sql)?;
    let sealed: Vec<u8> = meta(&conn, "fingerprint_key").map_err(sql)?;
    let fingerprint_key = sealer
        .open(&FINGERPRINT_KEY, &sealed)
        .ok()
        .and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok())
        .ok_or_else(|| damaged(path, "the fingerprint key does not open"))?;
    Ok(Opened {
        conn,
        store_id,
        fingerprint_key: fingerprint_key.into(),
        in_memory: false,
        log_is_ours: true,
    })
}

/// One value of `meta`.
pub(super) fn meta<T: rusqlite::types::FromSql>(
    conn: &Connection,
    key: &str,
) -> rusqlite::Result<T> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
}

/// One value of `meta` that need not be there.
pub(super) fn meta_if_any<T: rusqlite::types::FromSql>(
    conn: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    meta(conn, key).optional()
}

/// Sets a value of `meta`.
pub(super) fn set_meta(
    conn: &Connection,
    key: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute((key, value))
        .map(drop)
}

fn damaged(path: &Path, text: &str) -> DbError {
    DbError::Damaged {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn sorted(path: &Path, source: rusqlite::Error) -> DbError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => damaged(path, "it is not a SQLite database"),
        Some(ErrorCode::DatabaseCorrupt) => damaged(path, &source.to_string()),
        _ => DbError::Sql {
            path: path.to_owned(),
            source,
        },
    }
}
