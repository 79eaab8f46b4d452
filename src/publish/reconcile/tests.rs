use super::*;
use crate::config::WhenDead;
use crate::publish::output as publishing;
use crate::publish::testing::{NOW, output, view};
use refreshd_core::backoff::Backoff;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use tokio::sync::watch::Receiver;

const AT_ONCE: usize = 2;
const FAST: Tuning = Tuning {
    hang: LONG,
    backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(20)),
    look: Duration::from_millis(5),
};
/// Far more than any wait takes; only a failing test gets there.
const LONG: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Book(Mutex<BTreeMap<PathBuf, Record>>);

impl Book {
    fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

impl PublishedBook for Book {
    fn record(&self, record: Record) -> BoxFuture<Result<(), String>> {
        let path = record.address.path().to_owned();
        let first = record.address.is_row() || !path.exists();
        assert!(first, "recorded after the first write");
        self.0.lock().unwrap().insert(path, record);
        Box::pin(async { Ok(()) })
    }
    fn forget(&self, address: Address) -> BoxFuture<Result<(), String>> {
        self.0.lock().unwrap().remove(address.path());
        Box::pin(async { Ok(()) })
    }
    fn keep_directory(&self, _: PathBuf, _: DirectoryRights) -> BoxFuture<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn keep_metadata(&self, _: PathBuf, _: Vec<PathBuf>) -> BoxFuture<Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn metadata(&self) -> BoxFuture<Result<Noted<Vec<PathBuf>>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn directories(&self) -> BoxFuture<Result<Noted<DirectoryRights>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn list(&self) -> BoxFuture<Result<Vec<Record>, String>> {
        let records = self.0.lock().unwrap().values().cloned().collect();
        Box::pin(async { Ok(records) })
    }
}

/// A store of views, a book, a clock, and a directory for the outputs.
struct World {
    dir: tempfile::TempDir,
    views: Arc<Mutex<BTreeMap<String, View>>>,
    book: Arc<Book>,
    clock: Arc<AtomicI64>,
    told: Arc<Mutex<Vec<String>>>,
    trouble: Listener,
}

impl World {
    fn new() -> World {
        let told = Arc::<Mutex<Vec<String>>>::default();
        let tell = told.clone();
        World {
            told,
            trouble: Arc::new(move |trouble: Trouble<'_>| {
                tell.lock().unwrap().push(format!("{:?}", trouble.what));
            }),
            dir: tempfile::tempdir().unwrap(),
            views: Arc::default(),
            book: Arc::default(),
            clock: Arc::new(AtomicI64::new(NOW.0)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hold(&self, grant: &str, view: View) {
        self.views.lock().unwrap().insert(grant.to_owned(), view);
    }

    fn target(&self, grant: &str, name: &str) -> Target {
        Target {
            grant: grant.to_owned(),
            sink: Sink::File(Arc::new(output(self.path(name)))),
        }
    }

    fn wiring(&self) -> Wiring {
        let (views, clock) = (self.views.clone(), self.clock.clone());
        Wiring {
            store_id: "store-1".to_owned(),
            source: Arc::new(move |grant| {
                let view = views.lock().unwrap().get(&grant).cloned();
                Box::pin(async move { Ok(view) })
            }),
            book: self.book.clone(),
            clock: Arc::new(move || WallTime(clock.load(Ordering::Relaxed))),
            trouble: self.trouble.clone(),
            at_once: AT_ONCE,
        }
    }

    async fn start(&self) -> Reconciler {
        self.start_with(Arc::new(publishing::publish)).await
    }

    async fn start_with(&self, writer: Writer) -> Reconciler {
        self.start_tuned(FAST, writer).await
    }

    /// Where something is to hang.
    async fn start_hanging(&self, writer: Writer) -> Reconciler {
        let hang = Duration::from_millis(50);
        self.start_tuned(Tuning { hang, ..FAST }, writer).await
    }

    async fn start_tuned(&self, tuning: Tuning, writer: Writer) -> Reconciler {
        Reconciler::start_with(self.wiring(), tuning, writer)
            .await
            .unwrap()
    }
}

/// Waits until the reports are as wanted.
async fn until(reconciler: &Reconciler, reached: impl Fn(&[OutputReport]) -> bool) {
    let wait = reconciler.0.until(|table| reached(&table.reports()));
    let reports = || reconciler.reports();
    tokio::time::timeout(LONG, wait)
        .await
        .unwrap_or_else(|_| panic!("{:#?}", reports()));
}

fn published(reports: &[OutputReport], path: &Path) -> Option<u64> {
    let report = reports.iter().find(|report| report.path == path);
    report.and_then(|report| report.published_generation)
}

fn fails(reports: &[OutputReport], path: &Path) -> bool {
    let report = reports.iter().find(|report| report.path == path);
    report.is_some_and(|report| report.error.is_some())
}

#[tokio::test]
async fn every_output_follows_its_grant() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let reconciler = world.start().await;
    let (a, b) = (world.path("a"), world.path("sub/b"));
    reconciler.set_targets(vec![
        world.target("acme", "a"),
        world.target("acme", "sub/b"),
        world.target("later", "c"),
    ]);
    assert!(reconciler.first_pass(LONG).await);
    assert_eq!(std::fs::read(&a).unwrap(), b"at-1");
    assert_eq!(world.book.paths(), [a.clone(), b.clone()]);
    assert!(!world.path("c").exists());

    world.hold("acme", view(2, "at-2"));
    reconciler.notify("acme");
    until(&reconciler, |r| {
        [&a, &b].iter().all(|p| published(r, p) == Some(2))
    })
    .await;
    assert_eq!(std::fs::read(&b).unwrap(), b"at-2");

    world.hold("later", view(1, "at-c"));
    reconciler.notify("later");
    until(&reconciler, |r| published(r, &world.path("c")) == Some(1)).await;
    let reports = reconciler.reports();
    assert!(reports.iter().all(|r| r.error.is_none() && !r.withdrawing));
    assert_eq!(reports[0].wanted_generation, Some(2));
}

#[tokio::test]
async fn what_is_no_longer_configured_is_withdrawn_also_over_a_restart() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let all = || {
        ["a", "b", "c"]
            .map(|name| world.target("acme", name))
            .to_vec()
    };
    let reconciler = world.start().await;
    reconciler.set_targets(all());
    assert!(reconciler.first_pass(LONG).await);
    reconciler.set_targets(all().split_off(1));
    until(&reconciler, |r| r.len() == 2).await;
    assert!(!world.path("a").exists() && !world.path(".a.meta.json").exists());
    reconciler.stop().await;

