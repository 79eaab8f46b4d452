//! Outputs: each by itself, and that no two write one file.

use super::super::raw::{RawOutput, RawWhenDead};
use super::super::{Config, DATABASE_SUFFIXES, META_SUFFIX, Output, WhenDead, filled_path};
use super::{Check, settled};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Check<'_> {
    /// The outputs under `at`: of a client, or of the grant with that name.
    pub(super) fn outputs(
        &mut self,
        at: &[&str; 2],
        raw: &[RawOutput],
        grant: Option<&str>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        for (i, output) in raw.iter().enumerate() {
            let i = i.to_string();
            outputs.push(self.output(&[at[0], at[1], "outputs", &i], output, grant));
        }
        outputs
    }

    fn output(&mut self, at: &[&str; 4], raw: &RawOutput, grant: Option<&str>) -> Output {
        let [a, b, c, i] = *at;
        let format = self.format(at, raw);
        let mode = raw.mode.as_ref();
        let mode = mode.and_then(|mode| self.mode(&[a, b, c, i, "mode"], mode));
        let path_at = [a, b, c, i, "path"];
        if raw.path.is_none() {
            let remedy = "write path = \"/run/refreshd/tokens/…\"".to_owned();
            self.missing(&path_at, "an output has no path", remedy);
        }
        // An empty path stands for a bad one: with an error told, it goes nowhere.
        let path = raw.path.as_deref();
        let path = path.filter(|path| self.path(&path_at, path, grant));
        let path = Path::new(path.unwrap_or_default());
        Output {
            path: grant.map_or_else(|| path.into(), |grant| filled_path(path, grant)),
            format,
            mode,
            when_dead: match raw.when_dead {
                RawWhenDead::Leave => WhenDead::Leave,
                RawWhenDead::Withdraw => WhenDead::Withdraw,
            },
        }
    }

    fn path(&mut self, at: &[&str], path: &str, grant: Option<&str>) -> bool {
        if !self.is_absolute(at, Path::new(path)) {
            return false;
        }
        let odd_component = path.split('/').any(|part| part == ".." || part == ".");
        let unknown = path.replace("{grant}", "");
        if path.ends_with('/') || odd_component || path.chars().any(char::is_control) {
            let message =
                "an output's path must name a file, without '.', '..' and control characters";
            self.wrong(at, message, None);
        } else if unknown.contains('{') && unknown.contains('}') {
            let message = "only {grant} can stand in braces in an output's path";
            self.wrong(at, message, None);
        } else if grant.is_none() && !path.contains("{grant}") {
            let message = "the path of a client's output must hold {grant}, else its grants would overwrite each other's tokens";
            let remedy = "write, for example, \"/run/refreshd/tokens/{grant}.json\"".to_owned();
            self.wrong(at, message, Some(remedy));
        } else {
            return true;
        }
        false
    }

    pub(super) fn mode(&mut self, at: &[&str], text: &str) -> Option<u32> {
        let octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        let Some(mode) = mode.filter(|mode| *mode <= 0o777 && mode & 0o400 != 0) else {
            let message = format!("mode {text:?} is not octal digits that let the owner read");
            self.wrong(
                at,
                message,
                Some("write, for example, mode = \"0640\"".to_owned()),
            );
            return None;
        };
        if mode & 0o007 != 0 {
            let message = format!("mode {text:?} gives the token to every user of this machine");
            self.odd(
                at,
                message,
                Some("let a group read it: mode = \"0640\"".to_owned()),
            );
        }
        Some(mode)
    }

    /// No two outputs, nor what is written beside them, on one path; none among the private state.
    pub(super) fn paths_of_outputs(&mut self, config: &Config) {
        let state_dir = settled(&config.daemon.state_dir);
        let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut told = Vec::new();
        for use_ in uses(config) {
            let at: Vec<&str> = use_.at.iter().map(String::as_str).collect();
            let path = settled(&use_.path);
            let mut paths = vec![path.clone()];
            paths.extend(use_.beside.iter().map(|suffix| with_suffix(&path, suffix)));
            let what = use_.what;
            let problem = if path.starts_with(&state_dir) {
                let dir = config.daemon.state_dir.display();
                Some(format!(
                    "{what} {} lies inside the state directory {dir}",
                    use_.path.display()
                ))
            } else {
                let clash = paths.iter().find_map(|path| taken.get(path));
                clash.map(|other| {
                    format!(
                        "{what} {} would overwrite what {other} writes",
                        use_.path.display()
                    )
                })
            };
            if let Some(message) = problem
                && !told.contains(&use_.at)
            {
                let remedy =
                    format!("give each {what} a path of its own, outside the state directory");
                self.wrong(&at, message, Some(remedy));
                told.push(use_.at.clone());
            }
            let mut name = super::super::layer::dotted(&use_.at[..use_.at.len() - 1]);
            if let Some(grant) = &use_.grant {
                name.push_str(&format!(" (grant {grant:?})"));
            }
            for path in paths.drain(1..) {
                let beside = || format!("{name} beside it");
                taken.entry(path).or_insert_with(beside);
            }
            taken.entry(path).or_insert(name);
        }
    }
}

/// A path that is written to.
struct Use {
    what: &'static str,
    at: Vec<String>,
    path: PathBuf,
    /// What ends the names of the files beside it.
    beside: &'static [&'static str],
    grant: Option<String>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn uses(config: &Config) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut add = |table: &str, owner: &str, outputs: &[Output], grant: &str| {
        for (i, output) in outputs.iter().enumerate() {
            if output.path.as_os_str().is_empty() {
                continue;
            }
            let at = [table, owner, "outputs", &i.to_string(), "path"].map(str::to_owned);
            let path = filled_path(&output.path, grant);
            uses.push(Use {
                what: "output",
                at: at.to_vec(),
                path,
                beside: &[META_SUFFIX],
                grant: Some(grant.to_owned()),
            });
        }
    };
    for (name, client) in &config.clients {
        let mut grants = config
            .grants
            .values()
            .filter(|grant| grant.client == *name)
            .peekable();
        if grants.peek().is_none() {
            // Grants may be added later: the templates must not clash either.
            add("clients", name, &client.outputs, "{grant}");
        }
        for grant in grants {
            add("clients", name, &client.outputs, &grant.name);
        }
    }
    for (name, grant) in &config.grants {
        add("grants", name, &grant.outputs, name);
    }
    for (i, database) in config.databases.iter().enumerate() {
        if !database.path.as_os_str().is_empty() {
            let at = ["databases", &i.to_string(), "path"].map(str::to_owned);
            uses.push(Use {
                what: "database",
                at: at.to_vec(),
                path: database.path.clone(),
                beside: &DATABASE_SUFFIXES,
                grant: None,
            });
        }
    }
    uses
}
