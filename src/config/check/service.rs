//! What the service's user can read and write, where root looks, who can do everything:
//! asked of the kernel by a thread that becomes that user.

use super::super::ids::{groups_with, user_gid};
use super::super::raw::{Raw, RawProxy};
use super::super::{Config, Daemon, KeySource, Sources, group_name, user_name, user_number};
use super::outputs::uses;
use super::{Check, settled};
use crate::config::group_number;
use crate::trust;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where systemd looks for units, the first first.
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// What files of the configuration are called.
const CONFIGURATION: &str = "the configuration";
/// What its key is called.
const KEY: &str = "the sealing key";

/// Who the service runs as, where that is another user than root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// A file that the service reads, and where the configuration names it.
struct Reads {
    what: String,
    at: Vec<String>,
    path: PathBuf,
    /// It is written as well.
    written: bool,
}

impl Check<'_> {
    /// Files that the service's user cannot read, though root can.
    pub(super) fn readable_for_service(&mut self, raw: &Raw, files: &[PathBuf], daemon: &Daemon) {
        let Some(service) = Service::of(self.sources, &daemon.state_dir) else {
            return;
        };
        let reads: Vec<Reads> = (files.iter().map(|file| configuration(file)))
            .chain(named(raw))
            .chain(kept(daemon))
            .collect();
        let wishes = reads.iter().map(|read| (read.path.clone(), read.wish()));
        let Some(refused) = service.asks(wishes.collect()) else {
            return;
        };
        for (read, refused) in reads.iter().zip(refused) {
            let Some((at_fault, Errno::ACCESS)) = refused else {
                continue;
            };
            let (what, path) = (&read.what, read.path.display());
            let user = trust::user_name(service.uid);
            let verb = if read.written { "written" } else { "read" };
            let message = match at_fault == read.path {
                true => {
                    format!("{what} {path} cannot be {verb} by {user}, as whom the service runs")
                }
                false => format!(
                    "{what} {path} cannot be {verb} by {user}, as whom the service runs: {} cannot be entered",
                    at_fault.display()
                ),
            };
            let remedy = service.remedy(&at_fault, read);
            self.warn(&read.at, message, remedy);
        }
    }

    /// Directories of outputs in which the service's user cannot write, though root can.
    pub(super) fn writable_for_service(&mut self, config: &Config) {
        let daemon = &config.daemon;
        let Some(service) = Service::of(self.sources, &daemon.state_dir) else {
            return;
        };
        // systemd makes it, for the service.
        let runtime_dir = Some(&daemon.runtime_dir).filter(|dir| !dir.exists());
        let mut dirs: Vec<(Vec<String>, PathBuf, PathBuf)> = Vec::new();
        for use_ in uses(config) {
            let path = &use_.paths[0];
            let dir = path.ancestors().skip(1).find(|above| above.is_dir());
            let made = runtime_dir.is_some_and(|made| path.starts_with(made));
            dirs.extend(
                dir.filter(|_| !made)
                    .map(|dir| (use_.at.clone(), path.clone(), settled(dir))),
            );
        }
        let wish = Access::WRITE_OK | Access::EXEC_OK;
        let wishes = dirs.iter().map(|(_, _, dir)| (dir.clone(), wish));
        let Some(refused) = service.asks(wishes.collect()) else {
            return;
        };
        let mut told = BTreeSet::new();
        for ((at, path, dir), refused) in dirs.iter().zip(refused) {
            if refused.is_none() || !told.insert(dir) {
                continue;
            }
            let (user, group) = (user_name(service.uid), group_name(service.gid));
            let who = trust::user_name(service.uid);
            let (path, dir, whole) = (path.display(), dir.display(), path.parent().unwrap_or(dir));
            let message = format!(
                "{path} cannot be written by {who}, as whom the service runs: {who} may not write in {dir}"
            );
            let remedy = format!(
                "choose a path that {user} can write, such as \"{{runtime_dir}}/tokens/NAME\", or make its directory: install -d -o {user} -g {group} -m 2750 {}",
                whole.display()
            );
            self.warn(at, message, remedy);
        }
    }

    fn warn(&mut self, at: &[String], message: String, remedy: String) {
        use super::super::problem::{Problem, Severity};
        if at.is_empty() {
            let mut problem = Problem::error(message);
            problem.severity = Severity::Warning;
            return self.problems.push(problem.remedy(remedy));
        }
        let at: Vec<&str> = at.iter().map(String::as_str).collect();
        self.odd(&at, message, Some(remedy));
    }
}

