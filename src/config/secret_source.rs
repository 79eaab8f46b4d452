//! Client secrets are read where they live: a file, the environment, a systemd
//! credential. None is ever part of a message.

use super::raw::RawSecret;
use refreshd_core::secret::Secret;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest secret that is taken.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// None or several of the three ways were given.
    #[error("name one of file, env and credential")]
    NotOne,
    /// Relative to what?
    #[error("secret file {} must be an absolute path", .0.display())]
    Relative(PathBuf),
    /// Anyone on this machine could read it.
    #[error("secret file {} can be read by everyone (mode {mode:04o})", .path.display())]
    ReadableByAll {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system said no.
    #[error("cannot read secret file {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("secret file {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The environment lacks it.
    #[error("environment variable {0} is not set")]
    NoVariable(String),
    /// systemd passed no credentials.
    #[error("credential {0:?} cannot be had: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(String),
    /// It would leave the directory.
    #[error("{0:?} is not the name of a credential")]
    BadCredentialName(String),
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// Control characters would be sent as part of it.
    #[error("the secret in {0} holds a control character, such as a line break")]
    Control(String),
    /// Not text.
    #[error("the secret in {0} is not UTF-8 text")]
    NotText(String),
    /// Too long to be a secret.
    #[error("the secret in {0} is longer than 64 KiB")]
    TooLong(String),
}

impl SecretError {
    /// What to do about it.
    pub(super) fn remedy(&self) -> Option<String> {
        let remedy = match self {
            SecretError::NotOne => super::extract::SECRET_REMEDY.to_owned(),
            SecretError::Relative(_) => "begin it with /".to_owned(),
            SecretError::ReadableByAll { path, .. } => format!(
                "chmod 0400 {}; in Kubernetes, defaultMode: 0440 on the volume",
                path.display()
            ),
            SecretError::Unreadable { error, .. } => match error.kind() {
                std::io::ErrorKind::NotFound => "create it, with mode 0400".to_owned(),
                _ => "make it readable for the user that refreshd runs as".to_owned(),
            },
            SecretError::NoCredentials(name) | SecretError::BadCredentialName(name) => {
                format!("write LoadCredential={}:/… into the unit", simple(name))
            }
            SecretError::Control(_) => {
                "write the secret alone, on one line; one line feed at the end is fine".to_owned()
            }
            _ => return None,
        };
        Some(remedy)
    }
}

fn simple(name: &str) -> &str {
    if is_credential_name(name) {
        name
    } else {
        "NAME"
    }
}

/// Reads a secret.
pub(super) fn read(raw: &RawSecret, env: &BTreeMap<String, String>) -> Result<Secret, SecretError> {
    match (&raw.file, &raw.env, &raw.credential) {
        (Some(path), None, None) if path.is_relative() => Err(SecretError::Relative(path.clone())),
        (Some(path), None, None) => from_file(path),
        (None, Some(name), None) => {
            let text = env
                .get(name)
                .ok_or_else(|| SecretError::NoVariable(name.clone()))?;
            checked(text, name)
        }
        (None, None, Some(name)) => from_file(&credential_path(name, env)?),
        _ => Err(SecretError::NotOne),
    }
}

/// Where systemd put a credential.
pub(super) fn credential_path(
    name: &str,
    env: &BTreeMap<String, String>,
) -> Result<PathBuf, SecretError> {
    if !is_credential_name(name) {
        return Err(SecretError::BadCredentialName(name.to_owned()));
    }
    let dir = env
        .get("CREDENTIALS_DIRECTORY")
        .filter(|dir| !dir.is_empty());
    let dir = dir.ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
    Ok(Path::new(dir).join(name))
}

fn is_credential_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn from_file(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error| SecretError::Unreadable {
        path: path.to_owned(),
        error,
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretError::NotAFile(path.to_owned()));
    }
    if metadata.mode() & 0o004 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(SecretError::ReadableByAll {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(MAX_BYTES) + 2).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let place = path.display().to_string();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong(place));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText(place.clone()))?;
    checked(text, &place)
}

fn checked(text: &str, place: &str) -> Result<Secret, SecretError> {
    let text = text
        .strip_suffix('\n')
        .map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err(SecretError::Empty(place.to_owned()));
    }
    if text.chars().any(char::is_control) {
        return Err(SecretError::Control(place.to_owned()));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn in_env(text: &str) -> Result<Secret, SecretError> {
        let raw = RawSecret {
            env: Some("S".into()),
            ..RawSecret::default()
        };
        read(&raw, &BTreeMap::from([("S".to_owned(), text.to_owned())]))
    }

    #[test]
    fn one_line_feed_is_trimmed_and_no_more() {
        assert_eq!(in_env("hunter2\n").unwrap().expose(), "hunter2");
        assert_eq!(in_env("hunter2\r\n").unwrap().expose(), "hunter2");
        assert_eq!(in_env(" hunter2 ").unwrap().expose(), " hunter2 ");
        assert!(matches!(
            in_env("hunter2\n\n"),
            Err(SecretError::Control(_))
        ));
        assert!(matches!(in_env("hun\tter2"), Err(SecretError::Control(_))));
        assert!(matches!(in_env("\n"), Err(SecretError::Empty(_))));
    }

    #[test]
    fn credentials_stay_in_their_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("retm");
        std::fs::write(&file, "s3cret\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        let env = BTreeMap::from([(
            "CREDENTIALS_DIRECTORY".to_owned(),
            dir.path().display().to_string(),
        )]);
        let named = |name: &str| RawSecret {
            credential: Some(name.into()),
            ..RawSecret::default()
        };
        assert_eq!(read(&named("retm"), &env).unwrap().expose(), "s3cret");
        let outside = read(&named("../retm"), &env);
        assert!(matches!(outside, Err(SecretError::BadCredentialName(_))));
        let none = read(&named("retm"), &BTreeMap::new());
        assert!(matches!(none, Err(SecretError::NoCredentials(_))));
    }
}
