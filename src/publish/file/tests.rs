use super::*;
use rustix::fs::inotify;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const GROUP: u32 = 23_456;
const STRANGER: u32 = 12_345;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn with(mode: u32) -> Access {
    Access::default().with_mode(mode)
}

fn place(path: &Path) -> Place {
    Place::open(path).unwrap().unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Runs an ignored test of this file in another process, under umask 077 and
/// as another user if asked for: both belong to a whole process.
fn run_alone(test: &str, dir: &Path, user: Option<u32>) {
    let exe = std::env::current_exe().unwrap();
    let script = r#"umask 077; test -x "$1" || exit 0; exec "$@" --exact --ignored"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(exe);
    command.arg(format!("publish::file::tests::{test}"));
    command.env("REFRESHD_TEST_DIR", dir);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

#[test]
fn a_reader_sees_whole_contents_only() {
    let dir = tempfile::tempdir().unwrap();
    let (path, done) = (dir.path().join("token"), AtomicBool::new(false));
    let place = place(dir.path());
    let content = |n: usize| vec![b'a' + u8::try_from(n % 26).unwrap(); 3000 + 1000 * (n % 7)];
    place
        .replace(OsStr::new("token"), &content(0), &with(0o600))
        .unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads < 1000 {
                let bytes = std::fs::read(&path).unwrap();
                let n = usize::from(bytes[0] - b'a');
                let whole = (0..7).any(|k| bytes == content(n + 26 * k));
                assert!(whole, "{} bytes of {:?}", bytes.len(), bytes[0]);
                reads += 1;
            }
        });
        for n in 0..300 {
            place
                .replace(OsStr::new("token"), &content(n), &with(0o600))
                .unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let left = std::fs::read_dir(dir.path().join(".tmp")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn a_watcher_sees_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    place
        .replace(OsStr::new("token"), b"1", &with(0o600))
        .unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, dir.path(), inotify::WatchFlags::ALL_EVENTS).unwrap();
    place
        .replace(OsStr::new("token"), b"2", &with(0o600))
        .unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = reader.next() {
        let of_dir = inotify::ReadFlags::ISDIR;
        if !event.events().contains(of_dir) {
            seen.push((event.events(), event.file_name().map(ToOwned::to_owned)));
        }
    }
    let moved = (inotify::ReadFlags::MOVED_TO, Some(c"token".to_owned()));
    assert_eq!(seen, [moved]);
}

#[test]
fn modes_are_kept_under_a_tight_umask() {
    let dir = tempfile::tempdir().unwrap();
    run_alone("alone_modes", dir.path(), None);
}

#[test]
#[ignore = "run by modes_are_kept_under_a_tight_umask"]
fn alone_modes() {
    let dir = PathBuf::from(std::env::var_os("REFRESHD_TEST_DIR").unwrap());
    let place = Place::open_or_make(&dir.join("a/b"), &Access::default()).unwrap();
    place
        .replace(OsStr::new("token"), b"1", &with(0o644))
        .unwrap();
    assert_eq!(mode(dir.join("a/b/token")), 0o644);
    assert_eq!(mode(dir.join("a/b/.tmp")), 0o700);
    assert_eq!(mode(dir.join("a")), 0o700);
}

#[test]
fn a_setgid_directory_gives_its_group_to_a_user_outside_of_it() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o755);
    let shared = dir.path().join("app");
    std::fs::create_dir(&shared).unwrap();
    std::os::unix::fs::chown(&shared, Some(STRANGER), Some(GROUP)).unwrap();
    set_mode(&shared, 0o2750);
    run_alone("alone_outside_of_the_group", &shared, Some(STRANGER));
}

#[test]
#[ignore = "run by a_setgid_directory_gives_its_group_to_a_user_outside_of_it"]
fn alone_outside_of_the_group() {
    let dir = PathBuf::from(std::env::var_os("REFRESHD_TEST_DIR").unwrap());
    let place = place(&dir);
    assert_eq!(place.mode_of(&Access::default()), 0o640);
    place
        .replace(OsStr::new("token"), b"1", &with(0o640))
        .unwrap();
    assert_eq!(mode(dir.join("token")), 0o640);
    assert_eq!(std::fs::metadata(dir.join("token")).unwrap().gid(), GROUP);
    assert_eq!(mode(dir.join(".tmp")), 0o2750, "who may read may walk");
    // A chmod would lose the group, so the umask is that of a thread of its own.
    Place::open_or_make(&dir.join("sub/below"), &Access::default()).unwrap();
    for made in ["sub", "sub/below"] {
        assert_eq!(mode(dir.join(made)), 0o2750);
        assert_eq!(std::fs::metadata(dir.join(made)).unwrap().gid(), GROUP);
    }
}

