//! Configuration, secrets and provider files that are none, or that others may write.

use crate::setting::Setting;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_configuration_keeps_nobody_waiting() {
    let setting = Setting::one().await;
    let house = &setting.house;
    for place in ["providers.d/pipe.toml", "conf.d/pipe.toml"] {
        let path = house.path(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        pipe(&path);
        let name = path.display().to_string();
        for args in [&["check"][..], &["run"]] {
            setting.run(args).fails(78, &[&name, "not a regular file"]);
        }
        fs::remove_file(&path).unwrap();
    }
    let secret = house.path("secrets/pretend");
    fs::remove_file(&secret).unwrap();
    pipe(&secret);
    setting.run(&["check"]).fails(78, &["not a regular file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_secret_shows_no_line_of_it() {
    let setting = Setting::one().await;
    let house = &setting.house;
    // Somebody who may write there has a look at a file that is not theirs.
    let link = house.path("providers.d/look.toml");
    symlink(house.path("secrets/pretend"), &link).unwrap();
    let name = link.display().to_string();
    setting.run(&["check"]).fails(78, &[&name, "not shown"]);
    fs::remove_file(&link).unwrap();
    // As Kubernetes links what it mounts.
    fs::create_dir(house.path("providers.d/..data")).unwrap();
    let real = house.path("providers.d/..data/broken.toml");
    fs::write(&real, "name = \n").unwrap();
    symlink("..data/broken.toml", house.path("providers.d/broken.toml")).unwrap();
    setting.run(&["check"]).fails(78, &["name = "]);
    fs::write(&real, "name = \"linked\"\nbase = \"pretend\"\n").unwrap();
    setting.run(&["check"]).succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_may_write_decides_nothing() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let places = [
        "refreshd.toml",
        "providers.d/pretend.toml",
        "providers.d",
        "secrets/pretend",
    ];
    for place in places {
        let path = house.path(place);
        let name = path.display().to_string();
        let before = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        chmod(&path, (before | 0o002) & !0o004);
        let needles = [&name, "can be written by everyone", "chmod go-w"];
        setting.run(&["check"]).fails(78, &needles);
        setting.run(&["run"]).fails(78, &needles);
        chmod(&path, before);
        let ran = setting.run(&["check"]).succeeds();
        assert!(!ran.err.contains("written by"), "{ran:?}");
        if !rustix::process::geteuid().is_root() {
            continue;
        }
        chown(&path, Some(65533), Some(65533)).unwrap();
        let ran = setting.run(&["check"]).succeeds();
        let told = ran.err.contains(&name) && ran.err.contains("belongs to uid 65533");
        assert!(told, "{place}: {ran:?}");
        chown(&path, Some(0), Some(0)).unwrap();
    }
}
