//! From what was written to a [`Config`]: every check, and all problems at once.

mod backup;
mod clients;
mod daemon;
mod databases;
mod enroll;
mod formats;
mod grants;
mod ground;
mod networks;
mod outputs;
mod service;
mod surroundings;
mod whose;

use super::extract::{Extracted, extract};
use super::layer::Stack;
use super::odd_text::Odd;
use super::problem::{Problem, Severity};
use super::provider_files::Registry;
use super::raw::{Raw, RawSecret};
use super::secret_source::{self, SecretError};
use super::source_text::{Aim, Path};
use super::sources::{Gathered, Sources, gather};
use super::{Config, Daemon};
use ground::Ground;
use refreshd_core::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, PathBuf};

/// What is done about secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are read; what cannot be read is an error. For what sends them.
    #[default]
    Read,
    /// They are read as well; what only the service itself can read is a remark. For
    /// what looks from outside of the service.
    Look,
    /// They are left where they lie, and no client has one: for what sends none.
    Leave,
}

/// What became of the configuration.
#[derive(Debug)]
pub struct Loaded {
    /// There when no problem is an error.
    pub config: Option<Config>,
    /// Otherwise what is sound, where every file could be read and nothing is wrong
    /// with `[daemon]` and `[backup]`: enough to find the daemon, or the state.
    pub sound: Option<Config>,
    /// Errors and warnings, by file and place.
    pub problems: Vec<Problem>,
    /// What was read.
    pub(super) gathered: Gathered,
}

/// Where a grant stands, as `FILE:LINE` or the name of a variable or option.
#[must_use]
pub fn grant_places(sources: &Sources, grant: &str) -> Vec<String> {
    let path = ["grants", grant].map(str::to_owned);
    let gathered = gather(sources, &mut Vec::new()).unwrap_or_default();
    let layers = gathered.layers.iter().filter(|layer| layer.has(&path));
    let place = layers.map(|layer| {
        let at = layer.problem(&path, Aim::Key, "set there".to_owned());
        match (&at.file, &at.spot) {
            (Some(file), Some(spot)) => format!("{}:{}", file.display(), spot.line),
            (Some(file), None) => file.display().to_string(),
            (None, _) => at.message,
        }
    });
    place.collect()
}

/// What the machine around a sound configuration lets it do and not: errors are for
/// outputs that cannot be written here by whoever asks.
#[must_use]
pub fn survey(sources: &Sources, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(gathered) = gather(sources, &mut Vec::new()) else {
        return problems;
    };
    let registry = Registry::new(&gathered.providers, &mut Vec::new());
    let stack = Stack::new(gathered.layers);
    let mut check = Check {
        sources,
        secrets: Secrets::Look,
        service: None,
        stack: &stack,
        registry: &registry,
        complete: gathered.complete,
        reported: BTreeSet::new(),
        unreadable: BTreeMap::new(),
        runtime_dir: None,
        problems: &mut problems,
    };
    check.surroundings(config);
    check.writable_for_service(config);
    problems.sort_by_cached_key(Problem::order);
    problems
}

/// Reads and checks the whole configuration, secrets too.
#[must_use]
pub fn load(sources: &Sources) -> Loaded {
    load_with(sources, Secrets::Read)
}

/// Reads and checks the whole configuration, its secrets as far as is said.
#[must_use]
pub fn load_with(sources: &Sources, secrets: Secrets) -> Loaded {
    let mut problems = Vec::new();
    let gathered = gather(sources, &mut problems);
    let read = |gathered| read(sources, secrets, gathered, &mut problems);
    let config = gathered.clone().and_then(read);
    problems.sort_by_cached_key(Problem::order);
    let mut seen = Vec::new();
    problems.retain(|problem| {
        let news = !seen.contains(problem);
        seen.push(problem.clone());
        news
    });
    let is_error = |problem: &&Problem| problem.severity == Severity::Error;
    let errors = problems.iter().filter(is_error).count();
    let (config, sound) = match config {
        Some((config, _)) if errors == 0 => (Some(config), None),
        Some((config, true)) => (None, Some(Config { errors, ..config })),
        _ => (None, None),
    };
    Loaded {
        config,
        sound,
        problems,
        gathered: gathered.unwrap_or_default(),
    }
}

