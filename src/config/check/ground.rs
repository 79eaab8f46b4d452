//! What no output may lie on: all that the daemon itself reads or keeps. Links,
//! `..`, bind mounts, hard links and file systems that do not tell upper from
//! lower case are seen through, since files are compared by what they are.

use super::super::raw::{Raw, RawProxy, RawSecret};
use super::super::{Config, KeySource, Sources};
use super::settled;
use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a file is, whatever its path.
type Identity = (u64, u64);

/// Everything that is ours.
pub(super) struct Ground {
    files: HashMap<PathBuf, String>,
    identities: HashMap<Identity, String>,
    dirs: Vec<Dir>,
    /// Outputs may lie in the runtime directory, also where that is below the state.
    runtime_dir: PathBuf,
    /// Which directories lie above one, by what they are.
    above: RefCell<HashMap<PathBuf, Vec<Identity>>>,
}

/// A directory, all of which is ours.
struct Dir {
    what: String,
    path: PathBuf,
    identity: Option<Identity>,
}

impl Ground {
    pub(super) fn of(config: &Config, raw: &Raw, sources: &Sources) -> Ground {
        let daemon = &config.daemon;
        let mut ground = Ground {
            files: HashMap::new(),
            identities: HashMap::new(),
            dirs: Vec::new(),
            runtime_dir: settled(&daemon.runtime_dir),
            above: RefCell::default(),
        };
        let state = format!("the state directory {}", daemon.state_dir.display());
        ground.whole(state, &daemon.state_dir);
        let socket = daemon.runtime_dir.join("control.sock");
        ground.file("the control socket".to_owned(), &socket);
        match &daemon.key {
            KeySource::File(file) | KeySource::Credential(file) => {
                ground.file("the sealing key".to_owned(), file);
            }
        }
        if let Some(backup) = &config.backup {
            ground.whole("the directory of backups".to_owned(), &backup.dir);
        }
        for file in &config.files {
            ground.file("the configuration".to_owned(), file);
        }
        if let Some(beside) = config.files.first().and_then(|main| main.parent()) {
            for dir in ["conf.d", "providers.d"] {
                ground.whole(format!("the configuration's {dir}"), &beside.join(dir));
            }
        }
        if let Some(dir) = sources.var("CREDENTIALS_DIRECTORY") {
            ground.whole("the credentials of the unit".to_owned(), Path::new(dir));
        }
        if let Ok(program) = std::env::current_exe() {
            ground.file("the program itself".to_owned(), &program);
        }
        ground.secrets(raw);
        ground
    }

    fn secrets(&mut self, raw: &Raw) {
        let file = |secret: &Option<RawSecret>| secret.as_ref().and_then(|s| s.file.clone());
        for (name, client) in &raw.clients {
            if let Some(file) = file(&client.client_secret) {
                self.file(format!("the client secret of {name}"), &file);
            }
            if let Some(file) = &client.ca_file {
                self.file(format!("the authorities of {name}"), file);
            }
            if let Some(RawProxy::Table(proxy)) = &client.proxy
                && let Some(file) = file(&proxy.password)
            {
                self.file(format!("the proxy's password of {name}"), &file);
            }
        }
    }

    fn file(&mut self, what: String, path: &Path) {
        if let Some(identity) = identity(path) {
            self.identities.insert(identity, what.clone());
        }
        self.files.insert(settled(path), what);
    }

    fn whole(&mut self, what: String, path: &Path) {
        self.dirs.push(Dir {
            what,
            path: settled(path),
            identity: identity(path),
        });
    }

    /// Over what of ours a file would lie, if over anything: the rest of a sentence.
    /// The path is [`settled`].
    pub(super) fn under(&self, path: &Path) -> Option<String> {
        let same = self.files.get(path);
        let same = same.or_else(|| self.identities.get(&identity(path)?));
        if let Some(what) = same {
            return Some(format!("would overwrite {what}"));
        }
        let exempt = path.starts_with(&self.runtime_dir);
        let above = self.above(path.parent()?);
        let hit = self.dirs.iter().find(|dir| {
            let within =
                path.starts_with(&dir.path) || dir.identity.is_some_and(|dir| above.contains(&dir));
            within && !(exempt && self.runtime_dir.starts_with(&dir.path))
        });
        hit.map(|dir| format!("lies inside {}", dir.what))
    }

    fn above(&self, dir: &Path) -> Vec<Identity> {
        let mut known = self.above.borrow_mut();
        let look = || dir.ancestors().filter_map(identity).collect();
        known.entry(dir.to_owned()).or_insert_with(look).clone()
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}