    let reconciler = world.start().await;
    reconciler.set_targets(all().split_off(2));
    assert!(reconciler.first_pass(LONG).await);
    assert!(!world.path("b").exists());
    assert!(world.path("c").exists());
    assert_eq!(world.book.paths(), [world.path("c")]);
}

#[tokio::test]
async fn what_another_store_published_is_left() {
    let world = World::new();
    let mut foreign = view(1, "theirs");
    foreign.store_id = "store-2".to_owned();
    world.hold("acme", foreign);
    let reconciler = world.start().await;
    reconciler.set_targets(vec![world.target("acme", "a")]);
    assert!(reconciler.first_pass(LONG).await);
    reconciler.set_targets(Vec::new());
    until(&reconciler, <[_]>::is_empty).await;
    assert!(world.path("a").exists());
    assert!(world.book.paths().is_empty());
}

#[tokio::test]
async fn a_broken_output_is_tried_again_until_it_heals() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let (bad, good) = (world.path("bad"), world.path("good"));
    std::fs::create_dir(&bad).unwrap();
    world.book.0.lock().unwrap().extend([(
        bad.clone(),
        Record {
            address: Address::file(&bad),
            grant: "acme".to_owned(),
            grant_id: view(1, "x").grant.id,
        },
    )]);
    let reconciler = world.start().await;
    reconciler.set_targets(vec![
        world.target("acme", "bad"),
        world.target("acme", "good"),
    ]);
    assert!(reconciler.first_pass(LONG).await);
    assert_eq!(std::fs::read(&good).unwrap(), b"at-1");
    let report = reconciler.reports().remove(0);
    assert!(report.error.unwrap().contains("is a directory"));
    assert_eq!(report.since, Some(NOW));

