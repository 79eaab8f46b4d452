use super::*;
use crate::config::{Pattern, PublishBy, WhenDead};
use crate::publish::testing::{NOW, view};
use refreshd_core::grant::GrantId;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicUsize, Ordering};

struct World {
    dir: tempfile::TempDir,
    databases: Databases,
    remade: Arc<AtomicUsize>,
}

impl World {
    fn new() -> World {
        let remade = Arc::<AtomicUsize>::default();
        let counter = remade.clone();
        World {
            dir: tempfile::tempdir().unwrap(),
            databases: Databases::new(Arc::new(move |_, _| {
                counter.fetch_add(1, Ordering::Relaxed);
            })),
            remade,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("sub/shops.db")
    }

    fn database(&self) -> Database {
        Database {
            path: self.path(),
            group: None,
            mode: None,
            grants: vec![Pattern::any()],
            publish: PublishBy::Wal,
            when_dead: WhenDead::Leave,
        }
    }

    async fn put(&self, view: View) -> Result<Option<u64>, String> {
        self.put_into(self.database(), view, NOW).await
    }

    async fn put_into(
        &self,
        database: Database,
        view: View,
        now: WallTime,
    ) -> Result<Option<u64>, String> {
        let database = Arc::new(database);
        let job = RowJob {
            database,
            view,
            now,
        };
        let published = self.databases.publish(job).await;
        let generation = published.map(|published| published.generation);
        generation.map_err(|error| error.to_string())
    }

    fn read<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let conn = Connection::open(self.path()).unwrap();
        conn.set_db_config(
            rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            true,
        )
        .unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn side(&self, suffix: &str) -> PathBuf {
        let mut path = self.path().into_os_string();
        path.push(suffix);
        path.into()
    }

    async fn close(&self) {
        self.databases.close(Duration::from_secs(30)).await;
    }
}

#[tokio::test]
async fn a_row_is_what_is_documented_and_no_refresh_token() {
    let world = World::new();
    assert_eq!(world.put(view(3, "at-3")).await, Ok(Some(3)));
    let row: String = world.read(
        "SELECT concat_ws('|', name, access_token, token_type, expires_at, scope, generation, updated_at) FROM tokens",
    );
    let (expires, now) = (NOW.secs() + 3600, NOW.secs());
    assert_eq!(row, format!("acme|at-3|Bearer|{expires}|a b|3|{now}"));
    let meta: String = world
        .read("SELECT concat_ws('|', name, store_id, grant_id, generation, issued_at) FROM meta");
    assert_eq!(meta, format!("acme|store-1|grant-1|3|{now}"));
    let mut guessed = view(4, "at-4");
    guessed.grant.state.expiry_unknown = true;
    guessed.tokens.scope = Some(String::new());
    world.put(guessed).await.unwrap();
    let nulls: bool = world.read("SELECT expires_at IS NULL AND scope IS NULL FROM tokens");
    assert!(nulls);
    world.close().await;
    for suffix in ["", "-wal", "-shm"] {
        let bytes = fs::read(world.side(suffix)).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(!has("hunter2"), "{suffix}");
        // Overwritten, not only forgotten.
        assert!(!has("at-3"), "{suffix}");
    }
    assert_eq!(
        read_generations(&world.path(), "store-1"),
        BTreeMap::from([(GrantId("grant-1".to_owned()), 4)])
    );
    assert!(read_generations(&world.path(), "store-2").is_empty());
}

#[tokio::test]
async fn what_is_equal_is_not_written() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    let wal = fs::metadata(world.side("-wal")).unwrap().len();
    let version = || world.read::<i64>("PRAGMA data_version");
    assert_eq!(version(), version());
    let later = WallTime(NOW.0 + 60_000);
    world
        .put_into(world.database(), view(1, "at-1"), later)
        .await
        .unwrap();
    assert_eq!(fs::metadata(world.side("-wal")).unwrap().len(), wal);
    assert_eq!(
        world.read::<i64>("SELECT updated_at FROM tokens"),
        NOW.secs()
    );
}

