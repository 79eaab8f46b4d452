//! A state that is not what it was, or not where it was, does not refresh until a
//! person says so: copied to another machine, put back, restored.

use crate::backups::{notices, put_back};
use crate::incidents::{of_grant, open};
use crate::setting::{ONE, Setting};
use crate::support::{Daemon, House, text};
use std::fs;
use std::path::Path;
use std::process::Command;

const HERE: &str = "0123456789abcdef0123456789abcdef";
const ELSEWHERE: &str = "fedcba9876543210fedcba9876543210";

/// Starts the daemon where /etc/machine-id is this, and where nothing says that it
/// is a container, whatever the test runs in: a root of its own, in which only the
/// house and the libraries are as they were. Only root can do this.
fn daemon_on(house: &House, machine: &str, environment: &[&str]) -> Daemon {
    let binary = house.path("refreshd");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_refreshd"), &binary).unwrap();
    }
    let house_root = house.root().display();
    let script = format!(
        r#"set -e
        shift
        root={house_root}/machine
        mkdir -p $root && mount -t tmpfs none $root
        mkdir -p $root/etc $root/dev $root/run $root/{house_root}
        echo {machine} > $root/etc/machine-id
        for dir in /usr /lib /lib64 /etc/ssl /dev; do
            [ ! -d $dir ] || {{ mkdir -p $root$dir; mount --rbind $dir $root$dir; }}
        done
        mount --bind {house_root} $root{house_root}
        exec /usr/sbin/chroot $root {house_root}/refreshd "$@""#
    );
    let mut wrapper = vec!["env"];
    wrapper.extend(environment);
    wrapper.extend(["unshare", "--mount", "--propagation", "private"]);
    wrapper.extend(["/bin/sh", "-c", &script, "sh"]);
    house.daemon_under(&wrapper)
}

/// A copy of the installation with its state and key, as `cp -a` makes one.
fn copy_of(house: &House) -> House {
    let copy = House::new(ONE);
    for part in ["state", "key", "secrets", "providers.d"] {
        copy_over(&house.path(part), copy.root());
    }
    copy
}

fn copy_over(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

fn refresh(house: &House) -> (Option<i32>, String) {
    let ran = house.run(&["refresh", "one", "--force"]);
    (ran.status.code(), text(&ran.stderr))
}

fn refreshes(house: &House) {
    assert_eq!(notices(house), "");
    let (code, said) = refresh(house);
    assert_eq!(code, Some(0), "{said}");
    assert!(open(house).iter().all(|i| i["kind"] != "fenced"));
}

/// It serves what it has, sends nothing, and says why; once, and over restarts.
fn is_fenced(setting: &Setting, house: &House, why: &str) {
    let told = notices(house);
    assert!(told.contains(why), "{told}");
    assert!(
        told.contains("`refreshd doctor --accept-restore`"),
        "{told}"
    );
    let presented = setting.server.presentations().len();
    let (code, said) = refresh(house);
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains(why), "{said}");
    assert_eq!(setting.server.presentations().len(), presented);
    let served = house.run(&["get", "one"]);
    assert_eq!(served.status.code(), Some(0), "{}", text(&served.stderr));
    let fenced: Vec<_> = open(house)
        .into_iter()
        .filter(|i| i["kind"] == "fenced")
        .collect();
    assert_eq!(fenced.len(), 1, "{fenced:?}");
    assert!(fenced[0]["text"].as_str().unwrap().contains(why));
    assert_eq!(fenced[0]["about"], "daemon");
}