    std::fs::remove_dir(&bad).unwrap();
    until(&reconciler, |r| !fails(r, &bad)).await;
    assert_eq!(std::fs::read(&bad).unwrap(), b"at-1");
}

/// A writer that blocks on the paths named until they are let go.
fn hanging(paths: impl IntoIterator<Item = PathBuf>) -> (Writer, Arc<Mutex<HashSet<PathBuf>>>) {
    let held = Arc::new(Mutex::new(paths.into_iter().collect::<HashSet<_>>()));
    let gate = held.clone();
    let writer = move |job: &Job| {
        while gate.lock().unwrap().contains(&job.output.path) {
            std::thread::sleep(Duration::from_millis(1));
        }
        publishing::publish(job)
    };
    (Arc::new(writer), held)
}

#[tokio::test]
async fn hung_outputs_do_not_hold_up_the_others() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    // As many as there are permits hang before the others come.
    let hung = [world.path("h1/x"), world.path("h2/x")];
    let (writer, gate) = hanging(hung.clone());
    let reconciler = world.start_hanging(writer).await;
    let names = ["h1/x", "h2/x", "a", "b", "c", "d"];
    reconciler.set_targets(names.map(|name| world.target("acme", name)).to_vec());
    until(&reconciler, |r| {
        let others = names[2..].iter().map(|name| world.path(name));
        hung.iter().all(|path| fails(r, path))
            && others.into_iter().all(|p| published(r, &p) == Some(1))
    })
    .await;
    assert!(reconciler.first_pass(LONG).await, "what hangs was tried");
    // Marked while it hangs: one more run afterwards.
    world.hold("acme", view(2, "at-2"));
    reconciler.notify("acme");
    until(&reconciler, |r| published(r, &world.path("d")) == Some(2)).await;
    gate.lock().unwrap().clear();
    until(&reconciler, |r| {
        hung.iter()
            .all(|path| published(r, path) == Some(2) && !fails(r, path))
    })
    .await;
    assert_eq!(std::fs::read(&hung[0]).unwrap(), b"at-2");
}

#[tokio::test]
async fn a_hung_directory_takes_few_threads() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let names: Vec<_> = (0..12).map(|n| format!("nfs/{n}")).collect();
    let inside = Arc::new(AtomicUsize::new(0));
    let (writer, gate) = hanging(names.iter().map(|name| world.path(name)));
    let count = inside.clone();
    let counting: Writer = Arc::new(move |job| {
        count.fetch_add(1, Ordering::Relaxed);
        writer(job)
    });
    let reconciler = world.start_hanging(counting).await;
    let targets = names.iter().map(|name| world.target("acme", name));
    reconciler.set_targets(targets.collect());
    assert!(reconciler.first_pass(LONG).await);
    // Four hang, and at most as many as there are permits besides.
    assert!(inside.load(Ordering::Relaxed) <= 4 + AT_ONCE);
    gate.lock().unwrap().clear();
    until(&reconciler, |r| {
        r.iter().all(|r| r.published_generation == Some(1))
    })
    .await;
}

#[tokio::test]
async fn many_notifies_during_a_write_become_one_more() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let path = world.path("a");
    let (writer, gate) = hanging([path.clone()]);
    let (ran, mut runs): (_, Receiver<u64>) = watch::channel(0);
    let counting: Writer = Arc::new(move |job| {
        ran.send_modify(|runs| *runs += 1);
        writer(job)
    });
    let reconciler = world.start_with(counting).await;
    reconciler.set_targets(vec![world.target("acme", "a")]);
    runs.changed().await.unwrap();
    for generation in 2..100 {
        world.hold("acme", view(generation, "at-n"));
        reconciler.notify("acme");
    }
    gate.lock().unwrap().clear();
    until(&reconciler, |r| published(r, &path) == Some(99)).await;
    reconciler.stop().await;
    assert_eq!(*runs.borrow(), 2);
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_output_alone() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let (bad, once) = (world.path("bad"), AtomicUsize::new(0));
    let culprit = bad.clone();
    let writer: Writer = Arc::new(move |job| {
        let first = job.output.path == culprit && once.fetch_add(1, Ordering::Relaxed) == 0;
        assert!(!first, "a bug that only this test has");
        publishing::publish(job)
    });
    let reconciler = world.start_with(writer).await;
    reconciler.set_targets(vec![
        world.target("acme", "bad"),
        world.target("acme", "good"),
    ]);
    until(&reconciler, |r| {
        r.iter().all(|r| r.published_generation == Some(1))
    })
    .await;
    assert_eq!(std::fs::read(&bad).unwrap(), b"at-1");
}

