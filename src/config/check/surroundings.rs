//! The machine around a sound configuration: can its outputs be written, and can those
//! read them for whom they are? For `check` alone; a daemon starts all the same,
//! since what is wrong here may be right a moment later.

use super::outputs::{Use, uses};
use super::{Check, settled};
use crate::config::{Config, group_name, user_name};
use crate::sandboxed;
use rustix::fs::{Access, AtFlags, CWD};
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

impl Check<'_> {
    /// What stands in the way of the outputs.
    pub(super) fn surroundings(&mut self, config: &Config) {
        let mut told = BTreeSet::new();
        for use_ in uses(config) {
            let at: Vec<&str> = use_.at.iter().map(String::as_str).collect();
            // Many outputs lie in one directory, and are wrong alike.
            let mut say = |check: &mut Self, finding: Finding| {
                if told.insert((finding.about, use_.at.clone())) {
                    match finding.fatal {
                        true => check.wrong(&at, finding.message, Some(finding.remedy)),
                        false => check.odd(&at, finding.message, Some(finding.remedy)),
                    }
                }
            };
            if let Some(finding) = unwritable(&use_).or_else(|| only_ours(&use_)) {
                say(self, finding);
                continue;
            }
            if let Some(finding) = self.private_tmp(&use_) {
                say(self, finding);
            }
            let findings = [shut_out(&use_), open_to_writers(&use_), foreign(&use_)];
            for finding in findings.into_iter().flatten() {
                say(self, finding);
            }
        }
    }

    /// From outside, the service's own `/tmp` looks like everybody's.
    fn private_tmp(&self, use_: &Use) -> Option<Finding> {
        let main = self.sources.main_file().ok()?;
        let of_service = main.starts_with("/etc/refreshd");
        let path = &use_.paths[0];
        let tmp = ["/tmp", "/var/tmp"]
            .iter()
            .find(|tmp| path.starts_with(tmp));
        let tmp = tmp.filter(|_| of_service)?;
        Some(Finding {
            about: PathBuf::from(tmp),
            fatal: false,
            message: format!(
                "{} lies in {tmp}, and the unit that comes with refreshd has one of its own there (PrivateTmp=yes): no other program would find the file",
                path.display()
            ),
            remedy: "choose a path below /run/refreshd".to_owned(),
        })
    }
}

/// Something about one output.
struct Finding {
    /// The directory or file that it is about.
    about: PathBuf,
    /// It does not work at all.
    fatal: bool,
    message: String,
    remedy: String,
}

/// The directory that a file is in, as far as it exists, and whether all of it does.
fn existing(path: &Path) -> Option<(PathBuf, bool)> {
    let parent = path.parent()?;
    let dir = parent.ancestors().find(|dir| dir.is_dir())?;
    Some((settled(dir), dir == parent))
}

fn unwritable(use_: &Use) -> Option<Finding> {
    let path = &use_.paths[0];
    let nearest = path.ancestors().skip(1).find(|above| above.exists())?;
    if !nearest.is_dir() {
        let shown = nearest.display();
        return Some(Finding {
            about: nearest.to_owned(),
            fatal: true,
            message: format!(
                "{} {} cannot be written: {shown} is no directory",
                use_.what,
                path.display()
            ),
            remedy: "choose another path".to_owned(),
        });
    }
    let (dir, _) = existing(path)?;
    let wish = Access::WRITE_OK | Access::EXEC_OK;
    let errno = rustix::fs::accessat(CWD, &dir, wish, AtFlags::EACCESS).err()?;
    let error = std::io::Error::from(errno);
    let (me, shown) = (
        user_name(rustix::process::geteuid().as_raw()),
        dir.display(),
    );
    let by_unit = sandboxed::why(path, &error);
    let remedy = by_unit.unwrap_or_else(|| match errno {
        rustix::io::Errno::ROFS => format!("{shown} is mounted read-only: choose another path, or mount it for writing"),
        _ => format!(
            "choose a path that {me} can write, such as \"{{runtime_dir}}/tokens/NAME\", or make its directory: install -d -o {me} -m 0700 {}; or, if refreshd runs as another user, run check as that one",
            path.parent().unwrap_or(&dir).display()
        ),
    });
    Some(Finding {
        message: format!(
            "{} {} cannot be written by {me}, who runs this: {shown}: {error}",
            use_.what,
            path.display()
        ),
        about: dir,
        fatal: true,
        remedy,
    })
}

fn only_ours(use_: &Use) -> Option<Finding> {
    let path = &use_.paths[0];
    let remedy = sandboxed::private(path)?;
    Some(Finding {
        about: path.parent()?.to_owned(),
        fatal: true,
        message: format!("{} {} would be seen by nobody", use_.what, path.display()),
        remedy,
    })
}

