//! `[[databases]]`: path, group, mode, and which grants have a row.

use super::super::ids::Ids;
use super::super::pattern::{Pattern, RULE};
use super::super::raw::{RawDatabase, RawWhenDead};
use super::super::{Database, WhenDead};
use super::Check;
use std::path::Path;
use std::sync::Arc;

impl Check<'_> {
    pub(super) fn databases(&mut self, raw: &[RawDatabase]) -> Vec<Arc<Database>> {
        let number = raw.iter().enumerate();
        let database = number.map(|(i, raw)| Arc::new(self.database(&i.to_string(), raw)));
        database.collect()
    }

    fn database(&mut self, i: &str, raw: &RawDatabase) -> Database {
        let path_at = ["databases", i, "path"];
        if raw.path.is_none() {
            let remedy = "write path = \"/run/refreshd/tokens/shops.db\"".to_owned();
            self.missing(&path_at, "a database has no path", remedy);
        }
        // An empty path stands for a bad one: with an error told, it goes nowhere.
        let path = raw.path.as_deref().map(|path| self.in_runtime_dir(path));
        let path = path.filter(|path| self.path_of_database(&path_at, path));
        let mode = raw.mode.as_ref();
        Database {
            path: path.unwrap_or_default().into(),
            group: (raw.group.as_ref())
                .and_then(|group| self.id(&["databases", i, "group"], Ids::Groups, group)),
            mode: mode.and_then(|mode| self.mode_of_database(i, mode)),
            grants: match &raw.grants {
                Some(patterns) => self.patterns(i, patterns),
                None => vec![Pattern::any()],
            },
            publish: raw.publish,
            when_dead: match raw.when_dead {
                RawWhenDead::Leave => WhenDead::Leave,
                RawWhenDead::Withdraw => WhenDead::Withdraw,
            },
        }
    }

    fn path_of_database(&mut self, at: &[&str], path: &str) -> bool {
        if !self.is_absolute(at, Path::new(path)) {
            return false;
        }
        let odd_component = path.split('/').any(|part| part == ".." || part == ".");
        if path.ends_with('/') || odd_component || path.chars().any(char::is_control) {
            let message =
                "a database's path must name a file, without '.', '..' and control characters";
            self.wrong(at, message, None);
        } else if path.contains("{grant}") {
            let message = "a database holds a row for each grant: its path has no {grant}";
            self.wrong(at, message, Some("name one file".to_owned()));
        } else {
            return true;
        }
        false
    }

    fn mode_of_database(&mut self, i: &str, text: &str) -> Option<u32> {
        let at = ["databases", i, "mode"];
        let mode = self.mode(&at, text)?;
        // SQLite's own writer needs to write; a reader that can write can break it for all.
        if mode & 0o777 & !0o044 != 0o600 {
            let message = format!("mode {text:?} is not one for a database that others read");
            let remedy = "write mode = \"0640\" (its group reads) or mode = \"0600\"".to_owned();
            self.wrong(&at, message, Some(remedy));
            return None;
        }
        Some(mode)
    }

    fn patterns(&mut self, i: &str, texts: &[String]) -> Vec<Pattern> {
        let at = ["databases", i, "grants"];
        if texts.is_empty() {
            let message = "this database is for no grant, so it stays empty";
            let remedy = "name grants, or take the key out: then all have a row".to_owned();
            self.odd(&at, message, Some(remedy));
        }
        let mut patterns = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            match Pattern::new(text) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let message = format!("{text:?} matches no grant's name");
                    let at = [at[0], at[1], at[2], &n.to_string()];
                    self.wrong(&at, message, Some(RULE.to_owned()));
                }
            }
        }
        patterns
    }
}