#[tokio::test]
async fn a_fence_keeps_what_is_newer_until_it_is_lifted() {
    let world = World::new();
    world.hold("acme", view(9, "at-9"));
    let reconciler = world.start().await;
    reconciler.set_targets(vec![world.target("acme", "a"), world.target("acme", "b")]);
    assert!(reconciler.first_pass(LONG).await);
    reconciler.stop().await;

    world.hold("acme", view(3, "at-3"));
    let reconciler = world.start().await;
    reconciler.set_fenced(true);
    reconciler.set_targets(vec![world.target("acme", "a")]);
    assert!(reconciler.first_pass(LONG).await);
    assert!(
        reconciler
            .reports()
            .iter()
            .all(|report| report.error.is_some())
    );
    assert_eq!(std::fs::read(world.path("a")).unwrap(), b"at-9");
    assert!(
        world.path("b").exists(),
        "nothing is withdrawn behind a fence"
    );

    world.hold("acme", view(10, "at-10"));
    reconciler.set_fenced(false);
    until(&reconciler, |r| {
        r.len() == 1 && published(r, &world.path("a")) == Some(10)
    })
    .await;
    assert!(!world.path("b").exists());
}

#[tokio::test]
async fn a_token_that_dies_without_a_commit_is_withdrawn() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let mut target = world.target("acme", "a");
    target.sink = Sink::File(Arc::new(Output {
        when_dead: WhenDead::Withdraw,
        ..output(world.path("a"))
    }));
    // The clock stands one moment before the expiry, so that the wait is short.
    world.clock.store(NOW.0 + 3_599_900, Ordering::Relaxed);
    let reconciler = world.start().await;
    reconciler.set_targets(vec![target]);
    assert!(reconciler.first_pass(LONG).await);
    let path = world.path("a");
    assert!(path.exists());
    world.clock.store(NOW.0 + 3_600_000, Ordering::Relaxed);
    until(&reconciler, |r| published(r, &path).is_none()).await;
    assert!(!path.exists());
    assert!(!path.exists());
}

#[tokio::test]
async fn stop_finishes_what_is_marked_and_ends() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let reconciler = world.start().await;
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    reconciler.set_targets(names.iter().map(|n| world.target("acme", n)).collect());
    tokio::time::timeout(LONG, reconciler.stop()).await.unwrap();
    assert!(names.iter().all(|name| world.path(name).exists()));
    world.hold("acme", view(2, "at-2"));
    reconciler.notify("acme");
    assert!(reconciler.0.table().is_quiet());
}

#[tokio::test]
async fn of_two_outputs_with_one_path_the_first_is_published() {
    let world = World::new();
    world.hold("one", view(1, "at-one"));
    world.hold("two", view(1, "at-two"));
    let reconciler = world.start().await;
    reconciler.set_targets(vec![world.target("one", "a"), world.target("two", "a")]);
    assert!(reconciler.first_pass(LONG).await);
    assert_eq!(std::fs::read(world.path("a")).unwrap(), b"at-one");
    assert_eq!(reconciler.reports().len(), 1);
}

#[test]
fn a_trouble_is_told_when_it_begins_and_when_it_ends() {
    use entry::{Done, Turn};
    let (world, now) = (World::new(), std::time::Instant::now());
    let mut table = Table::new(Vec::new());
    table.set_targets(vec![world.target("acme", "a")]);
    let mut run = |result| {
        let (id, _) = table.begin().unwrap();
        let turn = table.finish(id, result, NOW, |_| now);
        table.notify("acme");
        turn
    };
    let broken = || Err("broken".to_owned());
    assert_eq!(run(Ok(Done::default())).trouble, Turn::Same);
    assert_eq!(run(broken()).trouble, Turn::Began("broken".to_owned()));
    assert_eq!(run(broken()).trouble, Turn::Same);
    assert_eq!(run(Ok(Done::default())).trouble, Turn::Ended);
    assert_eq!(run(Ok(Done::default())).trouble, Turn::Same);
}

