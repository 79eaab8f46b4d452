//! Where something is published: a file, or a row of a database.

use super::{Sink, Target};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, or a grant's row in a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    path: Arc<Path>,
    row: Option<Arc<str>>,
}

impl Address {
    /// A file.
    #[must_use]
    pub fn file(path: &Path) -> Address {
        let path = path.into();
        Address { path, row: None }
    }

    /// The row of a grant in a database.
    #[must_use]
    pub fn row(database: &Path, grant: &str) -> Address {
        Address {
            path: database.into(),
            row: Some(grant.into()),
        }
    }

    /// The file, or the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The row's name, where it is one.
    #[must_use]
    pub fn row_name(&self) -> Option<&str> {
        self.row.as_deref()
    }

    /// Whether it is a row.
    #[must_use]
    pub fn is_row(&self) -> bool {
        self.row.is_some()
    }

    /// Where it is, for a person.
    #[must_use]
    pub fn place(&self) -> String {
        let path = self.path.display();
        match &self.row {
            Some(row) => format!("{path} (row {row})"),
            None => path.to_string(),
        }
    }

    /// What hangs or fails as one: the files of a directory, the rows of a database.
    pub(super) fn neighbourhood(&self) -> (bool, &Path) {
        let dir = || self.path.parent().unwrap_or(&self.path);
        match self.row {
            Some(_) => (true, &self.path),
            None => (false, dir()),
        }
    }
}

impl Target {
    /// Where its metadata go, where it has some.
    pub(super) fn meta_path(&self) -> Option<PathBuf> {
        match &self.sink {
            Sink::File(output) => output.meta_path(),
            Sink::Row(_) => None,
        }
    }

    pub(super) fn address(&self) -> Address {
        match &self.sink {
            Sink::File(output) => Address::file(&output.path),
            Sink::Row(database) => Address::row(&database.path, &self.grant),
        }
    }
}
