//! A copy of the database, made while it is written to.
//!
//! The store's thread copies pages into an empty file, a few at a time, without
//! an fsync. What takes longer happens elsewhere: the copy is marked, so that
//! it fences the store that it is put in the place of; checked; made durable;
//! and only then given its name.

use super::db::{self, DbError};
use super::disk;
use super::error::StoreError;
use super::records::json;
use super::reseal;
use super::schema;
use super::seal::{KeyId, Sealer};
use super::store::blocking;
use crate::trust;
use refreshd_core::time::WallTime;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Pages of 4 KiB that are copied at once: well under a millisecond.
const PAGES: std::ffi::c_int = 64;
/// How long the store rests between them if nobody asks for anything.
pub(super) const PAUSE: Duration = Duration::from_millis(2);
/// What has been copied goes to the disk this often: all of it at the end would
/// keep everybody else's fsync waiting.
const FLUSH: Duration = Duration::from_millis(100);

/// What the name of a copy ends with until it is whole; it begins with a dot.
pub(super) const HALF: &str = ".part";

/// The row of `meta` that makes a copy a copy.
pub(super) const MARK: &str = "backup";

/// A copy of the store that was not made. What stood there before still does.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something stands there.
    #[error("{0} exists already, and was left as it is; name another file, or pass --force")]
    Exists(PathBuf),
    /// It would be lost with what it is a copy of.
    #[error("{0} lies in the state directory, and would be lost with it; name a file elsewhere")]
    InState(PathBuf),
    /// One at a time.
    #[error("another backup is being made; try again when it is done")]
    Busy,
    /// The file cannot be made.
    #[error(
        "{path} cannot be {verb} by {user}: {source}; the backup was not made: name a file where that user may write"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Who makes it: the daemon's user, when it runs.
        user: String,
        /// What the file system said.
        source: io::Error,
    },
    /// SQLite could not write or read the copy.
    #[error("{path} cannot be written: {text}; the backup was not made")]
    Sql {
        /// The copy.
        path: PathBuf,
        /// What SQLite said.
        text: String,
    },
    /// The copy does not hold together; so the store may not either.
    #[error(
        "the copy for {path} is not sound ({text}), and was thrown away; the database itself may be damaged: keep the last good backup"
    )]
    Unsound {
        /// What the copy was for.
        path: PathBuf,
        /// What was found.
        text: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How many grants are in it.
    pub grants: u64,
    /// The store's `commit_seq` in it.
    pub commit_seq: u64,
    /// The keys that it takes to restore it.
    pub keys: BTreeSet<KeyId>,
}

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// When the copy was made.
    pub(super) at: WallTime,
    /// The keys that it takes to restore it.
    pub(super) keys: BTreeSet<KeyId>,
}

/// A copy under way.
pub(super) struct Copying<'a> {
    backup: Backup<'a, 'a>,
    path: &'a Path,
}

impl Copying<'_> {
    /// Copies some pages; whether that was all.
    pub(super) fn step(&self) -> Result<bool, CopyError> {
        let stepped = self.backup.step(PAGES).map_err(sql(self.path))?;
        Ok(stepped == StepResult::Done)
    }
}

/// The empty file that is copied into. Nothing is synced here.
pub(super) fn target(path: &Path) -> Result<Connection, CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let conn = Connection::open_with_flags(path, flags)?;
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        conn.pragma_update(None, "journal_mode", "OFF")?;
        conn.pragma_update(None, "synchronous", "OFF")?;
        Ok(conn)
    };
    open().map_err(sql(path))
}

pub(super) fn begin<'a>(
    source: &'a Connection,
    target: &'a mut Connection,
    path: &'a Path,
) -> Result<Copying<'a>, CopyError> {
    let backup = Backup::new(source, target).map_err(sql(path))?;
    Ok(Copying { backup, path })
}

/// A file that is to hold a copy, under another name until it does.
pub(super) struct Draft {
    path: PathBuf,
    pub(super) temporary: PathBuf,
    replace: bool,
}

