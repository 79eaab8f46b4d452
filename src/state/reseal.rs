//! Sealed rows under a new key: looked through in bounded batches, in the order
//! of their keys, so that it may stop anywhere and begin again.

use super::db;
use super::disk::hex;
use super::error::StoreError;
use super::seal::{Context, KeyId, Sealer};
use super::writer::Session;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::{BTreeMap, BTreeSet};

/// Rows in one transaction: a few milliseconds at most.
const BATCH: usize = 100;

/// A table with sealed columns.
struct Table {
    name: &'static str,
    key: &'static str,
    /// Whose it is, as the seal has it: text, or a flight.
    owner: &'static str,
    generation: &'static str,
    columns: &'static [&'static str],
}

const TABLES: [Table; 4] = [
    Table {
        name: "grants",
        key: "key",
        owner: "id",
        generation: "generation",
        columns: &["tokens"],
    },
    Table {
        name: "candidates",
        key: "flight",
        owner: "flight",
        generation: "base_generation",
        columns: &["tokens", "answer"],
    },
    Table {
        name: "answers",
        key: "flight",
        owner: "flight",
        generation: "generation",
        columns: &["answer"],
    },
    Table {
        name: "enrollments",
        key: "id",
        owner: "id",
        generation: "generation",
        columns: &["secrets"],
    },
];

/// How far a walk over all sealed records has come, and what it has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Walk {
    table: usize,
    after: Option<Value>,
    /// Whether nothing is left to look at.
    pub done: bool,
    /// Records, by the key that they are sealed with now.
    pub found: BTreeMap<KeyId, u64>,
    /// Records that were sealed anew.
    pub resealed: u64,
    /// Records that could not be opened, and were left as they are.
    pub unreadable: u64,
}

/// Looks at the next rows; with `reseal`, seals what an older key has sealed
/// with the newest.
pub(super) fn walk(s: &Session<'_>, mut walk: Walk, reseal: bool) -> Result<Walk, StoreError> {
    let Some(table) = TABLES.get(walk.table) else {
        // Last: that the key check names the newest key means that all rows do.
        for context in [db::FINGERPRINT_KEY, db::KEY_CHECK] {
            let sealed: Vec<u8> = db::meta(s.conn, context.column)?;
            if let Some(anew) = walk.look(s.sealer, &context, &sealed, reseal) {
                db::set_meta(s.conn, context.column, anew)?;
            }
        }
        walk.done = true;
        return Ok(walk);
    };
    let rows = next_rows(s, table, walk.after.take())?;
    let full = rows.len() == BATCH;
    for Row {
        key,
        owner,
        generation,
        sealed,
    } in rows
    {
        for (column, sealed) in table.columns.iter().zip(sealed) {
            let Some(sealed) = sealed else { continue };
            let context = Context {
                purpose: table.name,
                owner: &owner,
                column,
                generation,
            };
            if let Some(anew) = walk.look(s.sealer, &context, &sealed, reseal) {
                let sql = format!(
                    "UPDATE {} SET {column} = ?2 WHERE {} = ?1",
                    table.name, table.key
                );
                s.conn.prepare_cached(&sql)?.execute((&key, anew))?;
            }
        }
        walk.after = Some(key);
    }
    if !full {
        walk.table += 1;
        walk.after = None;
    }
    Ok(walk)
}

struct Row {
    key: Value,
    owner: String,
    generation: u64,
    sealed: Vec<Option<Vec<u8>>>,
}

fn next_rows(s: &Session<'_>, table: &Table, after: Option<Value>) -> Result<Vec<Row>, StoreError> {
    let sql = format!(
        "SELECT {key}, {}, {}, {} FROM {} {} ORDER BY {key} LIMIT {BATCH}",
        table.owner,
        table.generation,
        table.columns.join(", "),
        table.name,
        after
            .as_ref()
            .map_or(String::new(), |_| format!("WHERE {} > ?1", table.key)),
        key = table.key,
    );
    let mut statement = s.conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(after), |row| {
        let sealed = (0..table.columns.len()).map(|column| row.get(3 + column));
        let owner = match row.get(1)? {
            Value::Blob(flight) => hex(&flight),
            Value::Text(id) => id,
            _ => String::new(),
        };
        Ok(Row {
            key: row.get(0)?,
            owner,
            generation: row.get::<_, i64>(2)?.unsigned_abs(),
            sealed: sealed.collect::<rusqlite::Result<_>>()?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Walk {
    /// Counts a record; what it is to be replaced with, if it is.
    fn look(
        &mut self,
        sealer: &Sealer,
        context: &Context<'_>,
        sealed: &[u8],
        reseal: bool,
    ) -> Option<Vec<u8>> {
        let key = KeyId::of(sealed);
        let newest = sealer.key_id();
        let mut anew = None;
        if reseal && key != Some(newest) {
            match sealer.open(context, sealed) {
                Ok(plain) => anew = Some(sealer.seal(context, &plain)),
                Err(_) => self.unreadable += 1,
            }
        }
        self.resealed += u64::from(anew.is_some());
        let key = if anew.is_some() { Some(newest) } else { key };
        if let Some(key) = key {
            *self.found.entry(key).or_default() += 1;
        }
        anew
    }
}

/// The keys that have sealed anything in a database that nobody writes to.
pub(super) fn keys_in(conn: &Connection) -> rusqlite::Result<BTreeSet<KeyId>> {
    let mut keys = BTreeSet::new();
    let columns = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(|column| (table.name, *column)));
    let selects: Vec<String> = columns
        .map(|(table, column)| {
            format!("SELECT substr({column}, 2, 4) FROM {table} WHERE {column} IS NOT NULL")
        })
        .chain([
            "SELECT substr(value, 2, 4) FROM meta WHERE key IN ('key_check', 'fingerprint_key')"
                .to_owned(),
        ])
        .collect();
    let mut statement = conn.prepare(&selects.join(" UNION "))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: Vec<u8> = row.get(0)?;
        keys.extend(KeyId::of_bytes(&id));
    }
    Ok(keys)
}
