//! Who may read and enter what the daemon makes.

use crate::setting::Setting;
use crate::support::wait_for;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn mode(setting: &Setting, path: &str) -> u32 {
    let metadata = fs::metadata(setting.house.path(path)).unwrap();
    metadata.permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_private_is_the_owners_alone() {
    let setting = Setting::one().await;
    let (daemon, _) = setting.daemon_with_one();
    wait_for("the output", || {
        setting.house.path("tokens/.one.meta.json").exists()
    });
    for dir in ["run", "state", "key"] {
        assert_eq!(mode(&setting, dir), 0o700, "{dir}");
    }
    assert_eq!(mode(&setting, "run/control.sock") & 0o077, 0);
    for entry in fs::read_dir(setting.house.path("state")).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(mode(&setting, "key/key"), 0o600);
    assert_eq!(mode(&setting, "tokens/one"), 0o600);
    assert_eq!(mode(&setting, "tokens/.one.meta.json"), 0o600);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn others_may_pass_a_runtime_directory_but_not_use_the_socket() {
    let setting = Setting::one().await;
    let run = setting.house.path("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o711)).unwrap();
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(mode(&setting, "run"), 0o711, "systemd's, and left so");
    assert_eq!(mode(&setting, "run/control.sock") & 0o077, 0);
    if rustix::process::geteuid().is_root() {
        let ran = setting.run_command(setting.as_nobody(&["status"]));
        ran.fails(
            77,
            &["control.sock", "Permission denied", "run this as root"],
        );
    }
    assert_eq!(daemon.stop(), Some(0));
}
