//! One sealing key after another. The new one is durable before anything is
//! sealed with it; the old one goes only when no record and no
//! backup needs it. In between the process may die anywhere.

use super::backups;
use super::key::{self, KeyError, file};
use super::reseal::Walk;
use super::seal::{KeyId, Sealer};
use super::store::blocking;
use super::{Store, StoreError};
use crate::config::KeySource;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The keys of an open state.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) store: Store,
    pub(super) sealer: Sealer,
    pub(super) source: KeySource,
}

/// A key, and what needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The key.
    pub id: KeyId,
    /// Whether it is the one that seals.
    pub seals: bool,
    /// Whether it is at hand; if not, what needs it cannot be read.
    pub present: bool,
    /// Records in the database.
    pub records: u64,
    /// Retained backups.
    pub backups: Vec<PathBuf>,
}

impl KeyUse {
    /// Whether it must be kept.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        self.seals || self.records > 0 || !self.backups.is_empty()
    }
}

/// What could not be done with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Where they live.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One after the other.
    #[error(
        "what the key before has sealed is not all sealed anew yet; see `refreshd key status`, and try again when it is"
    )]
    Unfinished,
}

impl Keys {
    /// Where the keys live.
    #[must_use]
    pub fn path(&self) -> &Path {
        key::path(&self.source)
    }

    /// Whether an operator has to write the keys, since they are a credential.
    #[must_use]
    pub fn are_read_only(&self) -> bool {
        matches!(self.source, KeySource::Credential(_))
    }

    /// Whether anything may be sealed with an older key than the newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_unfinished(&self) -> Result<bool, StoreError> {
        Ok(self.store.sealed_by().await? != Some(self.sealer.key_id()))
    }

    /// Whether there are keys besides the one that seals.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.sealer.key_ids().len() > 1
    }

    /// Makes a new key, which seals from now on. [`Keys::reseal`] and
    /// [`Keys::retire`] do the rest, now or after the next start.
    ///
    /// # Errors
    /// When the last rotation has not come to its end, or the key cannot be written.
    pub async fn rotate(&self) -> Result<KeyId, KeysError> {
        if self.is_unfinished().await? {
            return Err(KeysError::Unfinished);
        }
        let (source, known) = (self.source.clone(), self.sealer.key_ids());
        let new = blocking(move || file::put_new(&source, &known)).await?;
        self.sealer.add(&new);
        Ok(self.sealer.key_id())
    }

    /// Seals with the newest key what older ones have sealed, a few rows at a
    /// time; `told` hears of each step.
    ///
    /// # Errors
    /// When it did not become durable; it may be begun again.
    pub async fn reseal(&self, told: impl Fn(&Walk)) -> Result<Walk, StoreError> {
        let mut walk = Walk::default();
        while !walk.done {
            walk = self.store.walk(walk, true).await?;
            told(&walk);
        }
        Ok(walk)
    }

    /// Every key that is at hand or needed, newest first.
    ///
    /// # Errors
    /// When something cannot be read that may need a key.
    pub async fn survey(&self, backups: Option<&Path>) -> Result<Vec<KeyUse>, KeysError> {
        let mut walk = Walk::default();
        while !walk.done {
            walk = self.store.walk(walk, false).await?;
        }
        if let Some(id) = self.store.rescued_with() {
            *walk.found.entry(id).or_default() += 1;
        }
        let present = self.sealer.key_ids();
        let retained = self.retained(backups, &present).await;
        let others = walk.found.keys().chain(retained.keys());
        let absent: BTreeSet<KeyId> = others.filter(|id| !present.contains(id)).copied().collect();
        let use_of = |id: &KeyId| KeyUse {
            id: *id,
            seals: *id == present[0],
            present: present.contains(id),
            records: walk.found.get(id).copied().unwrap_or(0),
            backups: retained.get(id).cloned().unwrap_or_default(),
        };
        Ok(present.iter().chain(&absent).map(use_of).collect())
    }

    /// Which backups need which keys. One that cannot be read may need any.
    async fn retained(
        &self,
        dir: Option<&Path>,
        present: &[KeyId],
    ) -> BTreeMap<KeyId, Vec<PathBuf>> {
        let Some(dir) = dir.map(Path::to_owned) else {
            return BTreeMap::new();
        };
        let all: BTreeSet<KeyId> = present.iter().copied().collect();
        let found = blocking(move || backups::keys_in(&dir)).await;
        let mut retained: BTreeMap<KeyId, Vec<PathBuf>> = BTreeMap::new();
        for (path, keys) in found {
            for id in keys.unwrap_or_else(|| all.clone()) {
                retained.entry(id).or_default().push(path.clone());
            }
        }
        retained
    }

    /// Gives up the keys that nothing needs; their ids. The key that seals stays,
    /// and so do those of a credential, which an operator takes out.
    ///
    /// # Errors
    /// When something cannot be read that may need a key, or the file not written.
    pub async fn retire(&self, backups: Option<&Path>) -> Result<Vec<KeyId>, KeysError> {
        if !self.has_older() || self.are_read_only() {
            return Ok(Vec::new());
        }
        let uses = self.survey(backups).await?;
        let idle = uses.iter().filter(|u| u.present && !u.is_needed());
        let idle: Vec<KeyId> = idle.map(|u| u.id).collect();
        if !idle.is_empty() {
            let (source, known, out) = (self.source.clone(), self.sealer.key_ids(), idle.clone());
            blocking(move || file::take_out(&source, &known, &out)).await?;
            idle.iter().for_each(|id| self.sealer.forget(*id));
        }
        Ok(idle)
    }
}
