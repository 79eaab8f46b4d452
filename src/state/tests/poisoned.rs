//! Many settlements at once, of which one cannot be written: the others are, and what it
//! brought is kept as it came.

use super::*;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const MANY: u32 = 64;

/// The one that is poisoned.
const ONE: usize = 23;

/// Grants with an exchange under way each; a row of theirs fills most of a page.
async fn under_way(store: &Store) -> Vec<(Grant, Intent)> {
    let mut all = Vec::new();
    for number in 0..MANY {
        let mut request = request(&format!("g{number}"), number);
        let filler = "x".repeat(2500);
        request.vars.insert("business_id".to_owned(), filler);
        let Imported::Created(grant) = store.import(request).await.unwrap() else {
            panic!("it is new");
        };
        let flight = u8::try_from(number).unwrap();
        let intent = intent(store, &grant, flight);
        store.record_intent(&intent).await.unwrap();
        all.push((grant, intent));
    }
    all
}

fn settlement(number: u32, grant: &Grant, intent: &Intent) -> Commit {
    Commit {
        intent: Some(intent.clone()),
        ..success(grant, 1000 + number)
    }
}

/// Looks at all of them at once; the one alone cannot be read.
async fn are_read(store: &Store, all: &[(Grant, Intent)]) {
    let load = |(grant, _): &(Grant, Intent)| {
        let (store, id) = (store.clone(), grant.id.clone());
        tokio::spawn(async move { store.load(&id).await })
    };
    let loading: Vec<_> = all.iter().map(load).collect();
    for (number, loading) in loading.into_iter().enumerate() {
        let loaded = loading.await.unwrap();
        assert_eq!(loaded.is_err(), number == ONE, "{number}: {loaded:?}");
    }
}

/// Settles all of them at once; what became of the one.
async fn settled(store: &Store, all: &[(Grant, Intent)]) -> StoreError {
    let settle = |(number, (grant, intent)): (u32, &(Grant, Intent))| {
        let (store, commit) = (store.clone(), settlement(number, grant, intent));
        tokio::spawn(async move { store.commit(commit).await })
    };
    let settling: Vec<_> = (0..).zip(all).map(settle).collect();
    let mut poisoned = None;
    for (number, settling) in settling.into_iter().enumerate() {
        match settling.await.unwrap() {
            Ok(committed) => {
                assert_ne!(number, ONE, "it cannot be written");
                assert_eq!(applied(committed).state.generation, 2);
            }
            Err(error) => {
                assert_eq!(number, ONE, "{error}");
                poisoned = Some(error);
            }
        }
    }
    poisoned.expect("one fails")
}

/// The others are done with; the one has its answer beside its intent, over a start too.
async fn is_kept(house: &House, state: State, all: &[(Grant, Intent)], error: &StoreError) {
    assert!(error.is_of_one(), "{error}");
    let store = &state.store;
    assert!(store.is_writable().await, "the others can write");
    let (_, intent) = &all[ONE];
    let brought = answer("{\"access_token\":\"access-token-2\"}");
    store.keep_answer(intent, &brought).await.unwrap();
    drop(state);
    let state = house.open();
    let left: Vec<_> = state.recovered.iter().map(|it| &it.intent).collect();
    assert_eq!(left, [intent]);
    assert_eq!(state.recovered[0].answer, Some(brought));
}

#[tokio::test]
async fn a_command_that_panics_fails_alone() {
    let house = House::new();
    let state = house.open();
    let all = under_way(&state.store).await;
    let panics = |kind, why: &'static str| {
        let ran = state
            .store
            .run(kind, move |_| -> Result<(), StoreError> { panic!("{why}") });
        async move {
            let error = ran.await.unwrap_err();
            let told = matches!(&error, StoreError::Panicked(text) if text == why);
            assert!(told && error.is_of_one(), "{error}");
        }
    };
    let settling = (0..).zip(&all).map(|(number, (grant, intent))| {
        let (store, commit) = (state.store.clone(), settlement(number, grant, intent));
        tokio::spawn(async move { store.commit(commit).await })
    });
    let settling: Vec<_> = settling.collect();
    tokio::join!(
        panics(writer::Kind::Read, "of a look"),
        panics(writer::Kind::Write, "of a command"),
        panics(writer::Kind::End, "of an end"),
    );
    for settling in settling {
        assert_eq!(
            applied(settling.await.unwrap().unwrap()).state.generation,
            2
        );
    }
    assert!(state.store.took_last_commit());
    drop(state);
    assert_eq!(house.open().recovered, []);
}

