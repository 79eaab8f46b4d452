//! Outputs: each by itself, and that no two write one file.

use super::super::ids::Ids;
use super::super::raw::{RawId, RawMeta, RawOutput, RawWhenDead};
use super::super::{Config, DATABASE_SUFFIXES, MetaPlace, Output, WhenDead, filled_path};
use super::ground::Ground;
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
        let dir_mode = raw.dir_mode.as_ref();
        let dir_mode = dir_mode.and_then(|mode| self.dir_mode(&[a, b, c, i, "dir_mode"], mode));
        let group = raw.group.as_ref();
        let group = group.and_then(|id| self.id(&[a, b, c, i, "group"], Ids::Groups, id));
        let owner = raw.owner.as_ref();
        let owner = owner.and_then(|id| self.id(&[a, b, c, i, "owner"], Ids::Users, id));
        let meta = self.meta(&[a, b, c, i, "meta"], raw, grant);
        let path_at = [a, b, c, i, "path"];
        if raw.path.is_none() {
            let remedy = "write path = \"/run/refreshd/tokens/…\"".to_owned();
            self.missing(&path_at, "an output has no path", remedy);
        }
        // An empty path stands for a bad one: with an error told, it goes nowhere.
        let path = raw.path.as_deref().map(|path| self.in_runtime_dir(path));
        let path = path.filter(|path| self.path(&path_at, path, grant));
        let path = path.unwrap_or_default();
        let path = Path::new(&path);
        Output {
            path: grant.map_or_else(|| path.into(), |grant| filled_path(path, grant)),
            format,
            mode,
            group,
            owner,
            dir_mode,
            meta,
            replace: raw.replace,
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
            let message = "only {grant} and {runtime_dir} can stand in braces in an output's path";
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

    fn meta(&mut self, at: &[&str], raw: &RawOutput, grant: Option<&str>) -> MetaPlace {
        let path = match &raw.meta {
            None | Some(RawMeta::Wanted(true)) => return MetaPlace::Beside,
            Some(RawMeta::Wanted(false)) => return MetaPlace::Absent,
            Some(RawMeta::At(path)) => self.in_runtime_dir(path),
        };
        if !self.path(at, &path, grant) {
            // An error is told, so this goes nowhere.
            return MetaPlace::Absent;
        }
        let path = Path::new(&path);
        MetaPlace::At(grant.map_or_else(|| path.into(), |grant| filled_path(path, grant)))
    }

    /// A path with the runtime directory for `{runtime_dir}`, so that one configuration
    /// serves the system's service and a person's own.
    pub(super) fn in_runtime_dir(&self, path: &str) -> String {
        match &self.runtime_dir {
            Some(dir) => path.replace("{runtime_dir}", &dir.to_string_lossy()),
            None => path.to_owned(),
        }
    }

    /// The number of a group or user.
    pub(super) fn id(&mut self, at: &[&str], ids: Ids, raw: &RawId) -> Option<u32> {
        let name = match raw {
            RawId::Number(number) => return Some(*number),
            RawId::Name(name) => name,
        };
        if let Some(number) = ids.number_of(name).or_else(|| name.parse().ok()) {
            return Some(number);
        }
        let word = ids.word();
        let message = format!("there is no {word} {name:?} on this machine");
        let remedy = format!("make it first ({word}add --system NAME), or write its number");
        self.wrong(at, message, Some(remedy));
        None
    }

    /// The mode of directories that are made; the setgid bit may be given.
    fn dir_mode(&mut self, at: &[&str], text: &str) -> Option<u32> {
        let mode = octal(text).filter(|mode| mode & !0o2777 == 0 && mode & 0o700 == 0o700);
        let remedy = "write, for example, dir_mode = \"2750\"".to_owned();
        match mode {
            Some(mode) if mode & 0o022 == 0 => return Some(mode),
            Some(_) => {
                let message = format!(
                    "dir_mode {text:?} lets others write to the directory, so that they could put a file of their own in the token's place"
                );
                self.wrong(at, message, Some(remedy));
            }
            None => {
                let message =
                    format!("dir_mode {text:?} is not octal digits that let the owner in");
                self.wrong(at, message, Some(remedy));
            }
        }
        None
    }

    pub(super) fn mode(&mut self, at: &[&str], text: &str) -> Option<u32> {
        let Some(mode) = octal(text).filter(|mode| *mode <= 0o777 && mode & 0o400 != 0) else {
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

    /// No two outputs, nor what is written beside them, on one path; none on what is ours.
    pub(super) fn paths_of_outputs(&mut self, config: &Config, ground: &Ground) {
        let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut told = Vec::new();
        let uses = uses(config);
        for use_ in &uses {
            let paths: Vec<PathBuf> = use_.paths.iter().map(|path| settled(path)).collect();
            let name = use_.name();
            let shown = use_.paths[0].display();
            let what = use_.what;
            let problem = if let Some(ours) = paths.iter().find_map(|path| ground.under(path)) {
                Some(format!("{what} {shown} {ours}"))
            } else if use_.paths.iter().any(|path| is_temporary(path)) {
                Some(format!(
                    "{what} {shown} would lie among the temporary files of another one"
                ))
            } else if let Some(other) = paths.iter().find_map(|path| taken.get(path)) {
                Some(format!(
                    "{what} {shown} would overwrite what {other} writes"
                ))
            } else {
                let below = paths.iter().flat_map(|path| path.ancestors().skip(1));
                let file = below.filter_map(|dir| taken.get(dir)).next();
                file.map(|other| {
                    format!("{what} {shown} needs a directory where {other} writes a file")
                })
            };
            if let Some(message) = problem
                && !told.contains(&use_.at)
            {
                let at: Vec<&str> = use_.at.iter().map(String::as_str).collect();
                self.wrong(
                    &at,
                    message,
                    Some(format!("give each {what} a path of its own")),
                );
                told.push(use_.at.clone());
            }
            for path in paths.iter().skip(1).cloned() {
                let beside = || format!("{name} beside it");
                taken.entry(path).or_insert_with(beside);
            }
            taken.entry(paths[0].clone()).or_insert(name);
        }
    }
}

/// Whether a path is a `.tmp`, or in one.
fn is_temporary(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".tmp")
}

/// Three or four octal digits.
fn octal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let octal = (3..=4).contains(&text.len()) && digits;
    octal.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

/// What is written to one place.
pub(super) struct Use {
    pub(super) what: &'static str,
    pub(super) at: Vec<String>,
    /// The file, then what stands beside it.
    pub(super) paths: Vec<PathBuf>,
    pub(super) mode: Option<u32>,
    pub(super) group: Option<u32>,
    /// A file of somebody else may be replaced.
    pub(super) replace: bool,
    grant: Option<String>,
}

impl Use {
    fn name(&self) -> String {
        let name = super::super::layer::dotted(&self.at[..self.at.len() - 1]);
        match &self.grant {
            Some(grant) => format!("{name} (grant {grant:?})"),
            None => name,
        }
    }
}

/// All that is written to, the templates of clients filled in.
pub(super) fn uses(config: &Config) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut add = |table: &str, owner: &str, outputs: &[Output], grant: &str| {
        for (i, output) in outputs.iter().enumerate() {
            if output.path.as_os_str().is_empty() {
                continue;
            }
            let at = [table, owner, "outputs", &i.to_string(), "path"].map(str::to_owned);
            let filled = Output {
                path: filled_path(&output.path, grant),
                meta: output.meta.filled(grant),
                ..output.clone()
            };
            uses.push(Use {
                what: "output",
                at: at.to_vec(),
                paths: (std::iter::once(filled.path.clone()))
                    .chain(filled.meta_path())
                    .collect(),
                mode: output.mode,
                group: output.group,
                replace: output.replace,
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
            let beside = DATABASE_SUFFIXES.iter().chain(&[".new", ".damaged"]);
            let beside = beside.map(|suffix| with_suffix(&database.path, suffix));
            uses.push(Use {
                what: "database",
                at: at.to_vec(),
                paths: (std::iter::once(database.path.clone()))
                    .chain(beside)
                    .collect(),
                mode: database.mode,
                group: database.group,
                replace: false,
                grant: None,
            });
        }
    }
    uses
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
