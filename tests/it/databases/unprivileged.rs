//! A daemon that is not root, as in its systemd unit: it may give files to no
//! group but by a setgid directory.

use super::place::{GROUP, Place, SHOPS};
use super::readers::{Reader, Tokens, read_on};
use super::{BOTH, rotate_and_see};
use crate::support::wait_for;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

/// The daemon's user, and its only group.
const DAEMON: u32 = 65531;

#[test]
fn a_daemon_without_rights_publishes_through_a_setgid_directory() {
    let place = Place::new(SHOPS);
    if !place.open_to_group() {
        return;
    }
    let tokens_dir = place.setting.house.path("tokens");
    let running = place.setting.daemon_as(DAEMON);
    for grant in BOTH {
        place.setting.import(grant);
    }
    let errors = || place.setting.house.status("shop-1")["output_errors"].clone();
    wait_for("the error", || errors().as_array().unwrap().len() == 1);
    let error = errors()[0].as_str().unwrap().to_owned();
    assert!(
        error.contains("install -d -o 65531 -g 65533 -m 2750"),
        "{error}"
    );
    assert!(!place.database().exists());

    // What the message says; it goes on by itself.
    chown(&tokens_dir, None, Some(GROUP)).unwrap();
    fs::set_permissions(&tokens_dir, fs::Permissions::from_mode(0o2750)).unwrap();
    place.wait_for_rows(&BOTH);
    let tokens = Tokens::default();
    let path = place.database();
    let readers = [
        Reader::python("fresh", &path, &tokens),
        Reader::python("kept", &path, &tokens),
        Reader::tool(&path, &tokens),
    ];
    rotate_and_see(&place, &readers, 2);
    assert_eq!(running.stop(), Some(0));
    read_on(&readers);
    let running = place.setting.daemon_as(DAEMON);
    rotate_and_see(&place, &readers, 2);
    running.kill();
    read_on(&readers);
    let running = place.setting.daemon_as(DAEMON);
    rotate_and_see(&place, &readers, 1);
    for reader in readers {
        reader.end();
    }
    assert_eq!(running.stop(), Some(0));
}
