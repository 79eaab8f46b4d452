//! Refreshes a second, end to end, against a bare loop of requests that keeps
//! nothing: `cargo bench --bench refresh`, with `-- --quick` for a short run of
//! the TLS part alone and `-- --idle` for what an idle daemon costs instead.
//!
//! The real program runs with a backlog: every grant's token lives for a second,
//! and there are more grants than it can serve. Daemon and bare loop talk to the
//! same endpoint with as many requests at once, and take turns: one stands still
//! while the other is measured. Each line `figure NAME VALUE` is one result;
//! those without `plain` in their name are over TLS, as providers are.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod bare;
mod child;
mod disk;
mod endpoint;
mod idle;
mod place;
mod watch;

use child::{Child, wait_for};
use disk::Disk;
use endpoint::Endpoint;
use place::Place;
use std::time::{Duration, Instant};
use watch::Watch;

/// Requests at once, on both sides.
pub(crate) const FLIGHTS: u16 = 64;

/// A refresh token is lost for good once it was presented: a connection each.
const FRESH: (&str, &str, &str) = ("fresh", "old_valid = \"0s\"", "reuse = \"revokes\"");
/// It stays good until its successor is used: connections are kept alive.
const KEPT: (&str, &str, &str) = ("kept", "old_valid = \"until-used\"", "reuse = \"error\"");

/// How many grants show that it works.
const GRANTS_OF_SMOKE: usize = 20;

/// How thorough a run is.
struct Plan {
    grants: usize,
    with_files: usize,
    turn: Duration,
    pairs: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "--bare") {
        return bare::run(&args[1..]);
    }
    let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
    if has("--idle") {
        idle::binary();
        [1_000, 100_000].into_iter().for_each(idle::measure);
    } else if !has("--bench") {
        smoke();
    } else if has("--quick") {
        let plan = Plan {
            grants: 15_000,
            with_files: 10_000,
            turn: Duration::from_millis(1000),
            pairs: 1,
        };
        compare(&plan, true);
    } else {
        let plan = Plan {
            grants: 30_000,
            with_files: 10_000,
            turn: Duration::from_secs(3),
            pairs: 3,
        };
        compare(&plan, false);
        compare(&plan, true);
    }
}

/// One result.
pub(crate) fn figure(name: &str, value: f64) {
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    println!("figure {name} {value:.digits$}");
}

/// As `cargo test` runs it: whether daemon and bare loop refresh at all. It measures
/// nothing, and prints no figure.
fn smoke() {
    let endpoint = Endpoint::start(true);
    let place = Place::new();
    let authority = endpoint.authority.as_ref().expect("it speaks TLS");
    std::fs::write(place.path("ca.pem"), authority).expect("a file");
    let (_, old_valid, reuse) = FRESH;
    place.describe(&endpoint.url, &format!("{old_valid}\n{reuse}"));
    let outputs = "[[clients.files.outputs]]\npath = \"ROOT/tokens/{grant}\"";
    let trust = format!("ca_file = \"ROOT/ca.pem\"\n{outputs}");
    place.configure("files", FLIGHTS, &trust);
    place.import("files", GRANTS_OF_SMOKE, 1);
    let watch = Watch::start(&place.path("tokens"));
    let daemon = place.daemon();
    let twice = 2 * GRANTS_OF_SMOKE as u64;
    wait_for("two refreshes a grant", || endpoint.served() >= twice);
    wait_for("all files", || watch.count() >= twice);
    assert!(daemon.stop());
    let before = endpoint.served();
    let _bare = bare::start(&endpoint, false, &place.path("ca.pem"), FLIGHTS);
    wait_for("the bare loop", || endpoint.served() > before);
}

/// Both classes of rotation, then with outputs.
fn compare(plan: &Plan, tls: bool) {
    let endpoint = Endpoint::start(tls);
    let place = Place::new();
    let mut trust = String::new();
    if let Some(authority) = &endpoint.authority {
        std::fs::write(place.path("ca.pem"), authority).expect("a file");
        trust = "ca_file = \"ROOT/ca.pem\"".to_owned();
    }
    place.describe(&endpoint.url, "");
    for (client, grants) in [("bare", plan.grants), ("files", plan.with_files)] {
        place.configure(client, FLIGHTS, &trust);
        place.import(client, grants, 1);
    }
    for class in [FRESH, KEPT] {
        place.configure("bare", FLIGHTS, &trust);
        classes(plan, &endpoint, &place, class);
    }
    let outputs = "[[clients.files.outputs]]\npath = \"ROOT/tokens/{grant}\"";
    place.configure("files", FLIGHTS, &format!("{trust}\n{outputs}"));
    with_files(plan, &endpoint, &place);
}

