//! `[daemon]`: directories, the sealing key, limits.

use super::super::raw::{RawDaemon, RawKey};
use super::super::secret_source::credential_path;
use super::super::{Daemon, KeySource};
use super::{Check, Secrets, settled};
use crate::trust::effective_uid;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULT_KEY_CREDENTIAL: &str = "refreshd.key";
/// Where systemd puts the credentials of our unit, for as long as it runs.
const UNIT_CREDENTIALS: &str = "/run/credentials/refreshd.service";

impl Check<'_> {
    pub(super) fn daemon(&mut self, raw: &RawDaemon) -> Option<Daemon> {
        let state_dir = self.state_dir(raw)?;
        let runtime_dir = self.runtime_dir(raw, &state_dir);
        let key = match &raw.key {
            Some(key) => self.key(key, &state_dir),
            None => Some(self.default_key(&state_dir)),
        };
        let max_flights = raw.max_flights.unwrap_or(64);
        let in_range = u16::try_from(max_flights)
            .ok()
            .filter(|n| (1..=1024).contains(n));
        if in_range.is_none() {
            let message = format!("daemon.max_flights: {max_flights} is not from 1 to 1024");
            self.wrong(&["daemon", "max_flights"], message, None);
        }
        Some(Daemon {
            state_dir,
            state_is_named: raw.state_dir.is_some(),
            runtime_dir,
            key: key?,
            max_flights: in_range?,
            history: raw.history.unwrap_or(Duration::from_secs(90 * 86_400)),
            drain: raw.drain.unwrap_or(Duration::from_secs(30)),
        })
    }

    fn state_dir(&mut self, raw: &RawDaemon) -> Option<PathBuf> {
        let path = ["daemon", "state_dir"];
        if let Some(dir) = &raw.state_dir {
            return self.is_absolute(&path, dir).then(|| dir.clone());
        }
        let of_system = || Some(Path::new("/var/lib").join(self.sources.system_name()?));
        let home = || {
            let home = self.sources.dir_var("HOME").filter(|home| home.is_dir())?;
            Some(home.join(".local/state/refreshd"))
        };
        let xdg = || Some(self.sources.dir_var("XDG_STATE_HOME")?.join("refreshd"));
        let dir = self
            .systemd_dir("STATE_DIRECTORY")
            .or_else(of_system)
            .or_else(xdg)
            .or_else(home);
        if dir.is_none() {
            let remedy = "write [daemon] state_dir = \"/var/lib/refreshd\"".to_owned();
            let message = "no state directory: neither daemon.state_dir nor STATE_DIRECTORY or XDG_STATE_HOME is set, and HOME names no directory";
            self.missing(&path, message, remedy);
        }
        dir
    }

    fn runtime_dir(&mut self, raw: &RawDaemon, state_dir: &Path) -> PathBuf {
        if let Some(dir) = &raw.runtime_dir {
            self.is_absolute(&["daemon", "runtime_dir"], dir);
            return dir.clone();
        }
        let of_system = || Some(Path::new("/run").join(self.sources.system_name()?));
        let xdg = || {
            let dir = self.sources.dir_var("XDG_RUNTIME_DIR")?;
            // `su` keeps the variable of whoever called it.
            let others = std::fs::metadata(dir).is_ok_and(|found| found.uid() != effective_uid());
            (!others).then(|| dir.join("refreshd"))
        };
        self.systemd_dir("RUNTIME_DIRECTORY")
            .or_else(of_system)
            .or_else(xdg)
            .unwrap_or_else(|| state_dir.join("run"))
    }

    /// The first directory of a list that systemd passes.
    fn systemd_dir(&self, name: &str) -> Option<PathBuf> {
        let first = self.sources.var(name)?.split(':').next()?;
        (!first.is_empty()).then(|| first.into())
    }

    fn key(&mut self, raw: &RawKey, state_dir: &Path) -> Option<KeySource> {
        let path = ["daemon", "key"];
        match (&raw.file, &raw.credential) {
            (Some(file), None) => {
                let path = ["daemon", "key", "file"];
                if !self.is_absolute(&path, file) {
                    return None;
                }
                if settled(file).starts_with(settled(state_dir)) {
                    let message = format!(
                        "key file {} lies inside the state directory {}: a copy of it would hold the key to itself",
                        file.display(),
                        state_dir.display()
                    );
                    let remedy =
                        format!("put it elsewhere, such as {}", beside(state_dir).display());
                    self.wrong(&path, message, Some(remedy));
                }
                Some(KeySource::File(file.clone()))
            }
            (None, Some(name)) => match credential_path(name, &self.sources.env) {
                Ok(file) => Some(KeySource::Credential(file)),
                // What only finds the daemon needs no key.
                Err(error) if self.secrets != Secrets::Read && error.is_of_the_service(true) => {
                    if self.secrets == Secrets::Look {
                        let at = ["daemon", "key", "credential"];
                        self.remark(&at, error.remark());
                    }
                    Some(KeySource::Credential(
                        Path::new(UNIT_CREDENTIALS).join(name),
                    ))
                }
                Err(error) => {
                    self.wrong(
                        &["daemon", "key", "credential"],
                        error.to_string(),
                        error.remedy(),
                    );
                    None
                }
            },
            _ if self.was_reported_within(&path) => None,
            _ => {
                let remedy = "write key = { file = \"/…\" } or key = { credential = \"name\" }";
                self.wrong(
                    &path,
                    "daemon.key: name one of file and credential",
                    Some(remedy.to_owned()),
                );
                None
            }
        }
    }

    fn default_key(&self, state_dir: &Path) -> KeySource {
        let credential = credential_path(DEFAULT_KEY_CREDENTIAL, &self.sources.env).ok();
        match credential.filter(|file| file.is_file()) {
            Some(file) => KeySource::Credential(file),
            None => KeySource::File(beside(state_dir)),
        }
    }
}

/// The default key file, in a directory beside the state directory.
fn beside(state_dir: &Path) -> PathBuf {
    let mut name = state_dir.file_name().unwrap_or_default().to_owned();
    name.push("-key");
    state_dir.with_file_name(name).join("key")
}
