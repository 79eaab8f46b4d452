use super::*;
use crate::config::{Format, MetaPlace};
use crate::publish::read_meta;
use crate::publish::testing::{NOW, output, view};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

fn job(path: &Path, view: View) -> Job {
    Job {
        output: output(path),
        view,
        now: NOW,
        fenced: false,
        sweep: true,
        known: None,
        former: Vec::new(),
    }
}

fn target() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    (dir, path)
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn meta_path(path: &Path) -> PathBuf {
    crate::config::meta_beside(path)
}

fn id() -> GrantId {
    view(1, "x").grant.id
}

#[test]
fn the_file_and_what_is_no_secret_about_it() {
    let (_dir, path) = target();
    assert_eq!(
        publish(&job(&path, view(7, "at-7"))).unwrap().generation,
        Some(7)
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"at-7");
    let text = std::fs::read_to_string(meta_path(&path)).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"store_id":"store-1","grant_id":"grant-1","grant":"acme","generation":7,"#,
            r#""issued_at":"2026-11-21T01:00:00Z","expires_at":"2026-11-21T02:00:00Z"}"#,
            "\n"
        )
    );
    assert_eq!(read_meta(&output(&path)), Some(Meta::of(&view(7, "at-7"))));
    let modes = [&path, &meta_path(&path)].map(|p| std::fs::metadata(p).unwrap().mode() & 0o7777);
    assert_eq!(modes, [0o600, 0o600]);
}

#[test]
fn the_metadata_comes_after_the_file() {
    let (_dir, path) = target();
    publish(&job(&path, view(1, "at-1"))).unwrap();
    std::fs::remove_file(meta_path(&path)).unwrap();
    std::fs::create_dir(meta_path(&path)).unwrap();
    assert!(publish(&job(&path, view(2, "at-2"))).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"at-2");
}

