//! Which machine this is: a state directory that was copied to another one must
//! not refresh there while the original may.

use super::disk::hex;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Where a machine's identity stands, and what shows that this is a container,
/// whose state is a volume that may be moved.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    in_kubernetes: bool,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Machine {
            root: PathBuf::from("/"),
            in_kubernetes: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }

    /// One whose files lie below `root`, for tests.
    #[must_use]
    pub fn at(root: &Path, in_kubernetes: bool) -> Self {
        Machine {
            root: root.to_owned(),
            in_kubernetes,
        }
    }

    /// The identity as a store keeps it: hashed with the store's own id, so that
    /// it gives away nothing (machine-id(5)). `None` in a container, and where
    /// there is none.
    pub(super) fn identity(&self, store_id: &str) -> Option<String> {
        if self.is_container() {
            return None;
        }
        let id = fs::read_to_string(self.root.join("etc/machine-id")).ok()?;
        let id = id.trim();
        // An image that has not been booted says "uninitialized".
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let digest = Sha256::new()
            .chain_update(b"refreshd machine")
            .chain_update(store_id)
            .chain_update(id)
            .finalize();
        Some(hex(&digest[..16]))
    }

    /// As systemd-detect-virt finds out, and Kubernetes tells its pods.
    fn is_container(&self) -> bool {
        const MARKS: [&str; 4] = [
            "run/.containerenv",
            ".dockerenv",
            "run/systemd/container",
            "run/host/container-manager",
        ];
        self.in_kubernetes
            || MARKS.iter().any(|mark| self.root.join(mark).exists())
            || fs::read(self.root.join("proc/1/environ")).is_ok_and(|environ| {
                let mut variables = environ.split(|byte| *byte == 0);
                variables.any(|v| v.strip_prefix(b"container=").is_some_and(|v| !v.is_empty()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_unborn_machines_have_no_identity() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let remove = |path: &str| fs::remove_file(root.path().join(path)).unwrap();
        let identity = |store| Machine::at(root.path(), false).identity(store);
        assert_eq!(identity("a"), None);
        write("etc/machine-id", b"uninitialized\n");
        assert_eq!(identity("a"), None);
        write("etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
        let hashed = identity("a").unwrap();
        assert_eq!(identity("a"), Some(hashed.clone()));
        assert_ne!(identity("b"), Some(hashed));
        write("proc/1/environ", b"PATH=/bin\0container=\0");
        assert!(identity("a").is_some());
        write("proc/1/environ", b"PATH=/bin\0container=lxc\0");
        assert_eq!(identity("a"), None);
        remove("proc/1/environ");
        for mark in [".dockerenv", "run/.containerenv", "run/systemd/container"] {
            write(mark, b"");
            assert_eq!(identity("a"), None, "{mark}");
            remove(mark);
        }
        assert_eq!(Machine::at(root.path(), true).identity("a"), None);
        assert!(identity("a").is_some());
    }
}