#[tokio::test]
async fn generations_only_rise_within_a_grant() {
    let world = World::new();
    world.put(view(5, "at-5")).await.unwrap();
    let error = world.put(view(4, "at-4")).await.unwrap_err();
    assert!(
        error.starts_with("generation 5 is published but the store holds 4"),
        "{error}"
    );
    assert_eq!(
        world.read::<String>("SELECT access_token FROM tokens"),
        "at-5"
    );
    // A grant that was removed and made again begins anew.
    let mut again = view(1, "at-1");
    again.grant.id = GrantId("grant-2".to_owned());
    assert_eq!(world.put(again).await, Ok(Some(1)));
    assert_eq!(
        world.read::<String>("SELECT access_token FROM tokens"),
        "at-1"
    );
}

#[tokio::test]
async fn a_dead_token_is_withdrawn_where_that_is_configured() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    let dead = WallTime(NOW.0 + 3_600_000);
    let stays = world.put_into(world.database(), view(1, "at-1"), dead);
    assert_eq!(stays.await, Ok(Some(1)));
    assert_eq!(world.read::<i64>("SELECT count(*) FROM tokens"), 1);
    let database = Database {
        when_dead: WhenDead::Withdraw,
        ..world.database()
    };
    let goes = world.put_into(database, view(1, "at-1"), dead);
    assert_eq!(goes.await, Ok(None));
    assert_eq!(world.read::<i64>("SELECT count(*) FROM tokens"), 0);
    assert_eq!(world.read::<i64>("SELECT generation FROM meta"), 1);
}

#[tokio::test]
async fn only_rows_of_this_store_are_withdrawn_and_the_file_stays() {
    let world = World::new();
    world.put(view(1, "at-secret")).await.unwrap();
    let withdraw = |store| {
        let path = world.path();
        let databases = &world.databases;
        async move { databases.withdraw(&path, "acme", store).await.unwrap() }
    };
    assert!(!withdraw("store-2").await);
    assert!(withdraw("store-1").await);
    assert!(!withdraw("store-1").await);
    assert_eq!(world.read::<i64>("SELECT count(*) FROM meta"), 0);
    for suffix in ["", "-wal"] {
        let bytes = fs::read(world.side(suffix)).unwrap();
        assert!(!bytes.windows(9).any(|w| w == b"at-secret"), "{suffix}");
    }
    // It can be filled again, and one that never was is no trouble.
    world.put(view(2, "at-2")).await.unwrap();
    let nowhere = world.dir.path().join("nowhere/x.db");
    assert!(!world.databases.withdraw(&nowhere, "a", "s").await.unwrap());
    assert!(!nowhere.exists());
}

#[tokio::test]
async fn many_rows_share_a_transaction() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    let conn = Connection::open(world.path()).unwrap();
    // While somebody else writes, everything queues up.
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    let rows = (0..500).map(|n| {
        let mut view = view(1, "at-many");
        view.grant.name = format!("g{n}");
        world.put(view)
    });
    let mut rows: Vec<_> = rows.map(Box::pin).collect();
    for row in &mut rows {
        // Asked, and not answered.
        let asked = std::future::poll_fn(|context| {
            std::task::Poll::Ready(row.as_mut().poll(context).is_pending())
        });
        assert!(asked.await);
    }
    let before = frames(&world);
    conn.execute_batch("COMMIT").unwrap();
    for row in rows {
        assert_eq!(row.await, Ok(Some(1)));
    }
    assert_eq!(world.read::<i64>("SELECT count(*) FROM tokens"), 501);
    // Each row by itself would be four pages.
    assert!(frames(&world) - before < 200);
}

fn frames(world: &World) -> u64 {
    fs::metadata(world.side("-wal")).unwrap().len() / 4096
}