#[test]
fn a_refused_successor_leaves_the_old_token_as_long_as_it_lives() {
    let (_dir, path) = target();
    let mut job = job(&path, view(1, "at-1"));
    job.output.when_dead = WhenDead::Withdraw;
    publish(&job).unwrap();
    job.view = view(2, "two\nlines");
    job.view.grant.state.expires_at = NOW + Duration::from_secs(7200);
    assert!(matches!(publish(&job), Err(PublishError::Format(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"at-1");
    job.now = NOW + Duration::from_secs(3600);
    assert!(matches!(publish(&job), Err(PublishError::Format(_))));
    assert!(!path.exists(), "it is dead, and dead ones are withdrawn");
}

#[test]
fn equal_content_is_not_written() {
    for format in [Format::Raw { newline: false }, Format::Json] {
        let (_dir, path) = target();
        let mut job = job(&path, view(1, "at-1"));
        job.output.format = format;
        publish(&job).unwrap();
        let before = (inode(&path), inode(&meta_path(&path)));
        job.now = NOW + Duration::from_secs(60);
        publish(&job).unwrap();
        assert_eq!((inode(&path), inode(&meta_path(&path))), before);
        job.view = view(2, "at-2");
        publish(&job).unwrap();
        // `before.0` may be in use again by now, so content it is.
        assert!(std::fs::read_to_string(&path).unwrap().contains("at-2"));
    }
}

#[test]
fn a_changed_mode_is_a_reason_to_write() {
    let (_dir, path) = target();
    let mut job = job(&path, view(1, "at-1"));
    publish(&job).unwrap();
    job.output.mode = Some(0o644);
    publish(&job).unwrap();
    for path in [&path, &meta_path(&path)] {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o644);
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    publish(&job).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
}

#[test]
fn a_fenced_store_overwrites_nothing_newer() {
    let (_dir, path) = target();
    publish(&job(&path, view(9, "at-9"))).unwrap();
    let mut old = job(&path, view(3, "at-3"));
    old.fenced = true;
    let error = publish(&old).unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::Fenced {
                published: 9,
                held: 3
            }
        ),
        "{error}"
    );
    old.output.when_dead = WhenDead::Withdraw;
    old.view.grant.state.access_dead = true;
    assert!(publish(&old).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"at-9");

    // Newer than what is published, or another grant: not the fence's business.
    let mut newer = job(&path, view(10, "at-10"));
    newer.fenced = true;
    assert_eq!(publish(&newer).unwrap().generation, Some(10));
    let mut again = job(&path, view(1, "new-1"));
    again.fenced = true;
    again.view.grant.id = GrantId("grant-2".to_owned());
    assert_eq!(publish(&again).unwrap().generation, Some(1));
    assert_eq!(
        publish(&job(&path, view(1, "at-1"))).unwrap().generation,
        Some(1)
    );
}

#[test]
fn a_dead_token_is_left_or_withdrawn() {
    let (_dir, path) = target();
    let mut job = job(&path, view(1, "at-1"));
    publish(&job).unwrap();
    job.now = NOW + Duration::from_secs(3600);
    assert_eq!(publish(&job).unwrap().generation, Some(1));
    assert_eq!(std::fs::read(&path).unwrap(), b"at-1");
    assert_eq!(read_meta(&output(&path)), Some(Meta::of(&view(1, "at-1"))));

    job.output.when_dead = WhenDead::Withdraw;
    assert_eq!(publish(&job).unwrap().generation, None);
    assert!(!path.exists());
    assert_eq!(read_meta(&output(&path)), Some(Meta::of(&view(1, "at-1"))));

    job.view.grant.state.expiry_unknown = true;
    assert_eq!(
        publish(&job).unwrap().generation,
        Some(1),
        "a guess kills no token"
    );
}

#[test]
fn only_what_is_ours_is_withdrawn() {
    let (_dir, path) = target();
    publish(&job(&path, view(1, "at-1"))).unwrap();
    assert!(!withdraw(&path, &[], "store-2", &id(), true).unwrap());
    assert!(!withdraw(&path, &[], "store-1", &GrantId("other".to_owned()), false).unwrap());
    assert!(path.exists() && meta_path(&path).exists());
    assert!(withdraw(&path, &[], "store-1", &id(), false).unwrap());
    assert!(!path.exists() && !meta_path(&path).exists());

    std::fs::write(&path, "no metadata").unwrap();
    assert!(!withdraw(&path, &[], "store-1", &id(), false).unwrap());
    assert!(path.exists());
    std::fs::write(meta_path(&path), "{}").unwrap();
    assert!(
        !withdraw(&path, &[], "store-1", &id(), true).unwrap(),
        "foreign metadata"
    );
    assert!(path.exists());
    std::fs::remove_file(meta_path(&path)).unwrap();
    assert!(
        withdraw(&path, &[], "store-1", &id(), true).unwrap(),
        "the store recorded it"
    );
    assert!(!path.exists());
    let missing = path.join("no/such/directory");
    assert!(!withdraw(&missing, &[], "store-1", &id(), true).unwrap());
}

#[test]
fn nothing_that_is_written_or_said_holds_other_secrets() {
    let (dir, path) = target();
    for format in [Format::Raw { newline: true }, Format::Json] {
        let mut job = job(&path, view(1, "at-1"));
        job.output.format = format;
        publish(&job).unwrap();
        assert!(!format!("{job:?}").contains("at-1"));
        for file in [&path, &meta_path(&path)] {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
    assert!(
        !std::fs::read_to_string(meta_path(&path))
            .unwrap()
            .contains("at-1")
    );
    let mut bad = job(&dir.path().join("bad"), view(1, "at-1\nInjected: 1"));
    bad.output.mode = Some(0o640);
    assert!(!publish(&bad).unwrap_err().to_string().contains("at-1"));
    assert!(!dir.path().join("bad").exists());
}

#[test]
fn a_file_of_somebody_else_is_left_until_a_person_says_so() {
    let (dir, path) = target();
    std::fs::write(&path, "written by hand").unwrap();
    let mut job = job(&path, view(1, "at-1"));
    let error = claim(&job).unwrap_err().to_string();
    assert!(
        error.contains("replace = true") && error.contains("mv "),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"written by hand");
    job.output.replace = true;
    claim(&job).unwrap();
    job.output.replace = false;

    std::fs::write(&path, "at-1").unwrap();
    claim(&job).expect("it is the token already");
    std::fs::write(&path, "").unwrap();
    claim(&job).expect("nobody loses an empty file");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
    assert!(
        claim(&job)
            .unwrap_err()
            .to_string()
            .contains("a symbolic link")
    );
}

#[test]
fn a_state_that_was_lost_does_not_keep_its_readers_from_new_tokens() {
    let (_dir, path) = target();
    let mut lost = view(9, "at-9");
    lost.store_id = "store-0".to_owned();
    publish(&job(&path, lost.clone())).unwrap();
    claim(&job(&path, view(1, "at-1"))).expect("the same grant, of a state before");
    let mut other = job(&path, view(1, "at-1"));
    other.view.grant.name = "other".to_owned();
    assert!(
        claim(&other).is_err(),
        "another grant's token, and it lives"
    );
    other.now = NOW + Duration::from_secs(3600);
    claim(&other).expect("it is over");
}

#[test]
fn metadata_go_where_they_are_wanted_and_earlier_ones_go() {
    let (dir, path) = target();
    let mut job = job(&path, view(1, "at-1"));
    let earlier = dir.path().join("token.meta.json");
    let mut bytes = Meta::of(&job.view).to_bytes();
    bytes.splice(1..1, br#""state":"fresh","#.iter().copied());
    std::fs::write(&earlier, bytes).unwrap();
    assert_eq!(
        read_meta(&job.output).unwrap().generation,
        1,
        "the fence reads it"
    );
    publish(&job).unwrap();
    assert!(!earlier.exists() && meta_path(&path).exists());

    let elsewhere = dir.path().join("meta/token.json");
    job.output.meta = MetaPlace::At(elsewhere.clone());
    publish(&job).unwrap();
    assert!(elsewhere.exists() && !meta_path(&path).exists());
    assert_eq!(read_meta(&job.output), Some(Meta::of(&job.view)));
    assert!(
        withdraw(
            &path,
            std::slice::from_ref(&elsewhere),
            "store-1",
            &id(),
            true
        )
        .unwrap()
    );
    assert!(!path.exists() && !elsewhere.exists());

    job.output.meta = MetaPlace::Absent;
    publish(&job).unwrap();
    let names = std::fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".tmp", "meta", "token"]);
}

#[test]
fn nothing_changes_while_the_token_stays_the_same() {
    let (_dir, path) = target();
    let mut job = job(&path, view(1, "at-1"));
    publish(&job).unwrap();
    job.view.grant.state.failures = 7;
    job.now = NOW + Duration::from_secs(7200);
    assert!(!publish(&job).unwrap().wrote);
}