#[test]
fn parents_in_a_setgid_directory_are_open_to_the_group() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), None, Some(GROUP)).unwrap();
    set_mode(dir.path(), 0o2750);
    run_alone("alone_parents", dir.path(), None);
}

#[test]
#[ignore = "run by parents_in_a_setgid_directory_are_open_to_the_group"]
fn alone_parents() {
    let dir = PathBuf::from(std::env::var_os("REFRESHD_TEST_DIR").unwrap());
    Place::open_or_make(&dir.join("a/b"), &Access::default()).unwrap();
    for made in [dir.join("a"), dir.join("a/b")] {
        assert_eq!(mode(&made), 0o2750);
        assert_eq!(std::fs::metadata(&made).unwrap().gid(), GROUP);
    }
}

#[test]
fn a_temp_directory_older_than_the_setgid_bit_is_made_again() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    place(dir.path())
        .replace(OsStr::new("token"), b"1", &with(0o600))
        .unwrap();
    std::os::unix::fs::chown(dir.path(), None, Some(GROUP)).unwrap();
    set_mode(dir.path(), 0o2750);
    let place = place(dir.path());
    place
        .replace(OsStr::new("token"), b"2", &with(0o640))
        .unwrap();
    let token = std::fs::metadata(dir.path().join("token")).unwrap();
    assert_eq!(token.gid(), GROUP);
    assert_eq!(mode(dir.path().join(".tmp")), 0o2750);
    let existing = place.read(OsStr::new("token")).unwrap().unwrap();
    assert!(place.would_keep(&existing, &with(0o640)));
    assert!(!place.would_keep(&existing, &with(0o600)));
}

#[test]
fn a_directory_and_a_mount_point_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("token")).unwrap();
    let error = place(dir.path()).replace(OsStr::new("token"), b"1", &with(0o600));
    assert!(matches!(error, Err(FileError::IsDirectory(_))));
    let error = place(Path::new("/dev")).check_target(OsStr::new("null"));
    assert!(matches!(
        error,
        Err(FileError::IsDevice(_) | FileError::IsMountPoint(_))
    ));
}

#[test]
fn a_mounted_file_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("token");
    std::fs::write(&target, "old").unwrap();
    // A bind mount on itself has the device of its directory; that needs privileges.
    let mounted = Command::new("mount")
        .arg("--bind")
        .args([&target, &target])
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return;
    }
    let checked = place(dir.path()).check_target(OsStr::new("token"));
    let written = place(dir.path()).replace(OsStr::new("token"), b"new", &with(0o600));
    let unmounted = Command::new("umount").arg(&target).status().unwrap();
    assert!(unmounted.success());
    for error in [checked.unwrap_err(), written.unwrap_err()] {
        assert!(
            error.to_string().ends_with("mount the directory instead"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
}

#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("victim"), "v").unwrap();
    symlink("victim", dir.path().join("token")).unwrap();
    let place = place(dir.path());
    assert!(place.read(OsStr::new("token")).unwrap().is_none());
    place
        .replace(OsStr::new("token"), b"1", &with(0o600))
        .unwrap();
    assert_eq!(std::fs::read(dir.path().join("victim")).unwrap(), b"v");
    let token = std::fs::symlink_metadata(dir.path().join("token")).unwrap();
    assert!(token.is_file());
}

#[test]
fn a_temp_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".tmp")).unwrap();
    set_mode(&dir.path().join(".tmp"), 0o770);
    let error = place(dir.path()).replace(OsStr::new("token"), b"1", &with(0o600));
    assert!(matches!(error, Err(FileError::TempNotOurs(_))));
    std::fs::remove_dir(dir.path().join(".tmp")).unwrap();
    symlink("/tmp", dir.path().join(".tmp")).unwrap();
    let error = place(dir.path()).replace(OsStr::new("token"), b"1", &with(0o600));
    assert!(matches!(error, Err(FileError::TempNotOurs(_))));
}