/// Daemon and bare loop, in turns; the medians and their ratio.
fn classes(plan: &Plan, endpoint: &Endpoint, place: &Place, class: (&str, &str, &str)) {
    let (word, old_valid, reuse) = class;
    place.describe(&endpoint.url, &format!("{old_valid}\n{reuse}"));
    let bare = bare::start(endpoint, word == "kept", &place.path("ca.pem"), FLIGHTS);
    wait_for("the bare loop", || endpoint.served() > 0);
    bare.pause();
    let daemon = place.daemon();
    let (mut daemons, mut bares) = (Vec::new(), Vec::new());
    let (mut used, mut used_bare) = (Used::default(), Used::default());
    for _ in 0..plan.pairs {
        daemons.push(turn(plan, endpoint, &daemon, &mut used));
        bares.push(turn(plan, endpoint, &bare, &mut used_bare));
    }
    let suffix = suffix(endpoint, word);
    let (refreshes, posts) = (median(daemons), median(bares));
    figure(&format!("refresh_per_s_{suffix}"), refreshes);
    figure(&format!("bare_per_s_{suffix}"), posts);
    figure(&format!("refresh_ratio_{suffix}"), refreshes / posts);
    let each = |used: &Used| used.cpu_secs * 1e6 / used.requests;
    figure(&format!("cpu_us_per_refresh_{suffix}"), each(&used));
    figure(
        &format!("cpu_us_per_bare_request_{suffix}"),
        each(&used_bare),
    );
    figure(&format!("resident_mib_{suffix}"), daemon.resident_mib());
    assert!(daemon.stop());
    syncs(plan, endpoint, place, &suffix);
}

/// How many fdatasyncs and fsyncs a refresh costs; start and stop included.
fn syncs(plan: &Plan, endpoint: &Endpoint, place: &Place, suffix: &str) {
    let before = endpoint.served();
    let Some(daemon) = place.counted_daemon() else {
        return println!("no strace here: fdatasyncs are not counted");
    };
    std::thread::sleep(plan.turn);
    assert!(daemon.stop());
    let refreshes = (endpoint.served() - before) as f64;
    figure(
        &format!("fdatasyncs_per_refresh_{suffix}"),
        place.syncs() / refreshes,
    );
}

/// Refreshes a second while each is published in a file and its metadata, and
/// files a second against what the disk can do. A file may leave out generations
/// that were replaced before their turn came.
fn with_files(plan: &Plan, endpoint: &Endpoint, place: &Place) {
    let (_, old_valid, reuse) = KEPT;
    place.describe(&endpoint.url, &format!("{old_valid}\n{reuse}"));
    let watch = Watch::start(&place.path("tokens"));
    let daemon = place.daemon();
    wait_for("all files", || watch.count() >= 2 * plan.with_files as u64);
    daemon.pause();
    let yardstick = Disk::warmed_up(&place.path("disk"), plan.with_files);
    daemon.resume();
    let (mut refreshes, mut files, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.pairs {
        std::thread::sleep(plan.turn / 3);
        let begun = (Instant::now(), endpoint.served(), watch.count());
        std::thread::sleep(2 * plan.turn);
        let secs = begun.0.elapsed().as_secs_f64();
        let per_second = |from: u64, to: u64| (to - from) as f64 / secs;
        refreshes.push(per_second(begun.1, endpoint.served()));
        files.push(per_second(begun.2, watch.count()));
        daemon.pause();
        disk.push(yardstick.files_per_second(plan.turn));
        daemon.resume();
    }
    let suffix = suffix(endpoint, "outputs");
    let (files, disk) = (median(files), median(disk));
    figure(&format!("refresh_per_s_{suffix}"), median(refreshes));
    figure(&format!("files_per_s_{suffix}"), files);
    figure(&format!("disk_files_per_s_{suffix}"), disk);
    figure(&format!("files_ratio_{suffix}"), files / disk);
    if endpoint.authority.is_some() {
        figure("resident_mib", daemon.resident_mib());
    }
    assert!(daemon.stop());
}

/// Processor time, which other load on the machine changes less than the rate.
#[derive(Default)]
struct Used {
    cpu_secs: f64,
    requests: f64,
}

/// Requests a second while this child alone goes on.
fn turn(plan: &Plan, endpoint: &Endpoint, child: &Child, used: &mut Used) -> f64 {
    child.resume();
    std::thread::sleep(plan.turn / 3);
    let (begun, before, cpu) = (Instant::now(), endpoint.served(), child.cpu_secs());
    std::thread::sleep(plan.turn);
    let served = (endpoint.served() - before) as f64;
    let rate = served / begun.elapsed().as_secs_f64();
    used.cpu_secs += child.cpu_secs() - cpu;
    used.requests += served;
    child.pause();
    rate
}

fn suffix(endpoint: &Endpoint, word: &str) -> String {
    match endpoint.authority {
        Some(_) => word.to_owned(),
        None => format!("{word}_plain"),
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
