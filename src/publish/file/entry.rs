//! Who may go into a directory that a file is in: kept as it is configured, or as it
//! was before, since a directory that is made anew (`/run` is empty after a boot)
//! locks its readers out.

use super::error::failed;
use super::{Access, DirectoryStand, FileError, Place};
use crate::config::group_name;
use rustix::fs::{Access as Wish, AtFlags, Gid, Mode};
use serde::{Deserialize, Serialize};

/// The group of a directory and what it may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRights {
    /// The group, by number.
    pub group: u32,
    /// Its permission bits, setgid too.
    pub mode: u32,
}

impl DirectoryRights {
    /// What is worth being remembered of a directory: that a group may read there.
    #[must_use]
    pub fn of(stand: &DirectoryStand) -> Option<DirectoryRights> {
        let (group, mode) = (stand.group, stand.mode);
        (mode & 0o050 == 0o050).then_some(DirectoryRights { group, mode })
    }
}

impl Place {
    /// Refuses a directory in which nothing can be written.
    ///
    /// # Errors
    /// When nothing can be.
    pub fn check_writable(&self) -> Result<(), FileError> {
        let wish = Wish::WRITE_OK | Wish::EXEC_OK;
        match rustix::fs::accessat(&self.dir, ".", wish, AtFlags::EACCESS) {
            Ok(()) | Err(rustix::io::Errno::NOSYS) => Ok(()),
            Err(errno) => Err(super::denied(failed("write in", &self.path)(errno))),
        }
    }

    /// Lets the group of a file go into its directory, if that is ours to do: the
    /// group that is configured, else the one that could go in before. Returns who
    /// cannot, and what to do.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub(in crate::publish) fn let_in(
        &self,
        access: &Access,
        known: Option<&DirectoryRights>,
    ) -> Result<Option<String>, FileError> {
        let now = self.directory()?;
        let configured = access.group.filter(|_| self.mode_of(access) & 0o040 != 0);
        let wanted = match (configured, known) {
            (Some(group), _) => DirectoryRights {
                group,
                mode: 0o2750,
            },
            (None, Some(known)) if access.mode.is_none_or(|mode| mode & 0o040 != 0) => *known,
            _ => return Ok(None),
        };
        // Another directory, a home perhaps, is not opened because a token is put there.
        let before = known.is_some_and(|known| known.group == wanted.group);
        if self.lets_in(&now, wanted.group) || (before && self.open_for(&now, &wanted)) {
            return Ok(None);
        }
        let (dir, group) = (self.path.display(), group_name(wanted.group));
        let (mode, is) = (wanted.mode, now.mode);
        let before = match configured {
            Some(_) => "; ".to_owned(),
            None => format!(
                ", for whom it was before (mode {mode:04o}); write group = \"{group}\" for the output, or "
            ),
        };
        Ok(Some(format!(
            "group {group} cannot enter {dir} (mode {is:04o}, group {}){before}as root: chgrp {group} {dir} && chmod {mode:04o} {dir}",
            group_name(now.group)
        )))
    }

    fn lets_in(&self, now: &DirectoryStand, group: u32) -> bool {
        now.mode & 0o001 != 0 || (self.is_of(now.group, group) && now.mode & 0o010 != 0)
    }

    /// Opens a directory of ours that is open to nobody else: nobody loses by it.
    fn open_for(&self, now: &DirectoryStand, wanted: &DirectoryRights) -> bool {
        let closed = now.mode & 0o077 == 0 || self.is_of(now.group, wanted.group);
        if !closed || now.owner != rustix::process::geteuid().as_raw() {
            return false;
        }
        let moved = self.is_of(now.group, wanted.group)
            || rustix::fs::fchown(&self.dir, None, Some(Gid::from_raw(wanted.group))).is_ok();
        let mode = Mode::from_raw_mode(wanted.mode | (now.mode & 0o2000));
        let opened = moved && rustix::fs::fchmod(&self.dir, mode).is_ok();
        let after = self
            .directory()
            .is_ok_and(|after| self.lets_in(&after, wanted.group));
        if opened && after {
            let (dir, group) = (self.path.display(), group_name(wanted.group));
            tracing::warn!(path = %dir, "{dir} was closed to group {group}; it is open to it again");
        }
        opened && after
    }
}
