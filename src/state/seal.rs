//! Sealing: what is secret is encrypted before it reaches the disk, and bound
//! to the place it was written to, so that no record can pass for another.
//!
//! An envelope is a version byte, the key's id (4 bytes), a random nonce
//! (24 bytes) and the XChaCha20-Poly1305 ciphertext with its tag (16 bytes).
//! It names its key: after a rotation the newest key seals, and what older keys
//! have sealed still opens.

use super::disk;
use crate::random;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;
const HEADER: usize = 1 + KEY_ID + NONCE;

/// How much longer an envelope is than what is in it.
pub const OVERHEAD: usize = HEADER + 16;

/// Tells sealing keys apart without giving them away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyId([u8; KEY_ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&disk::hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of_key(key: &[u8; 32]) -> KeyId {
        let digest = Sha256::new()
            .chain_update(b"refreshd sealing key id")
            .chain_update(key)
            .finalize();
        KeyId(*digest.first_chunk().expect("a digest has 32 bytes"))
    }

    /// From what SQL gives as a blob of four bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<KeyId> {
        bytes.try_into().ok().map(KeyId)
    }

    /// The key that an envelope names; `None` when it is none of ours.
    #[must_use]
    pub fn of(envelope: &[u8]) -> Option<KeyId> {
        let (version, rest) = envelope.split_first()?;
        let id = rest.first_chunk()?;
        (*version == VERSION).then_some(KeyId(*id))
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for KeyId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = u32::from_str_radix(&text, 16).ok();
        let id = digits.filter(|_| text.len() == 2 * KEY_ID);
        id.map(|id| KeyId(id.to_be_bytes()))
            .ok_or("not the id of a key: 8 hexadecimal digits")
    }
}

/// Where a sealed record stands. Authenticated, not stored: an envelope that
/// is moved to another place does not open there.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The table or file.
    pub purpose: &'a str,
    /// The grant's or flight's id.
    pub owner: &'a str,
    /// The column or region.
    pub column: &'a str,
    /// The generation it belongs to.
    pub generation: u64,
}

impl Context<'_> {
    fn associated_data(&self, key: KeyId) -> Vec<u8> {
        let mut data = vec![VERSION];
        for part in [self.purpose, self.owner, self.column] {
            // Lengths first: no two contexts run together to the same bytes.
            data.extend((part.len() as u64).to_be_bytes());
            data.extend(part.as_bytes());
        }
        data.extend(self.generation.to_be_bytes());
        data.extend(key.0);
        data
    }
}

/// A sealed record that does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a version that is not known.
    #[error("the sealed record is no envelope that this refreshd knows")]
    Format,
    /// Sealed by another key.
    #[error("the record was sealed with key {sealed_by}, and the key given is {given}")]
    OtherKey {
        /// The id in the envelope.
        sealed_by: KeyId,
        /// Ours.
        given: KeyId,
    },
    /// Right key, wrong bytes or wrong place.
    #[error("the sealed record was changed or moved")]
    Tampered,
}

/// Seals with the newest of its keys and opens with any. Clones share the keys,
/// so that all parts of a running daemon take up a new one at once.
#[derive(Clone)]
pub struct Sealer(Arc<RwLock<Vec<SealingKey>>>);

#[derive(Clone)]
struct SealingKey {
    cipher: Arc<XChaCha20Poly1305>,
    id: KeyId,
}

impl SealingKey {
    fn new(key: &[u8; 32]) -> Self {
        SealingKey {
            cipher: Arc::new(XChaCha20Poly1305::new(key.into())),
            id: KeyId::of_key(key),
        }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?})", self.key_ids())
    }
}

