//! What this machine's disk can do at best: files replaced a second, each
//! written beside its name, synced, renamed, and the directory synced.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As many at once as the daemon writes.
const THREADS: usize = 16;
/// About as long as a token with its metadata, on average.
const LENGTH: usize = 400;

/// The rate, measured for so long in this directory.
pub(crate) fn files_per_second(dir: &Path, time: Duration) -> f64 {
    fs::create_dir_all(dir.join("new")).expect("a directory");
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    let replace = |thread: usize| {
        let directory = File::open(dir).expect("a directory");
        let mut count = 0;
        while !over.load(Ordering::Relaxed) {
            let name = format!("{thread}-{}", count % 500);
            let new = dir.join("new").join(&name);
            let mut file = File::create(&new).expect("a file");
            file.write_all(&[b'x'; LENGTH]).expect("room for a file");
            file.sync_all().expect("a disk");
            drop(file);
            fs::rename(&new, dir.join(&name)).expect("the same file system");
            directory.sync_all().expect("a disk");
            count += 1;
        }
        count
    };
    let replaced: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || replace(thread)))
            .collect();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let counts = threads.into_iter().map(|t| t.join().expect("a thread"));
        counts.sum()
    });
    replaced as f64 / begun.elapsed().as_secs_f64()
}