#[tokio::test]
async fn its_files_have_mode_and_group_from_the_beginning_and_after_a_change() {
    let world = World::new();
    let rights = |group: Option<u32>, mode: u32| {
        for suffix in ["", "-wal", "-shm"] {
            let metadata = fs::metadata(world.side(suffix)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{suffix}");
            assert!(group.is_none_or(|gid| metadata.gid() == gid), "{suffix}");
        }
    };
    world.put(view(1, "at-1")).await.unwrap();
    rights(None, 0o600);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let for_group = |gid| Database {
        group: Some(gid),
        ..world.database()
    };
    for gid in [65533, 65532] {
        let put = world.put_into(for_group(gid), view(1, "at-1"), NOW);
        assert_eq!(put.await, Ok(Some(1)));
        rights(Some(gid), 0o640);
    }
    world.put(view(2, "at-2")).await.unwrap();
    rights(None, 0o600);
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_untouched() {
    let world = World::new();
    fs::create_dir(world.dir.path().join("sub")).unwrap();
    let refused = async |needle: &str| {
        let before = fs::read(world.path()).unwrap();
        let error = world.put(view(1, "at-1")).await.unwrap_err();
        assert!(error.contains(needle), "{error}");
        assert!(error.contains("choose another path"), "{error}");
        assert_eq!(fs::read(world.path()).unwrap(), before);
        fs::remove_file(world.path()).unwrap();
    };
    let sql = |text: &str| {
        let conn = Connection::open(world.path()).unwrap();
        conn.execute_batch(text).unwrap();
    };
    fs::write(world.path(), "a text").unwrap();
    refused("no SQLite database").await;
    sql("CREATE TABLE t (x)");
    refused("not one that refreshd publishes").await;
    sql("PRAGMA application_id = 77; CREATE TABLE t (x)");
    refused("not one that refreshd publishes").await;
    sql("PRAGMA journal_mode = WAL; CREATE TABLE t (x)");
    refused("not one that refreshd publishes").await;
    // Damaged, and nothing says that it was ours.
    sql("CREATE TABLE t (x)");
    let mut bytes = fs::read(world.path()).unwrap();
    bytes[100..200].fill(0xff);
    fs::write(world.path(), bytes).unwrap();
    refused("no SQLite database").await;

    fs::write(world.dir.path().join("else"), "").unwrap();
    std::os::unix::fs::symlink(world.dir.path().join("else"), world.path()).unwrap();
    refused("not a regular file").await;
    // Once the way is free, it works.
    assert_eq!(world.put(view(1, "at-1")).await, Ok(Some(1)));
}

#[tokio::test]
async fn a_damaged_one_of_ours_is_set_aside_and_made_again() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    world.close().await;
    let mut bytes = fs::read(world.path()).unwrap();
    bytes[4096..].fill(0xff);
    fs::write(world.path(), &bytes).unwrap();
    assert_eq!(world.put(view(1, "at-1")).await, Ok(Some(1)));
    assert_eq!(
        world.read::<String>("SELECT access_token FROM tokens"),
        "at-1"
    );
    assert_eq!(fs::read(world.side(open::DAMAGED)).unwrap(), bytes);
    assert_eq!(world.remade.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn one_that_was_removed_is_made_again_and_all_its_rows_are_wanted() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    for lost in ["", "-wal", "-shm"] {
        let before = world.remade.load(Ordering::Relaxed);
        fs::remove_file(world.side(lost)).unwrap();
        assert_eq!(world.put(view(1, "at-1")).await, Ok(Some(1)), "{lost}");
        assert_eq!(world.remade.load(Ordering::Relaxed), before + 1);
        assert_eq!(
            world.read::<String>("SELECT access_token FROM tokens"),
            "at-1"
        );
    }
}

#[tokio::test]
async fn an_idle_reader_stops_neither_writes_nor_the_close() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    let reader = Connection::open(world.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM tokens").unwrap();
    for generation in 2..600 {
        let put = world.put(view(generation, "at-n")).await;
        assert_eq!(put, Ok(Some(generation)));
    }
    let seen: i64 = reader
        .query_row("SELECT generation FROM tokens", [], |row| row.get(0))
        .unwrap();
    assert_eq!(seen, 1);
    world.close().await;
    assert_eq!(world.read::<i64>("SELECT generation FROM tokens"), 599);
}

#[tokio::test]
async fn the_wal_stays_short() {
    let world = World::new();
    for generation in 1..2500 {
        world.put(view(generation, "at-n")).await.unwrap();
    }
    assert!(frames(&world) < 2200, "{}", frames(&world));
}

#[tokio::test]
async fn a_database_by_rename_disturbs_no_reader_and_has_no_log() {
    let world = World::new();
    let by_rename = || Database {
        publish: PublishBy::Rename,
        ..world.database()
    };
    world
        .put_into(by_rename(), view(1, "at-1"), NOW)
        .await
        .unwrap();
    let reader = Connection::open(world.path()).unwrap();
    let token = |conn: &Connection| -> String {
        let one = conn.query_row("SELECT access_token FROM tokens", [], |row| row.get(0));
        one.unwrap()
    };
    // A reader that even locks the file holds up nobody.
    reader.execute_batch("BEGIN EXCLUSIVE").unwrap();
    world
        .put_into(by_rename(), view(2, "at-2"), NOW)
        .await
        .unwrap();
    assert_eq!(token(&reader), "at-1", "what is open stays as it was");
    assert_eq!(
        world.read::<String>("SELECT access_token FROM tokens"),
        "at-2"
    );
    let left = ["-wal", "-shm", "-journal"].map(|suffix| world.side(suffix).exists());
    assert_eq!(left, [false; 3]);
    let inode = fs::metadata(world.path()).unwrap().ino();
    world
        .put_into(by_rename(), view(2, "at-2"), NOW)
        .await
        .unwrap();
    assert_eq!(
        fs::metadata(world.path()).unwrap().ino(),
        inode,
        "equal is not written"
    );
    assert_eq!(
        fs::read_dir(world.path().with_file_name(".tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn how_a_database_is_published_may_change_and_no_row_is_missed() {
    let world = World::new();
    let by_rename = Database {
        publish: PublishBy::Rename,
        ..world.database()
    };
    let mut other = view(1, "other-1");
    other.grant.name = "other".to_owned();
    other.grant.id = GrantId("other".to_owned());
    world.put(other).await.unwrap();
    world.put(view(1, "at-1")).await.unwrap();
    world
        .put_into(by_rename, view(2, "at-2"), NOW)
        .await
        .unwrap();
    assert_eq!(world.read::<i64>("SELECT count(*) FROM tokens"), 2);
    assert_eq!(world.read::<String>("PRAGMA journal_mode"), "delete");
    world.put(view(3, "at-3")).await.unwrap();
    assert_eq!(world.read::<i64>("SELECT count(*) FROM tokens"), 2);
    assert_eq!(world.read::<String>("PRAGMA journal_mode"), "wal");
}

#[tokio::test]
async fn rows_that_somebody_else_deletes_are_noticed() {
    for publish in [PublishBy::Wal, PublishBy::Rename] {
        let world = World::new();
        let database = || Database {
            publish,
            ..world.database()
        };
        world
            .put_into(database(), view(1, "at-1"), NOW)
            .await
            .unwrap();
        world.databases.look(Duration::from_secs(10)).await;
        assert_eq!(world.remade.load(Ordering::Relaxed), 0, "nobody was at it");
        let other = Connection::open(world.path()).unwrap();
        other.execute("DELETE FROM tokens", []).unwrap();
        world.databases.look(Duration::from_secs(10)).await;
        assert_eq!(world.remade.load(Ordering::Relaxed), 1);
        let put = RowJob {
            database: Arc::new(database()),
            view: view(1, "at-1"),
            now: NOW,
        };
        assert!(world.databases.publish(put).await.unwrap().wrote);
        world.databases.look(Duration::from_secs(10)).await;
        assert_eq!(world.remade.load(Ordering::Relaxed), 1, "{publish:?}");
    }
}

#[tokio::test]
async fn a_link_in_a_database_s_place_is_not_followed() {
    let world = World::new();
    world.put(view(1, "at-1")).await.unwrap();
    let victim = world.dir.path().join("victim");
    fs::copy(world.path(), &victim).unwrap();
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o604)).unwrap();
    let before = fs::read(&victim).unwrap();
    fs::remove_file(world.path()).unwrap();
    std::os::unix::fs::symlink(&victim, world.path()).unwrap();
    assert_eq!(
        world.put(view(2, "at-2")).await,
        Ok(Some(2)),
        "the link is set aside"
    );
    assert_eq!(fs::read(&victim).unwrap(), before);
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o604);
    assert!(fs::symlink_metadata(world.path()).unwrap().is_file());
    // Nor is one that was there first.
    let fresh = World::new();
    fs::create_dir_all(fresh.path().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&victim, fresh.path()).unwrap();
    assert!(fresh.put(view(1, "at-1")).await.is_err());
    assert_eq!(fs::read(&victim).unwrap(), before);
}
