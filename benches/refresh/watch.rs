//! Counts the files that are put into a directory.

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Files that were replaced: a token and its metadata are two.
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Begins to count.
    pub(crate) fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let fd = inotify::init(CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO).expect("a watch");
        let count = Arc::new(AtomicU64::new(0));
        let counter = count.clone();
        std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 64 * 1024];
            let mut reader = Reader::new(fd, &mut buffer);
            while reader.next().is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Watch(count)
    }

    /// How many so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