#[test]
fn leftovers_of_an_earlier_run_are_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    place
        .replace(OsStr::new("token"), b"1", &with(0o600))
        .unwrap();
    let ours = format!("{}999", run_prefix());
    for name in ["refreshd-0011223344556677-5", "somebody-elses", &ours] {
        std::fs::write(dir.path().join(".tmp").join(name), "x").unwrap();
    }
    place.sweep();
    let mut left: Vec<_> = std::fs::read_dir(dir.path().join(".tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [ours.as_str(), "somebody-elses"]);
}

#[test]
fn a_write_that_fails_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let long = "x".repeat(300);
    assert!(
        place
            .replace(OsStr::new(&long), b"1", &with(0o600))
            .is_err()
    );
    let left = std::fs::read_dir(dir.path().join(".tmp"));
    assert_eq!(left.map_or(0, Iterator::count), 0);
}

#[test]
fn a_group_gets_the_file_and_the_directories_that_are_made_for_it() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let access = Access {
        group: Some(GROUP),
        owner: Some(STRANGER),
        ..Access::default()
    };
    let place = Place::open_or_make(&dir.path().join("a/b"), &access).unwrap();
    place.replace(OsStr::new("token"), b"1", &access).unwrap();
    let metadata = std::fs::metadata(dir.path().join("a/b/token")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (STRANGER, GROUP));
    assert_eq!(mode(dir.path().join("a/b/token")), 0o640);
    assert_eq!(mode(dir.path().join("a/b")), 0o2750);
    assert_eq!(
        std::fs::metadata(dir.path().join("a/b")).unwrap().gid(),
        GROUP
    );
    assert_eq!(mode(dir.path().join("a")), 0o711, "only to be gone through");
    let existing = place.read(OsStr::new("token")).unwrap().unwrap();
    assert!(place.would_keep(&existing, &access));
    let others = Access::default().with_mode(0o644);
    Place::open_or_make(&dir.path().join("c/d"), &others).unwrap();
    assert_eq!(
        mode(dir.path().join("c/d")),
        0o755,
        "every user may read it"
    );
    let exactly = Access {
        dir_mode: Some(0o710),
        ..Access::default()
    };
    Place::open_or_make(&dir.path().join("e"), &exactly).unwrap();
    assert_eq!(mode(dir.path().join("e")), 0o710);
}

#[test]
fn a_directory_that_lost_its_group_gets_it_back_or_it_is_told() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o700);
    let known = DirectoryRights {
        group: GROUP,
        mode: 0o2750,
    };
    let for_group = Access {
        group: Some(GROUP),
        ..Access::default()
    };
    // A home, perhaps: that a token is put there is no reason to open it.
    let told = place(dir.path()).let_in(&for_group, None).unwrap().unwrap();
    assert!(
        told.contains("cannot enter") && told.contains("chmod 2750"),
        "{told}"
    );
    assert_eq!(mode(dir.path()), 0o700);
    assert_eq!(
        place(dir.path())
            .let_in(&Access::default(), Some(&known))
            .unwrap(),
        None
    );
    assert_eq!(mode(dir.path()), 0o2750);
    assert_eq!(std::fs::metadata(dir.path()).unwrap().gid(), GROUP);
    // What is for another group is not taken from that.
    std::os::unix::fs::chown(dir.path(), None, Some(GROUP + 1)).unwrap();
    set_mode(dir.path(), 0o2750);
    assert!(
        place(dir.path())
            .let_in(&for_group, Some(&known))
            .unwrap()
            .is_some()
    );
    assert_eq!(std::fs::metadata(dir.path()).unwrap().gid(), GROUP + 1);
}

#[test]
fn who_may_not_give_a_file_away_is_told_what_to_do() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o777);
    run_alone("alone_without_the_group", dir.path(), Some(STRANGER));
}

#[test]
#[ignore = "run by who_may_not_give_a_file_away_is_told_what_to_do"]
fn alone_without_the_group() {
    let dir = PathBuf::from(std::env::var_os("REFRESHD_TEST_DIR").unwrap());
    let (name, place) = (OsStr::new("token"), place(&dir));
    let of = |group, owner| Access {
        group,
        owner,
        ..Access::default()
    };
    let told = |access| place.replace(name, b"1", &access).unwrap_err().to_string();
    let group = told(of(Some(GROUP), None));
    assert!(
        group.contains("setgid") && group.contains("usermod -aG"),
        "{group}"
    );
    assert!(told(of(None, Some(0))).contains("CAP_CHOWN"));
    assert!(!dir.join("token").exists());
}