impl Sealer {
    /// From one key's bytes. [`Sealer::load`] reads them from where they live.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Sealer(Arc::new(RwLock::new(vec![SealingKey::new(key)])))
    }

    /// From several keys, newest first.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn with_keys<'a>(keys: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let keys: Vec<SealingKey> = keys.into_iter().map(SealingKey::new).collect();
        assert!(!keys.is_empty(), "a sealer has a key");
        Sealer(Arc::new(RwLock::new(keys)))
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.newest().id
    }

    /// The ids of all keys, newest first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.keys().iter().map(|key| key.id).collect()
    }

    /// From now on this key seals; the others still open.
    pub fn add(&self, key: &[u8; 32]) {
        let new = SealingKey::new(key);
        let mut keys = self.0.write().expect("nothing panics under this lock");
        keys.retain(|key| key.id != new.id);
        keys.insert(0, new);
    }

    /// Forgets a key; the one that seals stays.
    pub fn forget(&self, id: KeyId) {
        let mut keys = self.0.write().expect("nothing panics under this lock");
        let newest = keys[0].id;
        keys.retain(|key| key.id != id || key.id == newest);
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<SealingKey>> {
        self.0.read().expect("nothing panics under this lock")
    }

    fn newest(&self) -> SealingKey {
        self.keys()[0].clone()
    }

    /// Seals bytes for their place.
    #[must_use]
    pub fn seal(&self, context: &Context<'_>, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = random::bytes();
        let key = self.newest();
        let sealed = key
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &context.associated_data(key.id),
                },
            )
            .expect("records are far shorter than the cipher's limit");
        let mut envelope = Vec::with_capacity(HEADER + sealed.len());
        envelope.push(VERSION);
        envelope.extend(key.id.0);
        envelope.extend(nonce);
        envelope.extend(sealed);
        envelope
    }

    /// Opens an envelope in its place; the bytes are wiped when dropped.
    ///
    /// # Errors
    /// When it was sealed by another key, for another place, or was changed.
    pub fn open(
        &self,
        context: &Context<'_>,
        envelope: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let sealed_by = KeyId::of(envelope).ok_or(SealError::Format)?;
        let key = self.keys().iter().find(|key| key.id == sealed_by).cloned();
        let key = key.ok_or_else(|| SealError::OtherKey {
            sealed_by,
            given: self.key_id(),
        })?;
        let (nonce, sealed) = envelope[1 + KEY_ID..]
            .split_first_chunk::<NONCE>()
            .ok_or(SealError::Format)?;
        key.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &context.associated_data(key.id),
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| SealError::Tampered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Context<'static> = Context {
        purpose: "grants",
        owner: "ab",
        column: "tokens",
        generation: 3,
    };

    #[test]
    fn opens_in_its_place_alone() {
        let sealer = Sealer::new(&[7; 32]);
        let envelope = sealer.seal(&HERE, b"rt-1");
        assert_eq!(envelope.len(), 4 + OVERHEAD);
        assert_eq!(sealer.open(&HERE, &envelope).unwrap().as_slice(), b"rt-1");
        for elsewhere in [
            Context {
                purpose: "unread",
                ..HERE
            },
            Context {
                owner: "ac",
                ..HERE
            },
            Context {
                column: "answer",
                ..HERE
            },
            Context {
                generation: 4,
                ..HERE
            },
            // The same bytes, split elsewhere.
            Context {
                purpose: "grantsa",
                owner: "b",
                ..HERE
            },
        ] {
            assert_eq!(
                sealer.open(&elsewhere, &envelope),
                Err(SealError::Tampered),
                "{elsewhere:?}"
            );
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let sealer = Sealer::new(&[7; 32]);
        let envelope = sealer.seal(&HERE, b"rt-1");
        for at in 0..envelope.len() {
            let mut bad = envelope.clone();
            bad[at] ^= 1;
            assert!(sealer.open(&HERE, &bad).is_err(), "byte {at}");
            assert!(sealer.open(&HERE, &envelope[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_newest_key_seals_and_all_open() {
        let sealer = Sealer::new(&[7; 32]);
        let shared = sealer.clone();
        let old = sealer.seal(&HERE, b"rt-1");
        sealer.add(&[8; 32]);
        let new = shared.seal(&HERE, b"rt-2");
        assert_eq!(KeyId::of(&new), Some(KeyId::of_key(&[8; 32])));
        assert_eq!(shared.open(&HERE, &old).unwrap().as_slice(), b"rt-1");
        shared.forget(KeyId::of_key(&[7; 32]));
        shared.forget(KeyId::of_key(&[8; 32]));
        assert_eq!(sealer.open(&HERE, &new).unwrap().as_slice(), b"rt-2");
        assert!(matches!(
            sealer.open(&HERE, &old),
            Err(SealError::OtherKey { .. })
        ));
        let both = Sealer::with_keys([&[8; 32], &[7; 32]]);
        assert_eq!(both.open(&HERE, &old).unwrap().as_slice(), b"rt-1");
        assert_eq!(both.key_ids(), [8, 7].map(|b| KeyId::of_key(&[b; 32])));
    }

    #[test]
    fn another_key_is_named() {
        let (ours, other) = (Sealer::new(&[7; 32]), Sealer::new(&[8; 32]));
        let envelope = other.seal(&HERE, b"rt-1");
        assert_eq!(
            ours.open(&HERE, &envelope),
            Err(SealError::OtherKey {
                sealed_by: other.key_id(),
                given: ours.key_id()
            })
        );
    }
}