/// Who is to read a file, and cannot enter one of its directories.
fn shut_out(use_: &Use) -> Option<Finding> {
    let (dir, whole) = existing(&use_.paths[0])?;
    let mut above: Vec<&Path> = dir.ancestors().collect();
    above.reverse();
    let reader = use_.reader(&dir, whole)?;
    let closed = above.into_iter().find(|dir| {
        let metadata = dir.metadata();
        metadata.is_ok_and(|metadata| !reader.enters(&metadata) && !has_acl(dir))
    })?;
    let metadata = closed.metadata().ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    let (shown, owner) = (closed.display(), user_name(metadata.uid()));
    let (who, remedy) = match reader {
        Reader::All => (
            "every user may read it, but".to_owned(),
            format!("chmod o+x {shown}, or choose a path elsewhere"),
        ),
        Reader::Group(group) => {
            let group = group_name(group);
            (
                format!("group {group} may read it, but"),
                format!(
                    "chgrp {group} {shown} && chmod g+x {shown}, or chmod o+x {shown}, or choose a path elsewhere"
                ),
            )
        }
    };
    Some(Finding {
        about: closed.to_owned(),
        fatal: false,
        message: format!(
            "{} {}: by its mode {who} nobody but {owner} can enter {shown} (mode {mode:04o}, group {}), so in truth nobody else reads it",
            use_.what,
            use_.paths[0].display(),
            group_name(metadata.gid())
        ),
        remedy,
    })
}

/// Who else may put a file of their own in the place of ours.
fn open_to_writers(use_: &Use) -> Option<Finding> {
    let path = &use_.paths[0];
    let (dir, true) = existing(path)? else {
        return None;
    };
    let metadata = dir.metadata().ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    let shown = dir.display();
    let (who, less) = match mode {
        mode if mode & 0o002 != 0 => ("every user".to_owned(), "o-w"),
        mode if mode & 0o020 != 0 => {
            let group = group_name(metadata.gid());
            (format!("every member of group {group}"), "g-w")
        }
        _ => return None,
    };
    Some(Finding {
        message: format!(
            "{} {}: {who} may write in {shown} (mode {mode:04o}), and so put a file there that readers take for the token",
            use_.what,
            path.display()
        ),
        remedy: format!("chmod {less} {shown}"),
        about: dir.clone(),
        fatal: false,
    })
}

/// A file that is there already and seems to be somebody else's.
fn foreign(use_: &Use) -> Option<Finding> {
    let [path, meta] = use_.paths.as_slice() else {
        return None;
    };
    let found = path.symlink_metadata().ok()?;
    let mut earlier = path.clone().into_os_string();
    earlier.push(".meta.json");
    let ours = meta.exists() || Path::new(&earlier).exists();
    if use_.what != "output" || use_.replace || ours || (found.is_file() && found.len() == 0) {
        return None;
    }
    let shown = path.display();
    Some(Finding {
        about: path.clone(),
        fatal: false,
        message: format!(
            "{shown} is there already, and no metadata of refreshd stand beside it: unless refreshd wrote it, it is left alone, and the token is not written"
        ),
        remedy: format!(
            "move it away (mv {shown} {shown}.before), or write replace = true for this output"
        ),
    })
}

/// For whom a file is besides its owner.
enum Reader {
    All,
    Group(u32),
}

impl Reader {
    fn enters(&self, dir: &Metadata) -> bool {
        let mode = dir.permissions().mode();
        let bit = match self {
            Reader::Group(group) if dir.gid() == *group => 0o010,
            _ => 0o001,
        };
        mode & bit != 0
    }
}

impl Use {
    fn reader(&self, dir: &Path, whole: bool) -> Option<Reader> {
        let metadata = dir.metadata().ok()?;
        let inherited = metadata.permissions().mode() & 0o2000 != 0 && whole;
        let group = self.group.or_else(|| inherited.then(|| metadata.gid()));
        let mode = self
            .mode
            .unwrap_or(if group.is_some() { 0o640 } else { 0o600 });
        match group {
            _ if mode & 0o004 != 0 => Some(Reader::All),
            Some(group) if mode & 0o040 != 0 => Some(Reader::Group(group)),
            _ => None,
        }
    }
}

/// Whether more is said of a directory than its mode tells.
fn has_acl(dir: &Path) -> bool {
    let mut value = [0_u8; 0];
    rustix::fs::getxattr(dir, "system.posix_acl_access", &mut value).is_ok_and(|size| size > 0)
}
