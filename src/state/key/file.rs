//! The file with the sealing keys. It is only ever replaced whole: whenever a
//! rotation is cut short, the file holds every key that is needed.

use super::{KeyError, path};
use crate::config::KeySource;
use crate::random;
use crate::state::disk;
use crate::state::seal::KeyId;
use crate::trust::{self, Distrust, Owners};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// A sealing key.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// More than any file of keys has; what is longer is another file.
const MAX_BYTES: usize = 16 * 1024;

/// The keys, newest first.
pub(in crate::state) fn read(source: &KeySource) -> Result<Vec<Key>, KeyError> {
    let path = path(source);
    let io = |source| KeyError::Io {
        path: path.to_owned(),
        verb: "read",
        source,
    };
    let (file, found) = trust::open_regular(path).map_err(io)?;
    let mode = found.permissions().mode() & 0o7777;
    // Root may look after anybody's key.
    if trust::effective_uid() != 0
        && let Err(Distrust::Owner { owner, .. }) = trust::path(path, &Owners::own())
    {
        return Err(KeyError::Foreign {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & forbidden(source, mode) != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    file.take(MAX_BYTES as u64)
        .read_to_end(&mut text)
        .map_err(io)?;
    parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

/// The mode bits that a key must not have.
fn forbidden(source: &KeySource, mode: u32) -> u32 {
    const FOR_WRITING: u32 = 0o222;
    match source {
        // systemd grants its credentials to a service by an ACL, which shows as group bits.
        KeySource::Credential(_) => 0o007,
        // A Secret that Kubernetes mounts for a pod with an fsGroup is 0440 and cannot be changed.
        KeySource::File(_) if mode & FOR_WRITING == 0 => 0o037,
        KeySource::File(_) => 0o077,
    }
}

/// A key a line; `None` when a line is none, or there is no line.
pub(super) fn parse(text: &[u8]) -> Option<Vec<Key>> {
    let lines = text.trim_ascii_end().split(|byte| *byte == b'\n');
    lines.map(|line| decode(line.trim_ascii_end())).collect()
}

/// The way back from [`parse`].
pub(super) fn lines(keys: &[Key]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(keys.len() * 65));
    for key in keys {
        text.push_str(&Zeroizing::new(disk::hex(&**key)));
        text.push('\n');
    }
    text
}

fn decode(digits: &[u8]) -> Option<Key> {
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |d: u8| char::from(d).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(key)
}

/// A key that nobody has.
pub(in crate::state) fn random() -> Key {
    Zeroizing::new(random::bytes::<32>())
}

/// Replaces the file; durable when this returns, and before anything is sealed
/// with a key that is new in it.
pub(in crate::state) fn write(path: &Path, keys: &[Key]) -> Result<(), KeyError> {
    let dir = disk::parent(path);
    disk::private_dir(dir)
        .and_then(|()| disk::replace(path, lines(keys).as_bytes()))
        .and_then(|()| disk::sync_dir(dir))
        .map_err(|source| KeyError::Io {
            path: path.to_owned(),
            verb: "written",
            source,
        })
}

/// Puts a new key above those that are there; `known` are the keys that the
/// daemon works with.
pub(in crate::state) fn put_new(source: &KeySource, known: &[KeyId]) -> Result<Key, KeyError> {
    let (path, mut keys) = ours(source, known)?;
    let new = random();
    keys.insert(0, new.clone());
    write(path, &keys)?;
    Ok(new)
}

/// Takes keys out that nothing needs any more.
pub(in crate::state) fn take_out(
    source: &KeySource,
    known: &[KeyId],
    out: &[KeyId],
) -> Result<(), KeyError> {
    let (path, mut keys) = ours(source, known)?;
    keys.retain(|key| !out.contains(&KeyId::of_key(key)));
    write(path, &keys)
}

/// The file to write to and the keys in it, which must be those that are known.
fn ours<'a>(source: &'a KeySource, known: &[KeyId]) -> Result<(&'a Path, Vec<Key>), KeyError> {
    let KeySource::File(path) = source else {
        return Err(KeyError::ReadOnly(path(source).to_owned()));
    };
    let keys = read(source)?;
    let found: Vec<KeyId> = keys.iter().map(|key| KeyId::of_key(key)).collect();
    if found != known {
        return Err(KeyError::Changed(path.clone()));
    }
    Ok((path, keys))
}

/// Adds keys below those that are there, which go on to seal; makes the file
/// where there is none. The ids of those that are new.
pub(in crate::state) fn add_below(path: &Path, more: &[Key]) -> Result<Vec<KeyId>, KeyError> {
    let source = KeySource::File(path.to_owned());
    let mut keys = match read(&source) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    let mut added = Vec::new();
    for key in more {
        if !keys.contains(key) {
            added.push(KeyId::of_key(key));
            keys.push(key.clone());
        }
    }
    if !added.is_empty() {
        write(path, &keys)?;
    }
    Ok(added)
}
