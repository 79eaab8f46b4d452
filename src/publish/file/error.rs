//! What can go wrong with a file, and what to do about it.

use std::path::{Path, PathBuf};

/// Why a file could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path ends in `..` or `/`.
    #[error("{} does not name a file", .0.display())]
    NoName(PathBuf),
    /// A directory stands where the file belongs.
    #[error("{} is a directory; remove it or choose another path", .0.display())]
    IsDirectory(PathBuf),
    /// Somebody's configuration is a mistake.
    #[error("{} is a device; choose another path", .0.display())]
    IsDevice(PathBuf),
    /// Whoever mounted the file would keep seeing its old content.
    #[error(
        "{} is a mount point, which a new file cannot replace; mount the directory instead", .0.display()
    )]
    IsMountPoint(PathBuf),
    /// Another user could swap what is written there.
    #[error(
        "{} belongs to another user or can be written by others; remove it, it will be made again", .0.display()
    )]
    TempNotOurs(PathBuf),
    /// The umask hides the new directory from its group, and undoing that loses the group.
    #[error(
        "{} cannot be made for its group; make it yourself: install -d -m 2750 -g GROUP", .0.display()
    )]
    GroupDirectory(PathBuf),
    /// The file system gave the file more rights than were asked for.
    #[error(
        "{} would get mode {kept:04o} instead of {wanted:04o} on this file system; choose one that keeps modes", .path.display()
    )]
    ModeNotKept {
        /// The file.
        path: PathBuf,
        /// The mode that was asked for.
        wanted: u32,
        /// The mode it got.
        kept: u32,
    },
    /// Only root, or a member of the group, may give a file to it.
    #[error("cannot give {} to group {group}: {source}; {remedy}", .path.display())]
    Group {
        /// The file.
        path: PathBuf,
        /// The group's name, or number.
        group: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        remedy: String,
    },
    /// Only root may give a file away.
    #[error(
        "cannot give {} to user {owner}: {source}; only root, or a service with AmbientCapabilities=CAP_CHOWN, may give files away: let a group read it instead (group = \"…\")", .path.display()
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user's name, or number.
        owner: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else's file stands where the token belongs.
    #[error(
        "{} is there already, and refreshd did not write it ({what}); it is left alone: move it away (mv {} {}.before), or write replace = true for this output and reload", .path.display(), .path.display(), .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is known of it.
        what: String,
    },
    /// The unit does not let the service write there.
    #[error("cannot {action} {}: {source}; {remedy}", .path.display())]
    Sandboxed {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// How it failed.
        source: std::io::Error,
        /// Which line of the unit it is, and what to write instead.
        remedy: String,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which path.
        path: PathBuf,
        /// How it failed.
        source: std::io::Error,
    },
}

/// For `map_err`: the system call that failed, and where.
pub(in crate::publish) fn failed<E: Into<std::io::Error>>(
    action: &'static str,
    path: &Path,
) -> impl Fn(E) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io {
        action,
        path: path.clone(),
        source: source.into(),
    }
}