/// A person says that this is meant: generations go on above, in doubt.
fn is_accepted(house: &House) {
    let generation = || house.status("one")["generation"].as_u64().unwrap();
    let before = generation();
    let ran = house.run(&["doctor", "--accept-restore"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert_eq!(notices(house), "");
    assert!(generation() > before);
    assert_eq!(house.status("one")["state"], "in-doubt");
    let kinds: Vec<_> = open(house).iter().map(|i| i["kind"].clone()).collect();
    assert_eq!(kinds, ["in-doubt"]);
    // Not a second time.
    assert_eq!(
        house.run(&["doctor", "--accept-restore"]).status.code(),
        Some(65)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_state_directory_is_noticed_by_its_machine() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let daemon = daemon_on(house, HERE, &[]);
    setting.import("one");
    refreshes(house);
    assert_eq!(daemon.stop(), Some(0));

    let copy = copy_of(house);
    let daemon = daemon_on(&copy, ELSEWHERE, &[]);
    is_fenced(&setting, &copy, "belongs to another machine");
    assert_eq!(daemon.stop(), Some(0));
    // The original goes on; and so would the copy, were it back where it came from.
    let daemon = daemon_on(house, HERE, &[]);
    refreshes(house);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = daemon_on(&copy, HERE, &[]);
    assert_eq!(notices(&copy), "");
    assert!(open(&copy).is_empty());
    assert_eq!(daemon.stop(), Some(0));

    // The move is meant: from now on it belongs there.
    let daemon = daemon_on(&copy, ELSEWHERE, &[]);
    is_fenced(&setting, &copy, "belongs to another machine");
    let notice = daemon.log().matches("incident=\"fenced\"").count();
    // Opened, over where it came from, and opened again.
    assert_eq!(notice, 3, "{}", daemon.log());
    is_accepted(&copy);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = daemon_on(&copy, ELSEWHERE, &[]);
    assert_eq!(notices(&copy), "");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = daemon_on(&copy, HERE, &[]);
    assert!(notices(&copy).contains("belongs to another machine"));
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_moves_in_kubernetes_goes_on_without_a_person() {
    const POD: [&str; 1] = ["KUBERNETES_SERVICE_HOST=10.96.0.1"];
    let setting = Setting::one().await;
    let house = &setting.house;
    let daemon = daemon_on(house, HERE, &POD);
    setting.import("one");
    refreshes(house);
    // A node that fails takes the pod along, and another one starts it.
    daemon.kill();
    for node in [ELSEWHERE, HERE] {
        let daemon = daemon_on(house, node, &POD);
        refreshes(house);
        daemon.kill();
    }
    // Also when it was on a machine of its own before.
    let daemon = daemon_on(house, HERE, &[]);
    refreshes(house);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = daemon_on(house, ELSEWHERE, &POD);
    refreshes(house);
    assert_eq!(daemon.stop(), Some(0));
    // Out of it again, it is on another machine than it was.
    let daemon = daemon_on(house, ELSEWHERE, &[]);
    is_fenced(&setting, house, "belongs to another machine");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(of_grant(house, "one").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_on_another_machine_is_accepted_once() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let daemon = daemon_on(house, HERE, &[]);
    setting.import("one");
    // The daemon's own root has no other place that is also ours.
    let copy = house.path("copy.db");
    setting.run(&["backup", copy.to_str().unwrap()]).succeeds();
    assert_eq!(daemon.stop(), Some(0));
    let other = copy_of(house);
    put_back(&other, &copy);
    let daemon = daemon_on(&other, ELSEWHERE, &[]);
    is_fenced(&setting, &other, "restored from the backup of 2");
    is_accepted(&other);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = daemon_on(&other, ELSEWHERE, &[]);
    assert_eq!(notices(&other), "");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_put_back_is_noticed_by_its_stamp() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    let (database, earlier) = (house.path("state/refreshd.db"), house.path("earlier"));
    fs::copy(&database, &earlier).unwrap();
    // What is published gives it away as well: here only the stamp can.
    house.configure(ONE.split("[[grants.one.outputs]]").next().unwrap());
    let daemon = house.daemon();
    refreshes(house);
    assert_eq!(daemon.stop(), Some(0));
    fs::copy(&earlier, &database).unwrap();
    for _ in 0..2 {
        let daemon = house.daemon();
        is_fenced(&setting, house, "it was put back to an earlier state");
        daemon.kill();
    }
    let daemon = house.daemon();
    is_accepted(house);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = house.daemon();
    assert_eq!(notices(house), "");
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_everything_is_noticed_by_what_was_published() {
    let setting = Setting::one().await;
    let house = &setting.house;
    let (daemon, _) = setting.daemon_with_one();
    assert_eq!(daemon.stop(), Some(0));
    copy_over(&house.path("state"), &house.path("snapshot"));
    let daemon = house.daemon();
    refreshes(house);
    let published = || fs::read_to_string(house.path("tokens/one")).unwrap();
    let newest = setting.token("one");
    crate::support::wait_for("the file", || published() == newest);
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_dir_all(house.path("state")).unwrap();
    copy_over(&house.path("snapshot"), &house.path("state"));
    let daemon = house.daemon();
    is_fenced(
        &setting,
        house,
        "generation 2 of grant one has been published",
    );
    // The newer token is the one that works, and stays.
    assert_eq!(published(), newest);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = house.daemon();
    assert_eq!(published(), newest);
    is_accepted(house);
    assert_eq!(house.status("one")["generation"], 3);
    assert_eq!(daemon.stop(), Some(0));
}