#[tokio::test]
async fn what_somebody_else_does_to_an_output_is_mended_and_told() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let reconciler = world.start().await;
    reconciler.set_targets(vec![world.target("acme", "a")]);
    assert!(reconciler.first_pass(LONG).await);
    let (path, meta) = (world.path("a"), world.path(".a.meta.json"));
    let whole = || {
        let link = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        !link
            && std::fs::read(&path).is_ok_and(|bytes| bytes == b"at-1")
            && std::fs::metadata(&path).unwrap().permissions().mode() & 0o777 == 0o600
            && meta.exists()
    };
    type Deed = Box<dyn Fn()>;
    let (file, beside) = (path.clone(), meta.clone());
    let mode = || PermissionsExt::from_mode(0o666);
    let deeds: Vec<Deed> = vec![
        Box::new({
            let file = file.clone();
            move || std::fs::remove_file(&file).unwrap()
        }),
        Box::new({
            let file = file.clone();
            move || std::fs::write(&file, "theirs").unwrap()
        }),
        Box::new(move || std::fs::remove_file(&beside).unwrap()),
    ];
    for (n, deed) in deeds.iter().enumerate() {
        deed();
        until(&reconciler, |_| whole()).await;
        until(&reconciler, |r| r[0].settled && r[0].error.is_none()).await;
        assert!(reconciler.reports()[0].disturbed, "deed {n}");
    }
    let told = world.told.lock().unwrap().join("\n");
    assert!(told.contains("Disturbed(\"it was overwritten\")"), "{told}");
    // By now somebody fights for it, so what follows is told, and left for a while.
    std::fs::set_permissions(&file, mode()).unwrap();
    until(&reconciler, |r| {
        let error = r[0].error.as_deref().unwrap_or_default();
        error.contains("its mode was changed from 0600 to 0666") && error.contains("in 1m")
    })
    .await;
    assert!(!reconciler.reports()[0].is_up_to_date(1));
    // A new token is written all the same.
    world.hold("acme", view(2, "at-2"));
    reconciler.notify("acme");
    until(&reconciler, |r| published(r, &path) == Some(2)).await;
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn many_that_are_overwritten_at_once_are_a_few_notices() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    let reconciler = world.start().await;
    let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    reconciler.set_targets(
        names
            .iter()
            .map(|name| world.target("acme", name))
            .collect(),
    );
    assert!(reconciler.first_pass(LONG).await);
    for name in &names {
        std::fs::write(world.path(name), "theirs").unwrap();
    }
    let whole = |name: &String| std::fs::read(world.path(name)).unwrap() == b"at-1";
    until(&reconciler, |_| names.iter().all(whole)).await;
    until(&reconciler, |r| r.iter().all(|r| r.settled)).await;
    let told = world.told.lock().unwrap();
    let disturbed = told.iter().filter(|what| what.starts_with("Disturbed"));
    assert_eq!(disturbed.count(), 5);
}

#[tokio::test]
async fn what_was_never_written_is_not_remembered_and_goes_with_the_configuration() {
    let world = World::new();
    world.hold("acme", view(1, "at-1"));
    std::fs::write(world.path("a"), "written by hand").unwrap();
    let reconciler = world.start().await;
    reconciler.set_targets(vec![world.target("acme", "a")]);
    until(&reconciler, |r| fails(r, &world.path("a"))).await;
    assert!(world.book.paths().is_empty());
    reconciler.set_targets(Vec::new());
    until(&reconciler, <[_]>::is_empty).await;
    assert_eq!(std::fs::read(world.path("a")).unwrap(), b"written by hand");
    assert_eq!(world.told.lock().unwrap().last().unwrap(), "Gone");
}
