//! A state of schema 7 is taken over: its journal goes, and what it held that was not
//! settled would go with it, so there must be none.

use super::copy;
use super::db;
use super::disk::{self, hex};
use super::schema;
use super::seal::{Context, Sealer};
use rusqlite::{Connection, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The row of `meta` that is there until the journal's files are gone.
const LEFT: &str = "journal_left";

/// The tables whose place others have taken.
const GONE: &str = "
DROP TABLE unread;
DROP TABLE slots;
DELETE FROM meta WHERE key IN ('journal', 'intents');
INSERT OR REPLACE INTO meta (key, value) VALUES ('journal_left', 1);
";

/// The layout of the journal: a header block, then slots, each with a region for an intent
/// and one for an answer, which begin with the magic, the number of their exchange, a
/// generation, a length and a checksum.
const BLOCK: usize = 4096;
const ANSWER: usize = 256 * 1024 + 3 * BLOCK;
const SLOT: usize = BLOCK + ANSWER;
const REGIONS: [(&[u8; 8], usize, usize); 2] =
    [(b"rfshint1", 0, BLOCK), (b"rfshans1", BLOCK, ANSWER)];
const HEADER: usize = 8 + 16 + 8 + 4 + 4;

/// Why a state is not taken over.
pub(super) enum Refusal {
    /// Exchanges in these files are not settled.
    Unsettled(PathBuf),
    /// The file cannot be read.
    Io(PathBuf, io::Error),
}

/// The schema before.
const BEFORE: i64 = schema::KNOWN - 1;

/// Whether a database of this schema has a journal beside it.
pub(super) fn is_due(conn: &Connection, version: i64) -> Result<bool> {
    let journaled = "SELECT 1 FROM sqlite_schema WHERE name = 'slots'";
    Ok(version >= BEFORE && conn.prepare(journaled)?.exists([])?)
}

/// What is known of the journal.
#[derive(Default, Deserialize)]
struct Known {
    /// Its files, with their sizes.
    files: BTreeMap<u32, u64>,
    /// The last process stopped with nothing under way.
    clean: bool,
}

/// A file of the journal that is missing though something may be under way. A backup is
/// doubted as a whole.
fn missing(dir: &Path, conn: &Connection) -> Result<Option<PathBuf>> {
    let known: Option<String> = db::meta_if_any(conn, "journal")?;
    let known: Known = known
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    if known.clean || copy::mark(conn)?.is_some() {
        return Ok(None);
    }
    let path = |number: &u32| dir.join(format!("journal-{number:04}"));
    Ok(known.files.keys().map(path).find(|path| !path.exists()))
}

/// The files of a journal, in the order of their names.
pub(super) fn journal(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let of_journal = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("journal-")
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(of_journal)
        .collect();
    files.sort();
    files
}

/// Refuses where the journal holds an exchange that the database does not know to be settled.
pub(super) fn check(dir: &Path, conn: &Connection) -> Result<std::result::Result<(), Refusal>> {
    if let Some(path) = missing(dir, conn)? {
        return Ok(Err(Refusal::Unsettled(path)));
    }
    // What was lost with a journal is allowed for grant by grant, and is not yet.
    if conn
        .prepare("SELECT 1 FROM meta WHERE key = 'lost_journal'")?
        .exists([])?
    {
        return Ok(Err(Refusal::Unsettled(dir.to_owned())));
    }
    let mut settled =
        conn.prepare("SELECT 1 FROM slots WHERE file = ?1 AND slot = ?2 AND flight = ?3")?;
    for path in journal(dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // One that was being made holds nothing.
        let Some(number) = name
            .strip_prefix("journal-")
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let found = match exchanges(&path) {
            Ok(found) => found,
            Err(error) => return Ok(Err(Refusal::Io(path, error))),
        };
        for (slot, flight) in found {
            if !settled.exists((number, slot, flight))? {
                return Ok(Err(Refusal::Unsettled(path)));
            }
        }
    }
    Ok(Ok(()))
}

/// The exchanges that stand whole in a file, by their slots.
fn exchanges(path: &Path) -> io::Result<Vec<(u32, [u8; 16])>> {
    let file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for slot in 0..size.saturating_sub(BLOCK) / SLOT {
        for (magic, start, most) in REGIONS {
            let at = (BLOCK + slot * SLOT + start) as u64;
            let mut bytes = vec![0; HEADER];
            file.read_exact_at(&mut bytes, at)?;
            let length = u32::from_be_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]) as usize;
            if !bytes.starts_with(magic) || HEADER + length > most {
                continue;
            }
            let checksum = [bytes[36], bytes[37], bytes[38], bytes[39]];
            let mut payload = vec![0; length];
            file.read_exact_at(&mut payload, at + HEADER as u64)?;
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&bytes[..36]);
            hasher.update(&payload);
            if hasher.finalize().to_be_bytes() == checksum {
                let flight = bytes[8..24].try_into().expect("16 bytes");
                found.push((u32::try_from(slot).unwrap_or(u32::MAX), flight));
            }
        }
    }
    Ok(found)
}

