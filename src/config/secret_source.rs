//! Client secrets are read where they live: a file, the environment, a systemd
//! credential. None is ever part of a message.

pub(super) use super::odd_text::oddities;
use super::odd_text::{BYTE_ORDER_MARK, Odd};
use super::raw::RawSecret;
use crate::trust::{self, Distrust, Owners};
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
    /// Others could have put another there.
    #[error("secret file {0}")]
    Distrusted(Distrust),
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
    /// As Windows' Notepad and PowerShell write it.
    #[error("the secret in {0} is UTF-16 text")]
    Utf16(String),
    /// Too long to be a secret.
    #[error("the secret in {0} is longer than 64 KiB")]
    TooLong(String),
}

impl SecretError {
    /// Whether the service itself may well be able to read it. `outside`: it runs as
    /// somebody else than who looks.
    pub(super) fn is_of_the_service(&self, outside: bool) -> bool {
        match self {
            SecretError::NoCredentials(_) => true,
            SecretError::NoVariable(_) => outside,
            SecretError::Unreadable { error, .. } => {
                outside && error.kind() == std::io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }

    /// That it could not be looked at, for somebody outside of the service.
    pub(super) fn remark(&self) -> String {
        match self {
            SecretError::NoCredentials(name) => {
                format!("credential {name}: only readable within the service")
            }
            SecretError::NoVariable(name) => {
                format!("environment variable {name}: only readable within the service")
            }
            other => format!("{other}, as this user; the service may be able to"),
        }
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> Option<String> {
        let remedy = match self {
            SecretError::NotOne => super::extract::SECRET_REMEDY.to_owned(),
            SecretError::Relative(_) => "begin it with /".to_owned(),
            SecretError::ReadableByAll { path, .. } => format!(
                "chmod 0400 {}; in Kubernetes, defaultMode: 0440 on the volume",
                path.display()
            ),
            SecretError::Distrusted(why) => why.remedy(),
            SecretError::Unreadable { error, .. } => match error.kind() {
                std::io::ErrorKind::NotFound => "create it, with mode 0400".to_owned(),
                _ => "make it readable for the user that refreshd runs as".to_owned(),
            },
            SecretError::NoCredentials(name) | SecretError::BadCredentialName(name) => {
                format!("write LoadCredential={}:/… into the unit", simple(name))
            }
            SecretError::Utf16(_) | SecretError::NotText(_) => {
                "write it as UTF-8 without a byte order mark: printf %s \"$SECRET\" > FILE"
                    .to_owned()
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

/// A secret as it is sent, and what is odd about it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) secret: Secret,
    pub(super) odd: Vec<Odd>,
}

/// Where a secret lies.
pub(super) enum Place {
    /// In a file, a credential's too.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// Where a secret lies, without a look at it.
pub(super) fn place(
    raw: &RawSecret,
    env: &BTreeMap<String, String>,
) -> Result<Option<Place>, SecretError> {
    match (&raw.file, &raw.env, &raw.credential) {
        (Some(path), None, None) if path.is_relative() => Err(SecretError::Relative(path.clone())),
        (Some(path), None, None) => Ok(Some(Place::File(path.clone()))),
        (None, Some(name), None) => Ok(Some(Place::Variable(name.clone()))),
        (None, None, Some(name)) => match credential_path(name, env) {
            Ok(path) => Ok(Some(Place::File(path))),
            Err(SecretError::NoCredentials(_)) => Ok(None),
            Err(error) => Err(error),
        },
        _ => Err(SecretError::NotOne),
    }
}

/// Reads a secret.
pub(super) fn read(raw: &RawSecret, env: &BTreeMap<String, String>) -> Result<Found, SecretError> {
    match place(raw, env)? {
        Some(Place::File(path)) => from_file(&path),
        Some(Place::Variable(name)) => match env.get(&name) {
            Some(text) => checked(text, &name),
            None => Err(SecretError::NoVariable(name)),
        },
        None => {
            let name = raw.credential.clone().unwrap_or_default();
            Err(SecretError::NoCredentials(name))
        }
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

fn from_file(path: &Path) -> Result<Found, SecretError> {
    let unreadable = |error| SecretError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let (file, metadata) = match trust::open_regular(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Err(SecretError::NotAFile(path.to_owned()));
        }
        opened => opened.map_err(unreadable)?,
    };
    if metadata.mode() & 0o004 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(SecretError::ReadableByAll {
            path: path.to_owned(),
            mode,
        });
    }
    let owners = Owners::own();
    let foreign = match trust::path(path, &owners) {
        Err(why @ Distrust::Writable { .. }) => return Err(SecretError::Distrusted(why)),
        Err(Distrust::Owner { .. }) => Some(metadata.uid()),
        _ => None,
    };
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(MAX_BYTES) + 2).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let place = path.display().to_string();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong(place));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(SecretError::Utf16(place));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText(place.clone()))?;
    let mut found = checked(text, &place)?;
    if let Some(uid) = foreign {
        let place = format!("the secret in {place}");
        found.odd.push(Odd::Foreign { place, uid });
    }
    Ok(found)
}

/// The secret in a text that somebody hands over, and what is odd about it.
///
/// # Errors
/// Why it cannot be one.
pub fn of_text(text: &str, place: &str) -> Result<(Secret, Vec<String>), String> {
    let found = checked(text, place).map_err(|error| error.to_string())?;
    let odd = found.odd.iter().map(ToString::to_string).collect();
    Ok((found.secret, odd))
}

/// What is sent of a text: without a byte order mark, and without one line end.
fn checked(text: &str, place: &str) -> Result<Found, SecretError> {
    let marked = text.strip_prefix(BYTE_ORDER_MARK);
    let text = marked.unwrap_or(text);
    let text = text
        .strip_suffix('\n')
        .map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return Err(SecretError::Empty(place.to_owned()));
    }
    if text.chars().any(char::is_control) {
        return Err(SecretError::Control(place.to_owned()));
    }
    let place = format!("the secret in {place}");
    let mut odd = oddities(text, &place);
    if marked.is_some() {
        odd.insert(0, Odd::Mark { place });
    }
    Ok(Found {
        secret: Secret::new(text),
        odd,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn told(text: &str) -> Vec<String> {
        let odd = of_env(text).unwrap().odd;
        odd.iter().map(ToString::to_string).collect()
    }

    fn in_env(text: &str) -> Result<Secret, SecretError> {
        of_env(text).map(|read| read.secret)
    }

    fn of_env(text: &str) -> Result<Found, SecretError> {
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
    fn a_byte_order_mark_is_not_sent_and_is_told() {
        assert_eq!(in_env("\u{feff}hunter2\n").unwrap().expose(), "hunter2");
        assert_eq!(in_env("\u{feff}hunter2\r\n").unwrap().expose(), "hunter2");
        let told = told("\u{feff}hunter2");
        assert_eq!(
            told,
            ["the secret in S begins with a byte order mark, which is not sent"]
        );
        assert!(matches!(in_env("\u{feff}\n"), Err(SecretError::Empty(_))));
    }

    #[test]
    fn what_nobody_sees_is_sent_and_told() {
        for (text, needle) in [
            ("hunter2 ", "ends with a blank"),
            (" hunter2", "begins with a blank"),
            ("hunter2\u{a0}", "ends with a blank"),
            ("hun\u{200b}ter2", "U+200B"),
            ("hunter2\u{feff}", "U+FEFF"),
            ("\"hunter2\"", "stands in quotation marks"),
            ("\u{201c}hunter2\u{201d}", "stands in quotation marks"),
        ] {
            assert_eq!(in_env(text).unwrap().expose(), text, "{text:?}");
            let told = told(text).join("; ");
            assert!(told.contains(needle), "{text:?}: {told}");
            assert!(
                !told.contains("hunter2") && !told.contains("ter2"),
                "{told}"
            );
        }
        assert!(told("hunter2").is_empty());
        assert!(told("hun ter2").is_empty());
    }

    #[test]
    fn utf_16_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, b"\xff\xfeh\0u\0").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(matches!(from_file(&file), Err(SecretError::Utf16(_))));
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
        assert_eq!(
            read(&named("retm"), &env).unwrap().secret.expose(),
            "s3cret"
        );
        let outside = read(&named("../retm"), &env);
        assert!(matches!(outside, Err(SecretError::BadCredentialName(_))));
        let none = read(&named("retm"), &BTreeMap::new());
        assert!(matches!(none, Err(SecretError::NoCredentials(_))));
    }
}