/// What SQLite says where a page cannot be written, as it does of EIO, undoes the whole
/// transaction.
#[tokio::test]
async fn a_settlement_that_fails_the_whole_transaction_fails_alone() {
    let house = House::new();
    let state = house.open();
    let all = under_way(&state.store).await;
    let poison = format!(
        "ATTACH ':memory:' AS tiny; CREATE TABLE tiny.t (x); PRAGMA tiny.max_page_count = 2;
         CREATE TEMP TRIGGER poison BEFORE UPDATE ON main.grants WHEN NEW.name = 'g{ONE}'
         BEGIN INSERT INTO t VALUES (zeroblob(100000)); END;"
    );
    let poison = move |s: &writer::Session<'_>| {
        // No file can be attached inside of a transaction.
        s.conn.execute_batch("COMMIT")?;
        s.conn.execute_batch(&poison)?;
        Ok(s.conn.execute_batch("BEGIN")?)
    };
    state.store.read(poison).await.unwrap();
    let error = settled(&state.store, &all).await;
    assert!(matches!(error, StoreError::Alone(_)), "{error}");
    is_kept(&house, state, &all, &error).await;
}

/// Zeroes in the page of the one's row, which is read anew with each change of it.
#[tokio::test]
async fn a_damaged_page_costs_its_grant_alone() {
    let house = House::new();
    let state = house.open();
    let all = under_way(&state.store).await;
    let page = only_on_disk(&house, &state.store).await;
    let file = fs::File::options().write(true).open(house.database());
    let whole = fs::read(house.database()).unwrap()[page..page + 4096].to_vec();
    file.as_ref()
        .unwrap()
        .write_all_at(&[0; 4096], page as u64)
        .unwrap();
    are_read(&state.store, &all).await;
    let error = settled(&state.store, &all).await;
    assert!(matches!(error, StoreError::Malformed(_)), "{error}");
    file.unwrap().write_all_at(&whole, page as u64).unwrap();
    is_kept(&house, state, &all, &error).await;
}

/// A bad block under the one's row. It takes a process of its own, in which reads and
/// writes of that page fail.
#[test]
fn a_page_that_cannot_be_read_costs_its_grant_alone() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("bad_page.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/tests/bad_page.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-o"]);
    assert!(
        compiler
            .arg(&library)
            .arg(source)
            .status()
            .unwrap()
            .success()
    );
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args([
        "--exact",
        "--ignored",
        "state::tests::poisoned::alone_with_a_bad_page",
    ]);
    alone.env("LD_PRELOAD", &library);
    let ran = alone
        .env("BAD_PAGE", dir.path().join("page"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_page_that_cannot_be_read_costs_its_grant_alone"]
async fn alone_with_a_bad_page() {
    let told = std::env::var_os("BAD_PAGE").unwrap();
    let house = House::new();
    let state = house.open();
    let all = under_way(&state.store).await;
    let page = only_on_disk(&house, &state.store).await;
    let database = house.database().canonicalize().unwrap();
    fs::write(&told, format!("{} {page}", database.display())).unwrap();
    are_read(&state.store, &all).await;
    let error = settled(&state.store, &all).await;
    assert!(matches!(error, StoreError::Malformed(_)), "{error}");
    // It costs a checkpoint nothing but that page, and is tried again.
    let stays = state.store.checkpoint().await;
    fs::remove_file(&told).unwrap();
    stays.and(state.store.checkpoint().await).unwrap();
    is_kept(&house, state, &all, &error).await;
}

/// Has all rows in the database, and none in memory; where the one's page begins.
async fn only_on_disk(house: &House, store: &Store) -> usize {
    store.checkpoint().await.unwrap();
    let small = |s: &writer::Session<'_>| {
        s.conn.pragma_update(None, "cache_size", 1)?;
        Ok(s.conn.execute_batch("PRAGMA shrink_memory")?)
    };
    store.read(small).await.unwrap();
    page_of(house, &format!("g{ONE}"))
}

/// Where the page begins in which a grant's row stands, alone.
fn page_of(house: &House, name: &str) -> usize {
    let copy = house.root.path().join("copy.db");
    fs::copy(house.database(), &copy).unwrap();
    let conn = Connection::open(&copy).unwrap();
    let id: String = conn
        .query_row("SELECT id FROM grants WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .unwrap();
    let bytes = fs::read(&copy).unwrap();
    let needle = format!("{id}{name}");
    let at = bytes
        .windows(needle.len())
        .position(|window| window == needle.as_bytes());
    at.expect("its row stands in the database") / 4096 * 4096
}
