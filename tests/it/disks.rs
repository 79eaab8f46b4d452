//! Small disks, mounted for a test. Only root can do this, where loop devices and
//! file systems may be had; elsewhere the test fails and says what is missing.

use crate::support::text;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A mounted file system; it goes when this is dropped.
pub(crate) struct Disk {
    at: PathBuf,
    /// Of ext4: the file that it is in.
    image: Option<PathBuf>,
}

impl Disk {
    /// A file system in memory.
    pub(crate) fn tmpfs(at: PathBuf, mib: u64) -> Disk {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={mib}m,mode=0700");
        let target = at.display().to_string();
        run(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &target]);
        Disk { at, image: None }
    }

    /// A file system with a journal on a loop device.
    pub(crate) fn ext4(at: PathBuf, mib: u64) -> Disk {
        fs::create_dir_all(&at).unwrap();
        let image = at.with_extension("ext4");
        File::create(&image).unwrap().set_len(mib << 20).unwrap();
        // Nothing is kept for root, as whom these tests run.
        run(&["mkfs.ext4", "-q", "-F", "-m", "0", image.to_str().unwrap()]);
        let disk = Disk {
            at,
            image: Some(image),
        };
        disk.mount();
        fs::set_permissions(&disk.at, fs::Permissions::from_mode(0o700)).unwrap();
        disk
    }

    /// Mounts what is in the image.
    pub(crate) fn mount(&self) {
        let image = self.image.as_deref().expect("it has an image");
        let options = "loop,errors=remount-ro";
        let (image, at) = (image.to_str().unwrap(), self.at.to_str().unwrap());
        run(&["mount", "-t", "ext4", "-o", options, image, at]);
    }

    /// Takes it out, repairs it and mounts it again.
    pub(crate) fn repair(&self) {
        run(&["umount", self.at.to_str().unwrap()]);
        let image = self.image.as_deref().expect("it has an image");
        let checked = Command::new("e2fsck").arg("-fy").arg(image).output();
        let checked = checked.unwrap();
        // 1: there was something to repair.
        let code = checked.status.code();
        assert!(matches!(code, Some(0 | 1)), "{}", text(&checked.stdout));
        self.mount();
    }

    /// Mounts it anew with another option, as in `ro`; whether that could be done.
    pub(crate) fn remount(&self, option: &str) -> bool {
        let options = format!("remount,{option}");
        let mut command = Command::new("mount");
        let done = command.args(["-o", &options]).arg(&self.at).output();
        done.unwrap().status.success()
    }

    /// Leaves not a byte; what came free since it was filled is taken as well.
    pub(crate) fn fill(&self) {
        let mut options = File::options();
        let filler = options.append(true).create(true);
        let filler = filler.open(self.at.join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1 << 9, 1] {
            let bytes = vec![1_u8; size];
            while (&filler).write_all(&bytes).is_ok() {}
        }
        // What could not be placed after all does no harm.
        let _full = filler.sync_all();
    }

    /// Takes back what filled it.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

#[track_caller]
fn run(command: &[&str]) {
    let (program, args) = command.split_first().unwrap();
    let ran = Command::new(program).args(args).output();
    let ran = ran.unwrap_or_else(|e| panic!("{program} cannot be run ({e}); install it"));
    assert!(
        ran.status.success(),
        "this test needs root and a file system of its own, and cannot have it: {command:?}: {}",
        text(&ran.stderr)
    );
}
