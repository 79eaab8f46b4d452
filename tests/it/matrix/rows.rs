//! Reads the rows of exchanges under way as the dead process left them, from a copy: what is
//! there is in doubt.

use rusqlite::Connection;
use std::fs;
use std::path::Path;

/// The exchanges that stand in the database and its log.
pub(super) fn flights(state: &Path) -> Vec<[u8; 16]> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["refreshd.db", "refreshd.db-wal"] {
        fs::copy(state.join(name), copy.path().join(name)).unwrap();
    }
    let conn = Connection::open(copy.path().join("refreshd.db")).unwrap();
    let mut statement = conn.prepare("SELECT flight FROM intents").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
