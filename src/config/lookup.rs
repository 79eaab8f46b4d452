//! What a grant's settings come to: its own, its client's and its provider's.

use super::{Client, Config, Database, Output};
use refreshd_core::provider::description::{Description, Schedule};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What stands beside an output's file has its name and this.
pub const META_SUFFIX: &str = ".meta.json";

/// What SQLite has beside a database.
pub const DATABASE_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Config {
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
