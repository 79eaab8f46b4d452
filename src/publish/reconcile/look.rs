//! A glance at what was left behind: is each output still the file that was written?
//! One that is not is told, and brought to its goal again. A glance costs a `stat`
//! for each file; contents are read only where that differs.

use super::Address;
use super::table::Id;
use super::{Shared, Trouble, What};
use crate::publish::file::{DirectoryStand, Stand};
use crate::publish::output::Stands;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// After this long a glance into a directory hangs, and the others go on without it.
const HANGS: Duration = Duration::from_secs(2);
/// With so many that hang, no further directory is looked into: each holds a thread.
const MOST_HANGING: usize = 8;

/// What is said of an output that is not there any more.
pub(super) const REMOVED: &str = "it was removed";

type Item = (Id, Address, Stands);

/// Looks at everything now and then, for as long as somebody holds the reconciler.
pub(super) async fn watch(shared: Weak<Shared>) {
    loop {
        let Some(pause) = shared.upgrade().map(|shared| shared.tuning.look) else {
            return;
        };
        tokio::time::sleep(pause).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if shared.table().is_stopping() {
            return;
        }
        all(&shared).await;
        let calm = shared.table().left_alone(Instant::now());
        for (address, grant) in &calm {
            let what = What::Calm;
            (shared.wiring.trouble)(Trouble {
                address,
                grant,
                what,
            });
        }
    }
}

/// Looks at every output that is at rest, a directory after the other.
pub(super) async fn all(shared: &Arc<Shared>) {
    shared.databases.look(HANGS).await;
    let mut by_dir: BTreeMap<PathBuf, Vec<Item>> = BTreeMap::new();
    for item in shared.table().at_rest() {
        let dir = item.1.path().parent().unwrap_or(Path::new("/"));
        by_dir.entry(dir.to_owned()).or_default().push(item);
    }
    for (dir, items) in by_dir {
        let strays = glance(shared, &dir, items).await;
        if strays.is_empty() {
            continue;
        }
        tell(&strays);
        let now = Instant::now();
        for (item, why) in strays {
            shared.table().strays(item.0, &item.2, why, now);
        }
        shared.wake.notify_one();
        shared.progress.send_replace(());
    }
}

/// What is not as it was left in a directory.
async fn glance(shared: &Arc<Shared>, dir: &Path, items: Vec<Item>) -> Vec<(Item, String)> {
    let hanging = shared.hanging.clone();
    {
        let hangs = lock_hanging(shared);
        if hangs.contains(dir) || hangs.len() >= MOST_HANGING {
            return Vec::new();
        }
    }
    lock_hanging(shared).insert(dir.to_owned());
    let path = dir.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let strays = differing(items);
        let mut hanging = hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.remove(&path);
        strays
    });
    match tokio::time::timeout(HANGS, looked).await {
        Ok(Ok(strays)) => strays,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn lock_hanging(shared: &Shared) -> std::sync::MutexGuard<'_, std::collections::HashSet<PathBuf>> {
    shared
        .hanging
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn differing(items: Vec<Item>) -> Vec<(Item, String)> {
    let look = |item: Item| {
        let why = difference(item.1.path(), &item.2)?;
        Some((item, why))
    };
    items.into_iter().filter_map(look).collect()
}

/// How an output differs from what was left; `None` where it does not.
pub(in crate::publish) fn difference(path: &Path, left: &Stands) -> Option<String> {
    // What cannot be looked at is for the next write to find out.
    let of_file = |path: &Path, left: &Stand| match Stand::at(path).ok()? {
        None => Some(REMOVED.to_owned()),
        Some(now) => (now != *left).then(|| left.difference(&now)),
    };
    let file = match &left.file {
        Some(left) => of_file(path, left),
        // It was withdrawn, and what stands there now is not ours.
        None => None,
    };
    let meta = || {
        let (path, left) = left.meta.as_ref()?;
        of_file(path, left).map(|why| format!("its metadata are not as written: {why}"))
    };
    let directory = || {
        let now = DirectoryStand::at(path.parent()?)?;
        let rights = |dir: &DirectoryStand| (dir.mode, dir.group, dir.owner);
        (rights(&now) != rights(&left.directory))
            .then(|| "the mode or owner of its directory was changed".to_owned())
    };
    file.or_else(meta).or_else(directory)
}

/// One line for a directory, however many it holds.
fn tell(strays: &[(Item, String)]) {
    let Some((first, why)) = strays.first() else {
        return;
    };
    let path = first.1.path().display();
    match strays.len() - 1 {
        0 => tracing::warn!(%path, "output {path} is not as it was written: {why}"),
        more => {
            tracing::warn!(%path, "output {path} and {more} more in its directory are not as they were written: {why}");
        }
    }
}