/// What is sound, and whether the daemon can be found by it.
fn read(
    sources: &Sources,
    secrets: Secrets,
    gathered: Gathered,
    problems: &mut Vec<Problem>,
) -> Option<(Config, bool)> {
    let registry = Registry::new(&gathered.providers, problems);
    let stack = Stack::new(gathered.layers);
    let Extracted { value, reported } = extract::<Raw>(&stack, stack.merged(), problems);
    let raw = value?;
    let mut check = Check {
        sources,
        secrets,
        service: None,
        stack: &stack,
        registry: &registry,
        complete: gathered.complete,
        reported,
        runtime_dir: None,
        unreadable: BTreeMap::new(),
        problems,
    };
    let daemon = check.daemon(&raw.daemon);
    check.runtime_dir = daemon.as_ref().map(|daemon| daemon.runtime_dir.clone());
    let owner = |daemon: &Daemon| Some(std::fs::metadata(&daemon.state_dir).ok()?.uid());
    check.service = daemon.as_ref().and_then(owner);
    check.whose(&gathered.files);
    if let Some(daemon) = daemon.as_ref().filter(|_| secrets == Secrets::Look) {
        check.readable_for_service(&raw, &gathered.files, daemon);
    }
    let clients: BTreeMap<_, _> = (raw.clients.iter())
        .filter_map(|(name, client)| Some((name.clone(), check.client(name, client, &raw)?)))
        .collect();
    let grants: BTreeMap<_, _> = (raw.grants.iter())
        .map(|(name, grant)| (name.clone(), check.grant(name, grant, &raw, &clients)))
        .collect();
    let databases = check.databases(&raw.databases);
    let backup = check.backup(&raw.backup, daemon.as_ref());
    let enroll = check.enroll(&raw.enroll);
    check.push_paths(&raw.clients, &clients);
    let mut tables = ["daemon", "backup"].into_iter();
    let finds = gathered.complete && !tables.any(|table| check.was_reported_within(&[table]));
    // One that was taken out for its form is known all the same.
    let told = check.reported.iter().filter(|path| path[0] == "clients");
    let told = told.filter_map(|path| path.get(1).cloned());
    let broken = raw.clients.keys().cloned().chain(told);
    let config = Config {
        files: gathered.files,
        errors: 0,
        daemon: daemon?,
        backup,
        enroll,
        broken_clients: broken.filter(|name| !clients.contains_key(name)).collect(),
        clients,
        grants,
        databases,
    };
    let ground = Ground::of(&config, &raw, sources);
    check.paths_of_outputs(&config, &ground);
    Some((config, finds))
}

