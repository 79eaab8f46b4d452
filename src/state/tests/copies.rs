use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const NOW: WallTime = WallTime(1_795_226_400_000);

/// A house with the key of another, and a backup in the database's place.
fn restored(from: &House, backup: &Path) -> House {
    let house = House::new();
    let (KeySource::File(old), KeySource::File(new)) = (&from.key, &house.key) else {
        panic!("files")
    };
    fs::create_dir(new.parent().unwrap()).unwrap();
    fs::copy(old, new).unwrap();
    fs::create_dir(house.dir()).unwrap();
    fs::copy(backup, house.database()).unwrap();
    house
}

#[tokio::test]
async fn a_copy_made_under_load_is_whole_and_fences() {
    let house = House::new();
    let state = house.open();
    let mut grants = Vec::new();
    for number in 0..200 {
        grants.push(created(&state.store, &format!("g{number}"), number).await);
    }
    // Enough pages that commits come in between.
    let hash = DescriptionHash("large".to_owned());
    let large = "x".repeat(8 << 20);
    state.store.put_description(&hash, &large).await.unwrap();
    let store = state.store.clone();
    let load = tokio::spawn(async move {
        let mut commits = 0;
        loop {
            for grant in &mut grants {
                match store.commit(success(grant, 1000 + commits)).await {
                    Ok(committed) => *grant = applied(committed),
                    Err(StoreError::Closed) => return commits,
                    Err(e) => panic!("{e}"),
                }
                commits += 1;
            }
        }
    });
    let backup = house.root.path().join("copy.db");
    let before = state.store.commit_seq();
    let copied = state.store.copy_to(&backup, false, NOW).await.unwrap();
    assert!(
        copied.commit_seq > before + 3,
        "the store went on meanwhile"
    );
    assert_eq!((copied.grants, copied.keys.len()), (200, 1));
    assert!(copied.commit_seq <= state.store.commit_seq());
    state.close().await.unwrap();
    assert!(load.await.unwrap() > 0);
    let mode = fs::metadata(&backup).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let others = fs::read_dir(house.root.path()).unwrap().count();
    assert_eq!(others, 3, "state, key and backup alone");

    let elsewhere = restored(&house, &backup);
    let state = elsewhere.open();
    assert_eq!(state.store.fence(), Some(Fenced::Restored { taken: NOW }));
    for grant in state.store.grants().await.unwrap() {
        let loaded = state.store.load(&grant.id).await.unwrap().unwrap();
        assert!(loaded.1.is_some());
    }
    drop(state);
    let state = elsewhere.open();
    assert!(state.store.fence().is_some(), "it stays fenced");
    let accepted = state
        .store
        .accept_restore(NOW, &BTreeMap::new(), |_| true)
        .await;
    assert_eq!(accepted.unwrap().len(), 200);
    drop(state);
    assert_eq!(elsewhere.open().store.fence(), None);
}

#[tokio::test]
async fn nothing_is_overwritten_unless_asked_for() {
    let house = House::new();
    let state = house.open();
    created(&state.store, "shop-17", 1).await;
    let backup = house.root.path().join("copy.db");
    fs::write(&backup, "dear").unwrap();
    let copy = |path: PathBuf, replace| {
        let store = state.store.clone();
        async move { store.copy_to(&path, replace, NOW).await }
    };
    let refused = copy(backup.clone(), false).await;
    assert!(matches!(refused, Err(CopyError::Exists(_))));
    assert_eq!(fs::read(&backup).unwrap(), b"dear");
    copy(backup.clone(), true).await.unwrap();
    assert!(fs::read(&backup).unwrap().starts_with(b"SQLite format 3"));
    for own in ["refreshd.db", "sub.db"] {
        let within = copy(house.dir().join(own), true).await;
        assert!(matches!(within, Err(CopyError::InState(_))));
    }
    let nowhere = copy(house.root.path().join("no/copy.db"), false).await;
    assert!(matches!(nowhere, Err(CopyError::Io { .. })));
    assert_eq!(state.store.grants().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_log_that_is_not_the_backups_is_refused() {
    let house = House::new();
    let state = house.open();
    created(&state.store, "shop-17", 1).await;
    let backup = house.root.path().join("copy.db");
    state.store.copy_to(&backup, false, NOW).await.unwrap();
    state.close().await.unwrap();
    fs::copy(&backup, house.database()).unwrap();
    let log = house.database().with_extension("db-wal");
    fs::write(&log, [7; 5000]).unwrap();
    let refused = house.try_open().unwrap_err();
    assert!(
        matches!(refused, OpenError::Db(DbError::OtherLog { .. })),
        "{refused}"
    );
    assert_eq!(fs::read(&log).unwrap(), [7; 5000]);
    fs::remove_file(log).unwrap();
    let store = house.open().store;
    assert_eq!(store.fence(), Some(Fenced::Restored { taken: NOW }));
}

fn open_on(house: &House, machine: &Machine) -> State {
    let options = OpenOptions {
        state_dir: &house.dir(),
        key: &house.key,
        may_make: true,
    };
    State::open_on(&options, machine).unwrap()
}

/// A machine by the first letter of its id.
fn machine(house: &House, letter: &str) -> Machine {
    let root = house.root.path().join(letter);
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/machine-id"), letter.repeat(32)).unwrap();
    Machine::at(&root, false)
}

#[tokio::test]
async fn a_state_on_another_machine_is_fenced() {
    let house = House::new();
    let (here, there) = (machine(&house, "a"), machine(&house, "b"));
    let fence = |machine: &Machine| open_on(&house, machine).store.fence();
    assert_eq!(fence(&here), None);
    assert_eq!(fence(&here), None);
    assert_eq!(fence(&there), Some(Fenced::OtherMachine));
    assert_eq!(fence(&here), None, "back at home it is what it was");
    let moved = open_on(&house, &there).store;
    let accepted = moved.accept_restore(NOW, &BTreeMap::new(), |_| true).await;
    accepted.unwrap();
    drop(moved);
    assert_eq!(fence(&there), None);
    assert_eq!(fence(&here), Some(Fenced::OtherMachine));
    // The id itself is nowhere.
    for entry in fs::read_dir(house.dir()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(32).any(|w| w == [b'b'; 32]));
    }
}

#[tokio::test]
async fn a_volume_that_moves_between_containers_is_not_fenced() {
    let house = House::new();
    let root = house.root.path().join("a");
    machine(&house, "a");
    let pod = Machine::at(&root, true);
    assert_eq!(open_on(&house, &pod).store.fence(), None);
    let root = house.root.path().join("b");
    machine(&house, "b");
    let next = Machine::at(&root, true);
    assert_eq!(open_on(&house, &next).store.fence(), None);
}
