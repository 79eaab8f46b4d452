//! Where consumers find tokens, and how each of the ways is read: as a program
//! would that has never heard of `refreshd`.

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The formats of token files and how their names end. Grants take them in turn.
pub(super) const FORMATS: &[(&str, &str)] = &[
    ("raw", "token"),
    ("json", "json"),
    ("env", "env"),
    ("header", "header"),
];

/// How long a reader waits while the database is being written.
const BUSY: Duration = Duration::from_secs(5);

/// The file of one grant.
#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    pub(super) path: PathBuf,
    pub(super) format: &'static str,
}

impl TokenFile {
    /// The n-th grant's file in a directory.
    pub(super) fn nth(n: usize, dir: &Path, grant: &str) -> TokenFile {
        let (format, ending) = FORMATS[n % FORMATS.len()];
        let path = dir.join(format!("{grant}.{ending}"));
        TokenFile { path, format }
    }

    /// The access token in it; `None`: there is none.
    pub(super) fn read(&self) -> Option<String> {
        let text = fs::read_to_string(&self.path).ok()?;
        let token = match self.format {
            "json" => {
                let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
                answer["access_token"].as_str()?.to_owned()
            }
            "env" => between(&text, "ACCESS_TOKEN='", "'\n")?,
            "header" => between(&text, "Authorization: Bearer ", "\n")?,
            _ => text,
        };
        (!token.is_empty()).then_some(token)
    }
}

/// A row of the published database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) access_token: String,
    pub(super) generation: i64,
}

/// Reads a grant's row as any program would: another connection each time, for
/// reading only. `None`: there is no such row.
pub(super) fn read_row(database: &Path, grant: &str) -> rusqlite::Result<Option<Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(database), flags)?;
    connection.busy_timeout(BUSY)?;
    let query = "SELECT access_token, generation FROM tokens WHERE name = ?1";
    let row = connection.query_row(query, [grant], |row| {
        Ok(Row {
            access_token: row.get(0)?,
            generation: row.get(1)?,
        })
    });
    row.optional()
}

/// SQLite's way to say that a database is only read.
pub(super) fn uri(database: &Path) -> String {
    format!("file:{}?mode=ro", database.display())
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let token = text.strip_prefix(before)?.strip_suffix(after)?;
    Some(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for (format, text) in [
            ("raw", "at_1"),
            ("json", r#"{"access_token":"at_1","token_type":"Bearer"}"#),
            ("env", "ACCESS_TOKEN='at_1'\n"),
            ("header", "Authorization: Bearer at_1\n"),
        ] {
            fs::write(&path, text).unwrap();
            let path = path.clone();
            let file = TokenFile { path, format };
            assert_eq!(file.read().as_deref(), Some("at_1"), "{format}");
            fs::write(&file.path, &text[..text.len() / 2]).unwrap();
            assert_ne!(file.read().as_deref(), Some("at_1"), "half of {format}");
        }
    }

    #[test]
    fn a_row_is_found_by_its_grant() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.db");
        assert!(read_row(&path, "a").is_err(), "reading makes no database");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE tokens (name TEXT PRIMARY KEY, access_token TEXT, generation INTEGER);
                 INSERT INTO tokens VALUES ('a', 'at_1', 7);",
            )
            .unwrap();
        let row = read_row(&path, "a").unwrap().unwrap();
        assert_eq!((row.access_token.as_str(), row.generation), ("at_1", 7));
        assert_eq!(read_row(&path, "b").unwrap(), None);
    }
}
