use super::*;
use crate::state::seal::Context;
use std::fs;
use std::os::unix::fs::FileExt as _;

const BLOCK: usize = 4096;
const SLOT: usize = BLOCK + 256 * 1024 + 3 * BLOCK;

/// What schema 7 had otherwise.
const BACK_TO_V7: &str = "
DROP TABLE intents; DROP TABLE answers;
CREATE TABLE unread (flight BLOB PRIMARY KEY, grant_id TEXT NOT NULL, generation INTEGER NOT NULL,
    answer BLOB NOT NULL, description TEXT, at INTEGER NOT NULL, intent TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX unread_by_grant ON unread (grant_id);
CREATE TABLE slots (file INTEGER NOT NULL, slot INTEGER NOT NULL, flight BLOB NOT NULL,
    PRIMARY KEY (file, slot, flight)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 7;
";

/// A state of schema 7 with an answer that could not be read, and with its exchange in the
/// journal, in its third slot.
async fn before() -> (House, Grant, Intent) {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    state.close().await.unwrap();
    let old = rusqlite::Connection::open(house.database()).unwrap();
    old.execute_batch(BACK_TO_V7).unwrap();
    let sealer = Sealer::load(&house.key, true).unwrap();
    let context = Context {
        purpose: "unread",
        owner: &disk::hex(&intent.flight.0),
        column: "answer",
        generation: 1,
    };
    let unread = answer("<token>");
    let plain = records::answer_bytes(&unread, &unread.body);
    old.execute(
        "INSERT INTO unread VALUES (?1, ?2, 1, ?3, 'd1', 7, ?4)",
        (
            intent.flight.0,
            &grant.id.0,
            sealer.seal(&context, &plain),
            records::json(&intent),
        ),
    )
    .unwrap();
    old.close().unwrap();
    fs::write(house.dir().join("reserve"), [0; 4096]).unwrap();
    let mut region = b"rfshint1".to_vec();
    region.extend(intent.flight.0);
    region.extend([0; 8]);
    region.extend(4_u32.to_be_bytes());
    let checksum = crc32fast::hash(&[&region[..], b"seal"].concat());
    region.extend(checksum.to_be_bytes());
    region.extend(b"seal");
    let journal = fs::File::create(journal(&house)).unwrap();
    journal.set_len((BLOCK + 4 * SLOT) as u64).unwrap();
    journal.write_all_at(b"rfshjn01", 0).unwrap();
    // A torn one beside it counts for nothing.
    let at = |slot: usize| (BLOCK + slot * SLOT) as u64;
    journal.write_all_at(&region, at(2)).unwrap();
    journal
        .write_all_at(&region[..region.len() - 1], at(1))
        .unwrap();
    (house, grant, intent)
}

fn journal(house: &House) -> PathBuf {
    house.dir().join("journal-0003")
}

fn settle(house: &House, intent: &Intent) {
    let old = rusqlite::Connection::open(house.database()).unwrap();
    let sql = "INSERT INTO slots VALUES (3, 2, ?1)";
    old.execute(sql, [intent.flight.0]).unwrap();
    old.close().unwrap();
}

fn tables(house: &House) -> Vec<String> {
    let conn = rusqlite::Connection::open(house.database()).unwrap();
    let query = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = conn.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get(0));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_journal_with_exchanges_that_are_not_settled_is_refused() {
    let (house, ..) = before().await;
    let told = house.try_open().unwrap_err().to_string();
    assert!(told.contains("journal-0003 holds exchanges"), "{told}");
    assert!(
        told.contains("start the old build once and stop it"),
        "{told}"
    );
    assert!(journal(&house).exists());
    fs::remove_file(journal(&house)).unwrap();
    let known = rusqlite::Connection::open(house.database()).unwrap();
    let lost = r#"{"session":1,"files":{"3":4096},"clean":false}"#;
    known
        .execute("INSERT INTO meta VALUES ('journal', ?1)", [lost])
        .unwrap();
    known.close().unwrap();
    let told = house.try_open().unwrap_err().to_string();
    assert!(told.contains("journal-0003 holds exchanges"), "{told}");
}

/// The old build had found that its journal was lost, and was stopped before each grant had
/// its doubt.
#[tokio::test]
async fn a_lost_journal_that_is_not_allowed_for_is_refused() {
    let (house, _, intent) = before().await;
    settle(&house, &intent);
    let old = rusqlite::Connection::open(house.database()).unwrap();
    let lost = "INSERT INTO meta VALUES ('lost_journal', 'journal-0002 is missing')";
    old.execute_batch(lost).unwrap();
    old.close().unwrap();
    let told = house.try_open().unwrap_err().to_string();
    assert!(
        told.contains("start the old build once and stop it"),
        "{told}"
    );
}

#[tokio::test]
async fn a_state_of_the_schema_before_is_taken_over_whole() {
    let (house, grant, intent) = before().await;
    settle(&house, &intent);
    let state = house.open();
    let kept = state.store.unread(&grant.id).await.unwrap();
    assert_eq!(kept[0].answer, answer("<token>"));
    assert_eq!(kept[0].intent, intent);
    assert_eq!(state.recovered, []);
    applied(state.store.commit(success(&grant, 2)).await.unwrap());
    assert!(!journal(&house).exists() && !house.dir().join("reserve").exists());
    state.store.integrity_check().await.unwrap();
    state.close().await.unwrap();
    let fresh = House::new();
    fresh.open().close().await.unwrap();
    assert_eq!(tables(&house), tables(&fresh));
    house.open();
}

#[tokio::test]
async fn nothing_starts_beside_a_journal_of_another_version() {
    let (house, _, intent) = before().await;
    settle(&house, &intent);
    house.open().close().await.unwrap();
    fs::write(journal(&house), "x").unwrap();
    let told = house.try_open().unwrap_err().to_string();
    assert!(
        told.contains("is the journal of an older refreshd"),
        "{told}"
    );
    fs::remove_file(journal(&house)).unwrap();
    house.open();
}

#[tokio::test]
async fn an_older_schema_is_refused() {
    let (house, ..) = before().await;
    let old = rusqlite::Connection::open(house.database()).unwrap();
    old.pragma_update(None, "user_version", 6).unwrap();
    old.close().unwrap();
    let told = house.try_open().unwrap_err().to_string();
    assert!(told.contains("an older refreshd (schema 6"), "{told}");
}
