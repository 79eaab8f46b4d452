//! Secrets that do not print, and the fingerprints that stand for them.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroize;

/// A token, code, client secret or raw answer. It is wiped when dropped, and
/// `Debug` shows its length alone. [`Secret::expose`] appears only where the
/// bytes leave: a request's body, a sealed record, an output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for where it must leave.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A keyed hash of a secret: the same secret under the same key gives the same
/// fingerprint, and without the key nobody can test a guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let mut bytes = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err("a fingerprint has 32 hexadecimal digits".to_owned());
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|e| e.to_string())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// Makes fingerprints. Its key belongs to the store and does not change when
/// the sealing key does.
#[derive(Clone)]
pub struct Fingerprinter([u8; 32]);

impl Drop for Fingerprinter {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprinter")
    }
}

impl Fingerprinter {
    /// From the store's fingerprint key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Fingerprinter(key)
    }

    /// The fingerprint of a secret.
    #[must_use]
    pub fn of(&self, secret: &Secret) -> Fingerprint {
        Fingerprint(self.hash(&[secret.expose().as_bytes()]))
    }

    /// A proof that we made this, for that purpose. No secret can have a fingerprint
    /// that is one: none has a NUL in it.
    #[must_use]
    pub fn mac(&self, purpose: &str, bytes: &[u8]) -> [u8; 16] {
        self.hash(&[b"\0", purpose.as_bytes(), b"\0", bytes])
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        parts.iter().for_each(|part| mac.update(part));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("rt-hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(10 bytes)");
    }

    #[test]
    fn fingerprints_depend_on_key_and_secret() {
        let a = Fingerprinter::new([1; 32]);
        let b = Fingerprinter::new([2; 32]);
        let secret = Secret::new("x");
        assert_eq!(a.of(&secret), a.of(&Secret::new("x")));
        assert_ne!(a.of(&secret), b.of(&secret));
        assert_ne!(a.of(&secret), a.of(&Secret::new("y")));
        let shown = a.of(&secret).to_string();
        assert_eq!(Fingerprint::try_from(shown), Ok(a.of(&secret)));
    }
}
