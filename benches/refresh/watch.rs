//! Counts the files that are put into a directory.

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Token files that were replaced, metadata not counted.
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
            while let Ok(event) = reader.next() {
                let name = event.file_name().map(|name| name.to_bytes());
                if name.is_some_and(|name| !name.ends_with(b".meta.json")) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Watch(count)
    }

    /// How many so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
