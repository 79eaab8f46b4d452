//! What a grant's settings come to: its own, its client's and its provider's.

use super::{Client, Config, Database, MetaPlace, Output};
use refreshd_core::provider::description::{Description, Schedule};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What SQLite has beside a database.
pub const DATABASE_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The control socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";

impl Config {
    /// Where the daemon of this configuration listens as a rule.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.daemon.runtime_dir.join(SOCKET)
    }

    /// The databases in which a grant has a row. It need not be configured.
    pub fn databases_of(&self, grant_name: &str) -> impl Iterator<Item = &Arc<Database>> {
        let has_row = move |database: &&Arc<Database>| {
            let mut patterns = database.grants.iter();
            patterns.any(|pattern| pattern.matches(grant_name))
        };
        self.databases.iter().filter(has_row)
    }

    /// Where a grant is published: its client's outputs with `{grant}` filled
    /// in, then its own. The grant need not be configured.
    #[must_use]
    pub fn outputs_of(&self, grant_name: &str, client: &Client) -> Vec<Output> {
        let filled = |output: &Output| Output {
            path: filled_path(&output.path, grant_name),
            meta: output.meta.filled(grant_name),
            ..output.clone()
        };
        let own = self
            .grants
            .get(grant_name)
            .map_or(&[][..], |grant| &grant.outputs);
        client
            .outputs
            .iter()
            .map(filled)
            .chain(own.iter().cloned())
            .collect()
    }

    /// The schedule keys for a grant: the provider's, over them its client's,
    /// over them its own.
    #[must_use]
    pub fn schedule_of(&self, grant_name: &str, client: &Client) -> Schedule {
        let schedule = client.description.schedule.overlaid(&client.schedule);
        match self.grants.get(grant_name) {
            Some(grant) => schedule.overlaid(&grant.schedule),
            None => schedule,
        }
    }

    /// The variables of a grant: its own, over the provider's defaults.
    #[must_use]
    pub fn grant_vars(&self, grant_name: &str, client: &Client) -> BTreeMap<String, String> {
        let none = BTreeMap::new();
        let own = self
            .grants
            .get(grant_name)
            .map_or(&none, |grant| &grant.vars);
        filled_vars(&client.description, own)
    }

    /// The redirect URI of a grant: its own, else its client's.
    #[must_use]
    pub fn redirect_uri_of(&self, grant_name: &str, client: &Client) -> Option<String> {
        let own = self
            .grants
            .get(grant_name)
            .and_then(|grant| grant.redirect_uri.clone());
        own.or_else(|| client.redirect_uri.clone())
    }
}

impl Output {
    /// The file with its metadata; `None` where there are to be none.
    #[must_use]
    pub fn meta_path(&self) -> Option<PathBuf> {
        match &self.meta {
            MetaPlace::Beside => Some(meta_beside(&self.path)),
            MetaPlace::At(path) => Some(path.clone()),
            MetaPlace::Absent => None,
        }
    }
}

impl MetaPlace {
    pub(super) fn filled(&self, grant: &str) -> MetaPlace {
        match self {
            MetaPlace::At(path) => MetaPlace::At(filled_path(path, grant)),
            other => other.clone(),
        }
    }
}

/// `.NAME.meta.json` beside `NAME`. The dot hides it from whoever takes every
/// visible file of a directory for a token.
#[must_use]
pub fn meta_beside(path: &Path) -> PathBuf {
    let mut name = OsStr::new(".").to_owned();
    name.push(path.file_name().unwrap_or_default());
    name.push(".meta.json");
    path.with_file_name(name)
}

pub(super) fn filled_vars(
    description: &Description,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let default = |(name, var): (&String, &refreshd_core::provider::description::Var)| {
        Some((name.clone(), var.default.clone()?))
    };
    let mut vars: BTreeMap<String, String> = description.vars.iter().filter_map(default).collect();
    vars.extend(own.clone());
    vars
}

pub(super) fn filled_path(path: &Path, grant: &str) -> PathBuf {
    // Paths come from TOML, so they are UTF-8.
    path.to_str().map_or_else(
        || path.to_owned(),
        |text| text.replace("{grant}", grant).into(),
    )
}
