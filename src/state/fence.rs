//! The fence: a store that was rolled back (a restored backup, a snapshot)
//! does not refresh, because the tokens in it may have been replaced since.
//!
//! A stamp file beside the store says how far the store had come. It is
//! written after commits, so a stamp is never ahead of the store it belongs to
//! -- unless the store has gone back. A snapshot of the whole directory takes
//! the stamp along and cannot be noticed by it; published generations can.

use super::disk;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "stamp";

pub use refreshd_core::fence::Fenced;

/// What a fence is to people, with what ends it.
pub(crate) fn fence_text(fenced: &Fenced) -> String {
    format!(
        "{fenced}; refreshing from it could revoke grants, so nothing is refreshed until `refreshd doctor --accept-restore`"
    )
}

#[derive(Serialize, Deserialize)]
struct Stamp {
    store_id: String,
    commit_seq: u64,
}

/// The commit that the stamp of this store has seen. A stamp of another store, or
/// one that cannot be read, says nothing.
pub(super) fn stamped(dir: &Path, store_id: &str) -> Option<u64> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the stamp cannot be read; a rolled-back store would not be noticed by it");
            return None;
        }
    };
    match serde_json::from_slice::<Stamp>(&bytes) {
        Ok(stamp) => (stamp.store_id == store_id).then_some(stamp.commit_seq),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the stamp is damaged; a rolled-back store would not be noticed by it");
            None
        }
    }
}

/// Writes the stamp, whole.
pub(super) fn stamp(dir: &Path, store_id: &str, commit_seq: u64) -> io::Result<()> {
    let stamp = Stamp {
        store_id: store_id.to_owned(),
        commit_seq,
    };
    let bytes = serde_json::to_vec(&stamp).expect("a stamp is plain data");
    disk::replace(&dir.join(FILE), &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_speaks_of_its_own_store_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stamped(dir.path(), "a"), None);
        stamp(dir.path(), "a", 7).unwrap();
        assert_eq!(stamped(dir.path(), "a"), Some(7));
        assert_eq!(stamped(dir.path(), "b"), None);
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(stamped(dir.path(), "a"), None);
    }
}
