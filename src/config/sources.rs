//! Where configuration comes from: files, the environment, the command line.

use super::last_sound::LastSound;
use super::layer::Layer;
use super::problem::{Problem, Severity};
use crate::trust;
use figment::value::{Dict, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More than any configuration has.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What [`load`](super::load) reads.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config FILE`; without it, `$REFRESHD_CONFIG`, else the usual places.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub env: BTreeMap<String, String>,
    /// `--set KEY=VALUE`: dotted keys and their values.
    pub set: Vec<(String, String)>,
    /// Read in the place of all of it.
    pub last_sound: Option<Arc<LastSound>>,
}

impl Sources {
    /// With this process's environment. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, set: Vec<(String, String)>) -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let env = std::env::vars_os().filter_map(utf8).collect();
        Sources {
            file,
            env,
            set,
            last_sound: None,
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.env
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A directory that a variable names. A relative one is to be ignored (XDG Base
    /// Directory Specification): it would be another from each place.
    pub(super) fn dir_var(&self, name: &str) -> Option<&Path> {
        self.var(name)
            .map(Path::new)
            .filter(|dir| dir.is_absolute())
    }

    /// The name of the system's configuration, `refreshd` or that of an instance:
    /// its directory in /etc, as in those of /var/lib and /run. A configuration
    /// elsewhere is a user's own.
    pub(super) fn system_name(&self) -> Option<String> {
        let main = std::path::absolute(self.main_file().ok()?).ok()?;
        system_name(&main).or_else(|| system_name(&main.canonicalize().ok()?))
    }

    /// Where the state may lie if the configuration does not say.
    pub(super) fn usual_state_dirs(&self) -> Vec<PathBuf> {
        let systemd = self.var("STATE_DIRECTORY");
        let systemd = systemd.and_then(|list| list.split(':').next());
        let system = self.system_name();
        let dirs = [
            systemd.map(PathBuf::from),
            system.map(|name| Path::new("/var/lib").join(name)),
            self.dir_var("XDG_STATE_HOME")
                .map(|dir| dir.join("refreshd")),
            self.dir_var("HOME")
                .map(|dir| dir.join(".local/state/refreshd")),
        ];
        dirs.into_iter().flatten().collect()
    }

    /// The main file.
    pub(super) fn main_file(&self) -> Result<PathBuf, Box<Problem>> {
        let named = self.file.clone();
        if let Some(file) = named.or_else(|| self.var("REFRESHD_CONFIG").map(PathBuf::from)) {
            return Ok(file);
        }
        let home = || Some(self.dir_var("HOME")?.join(".config"));
        let xdg = self.dir_var("XDG_CONFIG_HOME").map(Path::to_owned);
        let own = xdg.or_else(home);
        let own = own.map(|dir| dir.join("refreshd/refreshd.toml"));
        let places: Vec<PathBuf> = own
            .into_iter()
            .chain([PathBuf::from("/etc/refreshd/refreshd.toml")])
            .collect();
        places
            .iter()
            .find(|file| file.exists())
            .cloned()
            .ok_or_else(|| {
                let list: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
                let message = format!("no configuration file; looked for {}", list.join(" and "));
                Box::new(
                    Problem::error(message).remedy("name it with --config FILE or REFRESHD_CONFIG"),
                )
            })
    }
}

/// What a system's service is called by where its configuration lies: `refreshd`, or
/// `refreshd-NAME` for an instance; `None` for everybody else's.
#[must_use]
pub fn system_name(main: &Path) -> Option<String> {
    let below = main.strip_prefix("/etc").ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    let instance = first.strip_prefix("refreshd")?;
    let in_directory = below.components().count() > 1;
    (in_directory && (instance.is_empty() || instance.starts_with('-'))).then(|| first.to_owned())
}

/// Values of the environment may be secret: names only.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<&String> = self.set.iter().map(|(key, _)| key).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("set", &set)
            .finish_non_exhaustive()
    }
}

/// What was gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// The layers of the main configuration, the last one winning.
    pub(super) layers: Vec<Arc<Layer>>,
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
    /// Provider files of one's own: where they stand, and what is in those that
    /// could be read.
    pub(super) providers: Vec<(PathBuf, Option<Arc<Layer>>)>,
    /// Whether every file could be read and parsed.
    pub(super) complete: bool,
}

/// Reads every layer there is; what cannot be read is reported and left out.
pub(super) fn gather(sources: &Sources, problems: &mut Vec<Problem>) -> Option<Gathered> {
    if let Some(last) = &sources.last_sound {
        let mut gathered = last.gathered();
        gathered
            .layers
            .insert(0, Arc::new(Layer::defaults(defaults())));
        return Some(gathered);
    }
    let main = match sources.main_file() {
        Ok(main) => main,
        Err(problem) => {
            problems.push(*problem);
            return None;
        }
    };
    let beside = main.parent().unwrap_or(Path::new("")).to_owned();
    let mut gathered = Gathered {
        complete: true,
        ..Gathered::default()
    };
    gathered.layers.push(Arc::new(Layer::defaults(defaults())));
    let mut mains = vec![main];
    mains.extend(toml_files(&beside.join("conf.d"), problems));
    for path in mains {
        let layer = read_layer(&path, problems);
        gathered.complete &= layer.is_some();
        gathered.layers.extend(layer);
        gathered.files.push(path);
    }
    for path in toml_files(&beside.join("providers.d"), problems) {
        let layer = read_layer(&path, problems);
        gathered.providers.push((path.clone(), layer));
        gathered.files.push(path);
    }
    gathered.layers.extend(env_layers(&sources.env, problems));
    gathered.layers.extend(set_layers(&sources.set, problems));
    Some(gathered)
}

/// What of it can be read, without a word about the rest.
pub(super) fn gather_parsed(sources: &Sources) -> Gathered {
    gather(sources, &mut Vec::new()).unwrap_or_default()
}

/// The provider files of one's own, by name; none where there is no configuration.
#[must_use]
pub fn own_provider_files(sources: &Sources) -> Vec<PathBuf> {
    let beside = sources.main_file().ok();
    let beside = beside.as_deref().and_then(Path::parent);
    beside.map_or_else(Vec::new, |dir| {
        toml_files(&dir.join("providers.d"), &mut Vec::new())
    })
}

fn defaults() -> Dict {
    let daemon = Dict::from([
        ("max_flights".to_owned(), Value::from(64)),
        ("history".to_owned(), Value::from("90d")),
        ("drain".to_owned(), Value::from("25s")),
    ]);
    Dict::from([("daemon".to_owned(), daemon.into())])
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Problem {
    Problem::error(format!("cannot read it: {error}")).in_file(path)
}

fn read_layer(path: &Path, problems: &mut Vec<Problem>) -> Option<Arc<Layer>> {
    let layer = match trust::read_regular(path, MAX_BYTES) {
        Err(error) => Err(Box::new(cannot_read(path, &error))),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Layer::file(path, text).map_err(|mut problem| {
                hide_what_is_no_configuration(path, &mut problem);
                problem
            }),
            Err(error) => Err(Box::new(not_utf8(path, &error))),
        },
    };
    layer
        .map_err(|problem| problems.push(*problem))
        .ok()
        .map(Arc::new)
}

/// A link may lead to anything, a secret too: of what is not called a configuration, no
/// line is shown.
fn hide_what_is_no_configuration(path: &Path, problem: &mut Problem) {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(spot) = &mut problem.spot
        && real.extension() != path.extension()
    {
        spot.source_line = format!("(not shown: a line of {})", real.display());
    }
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Problem {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = good.iter().filter(|b| **b == b'\n').count() + 1;
    Problem::error(format!("line {line} is not UTF-8 text")).in_file(path)
}

/// The `*.toml` files of a directory by name; hidden ones are an editor's.
fn toml_files(dir: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(cannot_read(dir, &error));
            return Vec::new();
        }
    };
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".toml") && !name.starts_with('.')
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(wanted)
        .collect();
    files.sort();
    files
}

fn env_layers(env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<Arc<Layer>> {
    const NO_KEYS: [&str; 2] = ["CONFIG", "LOG"];
    const TABLES: [&str; 3] = ["daemon", "clients", "grants"];
    let mut layers = Vec::new();
    for (name, value) in env {
        let Some(key) = name
            .strip_prefix("REFRESHD_")
            .filter(|key| !NO_KEYS.contains(key))
        else {
            continue;
        };
        let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        if path.iter().any(String::is_empty) {
            let message = format!("{name}: a key has no empty level");
            problems.push(Problem::error(message).remedy("write __ between levels, once"));
        } else if path.len() == 1 && !TABLES.contains(&path[0].as_str()) {
            // Kubernetes sets such variables for a service of that name.
            let mut problem =
                Problem::error(format!("{name} is not a configuration key and is not used"));
            problem.severity = Severity::Warning;
            problems
                .push(problem.remedy("write __ between levels, as in REFRESHD_DAEMON__STATE_DIR"));
        } else {
            layers.push(Arc::new(Layer::flag(name.clone(), &path, value.clone())));
        }
    }
    layers
}

fn set_layers(set: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Arc<Layer>> {
    let mut layers = Vec::new();
    for (key, value) in set {
        match toml_edit::Key::parse(key) {
            Ok(keys) => {
                let path: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
                layers.push(Arc::new(Layer::flag(
                    format!("--set {key}"),
                    &path,
                    value.clone(),
                )));
            }
            Err(_) => {
                let message = format!("--set {key:?} is not a dotted key");
                let remedy = "write KEY.KEY=VALUE; a name with a dot in it in quotes";
                problems.push(Problem::error(message).remedy(remedy));
            }
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_in_etc_implies_its_directories() {
        let name = |path: &str| system_name(Path::new(path));
        for path in ["refreshd.toml", "other.toml", "more/refreshd.toml"] {
            let name = name(&format!("/etc/refreshd/{path}"));
            assert_eq!(name.as_deref(), Some("refreshd"), "{path}");
        }
        let instance = name("/etc/refreshd-shops/refreshd.toml");
        assert_eq!(instance.as_deref(), Some("refreshd-shops"));
        for path in [
            "/etc/refreshd.toml",
            "/etc/refreshdx/refreshd.toml",
            "/etc/other/refreshd/refreshd.toml",
            "/home/a/.config/refreshd/refreshd.toml",
            "/srv/etc/refreshd/refreshd.toml",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }
}
