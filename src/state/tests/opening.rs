use super::*;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

/// Every file under a directory with its bytes, but for the lock's.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lock") && !path.ends_with("refreshd.db-wal"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn refusal(house: &House) -> OpenError {
    let before = contents(&house.dir());
    let error = house.try_open().unwrap_err();
    assert_eq!(contents(&house.dir()), before, "left untouched");
    error
}

async fn filled() -> House {
    let house = House::new();
    let state = house.open();
    for number in 0..50 {
        created(&state.store, &format!("g{number}"), number).await;
    }
    state.close().await.unwrap();
    house
}

#[tokio::test]
async fn another_key_is_named_and_nothing_overwritten() {
    let house = filled().await;
    let KeySource::File(path) = &house.key else {
        panic!("a file")
    };
    let right = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{}\n", "ab".repeat(32))).unwrap();
    let error = refusal(&house);
    assert!(matches!(error, OpenError::Key(KeyError::Wrong { .. })));
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    fs::remove_file(path).unwrap();
    assert!(matches!(
        refusal(&house),
        OpenError::Key(KeyError::Missing(_))
    ));
    assert!(!path.exists());
    fs::write(path, right).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(house.open().store.grants().await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let house = filled().await;
    let newer = rusqlite::Connection::open(house.database()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    newer.close().unwrap();
    let text = refusal(&house).to_string();
    let known = schema::KNOWN;
    let words = format!("was made by a newer refreshd (schema 99, this one knows {known})");
    assert!(text.contains(&words), "{text}");
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_untouched() {
    let house = filled().await;
    let file = fs::OpenOptions::new()
        .write(true)
        .open(house.database())
        .unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    assert!(pages > 8);
    file.write_all_at(&[0x5a; 2 * 4096], pages / 2 * 4096)
        .unwrap();
    let error = refusal(&house);
    assert!(
        matches!(error, OpenError::Db(DbError::Damaged { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_text_file_is_no_database() {
    let house = filled().await;
    fs::write(house.database(), "remember the milk\n".repeat(300)).unwrap();
    let error = refusal(&house);
    assert!(
        matches!(error, OpenError::Db(DbError::Damaged { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("not a SQLite database"));
}

#[tokio::test]
async fn a_database_of_someone_else_is_refused() {
    let house = filled().await;
    fs::remove_file(house.database()).unwrap();
    let other = rusqlite::Connection::open(house.database()).unwrap();
    other
        .execute_batch("CREATE TABLE shopping (what TEXT)")
        .unwrap();
    other.close().unwrap();
    let error = refusal(&house);
    assert!(
        matches!(error, OpenError::Db(DbError::Foreign(_))),
        "{error}"
    );
}

#[tokio::test]
async fn one_process_at_a_time() {
    let house = House::new();
    let state = house.open();
    let error = house.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Lock(LockError::Held { .. })));
    drop(state);
    house.open();
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_gone_on_with() {
    let house = House::new();
    fs::create_dir(house.dir()).unwrap();
    fs::write(house.database(), "").unwrap();
    let state = house.open();
    created(&state.store, "shop-17", 1).await;
    let id = state.store.store_id().to_owned();
    drop(state);
    assert_eq!(house.open().store.store_id(), id);
}

#[tokio::test]
async fn every_file_is_private() {
    let house = House::new();
    let state = house.open();
    created(&state.store, "shop-17", 1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&house.dir()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(house.dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.retain(|name| !name.starts_with("stamp"));
    names.sort();
    // An exclusive WAL has no -shm: nobody else can look in.
    assert_eq!(names, ["lock", "refreshd.db", "refreshd.db-wal"]);
}

/// What a killed process left in the log is in the database before anything is written
/// behind it: a tail that was never synced would take that with it.
#[tokio::test]
async fn an_opened_database_has_nothing_of_another_process_in_its_log() {
    let house = House::new();
    let state = house.open();
    created(&state.store, "one", 1).await;
    let log = house.database().with_extension("db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    // As a process that is killed leaves them.
    let left = tempfile::tempdir().unwrap();
    for file in [house.database(), log.clone()] {
        fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
    }
    state.close().await.unwrap();
    for file in [house.database(), log.clone()] {
        fs::copy(left.path().join(file.file_name().unwrap()), &file).unwrap();
    }
    let sealer = Sealer::load(&house.key, true).unwrap();
    let opened = db::open(&house.dir(), &sealer).unwrap();
    assert!(opened.log_is_ours);
    assert_eq!(fs::metadata(&log).map_or(0, |log| log.len()), 0);
    drop(opened);
    let names = house.open().store.grants().await.unwrap();
    assert_eq!(names.len(), 1, "and it is there");
}