fn configuration(path: &Path) -> Reads {
    Reads {
        what: CONFIGURATION.to_owned(),
        at: Vec::new(),
        path: path.to_owned(),
        written: false,
    }
}

/// What the service keeps itself, as far as it is there.
fn kept(daemon: &Daemon) -> impl Iterator<Item = Reads> {
    let database = daemon.state_dir.join(trust::DATABASE);
    let key = match &daemon.key {
        KeySource::File(path) => Some(path.clone()),
        KeySource::Credential(_) => None,
    };
    let reads = |what: &str, path, written| Reads {
        what: what.to_owned(),
        at: Vec::new(),
        path,
        written,
    };
    let key = key.map(|path| reads(KEY, path, false));
    let kept = key.into_iter().chain([reads("the state", database, true)]);
    kept.filter(|read| read.path.exists())
}

impl Reads {
    fn wish(&self) -> Access {
        match self.written {
            true => Access::READ_OK | Access::WRITE_OK,
            false => Access::READ_OK,
        }
    }
}

/// The files that a configuration names.
fn named(raw: &Raw) -> Vec<Reads> {
    let mut reads = Vec::new();
    let mut read = |what: &str, at: &[&str], path: Option<&PathBuf>| {
        // What is missing is told elsewhere, and what can be made may be missing.
        reads.extend(path.filter(|path| path.exists()).map(|path| Reads {
            what: what.to_owned(),
            at: super::owned(at),
            path: path.clone(),
            written: false,
        }));
    };
    for (name, client) in &raw.clients {
        let secret = client.client_secret.as_ref();
        let secret = secret.and_then(|secret| secret.file.as_ref());
        read(
            "the client secret",
            &["clients", name, "client_secret"],
            secret,
        );
        read(
            "the authorities in",
            &["clients", name, "ca_file"],
            client.ca_file.as_ref(),
        );
        if let Some(RawProxy::Table(proxy)) = &client.proxy {
            let password = proxy.password.as_ref();
            let password = password.and_then(|password| password.file.as_ref());
            read(
                "the proxy's password",
                &["clients", name, "proxy", "password"],
                password,
            );
        }
    }
    reads
}

impl Service {
    /// By the unit, else by the state's owner, else by the name that it has where it is
    /// installed as documented. `None` where root does not ask, or is the service itself.
    fn of(sources: &Sources, state_dir: &Path) -> Option<Service> {
        if trust::effective_uid() != 0 {
            return None;
        }
        let system = sources.system_name();
        let unit = system.as_deref().map(unit).unwrap_or_default();
        let owner = trust::state_owner(state_dir);
        let by_unit = unit.user.as_deref().and_then(user_number);
        let uid = by_unit
            .or(owner.map(|(uid, _)| uid))
            .or_else(|| system.and_then(|_| trust::service_account()))?;
        let gid = (unit.group.as_deref().and_then(group_number))
            .or_else(|| user_gid(uid))
            .or(owner.map(|(_, gid)| gid))?;
        let more = unit.more.iter().filter_map(|name| group_number(name));
        let account = trust::account(uid);
        let member = account.map(|name| groups_with(&name)).unwrap_or_default();
        let mut groups: Vec<u32> = member.into_iter().chain(more).collect();
        groups.push(gid);
        (uid != 0).then_some(Service { uid, gid, groups })
    }

    /// What the kernel says to each wish: what is at fault, and why; `None` where it may.
    /// Nothing is known where this process may not become that user.
    fn asks(&self, wishes: Vec<(PathBuf, Access)>) -> Option<Vec<Option<(PathBuf, Errno)>>> {
        let service = self.clone();
        let asking = std::thread::spawn(move || {
            trust::become_user(service.uid, service.gid, &service.groups).ok()?;
            let ask = |(path, wish): &(PathBuf, Access)| refused(path, *wish);
            Some(wishes.iter().map(ask).collect())
        });
        asking.join().ok().flatten()
    }

    fn remedy(&self, at: &Path, read: &Reads) -> String {
        let (user, group, shown) = (user_name(self.uid), group_name(self.gid), at.display());
        match at == read.path {
            // It has a log beside it.
            true if read.written => {
                let dir = at.parent().unwrap_or(at).display();
                format!("chown -R {user}:{group} {dir}")
            }
            // It must be closed to the group.
            true if read.what == KEY => format!("chown {user}:{group} {shown}"),
            true => format!(
                "chown {user} {shown}, or let its group read it: chgrp {group} {shown} && chmod g+r {shown}"
            ),
            false => format!("chgrp {group} {shown} && chmod g+x {shown}, or chmod o+x {shown}"),
        }
    }
}