/// What the checks have at hand.
struct Check<'a> {
    sources: &'a Sources,
    secrets: Secrets,
    /// The user that the service runs as, where that can be told: whoever owns the state.
    service: Option<u32>,
    stack: &'a Stack,
    registry: &'a Registry,
    /// Whether every file could be read: if not, what is missing may stand in one of those.
    complete: bool,
    /// Paths about which something has been said.
    reported: BTreeSet<Path>,
    /// Where the daemon's socket is; `None` where that is not known.
    runtime_dir: Option<PathBuf>,
    /// What clients lack for now, where that keeps nothing from being served.
    unreadable: BTreeMap<String, String>,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// An error about the value at a path.
    fn wrong(&mut self, path: &[&str], message: impl Into<String>, remedy: Option<String>) {
        self.tell(Severity::Error, path, Aim::Value, message.into(), remedy);
    }

    /// An error about what lies outside of the configuration. In one that was sound it
    /// may come back, and keeps nothing else from being served: the client waits for it.
    fn lacks(&mut self, client: &str, path: &[&str], message: String, remedy: Option<String>) {
        if self.sources.last_sound.is_none() {
            return self.wrong(path, message, remedy);
        }
        self.unreadable.insert(client.to_owned(), message.clone());
        self.odd(path, message, remedy);
    }

    /// An error about a name that is a key.
    fn wrong_key(&mut self, path: &[&str], message: impl Into<String>, remedy: Option<String>) {
        self.tell(Severity::Error, path, Aim::Key, message.into(), remedy);
    }

    /// A warning about the value at a path.
    fn odd(&mut self, path: &[&str], message: impl Into<String>, remedy: Option<String>) {
        self.tell(Severity::Warning, path, Aim::Value, message.into(), remedy);
    }

    /// Whether somebody who only looks cannot read what the service may.
    fn looks_from_outside(&self, error: &SecretError) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let outside = self.service.is_some_and(|service| service != me);
        self.secrets == Secrets::Look && error.is_of_the_service(outside)
    }

    /// What cannot be looked at from here.
    fn remark(&mut self, path: &[&str], message: String) {
        // It is no reason to leave anything out.
        let path = owned(path);
        let problem = (self.stack).problem(Severity::Remark, &path, Aim::Value, message);
        self.problems.push(problem);
    }

    /// A secret, read as far as is wanted here: `None` where it was not read. What is
    /// odd about it is told; what cannot be read is the caller's to tell.
    fn secret(&mut self, at: &[&str], source: &RawSecret) -> Result<Option<Secret>, SecretError> {
        let env = &self.sources.env;
        if self.secrets == Secrets::Leave {
            return secret_source::place(source, env).map(|_| None);
        }
        match secret_source::read(source, env) {
            Ok(read) => {
                let owners = self.owners();
                let whose =
                    |odd: &&Odd| !matches!(odd, Odd::Foreign { uid, .. } if owners.has(*uid));
                for odd in read.odd.iter().filter(whose) {
                    self.odd(at, odd.to_string(), odd.remedy());
                }
                Ok(Some(read.secret))
            }
            Err(error) if self.looks_from_outside(&error) => {
                self.remark(at, error.remark());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// An error about a key that is not there, unless it was there and wrong,
    /// or may stand in a file that could not be read.
    fn missing(&mut self, path: &[&str], message: impl Into<String>, remedy: String) {
        if self.complete && !self.was_reported(path) {
            self.tell(
                Severity::Error,
                path,
                Aim::Key,
                message.into(),
                Some(remedy),
            );
        }
    }

    fn tell(
        &mut self,
        severity: Severity,
        path: &[&str],
        aim: Aim,
        message: String,
        remedy: Option<String>,
    ) {
        let path = owned(path);
        let mut problem = self.stack.problem(severity, &path, aim, message);
        problem.remedy = remedy;
        self.problems.push(problem);
        self.reported.insert(path);
    }

    fn was_reported(&self, path: &[&str]) -> bool {
        let path = owned(path);
        (1..=path.len()).any(|n| self.reported.contains(&path[..n]))
    }

    /// Whether something has been said about the value at a path or within it.
    fn was_reported_within(&self, path: &[&str]) -> bool {
        let path = owned(path);
        self.reported.iter().any(|told| told.starts_with(&path))
    }

    /// Whether a path has a root; if not, that is told.
    fn is_absolute(&mut self, path: &[&str], value: &std::path::Path) -> bool {
        if value.is_relative() {
            let message = format!(
                "{} must be an absolute path",
                super::layer::dotted(&owned(path))
            );
            self.wrong(path, message, Some("begin it with /".to_owned()));
        }
        value.is_absolute()
    }
}

fn owned(path: &[&str]) -> Path {
    path.iter().map(|key| (*key).to_owned()).collect()
}

/// The path that the system would come to: no `.` and `..`, and symbolic links
/// resolved as far as it exists. For comparing only.
fn settled(path: &std::path::Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    let real = |ancestor: &std::path::Path| {
        let real = ancestor.canonicalize().ok()?;
        let rest = plain.strip_prefix(ancestor).ok()?;
        Some(if rest.as_os_str().is_empty() {
            real
        } else {
            real.join(rest)
        })
    };
    plain.ancestors().find_map(real).unwrap_or(plain.clone())
}
