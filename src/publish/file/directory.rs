//! Directories that we make: missing parents, and `.tmp/`. In a setgid
//! directory they inherit the bit and the group from mkdir(2), which works also
//! where a chgrp would not be allowed; a chmod afterwards can lose the bit.

use super::access::group_remedy;
use super::error::failed;
use super::{Access, FileError, Place, split};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Here a thread can have no umask of its own.
static ONE_UMASK: AtomicBool = AtomicBool::new(false);

const TEMP: &str = ".tmp";
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Makes what is missing of a directory, from the first that exists. `innermost` is
/// the one that the file is in; those above it are only to be gone through.
pub(super) fn make_parents(
    path: &Path,
    access: &Access,
    innermost: bool,
) -> Result<Place, FileError> {
    let (above, name) = split(path)?;
    let above = match Place::open(above)? {
        Some(place) => place,
        None => make_parents(above, access, false)?,
    };
    let wish = Wish::of(&above, access, innermost);
    let made = match make_exactly(&above.dir, name, wish.mode) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(failed("make directory", path)(errno)),
    };
    let dir = rustix::fs::openat(&above.dir, name, FLAGS, Mode::empty())
        .map_err(failed("open directory", path))?;
    if made {
        if let Err(error) = wish.grant(&dir, path) {
            let _ = rustix::fs::unlinkat(&above.dir, name, AtFlags::REMOVEDIR);
            return Err(error);
        }
        above.sync()?;
    }
    Place::of(dir, path)
}

/// What a new directory is to be.
struct Wish {
    /// Permission bits, the setgid bit too where it is not inherited.
    mode: u32,
    /// Where it is not inherited.
    group: Option<u32>,
}

impl Wish {
    fn of(above: &Place, access: &Access, innermost: bool) -> Wish {
        let group = access
            .group
            .filter(|group| !above.setgid || !above.is_of(above.group, *group));
        let all = access.mode.is_some_and(|mode| mode & 0o004 != 0);
        let inherited = above.setgid && group.is_none();
        // Others than the daemon and a group that is inherited go through.
        let others = access.group.is_some() || access.owner.is_some() || all;
        let mode = match (innermost, access.dir_mode) {
            (true, Some(mode)) => mode,
            (false, Some(mode)) if mode & 0o077 != 0 => 0o711,
            (true, None) if access.group.is_some() && all => 0o2755,
            (true, None) if access.group.is_some() => 0o2750,
            (true, None) if all => 0o755,
            (_, None) if inherited => 0o750,
            (_, None) if others => 0o711,
            _ => 0o700,
        };
        let group = group.filter(|_| innermost);
        Wish { mode, group }
    }

    /// Group and mode, where mkdir(2) did not give them.
    fn grant(&self, dir: &OwnedFd, path: &Path) -> Result<(), FileError> {
        let look = || rustix::fs::fstat(dir).map_err(failed("look at", path));
        let mode = |raw| Mode::from_raw_mode(raw).as_raw_mode();
        if let Some(group) = self.group {
            let gid = Some(Gid::from_raw(group));
            rustix::fs::fchown(dir, None, gid).map_err(|errno| FileError::Group {
                path: path.to_owned(),
                group: crate::config::group_name(group),
                source: errno.into(),
                remedy: group_remedy(group, path),
            })?;
        }
        let now = mode(look()?.st_mode);
        // The setgid bit that was inherited is nothing to complain of.
        if now & 0o777 == self.mode & 0o777 && now & self.mode == self.mode {
            return Ok(());
        }
        let wanted = self.mode | (now & 0o2000);
        rustix::fs::fchmod(dir, Mode::from_raw_mode(wanted)).map_err(failed("chmod", path))?;
        match mode(look()?.st_mode) == wanted {
            true => Ok(()),
            false => Err(FileError::GroupDirectory(path.to_owned())),
        }
    }
}

/// Makes a directory with this mode, whatever the umask: a chmod afterwards would
/// lose the setgid bit where we are not of the group, or is forbidden to a service.
fn make_exactly(above: &OwnedFd, name: &OsStr, mode: u32) -> Result<(), Errno> {
    let (dir, bits) = (above.as_fd(), Mode::from_raw_mode(mode & 0o777));
    let made =
        std::thread::scope(|scope| scope.spawn(|| make_in_own_umask(dir, name, bits)).join());
    match made {
        Ok(Some(made)) => made,
        Ok(None) | Err(_) => rustix::fs::mkdirat(dir, name, bits),
    }
}

/// `None` where a thread can have no umask of its own.
fn make_in_own_umask(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Option<Result<(), Errno>> {
    #[expect(
        deprecated,
        reason = "what is unsound about it is to unshare descriptors; this unshares the umask, of a thread that ends here"
    )]
    let unshared = rustix::thread::unshare(rustix::thread::UnshareFlags::FS);
    if unshared.is_err() {
        ONE_UMASK.store(true, Ordering::Relaxed);
        return None;
    }
    rustix::process::umask(Mode::empty());
    Some(rustix::fs::mkdirat(dir, name, mode))
}

/// `.tmp/` of a place, made when it is missing.
pub(super) fn temp_directory(place: &Place) -> Result<OwnedFd, FileError> {
    let path = place.path.join(TEMP);
    // Who watches the directory may walk into it, and write nothing.
    let mode = 0o700 | (place.mode & 0o055);
    if let Some(temp) = open_temp(place)? {
        if is_as_made(&temp, place, mode)? {
            return Ok(temp);
        }
        if !place.setgid {
            rustix::fs::fchmod(&temp, Mode::from_raw_mode(mode)).map_err(failed("chmod", &path))?;
            return Ok(temp);
        }
        // It is older than the directory's setgid bit, or for nobody. While another
        // write is in it, it stays, and the temporary file gets its group by fchown.
        if rustix::fs::unlinkat(&place.dir, TEMP, AtFlags::REMOVEDIR).is_err() {
            return Ok(temp);
        }
    }
    match make_exactly(&place.dir, OsStr::new(TEMP), mode) {
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

/// Whether `.tmp/` is as it would be made now.
fn is_as_made(temp: &OwnedFd, place: &Place, wanted: u32) -> Result<bool, FileError> {
    let stat = rustix::fs::fstat(temp).map_err(failed("look at", &place.path))?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let inherits = mode.contains(Mode::SGID) && stat.st_gid == place.group;
    // Where a thread can have no umask of its own, nobody but us may walk into it.
    let kept = mode.as_raw_mode() & 0o777;
    let fits = kept == wanted || (ONE_UMASK.load(Ordering::Relaxed) && kept & !wanted == 0);
    Ok(fits && (!place.setgid || inherits))
}
