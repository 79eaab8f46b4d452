//! Whose a file is to be and who may read it, given before it has any content.

use super::error::failed;
use super::{Existing, FileError, Place, Stand};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// What the configuration says of a file's rights; what it does not say follows
/// from the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Its mode.
    pub mode: Option<u32>,
    /// Its group.
    pub group: Option<u32>,
    /// Its owner.
    pub owner: Option<u32>,
    /// The mode of the directory that it is in, where that is made.
    pub dir_mode: Option<u32>,
}

impl Access {
    /// The same with another mode.
    #[must_use]
    pub fn with_mode(self, mode: u32) -> Access {
        let mode = Some(mode);
        Access { mode, ..self }
    }
}

impl Place {
    /// The mode of a file: as it is said, else for its group where it has one.
    #[must_use]
    pub fn mode_of(&self, access: &Access) -> u32 {
        let group = access.group.is_some() || self.setgid;
        let default = if group { 0o640 } else { 0o600 };
        access.mode.unwrap_or(default) & 0o777
    }

    /// The group of a file, where it is not just the daemon's own.
    #[must_use]
    pub fn group_of(&self, access: &Access) -> Option<u32> {
        access.group.or(self.setgid_group())
    }

    /// Whether owner, group and mode of a file are those it would be written with.
    #[must_use]
    pub fn would_keep(&self, existing: &Existing, access: &Access) -> bool {
        self.is_kept(&existing.stand, access)
    }

    /// As [`Place::would_keep`], of a file that is not read.
    #[must_use]
    pub fn is_kept(&self, stand: &Stand, access: &Access) -> bool {
        let me = rustix::process::geteuid().as_raw();
        stand.mode() == self.mode_of(access)
            && stand.owner == access.owner.unwrap_or(me)
            && self
                .group_of(access)
                .is_none_or(|group| self.is_of(stand.group, group))
    }

    /// Whether a group that the system shows is the one that is wanted. In a user
    /// namespace that does not know it, a setgid directory shows another.
    pub(in crate::publish) fn is_of(&self, shown: u32, wanted: u32) -> bool {
        shown == wanted || (self.setgid && shown == self.group && !is_known_here(wanted))
    }

    /// Group, mode and owner, while the file is still empty: umask ate some of the
    /// mode at open, and a chmod after the content would leave a window.
    pub(super) fn give(&self, file: &File, access: &Access, path: &Path) -> Result<(), FileError> {
        let before = rustix::fs::fstat(file).map_err(failed("look at", path))?;
        if let Some(group) = self.group_of(access)
            && !self.is_of(before.st_gid, group)
        {
            let gid = Some(Gid::from_raw(group));
            rustix::fs::fchown(file, None, gid)
                .map_err(|errno| self.no_group(path, group, errno))?;
        }
        let mode = self.mode_of(access);
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(failed("chmod", path))?;
        let after = rustix::fs::fstat(file).map_err(failed("look at", path))?;
        let kept = Mode::from_raw_mode(after.st_mode).as_raw_mode();
        if kept & !mode != 0 {
            return Err(FileError::ModeNotKept {
                path: path.to_owned(),
                wanted: mode,
                kept,
            });
        }
        // Last, as another's file takes no chmod from us.
        if let Some(owner) = access.owner.filter(|owner| *owner != after.st_uid) {
            let uid = Some(Uid::from_raw(owner));
            rustix::fs::fchown(file, uid, None).map_err(|errno| FileError::Owner {
                path: path.to_owned(),
                owner: crate::config::user_name(owner),
                source: errno.into(),
            })?;
        }
        Ok(())
    }

    fn no_group(&self, path: &Path, group: u32, errno: Errno) -> FileError {
        FileError::Group {
            path: path.to_owned(),
            remedy: group_remedy(group, &self.path),
            group: crate::config::group_name(group),
            source: errno.into(),
        }
    }
}

/// What to do where a file cannot be given to a group.
pub(in crate::publish) fn group_remedy(group: u32, dir: &Path) -> String {
    let (name, dir) = (crate::config::group_name(group), dir.display());
    let me = crate::config::user_name(rustix::process::geteuid().as_raw());
    let setgid = format!("make its directory setgid: install -d -o {me} -g {name} -m 2750 {dir}");
    if is_known_here(group) {
        return format!(
            "{setgid}; or make {me} a member of the group (usermod -aG {name} {me}, or SupplementaryGroups={name} in the unit) and restart refreshd"
        );
    }
    format!(
        "{setgid}; this service runs with PrivateUsers=yes, which hides the group from it, so that membership alone does not help"
    )
}

/// Whether this process's user namespace has a number for the group.
fn is_known_here(group: u32) -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/gid_map") else {
        return true;
    };
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return true;
        };
        (first..first + count).contains(&u64::from(group))
    })
}

/// An error of the system, with the line of the unit that it comes from where a
/// service is not allowed to write there.
pub(in crate::publish) fn denied(error: FileError) -> FileError {
    match error {
        FileError::Io {
            action,
            path,
            source,
        } => match crate::sandboxed::why(&path, &source) {
            Some(remedy) => FileError::Sandboxed {
                action,
                path,
                source,
                remedy,
            },
            None => FileError::Io {
                action,
                path,
                source,
            },
        },
        error => error,
    }
}