/// What keeps this thread from a file: the file, or a directory above it.
fn refused(path: &Path, wish: Access) -> Option<(PathBuf, Errno)> {
    let ask = |path: &Path, wish| rustix::fs::accessat(CWD, path, wish, AtFlags::EACCESS).err();
    let errno = ask(path, wish)?;
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let closed = above
        .into_iter()
        .find(|dir| ask(dir, Access::EXEC_OK).is_some());
    Some((closed.unwrap_or(path).to_owned(), errno))
}

/// What a unit says of whom it runs as.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    user: Option<String>,
    group: Option<String>,
    more: Vec<String>,
}

/// The unit of a system's service, with what was added to it.
fn unit(system: &str) -> Unit {
    let (name, template) = match system.strip_prefix("refreshd-") {
        Some(instance) => (format!("refreshd@{instance}.service"), "refreshd@.service"),
        None => (format!("{system}.service"), "refreshd.service"),
    };
    let names = [name.as_str(), template];
    let mut files = UNITS
        .iter()
        .flat_map(|dir| names.map(|name| Path::new(dir).join(name)));
    let Some(main) = files.find(|file| file.is_file()) else {
        return Unit::default();
    };
    let added = UNITS.iter().rev().flat_map(|dir| {
        let dirs = names.map(|name| Path::new(dir).join(format!("{name}.d")));
        dirs.into_iter().flat_map(drop_ins)
    });
    let mut unit = Unit::default();
    for file in std::iter::once(main).chain(added) {
        unit.take(&fs::read_to_string(file).unwrap_or_default());
    }
    unit
}

fn drop_ins(dir: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "conf"));
    files.sort();
    files
}

impl Unit {
    fn take(&mut self, text: &str) {
        let mut in_service = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_service = line == "[Service]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| in_service) else {
                continue;
            };
            let value = value.trim();
            let one = || Some(value.to_owned()).filter(|value| !value.is_empty());
            match key.trim() {
                "User" => self.user = one(),
                "Group" => self.group = one(),
                "SupplementaryGroups" if value.is_empty() => self.more.clear(),
                "SupplementaryGroups" => {
                    self.more
                        .extend(value.split_whitespace().map(str::to_owned));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_unit_and_its_drop_ins_say_whose_the_service_is() {
        let mut unit = Unit::default();
        unit.take("[Unit]\nUser=no\n[Service]\n# User=no\nUser = refreshd\nGroup=refreshd\nSupplementaryGroups=a b\n");
        unit.take("[Service]\nUser=tokens\nSupplementaryGroups=\nSupplementaryGroups=c\n");
        let wanted = Unit {
            user: Some("tokens".to_owned()),
            group: Some("refreshd".to_owned()),
            more: vec!["c".to_owned()],
        };
        assert_eq!(unit, wanted);
    }

    /// As another user than root there is nobody to become.
    #[test]
    fn what_another_user_may_is_asked_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let (shut, file) = (dir.path().join("shut"), dir.path().join("shut/file"));
        fs::create_dir(&shut).unwrap();
        fs::write(&file, "x").unwrap();
        chmod(dir.path(), 0o755);
        let service = Service {
            uid: 65_534,
            gid: 65_533,
            groups: vec![65_533, 65_532],
        };
        let ask = || service.asks(vec![(file.clone(), Access::READ_OK)]);
        if trust::effective_uid() != 0 {
            assert_eq!(ask(), None);
            return;
        }
        let told = || ask().unwrap().remove(0);
        chmod(&shut, 0o700);
        chmod(&file, 0o644);
        assert_eq!(told(), Some((shut.clone(), Errno::ACCESS)));
        chmod(&shut, 0o711);
        assert_eq!(told(), None);
        chmod(&file, 0o640);
        assert_eq!(told(), Some((file.clone(), Errno::ACCESS)));
        std::os::unix::fs::chown(&file, None, Some(65_532)).unwrap();
        assert_eq!(told(), None, "by a group besides its own");
        assert_eq!(trust::effective_uid(), 0, "this thread is who it was");
    }
}
