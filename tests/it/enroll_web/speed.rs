//! How soon a push is answered while the disk is busy, beside what a sync costs in the
//! same seconds.

use super::Place;
use serde_json::Value;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const A_SECOND: u32 = 200;
const SECONDS: u32 = 4;
/// An answer may take so many syncs.
const MOST: f64 = 5.0;
const ROUNDS: usize = 3;

/// The 99th of a hundred, in milliseconds.
fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[(times.len() * 99 / 100).min(times.len() - 1)].as_secs_f64() * 1e3
}

/// Keeps the disk busy, with syncs of its own.
fn load(path: PathBuf, stop: Arc<AtomicBool>) {
    let mut file = File::create(path).unwrap();
    let block = vec![7; 1024 * 1024];
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        file.write_all(&block).unwrap();
        file.sync_data().unwrap();
        written += 1;
        if written % 64 == 0 {
            file.set_len(0).unwrap();
        }
    }
}

/// What a sync of a small write costs meanwhile.
fn measure(path: PathBuf, stop: &AtomicBool) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        file.write_all(&[1; 4096]).unwrap();
        let begun = Instant::now();
        file.sync_data().unwrap();
        times.push(begun.elapsed());
    }
    times
}

async fn push(http: reqwest::Client, url: String, body: String) -> Duration {
    let begun = Instant::now();
    let request = http.post(url).header("content-type", "application/json");
    let answer = request.body(body).send().await.unwrap();
    let took = begun.elapsed();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    took
}

/// Links of the client, each for a business of its own.
async fn links(place: &Arc<Place>, number: u32) -> Vec<Value> {
    let mut tasks = tokio::task::JoinSet::new();
    let mut all = Vec::new();
    for _ in 0..number {
        let place = place.clone();
        tasks.spawn(async move { place.install(None).await.1 });
        if tasks.len() == 32 {
            all.push(tasks.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(one) = tasks.join_next().await {
        all.push(one.unwrap());
    }
    all
}

/// The 99th percentiles of answers and syncs in the same seconds, in milliseconds.
async fn measured(place: &Arc<Place>, round: usize) -> (f64, f64) {
    let links = links(place, A_SECOND * SECONDS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (busy, syncs) = (place.house.path("busy"), place.house.path("syncs"));
    let loading = std::thread::spawn({
        let stop = stop.clone();
        move || load(busy, stop)
    });
    let measuring = std::thread::spawn({
        let stop = stop.clone();
        move || measure(syncs, &stop)
    });
    let mut tasks = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / A_SECOND);
    for (i, data) in links.into_iter().enumerate() {
        tick.tick().await;
        let business = format!("shop-{round}-{i}");
        let code = place.server.make_code(&business, "", Some(&business));
        let body = serde_json::json!({"code": code, "business_id": business, "data": data});
        tasks.spawn(push(
            place.http.clone(),
            place.url("/push/c"),
            body.to_string(),
        ));
    }
    let times = tasks.join_all().await;
    stop.store(true, Ordering::Relaxed);
    let syncs = measuring.join().unwrap();
    loading.join().unwrap();
    let most = times.iter().max().unwrap();
    assert!(
        *most < Duration::from_secs(1),
        "{most:?}: RETM waits a second"
    );
    (p99(times), p99(syncs))
}

/// Prints what came of a round, and returns the ratio.
fn told((push_p99, sync_p99): (f64, f64)) -> f64 {
    let ratio = push_p99 / sync_p99;
    println!("figure push_p99_ms {push_p99:.2}");
    println!("figure fdatasync_p99_ms {sync_p99:.2}");
    println!("figure push_p99_ratio {ratio:.2}");
    ratio
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_pushes_a_second_are_answered_within_a_second() {
    let place = Arc::new(Place::retm("").await);
    let _daemon = place.daemon();
    let measured = measured(&place, 0).await;
    told(measured);
    assert!(measured.0 < 1000.0, "RETM waits a second");
}

/// What each push costs is two syncs at the most, the one under way and its own. The
/// rest is the processor's, which other tests would take: so it is measured alone, with
/// `cargo test --release --test it enroll_web::speed -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it has the processor to itself, or it measures others"]
async fn alone_two_hundred_pushes_a_second_are_answered_in_a_few_syncs() {
    let place = Arc::new(Place::retm("").await);
    let _daemon = place.daemon();
    let mut least = f64::INFINITY;
    for round in 0..ROUNDS {
        least = told(measured(&place, round).await).min(least);
    }
    assert!(
        least <= MOST,
        "the 99th of a hundred pushes took {least:.2} syncs"
    );
}
