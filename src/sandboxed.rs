//! What a systemd unit hides from the service or does not let it write, and which of
//! its lines that is.

use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A mount, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// What of its file system is mounted.
    root: String,
    at: PathBuf,
}

/// Which line of the unit an error comes from, and what to write instead; `None`
/// where it comes from none.
#[must_use]
pub(crate) fn why(path: &Path, error: &std::io::Error) -> Option<String> {
    let unit = unit()?;
    match Errno::from_io_error(error)? {
        Errno::ROFS => Some(read_only(path, &unit)),
        Errno::ACCESS | Errno::PERM | Errno::NOENT => hidden(path, &unit),
        _ => None,
    }
}

/// A remark on a file that only the service itself can see.
#[must_use]
pub(crate) fn private(path: &Path) -> Option<String> {
    let unit = unit()?;
    let mounts = mounts();
    let mount = mount_of(&mounts, path)?;
    mount.root.contains("systemd-private-").then(|| {
        let at = mount.at.display();
        format!(
            "{at} is the service's own there (PrivateTmp=yes in {unit}), so that no other program finds the file: choose a path below /run/refreshd, or write PrivateTmp=no below [Service] (systemctl edit {unit})"
        )
    })
}

fn read_only(path: &Path, unit: &str) -> String {
    let home = ["/home", "/root", "/run/user"];
    let line = match home.iter().any(|home| path.starts_with(home)) {
        true => "ProtectHome=",
        false => "ProtectSystem=strict",
    };
    let dir = existing(path);
    format!(
        "{line} in {unit} lets the service write nowhere but in its own directories: choose a path below /run/refreshd, or allow this one with ReadWritePaths={} below [Service] (systemctl edit {unit}), and restart it",
        dir.display()
    )
}

fn hidden(path: &Path, unit: &str) -> Option<String> {
    let mounts = mounts();
    let mount = mount_of(&mounts, path)?;
    mount.root.contains("systemd/inaccessible").then(|| {
        let at = mount.at.display();
        format!(
            "{at} is hidden from the service (ProtectHome=yes or InaccessiblePaths= in {unit}): choose a path below /run/refreshd, or change that line (systemctl edit {unit}), and restart it"
        )
    })
}

/// The service that this process is, by its control group; `None` outside of systemd.
fn unit() -> Option<String> {
    std::env::var_os("INVOCATION_ID")?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    unit_in(&groups)
}

fn unit_in(groups: &str) -> Option<String> {
    let of_line = |line: &str| {
        let name = line.rsplit('/').next()?;
        name.ends_with(".service").then(|| name.to_owned())
    };
    groups.lines().find_map(of_line)
}

fn mounts() -> Vec<Mount> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

/// A line of mountinfo, proc_pid_mountinfo(5).
fn mount(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ').skip(3);
    let plain = |field: &str| field.replace("\\040", " ");
    Some(Mount {
        root: plain(fields.next()?),
        at: plain(fields.next()?).into(),
    })
}

/// The mount that a path is on: the longest, of two at one place the later.
fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.at));
    above.max_by_key(|mount| mount.at.as_os_str().len())
}

fn existing(path: &Path) -> &Path {
    path.ancestors()
        .skip(1)
        .find(|dir| dir.is_dir())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 254:1 / / ro,relatime shared:1 - ext4 /dev/vda1 rw
70 22 254:1 /tmp/systemd-private-0f-refreshd.service-x/tmp /tmp rw - ext4 /dev/vda1 rw
71 22 0:25 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw
72 22 0:26 /a\\040b /srv/a\\040b rw - tmpfs tmpfs rw";

    #[test]
    fn a_path_is_on_the_mount_nearest_to_it() {
        let mounts: Vec<Mount> = MOUNTS.lines().filter_map(mount).collect();
        let root = |path: &str| mount_of(&mounts, Path::new(path)).unwrap().root.as_str();
        assert!(root("/tmp/x").contains("systemd-private-"));
        assert!(root("/home/me/token").contains("systemd/inaccessible"));
        assert_eq!(root("/srv/a b/token"), "/a b");
        assert_eq!(root("/tmpx/token"), "/");
    }

    #[test]
    fn the_unit_is_named_by_its_control_group() {
        let groups = "0::/system.slice/system-refreshd.slice/refreshd@shop.service\n";
        assert_eq!(unit_in(groups).as_deref(), Some("refreshd@shop.service"));
        assert_eq!(unit_in("0::/user.slice/session-1.scope\n"), None);
    }
}
