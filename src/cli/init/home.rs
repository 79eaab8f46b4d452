//! Where a configuration lies, whose it is, and what is typed to go on there.

use super::plan::Plan;
use super::write::Owner;
use crate::config::{Sources, group_number, system_name, user_number};
use crate::exit::{Exit, Failure};
use rustix::fs::Access;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user that the shipped unit runs as.
const SERVICE: &str = "refreshd";
/// Where a system's configuration lies.
const SYSTEM: &str = "/etc/refreshd";
/// Where a system's units lie.
const UNITS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// See the module.
pub(super) struct Home {
    /// The main file, which may be there already.
    pub(super) main: PathBuf,
    /// Who the daemon runs as, where that is not who writes.
    pub(super) service: Option<Owner>,
    /// Where token files lie by default.
    pub(super) tokens: PathBuf,
    /// What the service of a system is called; `None`: it is a user's own.
    system: Option<String>,
    /// The main file was named, so commands have to name it too.
    named: bool,
}

impl Home {
    /// By the options, the environment and who asks.
    pub(super) fn find(sources: &Sources) -> Result<Home, Failure> {
        let var = |name: &str| sources.env.get(name).filter(|value| !value.is_empty());
        let is_root = rustix::process::geteuid().is_root();
        let named = sources.file.clone();
        let main = named.or_else(|| var("REFRESHD_CONFIG").map(PathBuf::from));
        let home = || var("HOME").map(PathBuf::from);
        let own = || {
            let config = var("XDG_CONFIG_HOME").map(PathBuf::from);
            let config = config.or_else(|| home().map(|home| home.join(".config")))?;
            Some(config.join("refreshd/refreshd.toml"))
        };
        let system = Path::new(SYSTEM).join("refreshd.toml");
        let main = match (main, is_root) {
            (Some(main), _) => Some(main),
            // One of root's own would come before it.
            (None, true) => Some(own().filter(|own| own.exists()).unwrap_or(system)),
            (None, false) => own(),
        };
        let unknown = || {
            let text = "HOME is not set, so it is not known where the configuration belongs; name it with --config FILE";
            Failure::new(Exit::Usage, text)
        };
        let main = std::path::absolute(main.ok_or_else(unknown)?);
        let main = main.map_err(|e| Failure::new(Exit::Usage, format!("--config: {e}")))?;
        let name = system_name(&main);
        let service = user_number(SERVICE).zip(group_number(SERVICE));
        let service = service.filter(|_| is_root && name.is_some());
        let runtime = var("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|dir| dir.is_dir());
        let data = var("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| home().map(|home| home.join(".local/share")));
        let own = || {
            runtime
                .or(data)
                .unwrap_or_else(|| PathBuf::from("/var/lib"))
        };
        let base = match &name {
            Some(name) => Path::new("/run").join(name),
            None => own().join("refreshd"),
        };
        Ok(Home {
            named: sources.file.is_some(),
            service: service.map(|(uid, gid)| Owner { uid, gid }),
            tokens: base.join("tokens"),
            system: name,
            main,
        })
    }

    /// Whether there is a configuration.
    pub(super) fn exists(&self) -> bool {
        self.main.symlink_metadata().is_ok()
    }

    /// The directory of the main file.
    pub(super) fn dir(&self) -> &Path {
        self.main.parent().unwrap_or(Path::new("/"))
    }

    /// Whether the daemon may write a token file there.
    pub(super) fn may_publish(&self, path: &Path) -> Result<(), String> {
        if path.is_relative() {
            return Err("begin it with /".to_owned());
        }
        if path.symlink_metadata().is_ok() {
            return Err(format!(
                "{} is there already, and refreshd would replace it; choose another",
                path.display()
            ));
        }
        // These are made for the unit at each start.
        let made = |name: &String| {
            let dirs = ["/run", "/var/lib"].map(|dir| Path::new(dir).join(name));
            dirs.iter().any(|dir| path.starts_with(dir))
        };
        if self.service.is_some() && self.system.as_ref().is_some_and(made) {
            return Ok(());
        }
        let dir = standing(path);
        let shown = dir.display();
        match &self.service {
            Some(owner) if !owner.may(&dir, 0o3) => Err(format!(
                "refreshd runs as user {SERVICE}, who may not write to {shown}; choose a file below /run/refreshd"
            )),
            None if rustix::fs::access(&dir, Access::WRITE_OK | Access::EXEC_OK).is_err() => Err(
                format!("you may not write to {shown}; choose a file elsewhere"),
            ),
            _ => Ok(()),
        }
    }

    /// Whether files can be given to a group.
    pub(super) fn may_give_to(&self, group: u32) -> Result<(), String> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let groups = rustix::process::getgroups().unwrap_or_default();
        let own = rustix::process::getegid();
        let mine = groups
            .into_iter()
            .chain([own])
            .any(|gid| gid.as_raw() == group);
        mine.then_some(())
            .ok_or_else(|| "you are not in that group, so you cannot give files to it".to_owned())
    }

    /// A command line, with the configuration where it has to be named.
    pub(super) fn command(&self, command: &str) -> String {
        match self.named {
            true => format!("refreshd --config {} {command}", self.main.display()),
            false => format!("refreshd {command}"),
        }
    }

    /// The unit that runs it, where one is installed.
    fn unit(&self) -> Option<String> {
        let system = self.system.as_ref().filter(|_| self.service.is_some())?;
        let (file, unit) = match system.strip_prefix("refreshd-") {
            Some(instance) => ("refreshd@.service", format!("refreshd@{instance}")),
            None => ("refreshd.service", "refreshd".to_owned()),
        };
        let installed = UNITS.iter().any(|dir| Path::new(dir).join(file).exists());
        installed.then_some(unit)
    }

    /// What to type next. `runs`: a daemon of this configuration does.
    pub(super) fn next(&self, plan: &Plan, runs: bool) -> Vec<String> {
        let start = match (runs, self.unit()) {
            (true, _) => self.command("reload"),
            (false, Some(unit)) => format!("systemctl enable --now {unit}"),
            (false, None) => format!("{}      in a terminal of its own", self.command("run")),
        };
        let then = match plan.begins_by_itself {
            true => format!("status {}", plan.grant),
            false => format!("authorize {}", plan.grant),
        };
        vec![start, self.command(&then)]
    }
}

/// The directory above a path that is there.
fn standing(path: &Path) -> PathBuf {
    let there = path.ancestors().skip(1).find(|dir| dir.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

/// Whether a group's programs can get to a file, by the directories that are there.
pub(super) fn may_reach(path: &Path, group: u32) -> Result<(), String> {
    let reader = Owner {
        uid: u32::MAX,
        gid: group,
    };
    let dirs: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|dir| dir.is_dir())
        .collect();
    match dirs.iter().rev().find(|dir| !reader.may(dir, 0o1)) {
        Some(closed) => Err(format!(
            "{} is closed to that group; choose a file elsewhere",
            closed.display()
        )),
        None => Ok(()),
    }
}

impl Owner {
    /// Whether the mode of a file allows all of this (as in `rwx`, 7) to that user and
    /// group.
    fn may(&self, path: &Path, wanted: u32) -> bool {
        let Ok(metadata) = path.metadata() else {
            return false;
        };
        let shift = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        (metadata.mode() >> shift) & wanted == wanted
    }
}
