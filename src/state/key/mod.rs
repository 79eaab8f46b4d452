//! Where the sealing keys come from: a file or a credential with a key a line,
//! the newest first. It seals; those below it are there because something that
//! they have sealed is still needed.

pub mod export;
pub(super) mod file;

use super::seal::{KeyId, Sealer};
use crate::config::KeySource;
use std::io;
use std::path::{Path, PathBuf};

/// A sealing key that cannot be had, or is not the right one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is a database, and the key that sealed it is gone.
    #[error(
        "the sealing key {0} is missing, but a database sealed with it exists; put the key back from where you keep it (backups of the state do not contain it)"
    )]
    Missing(PathBuf),
    /// The credential was not handed over.
    #[error(
        "the sealing key's credential {0} is missing; check LoadCredential= or LoadCredentialEncrypted= in the unit"
    )]
    MissingCredential(PathBuf),
    /// Others can read it.
    #[error(
        "the sealing key {path} can be read by others than its owner (mode {mode:04o}); run: chmod 0600 {path} (in Kubernetes: defaultMode: 0440)"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else could have put it there, and could open what it seals.
    #[error(
        "the sealing key {path} belongs to {owner}; look at who put it there, then run: chown USER {path}"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// Not 64 hexadecimal digits a line.
    #[error("the sealing key {0} is not 64 hexadecimal digits; put the right file back")]
    Malformed(PathBuf),
    /// refreshd cannot write it.
    #[error(
        "the sealing key is the systemd credential {0}, which refreshd can only read; put the new key (openssl rand -hex 32) above the old one into what LoadCredential= or LoadCredentialEncrypted= names, a key a line, and restart: what the old key has sealed is sealed anew then, and `refreshd key status` says when its line may go"
    )]
    ReadOnly(PathBuf),
    /// It was changed by somebody else meanwhile.
    #[error(
        "the sealing key {0} is not the one that was read at the start; put it back, or restart refreshd"
    )]
    Changed(PathBuf),
    /// It is a key, but another one.
    #[error(
        "the sealing key {path} is key {given}, but the database was sealed with key {sealed_by}; put that key back (nothing was changed)"
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The id of the key in it.
        given: KeyId,
        /// The id of the key that is wanted.
        sealed_by: KeyId,
    },
    /// The file system said no.
    #[error("the sealing key {path} cannot be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// The file or credential.
pub(super) fn path(source: &KeySource) -> &Path {
    match source {
        KeySource::File(path) | KeySource::Credential(path) => path,
    }
}

impl Sealer {
    /// Reads the key from where it lives. A missing key *file* is made, but
    /// only while no database exists: a new key could not open an old one.
    ///
    /// # Errors
    /// When the key is missing, malformed, unreadable or exposed to others.
    pub fn load(source: &KeySource, database_exists: bool) -> Result<Sealer, KeyError> {
        let key_path = path(source);
        match file::read(source) {
            Err(KeyError::Io { source: e, .. }) if e.kind() == io::ErrorKind::NotFound => {
                match source {
                    KeySource::Credential(_) => {
                        Err(KeyError::MissingCredential(key_path.to_owned()))
                    }
                    KeySource::File(_) if database_exists => {
                        Err(KeyError::Missing(key_path.to_owned()))
                    }
                    KeySource::File(_) => {
                        let key = file::random();
                        file::write(key_path, std::slice::from_ref(&key))?;
                        Ok(Sealer::new(&key))
                    }
                }
            }
            other => other.map(|keys| Sealer::with_keys(keys.iter().map(|key| &**key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/seal.key");
        let source = KeySource::File(path.clone());
        let made = Sealer::load(&source, false).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 65 && text.ends_with('\n'));
        for exists in [true, false] {
            assert_eq!(
                Sealer::load(&source, exists).unwrap().key_id(),
                made.key_id()
            );
        }
    }

    #[test]
    fn is_not_made_for_an_old_database_nor_as_a_credential() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        assert!(matches!(
            Sealer::load(&KeySource::File(path.clone()), true),
            Err(KeyError::Missing(_))
        ));
        assert!(matches!(
            Sealer::load(&KeySource::Credential(path.clone()), false),
            Err(KeyError::MissingCredential(_))
        ));
        assert!(!path.exists());
    }

    #[test]
    fn exposed_or_malformed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal.key");
        let file = KeySource::File(path.clone());
        Sealer::load(&file, false).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o444, 0o450] {
            chmod(&path, mode);
            assert!(matches!(
                Sealer::load(&file, true),
                Err(KeyError::Exposed { .. })
            ));
        }
        // A Secret of Kubernetes, which nobody may write.
        chmod(&path, 0o440);
        assert!(Sealer::load(&file, true).is_ok());
        // An ACL's mask shows as group bits on a credential.
        chmod(&path, 0o440);
        assert!(Sealer::load(&KeySource::Credential(path.clone()), true).is_ok());
        chmod(&path, 0o600);
        let two_of_one = format!("{}\n{}\n", "a".repeat(64), "b".repeat(63));
        for bad in ["", "abc\n", &"g".repeat(64), &"a".repeat(66), &two_of_one] {
            fs::write(&path, bad).unwrap();
            assert!(
                matches!(Sealer::load(&file, true), Err(KeyError::Malformed(_))),
                "{bad}"
            );
        }
    }
}