/// Makes the schema of now of the one before, inside the caller's transaction.
pub(super) fn take_over(conn: &Connection, sealer: &Sealer) -> Result<()> {
    conn.execute_batch("DROP TABLE IF EXISTS intents; DROP INDEX unread_by_grant;")?;
    conn.execute_batch(schema::NEW)?;
    let mut unread = conn.prepare(
        "SELECT flight, grant_id, generation, answer, description, at, intent FROM unread",
    )?;
    let mut copy = conn.prepare(
        "INSERT INTO answers (flight, grant_id, generation, answer, description, at, intent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut rows = unread.query([])?;
    while let Some(row) = rows.next()? {
        let (flight, generation): ([u8; 16], i64) = (row.get(0)?, row.get(2)?);
        let owner = hex(&flight);
        let context = |purpose| Context {
            purpose,
            owner: &owner,
            column: "answer",
            generation: generation.unsigned_abs(),
        };
        let sealed: Vec<u8> = row.get(3)?;
        // One that does not open is kept as it is: it may be of a key that comes back.
        let anew = match sealer.open(&context("unread"), &sealed) {
            Ok(plain) => sealer.seal(&context("answers"), &plain),
            Err(_) => sealed,
        };
        copy.execute((
            flight,
            row.get::<_, String>(1)?,
            generation,
            anew,
            row.get::<_, Option<String>>(4)?,
            row.get::<_, i64>(5)?,
            row.get::<_, Option<String>>(6)?,
        ))?;
    }
    drop(rows);
    drop((unread, copy));
    conn.execute_batch(GONE)?;
    schema::mark(conn)
}

/// The files of a journal that no step has taken over.
pub(super) fn strange(dir: &Path, conn: &Connection) -> Result<Vec<PathBuf>> {
    let taken_over = db::meta_if_any::<i64>(conn, LEFT)?.is_some();
    Ok(if taken_over { Vec::new() } else { journal(dir) })
}

/// Removes the journal of a state that was taken over.
pub(super) fn clear(dir: &Path, conn: &Connection) -> Result<()> {
    if db::meta_if_any::<i64>(conn, LEFT)?.is_none() {
        return Ok(());
    }
    let remove = |path: &PathBuf| match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let mut files = journal(dir);
    files.push(dir.join("reserve"));
    let removed = files.iter().try_for_each(remove);
    match removed.and_then(|()| disk::sync_dir(dir)) {
        Ok(()) => conn
            .execute("DELETE FROM meta WHERE key = ?1", [LEFT])
            .map(drop),
        Err(error) => {
            tracing::warn!(%error, "what is left of the journal cannot be removed; it is tried again at the next start");
            Ok(())
        }
    }
}
