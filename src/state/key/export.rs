//! The sealing keys under a passphrase, for a safe place elsewhere.
//!
//! The file is JSON. The keys in it are sealed with a key that PBKDF2-HMAC-SHA-256
//! derives from the passphrase (RFC 8018 §5.2): slower than it is hard on
//! memory, but of what is in the tree anyway; the file names its derivation, so
//! that another can follow.

use super::file::{self, Key};
use super::{KeyError, path};
use crate::config::KeySource;
use crate::random;
use crate::state::disk;
use crate::state::lock::{LockError, StateLock};
use crate::state::seal::{Context, KeyId, Sealer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use refreshd_core::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What OWASP asks of PBKDF2-HMAC-SHA-256.
const ITERATIONS: u32 = 600_000;
/// A file that asks for more would keep this machine busy for minutes.
const MOST_ITERATIONS: u32 = 50_000_000;
/// The shortest passphrase: the file outlives the machine, and whoever has it may guess.
pub const SHORTEST: usize = 12;

const KDF: &str = "pbkdf2-hmac-sha256";
const CONTEXT: Context<'static> = Context {
    purpose: "export",
    owner: "",
    column: "keys",
    generation: 1,
};

/// Keys that were not exported or imported. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Too easy to guess.
    #[error(
        "the passphrase is shorter than {SHORTEST} characters, and whoever has the file may guess as often as they like; take a longer one"
    )]
    Short,
    /// Something stands there.
    #[error("{0} exists already, and was left as it is; name another file")]
    Exists(PathBuf),
    /// Not a file of ours.
    #[error("{0} is no export of refreshd's keys, or of a newer refreshd")]
    Foreign(PathBuf),
    /// It does not open.
    #[error("{0} does not open with this passphrase, or was changed; nothing was imported")]
    Passphrase(PathBuf),
    /// The keys themselves.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The daemon runs, or the state is not ours.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file system said no.
    #[error("{path} cannot be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What it said.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    refreshd_key_export: u8,
    /// For a person who looks for the right file.
    keys: Vec<KeyId>,
    kdf: String,
    iterations: u32,
    salt: String,
    sealed: String,
}

/// Writes the keys of a source into a new file, under a passphrase; their ids.
///
/// # Errors
/// When the keys cannot be read, the passphrase is short, or the file is there.
pub fn export(
    source: &KeySource,
    target: &Path,
    passphrase: &Secret,
) -> Result<Vec<KeyId>, ExportError> {
    if passphrase.expose().chars().count() < SHORTEST {
        return Err(ExportError::Short);
    }
    let keys = file::read(source)?;
    let ids: Vec<KeyId> = keys.iter().map(|key| KeyId::of_key(key)).collect();
    let salt = random::bytes::<16>();
    let sealed =
        derived(passphrase, &salt, ITERATIONS).seal(&CONTEXT, file::lines(&keys).as_bytes());
    let export = Export {
        refreshd_key_export: 1,
        keys: ids.clone(),
        kdf: KDF.to_owned(),
        iterations: ITERATIONS,
        salt: STANDARD.encode(salt),
        sealed: STANDARD.encode(sealed),
    };
    let text = serde_json::to_string_pretty(&export).expect("an export is plain data");
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()?;
            disk::sync_dir(disk::parent(target))
        });
    match written {
        Ok(()) => Ok(ids),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(ExportError::Exists(target.to_owned()))
        }
        Err(source) => Err(ExportError::Io {
            path: target.to_owned(),
            verb: "written",
            source,
        }),
    }
}

/// Puts exported keys where the configuration looks for them: alone where there
/// are none, else below those that are there. The ids of those that are new.
///
/// # Errors
/// When the daemon runs, the file does not open, or the keys cannot be written.
pub fn import(
    source: &KeySource,
    state_dir: &Path,
    exported: &Path,
    passphrase: &Secret,
) -> Result<Vec<KeyId>, ExportError> {
    let KeySource::File(target) = source else {
        return Err(KeyError::ReadOnly(path(source).to_owned()).into());
    };
    let keys = open(exported, passphrase)?;
    // Where there is no state, nobody holds it, and none is made.
    let _lock = match StateLock::take(state_dir, false) {
        Err(LockError::Absent(_)) => None,
        taken => Some(taken?),
    };
    Ok(file::add_below(target, &keys)?)
}

