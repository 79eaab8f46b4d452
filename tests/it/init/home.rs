//! A user's home, and the binary run there as that user.

use crate::support::{fed, text};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home directory of a user, with nothing in it.
pub(super) struct Home {
    root: tempfile::TempDir,
    pub(super) uid: u32,
}

impl Home {
    pub(super) fn of(uid: u32) -> Home {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = Home { root, uid };
        fs::create_dir(home.path("home")).unwrap();
        chown(home.path("home"), Some(uid), Some(uid)).unwrap();
        let binary = home.path("refreshd");
        fs::copy(env!("CARGO_BIN_EXE_refreshd"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        home
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Where this user's configuration lies by default.
    pub(super) fn config(&self) -> PathBuf {
        self.path("home/.config/refreshd/refreshd.toml")
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let (uid, gid) = (
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.uid),
        );
        let mut command = Command::new("setpriv");
        command.args([&uid, &gid, "--clear-groups"]);
        command.arg(self.path("refreshd")).args(args);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("home"));
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(super) fn run_with(&self, args: &[&str], input: &str) -> Output {
        fed(self.command(args), input)
    }

    pub(super) fn read(&self, path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// All files below the home, by their paths.
    pub(super) fn files(&self) -> Vec<String> {
        let found = Command::new("find")
            .arg(self.path("home"))
            .args(["-type", "f"])
            .output();
        let found = text(&found.unwrap().stdout);
        let home = format!("{}/", self.path("home").display());
        let mut files: Vec<String> = found.lines().map(|file| file.replace(&home, "")).collect();
        files.sort();
        files
    }
}
