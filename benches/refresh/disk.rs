//! What this machine's disk can do at best of what the daemon does: pairs of files, a token
//! and its metadata, replaced a second. Each file is written beside its name, synced and
//! renamed, and the directory is synced once a pair.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As many at once as the daemon writes.
const THREADS: usize = 16;
/// About as long as a token with its metadata, on average.
const LENGTH: usize = 400;

/// A directory in which as many pairs stand as the daemon publishes: to replace a file is
/// another thing than to make one, and the first seconds after a rest are faster.
pub(crate) struct Disk {
    dir: PathBuf,
    pairs: usize,
}

impl Disk {
    /// Writes all of them, twice.
    pub(crate) fn warmed_up(dir: &Path, pairs: usize) -> Disk {
        fs::create_dir_all(dir.join(".tmp")).expect("a directory");
        let disk = Disk {
            dir: dir.to_owned(),
            pairs,
        };
        disk.replace(|_, written| written < 2 * pairs.div_ceil(THREADS));
        disk
    }

    /// Files a second, measured for so long.
    pub(crate) fn files_per_second(&self, time: Duration) -> f64 {
        let (over, begun) = (AtomicBool::new(false), Instant::now());
        let pairs = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(time);
                over.store(true, Ordering::Relaxed);
            });
            self.replace(|_, _| !over.load(Ordering::Relaxed))
        });
        (2 * pairs) as f64 / begun.elapsed().as_secs_f64()
    }

    /// Replaces pairs by all threads, as long as each `goes_on`; how many.
    fn replace(&self, goes_on: impl Fn(usize, usize) -> bool + Sync) -> usize {
        let work = |thread: usize| {
            let directory = File::open(&self.dir).expect("a directory");
            let mut written = 0;
            while goes_on(thread, written) {
                let number = thread + THREADS * (written % self.pairs.div_ceil(THREADS));
                for name in [format!("{number}"), format!(".{number}.meta.json")] {
                    let new = self.dir.join(".tmp").join(&name);
                    let mut file = File::create(&new).expect("a file");
                    file.write_all(&[b'x'; LENGTH]).expect("room for a file");
                    file.sync_all().expect("a disk");
                    drop(file);
                    fs::rename(&new, self.dir.join(&name)).expect("the same file system");
                }
                directory.sync_all().expect("a disk");
                written += 1;
            }
            written
        };
        thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || work(thread)))
                .collect();
            let counts = threads.into_iter().map(|t| t.join().expect("a thread"));
            counts.sum()
        })
    }
}