impl Draft {
    /// Makes the empty file beside the name that it will have.
    pub(super) fn begin(path: &Path, state_dir: &Path, replace: bool) -> Result<Self, CopyError> {
        let name = path.file_name().unwrap_or_default();
        let dir = disk::parent(path);
        let real = |dir: &Path| dir.canonicalize();
        let within = real(dir).map_err(failed(dir, "entered"))?;
        if real(state_dir).is_ok_and(|state| within.starts_with(state)) {
            return Err(CopyError::InState(path.to_owned()));
        }
        let old = fs::symlink_metadata(path);
        if old.as_ref().is_ok_and(|old| !replace || !old.is_file()) {
            return Err(CopyError::Exists(path.to_owned()));
        }
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(HALF);
        let draft = Draft {
            path: path.to_owned(),
            temporary: dir.join(hidden),
            replace,
        };
        draft.discard();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft.temporary)
            .map_err(failed(&draft.temporary, "made"))?;
        Ok(draft)
    }

    /// Waits until the copy is there, and has it written to the disk meanwhile.
    pub(super) async fn filled(
        &self,
        mut replied: oneshot::Receiver<Result<(), CopyError>>,
    ) -> Result<(), CopyError> {
        let file = File::open(&self.temporary).map_err(failed(&self.temporary, "read"))?;
        let file = Arc::new(file);
        loop {
            if let Ok(copied) = tokio::time::timeout(FLUSH, &mut replied).await {
                return copied.unwrap_or_else(|_| Err(StoreError::Closed.into()));
            }
            let flushed = Arc::clone(&file);
            // What fails here fails at the end as well.
            blocking(move || flushed.sync_data().ok()).await;
        }
    }

    /// Marks and checks the copy, makes it durable and gives it its name.
    pub(super) fn finish(&self, sealer: &Sealer, at: WallTime) -> Result<Copied, CopyError> {
        let mut copied = self.seal_off(sealer, at)?;
        let temporary = &self.temporary;
        let io = failed(temporary, "made durable");
        let file = File::open(temporary).and_then(|file| file.sync_all().map(|()| file));
        copied.bytes = file.and_then(|file| file.metadata()).map_err(io)?.len();
        self.name()?;
        disk::sync_dir(disk::parent(&self.path)).map_err(failed(&self.path, "made durable"))?;
        Ok(copied)
    }

    fn seal_off(&self, sealer: &Sealer, at: WallTime) -> Result<Copied, CopyError> {
        let sql = |e: rusqlite::Error| CopyError::Sql {
            path: self.path.clone(),
            text: e.to_string(),
        };
        let unsound = |text: String| CopyError::Unsound {
            path: self.path.clone(),
            text,
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.temporary, flags).map_err(sql)?;
        // One file, and not two or three: that is what a person copies.
        conn.pragma_update(None, "locking_mode", "EXCLUSIVE")
            .and_then(|()| conn.pragma_update(None, "journal_mode", "DELETE"))
            .map_err(sql)?;
        let keys = reseal::keys_in(&conn).map_err(sql)?;
        let mark = Mark {
            at,
            keys: keys.clone(),
        };
        db::set_meta(&conn, MARK, json(&mark)).map_err(sql)?;
        let found: String = conn
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(sql)?;
        if found != "ok" {
            return Err(unsound(found));
        }
        db::check_key(&conn, &self.path, sealer).map_err(|e: DbError| unsound(e.to_string()))?;
        let version = schema::version(&conn).map_err(sql)?;
        if version != schema::KNOWN {
            return Err(unsound(format!("its schema is {version}")));
        }
        let count = |text: &str| conn.query_row(text, [], |row| row.get::<_, i64>(0));
        let grants = count("SELECT count(*) FROM grants").map_err(sql)?;
        let commit_seq: i64 = db::meta(&conn, "commit_seq").map_err(sql)?;
        conn.close().map_err(|(_, e)| sql(e))?;
        Ok(Copied {
            path: self.path.clone(),
            bytes: 0,
            grants: grants.unsigned_abs(),
            commit_seq: commit_seq.unsigned_abs(),
            keys,
        })
    }

    fn name(&self) -> Result<(), CopyError> {
        let (from, to) = (&self.temporary, &self.path);
        if self.replace {
            return fs::rename(from, to).map_err(failed(to, "named"));
        }
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(CopyError::Exists(to.clone())),
            // A file system that does not know the flag.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::hard_link(from, to)
                .map_err(|e| match e.kind() {
                    io::ErrorKind::AlreadyExists => CopyError::Exists(to.clone()),
                    _ => failed(to, "named")(e),
                }),
            Err(e) => Err(failed(to, "named")(e.into())),
        }
    }

    /// Removes what is half made.
    pub(super) fn discard(&self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut path = self.temporary.clone().into_os_string();
            path.push(suffix);
            fs::remove_file(path).ok();
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.discard();
    }
}

/// The mark of a copy; `None` for a database that is not one.
pub(super) fn mark(conn: &Connection) -> rusqlite::Result<Option<Mark>> {
    let text: Option<String> = db::meta_if_any(conn, MARK)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The keys that it takes to restore the copy at a path.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn keys_of(path: &Path) -> Result<BTreeSet<KeyId>, CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(sql(path))?;
    let mark = mark(&conn).map_err(sql(path))?;
    mark.map(|mark| mark.keys).ok_or_else(|| CopyError::Sql {
        path: path.to_owned(),
        text: "it is no backup of refreshd's".to_owned(),
    })
}

pub(super) fn failed(path: &Path, verb: &'static str) -> impl Fn(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |source| CopyError::Io {
        path: path.clone(),
        verb,
        user: trust::user_name(trust::effective_uid()),
        source,
    }
}

fn sql(path: &Path) -> impl Fn(rusqlite::Error) -> CopyError + use<> {
    let path = path.to_owned();
    move |error| CopyError::Sql {
        path: path.clone(),
        text: error.to_string(),
    }
}
