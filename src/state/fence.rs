//! The fence: a store that was rolled back (a restored backup, a snapshot)
//! does not refresh, because the tokens in it may have been replaced since.
//!
//! A stamp file beside the store says how far the store had come. It is
//! written after commits, so a stamp is never ahead of the store it belongs to
//! -- unless the store has gone back. A snapshot of the whole directory takes
//! the stamp along and cannot be noticed by it; published generations can.

use super::disk;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "stamp";

/// Why the store is fenced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Fenced {
    /// The stamp has seen a later commit.
    #[error(
        "the store stands at commit {store}, but had come to {stamp}: it was put back to an earlier state"
    )]
    StampAhead {
        /// The store's `commit_seq`.
        store: u64,
        /// The stamp's.
        stamp: u64,
    },
    /// A backup was put in the place of the database.
    #[error(
        "this state was restored from the backup of {}, and refresh tokens in it may have been replaced since", taken.rfc3339()
    )]
    Restored {
        /// When the backup was made.
        taken: WallTime,
    },
    /// The state directory was copied here.
    #[error(
        "this state belongs to another machine: it was copied or moved here, and if that machine goes on refreshing, each would cut the other off; make sure that refreshd is stopped there for good"
    )]
    OtherMachine,
    /// An output holds a later generation.
    #[error(
        "generation {published} of grant {grant} has been published, but the store knows {store}: it was put back to an earlier state"
    )]
    PublishedAhead {
        /// The grant's name.
        grant: String,
        /// The generation in the output's metadata.
        published: u64,
        /// The store's.
        store: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Stamp {
    store_id: String,
    commit_seq: u64,
}

/// Compares the store with the stamp beside it. A stamp of another store, or
/// one that cannot be read, says nothing.
#[must_use]
pub fn check(dir: &Path, store_id: &str, commit_seq: u64) -> Option<Fenced> {
    stamped(dir, store_id)
        .filter(|stamp| *stamp > commit_seq)
        .map(|stamp| Fenced::StampAhead {
            store: commit_seq,
            stamp,
        })
}

/// The commit that the stamp of this store has seen.
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
    fn a_stamp_ahead_fences_its_own_store_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path(), "a", 0), None);
        stamp(dir.path(), "a", 7).unwrap();
        assert_eq!(check(dir.path(), "a", 7), None);
        assert_eq!(check(dir.path(), "b", 1), None);
        assert_eq!(
            check(dir.path(), "a", 6),
            Some(Fenced::StampAhead { store: 6, stamp: 7 })
        );
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(check(dir.path(), "a", 6), None);
    }
}