fn open(exported: &Path, passphrase: &Secret) -> Result<Vec<Key>, ExportError> {
    let foreign = || ExportError::Foreign(exported.to_owned());
    let text = fs::read(exported).map_err(|source| ExportError::Io {
        path: exported.to_owned(),
        verb: "read",
        source,
    })?;
    let export: Export = serde_json::from_slice(&text).map_err(|_| foreign())?;
    let known = export.refreshd_key_export == 1 && export.kdf == KDF;
    if !known || !(1..=MOST_ITERATIONS).contains(&export.iterations) {
        return Err(foreign());
    }
    let salt = STANDARD.decode(&export.salt).map_err(|_| foreign())?;
    let sealed = STANDARD.decode(&export.sealed).map_err(|_| foreign())?;
    let lines = derived(passphrase, &salt, export.iterations)
        .open(&CONTEXT, &sealed)
        .map_err(|_| ExportError::Passphrase(exported.to_owned()))?;
    file::parse(&lines).ok_or_else(foreign)
}

/// The key that a passphrase stands for. Its envelope names its id, so that a
/// wrong passphrase is told by that.
fn derived(passphrase: &Secret, salt: &[u8], iterations: u32) -> Sealer {
    Sealer::new(&pbkdf2(passphrase.expose().as_bytes(), salt, iterations))
}

/// One block of PBKDF2-HMAC-SHA-256, which is all that a key takes.
fn pbkdf2(passphrase: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = Hmac::<Sha256>::new_from_slice(passphrase).expect("any length will do");
    let round = |parts: [&[u8]; 2]| {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()))
    };
    let mut last = round([salt, &1_u32.to_be_bytes()]);
    let mut key = last.clone();
    for _ in 1..iterations {
        last = round([&*last, &[]]);
        key.iter_mut().zip(*last).for_each(|(k, l)| *k ^= l);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derives_as_others_do() {
        // RFC 7914 §11, first 32 bytes; the second was made with Python's hashlib.
        assert_eq!(
            disk::hex(&*pbkdf2(b"passwd", b"salt", 1)),
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        );
        assert_eq!(
            disk::hex(&*pbkdf2(b"passphrase", b"0123456789abcdef", 1000)),
            "79fb009af2209905f16f041902cbeb904a639320ff0965fd3c787458e830c779"
        );
    }

    #[test]
    fn comes_back_under_its_passphrase_alone() {
        let root = tempfile::tempdir().unwrap();
        let source = KeySource::File(root.path().join("key"));
        let first = Sealer::load(&source, false).unwrap();
        file::put_new(&source, &first.key_ids()).unwrap();
        let ids = Sealer::load(&source, true).unwrap().key_ids();
        let exported = root.path().join("exported");
        let right = Secret::new("correct horse battery");
        let short = export(&source, &exported, &Secret::new("horse"));
        assert!(matches!(short, Err(ExportError::Short)));
        assert_eq!(export(&source, &exported, &right).unwrap(), ids);
        let again = export(&source, &exported, &right);
        assert!(matches!(again, Err(ExportError::Exists(_))));
        let text = fs::read_to_string(&exported).unwrap();
        let KeySource::File(path) = &source else {
            panic!("a file")
        };
        for line in fs::read_to_string(path).unwrap().lines() {
            assert!(!text.contains(line));
        }

        let state = root.path().join("state");
        let elsewhere = KeySource::File(root.path().join("elsewhere/key"));
        let wrong = import(&elsewhere, &state, &exported, &Secret::new("wrong"));
        assert!(matches!(wrong, Err(ExportError::Passphrase(_))));
        assert_eq!(import(&elsewhere, &state, &exported, &right).unwrap(), ids);
        assert_eq!(Sealer::load(&elsewhere, true).unwrap().key_ids(), ids);
        assert_eq!(import(&elsewhere, &state, &exported, &right).unwrap(), []);
        // What is there goes on to seal.
        let third = KeySource::File(root.path().join("third/key"));
        let own = Sealer::load(&third, false).unwrap().key_id();
        import(&third, &state, &exported, &right).unwrap();
        let all = Sealer::load(&third, true).unwrap().key_ids();
        assert_eq!(all, [vec![own], ids].concat());
        fs::write(&exported, "{}").unwrap();
        let foreign = import(&third, &state, &exported, &right);
        assert!(matches!(foreign, Err(ExportError::Foreign(_))));
    }
}
