//! Directories that we make: missing parents, and `.tmp/`. In a setgid
//! directory they inherit the bit and the group from mkdir(2), which works also
//! where a chgrp would not be allowed; a chmod afterwards can lose the bit.

use super::error::failed;
use super::{FileError, Place, split};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

const TEMP: &str = ".tmp";
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Makes what is missing of a directory, from the first that exists.
pub(super) fn make_parents(path: &Path) -> Result<Place, FileError> {
    let (above, name) = split(path)?;
    let above = Place::open_or_make(above)?;
    let mode = if above.setgid { 0o750 } else { 0o700 };
    let made = match rustix::fs::mkdirat(&above.dir, name, Mode::from_raw_mode(mode)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(failed("make directory", path)(errno)),
    };
    let dir = rustix::fs::openat(&above.dir, name, FLAGS, Mode::empty())
        .map_err(failed("open directory", path))?;
    if made
        && above.setgid
        && let Err(error) = let_group_in(&dir, path)
    {
        let _ = rustix::fs::unlinkat(&above.dir, name, AtFlags::REMOVEDIR);
        return Err(error);
    }
    if made {
        above.sync()?;
    }
    Place::of(dir, path)
}

/// Gives back to the group what umask ate. That needs a chmod, in which the
/// kernel drops the setgid bit when we are not of that group.
fn let_group_in(dir: &OwnedFd, path: &Path) -> Result<(), FileError> {
    let mode = || {
        rustix::fs::fstat(dir)
            .map(|stat| Mode::from_raw_mode(stat.st_mode).as_raw_mode())
            .map_err(failed("look at", path))
    };
    if mode()? & 0o070 == 0o050 {
        return Ok(());
    }
    rustix::fs::fchmod(dir, Mode::from_raw_mode(0o2750)).map_err(failed("chmod", path))?;
    if mode()? == 0o2750 {
        Ok(())
    } else {
        Err(FileError::GroupDirectory(path.to_owned()))
    }
}

/// `.tmp/` of a place, made when it is missing.
pub(super) fn temp_directory(place: &Place) -> Result<OwnedFd, FileError> {
    if let Some(temp) = open_temp(place)? {
        if inherits(&temp, place)? {
            return Ok(temp);
        }
        // It is older than the directory's setgid bit. While another write is in
        // it, it stays, and the temporary file gets its group by fchown.
        if rustix::fs::unlinkat(&place.dir, TEMP, AtFlags::REMOVEDIR).is_err() {
            return Ok(temp);
        }
    }
    let path = place.path.join(TEMP);
    match rustix::fs::mkdirat(&place.dir, TEMP, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("make directory", &path)(errno)),
    }
    open_temp(place)?.ok_or_else(|| failed("open directory", &path)(Errno::NOENT))
}

/// `.tmp/` of a place, if there is one; it must be ours alone, as whoever
/// can write there can swap the file before it is renamed.
pub(super) fn open_temp(place: &Place) -> Result<Option<OwnedFd>, FileError> {
    let path = place.path.join(TEMP);
    let temp = match rustix::fs::openat(&place.dir, TEMP, FLAGS, Mode::empty()) {
        Ok(temp) => temp,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(FileError::TempNotOurs(path)),
        Err(errno) => return Err(failed("open directory", &path)(errno)),
    };
    let stat = rustix::fs::fstat(&temp).map_err(failed("look at", &path))?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    if !ours || mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(FileError::TempNotOurs(path));
    }
    Ok(Some(temp))
}

fn inherits(temp: &OwnedFd, place: &Place) -> Result<bool, FileError> {
    let stat = rustix::fs::fstat(temp).map_err(failed("look at", &place.path))?;
    let setgid = Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID);
    Ok(!place.setgid || (setgid && stat.st_gid == place.group))
}
