//! `.FILE.meta.json`: what is no secret about a published file, written after
//! it. It says whose the file is (so that nothing else is ever withdrawn) and
//! which generation it holds (so that a rolled-back store is noticed). Nothing in it
//! changes while the token stays the same: a change would wake whoever watches.

use super::View;
use super::file::{Access, FileError, Place, Stand, split, with_suffix};
use crate::config::{Output, meta_beside};
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The content of `.FILE.meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The store that published it.
    pub store_id: String,
    /// The grant's identity there.
    pub grant_id: GrantId,
    /// The grant's name.
    pub grant: String,
    /// The generation that was published.
    pub generation: u64,
    /// When its request was sent, RFC 3339.
    pub issued_at: String,
    /// When the access token ends, RFC 3339; `None` where that is a guess.
    pub expires_at: Option<String>,
}

/// What stands in the place of a file's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// Something that we did not write.
    Foreign,
    /// Metadata.
    Meta(Meta),
}

impl Meta {
    /// What is to be said of a view.
    #[must_use]
    pub fn of(view: &View) -> Meta {
        let state = &view.grant.state;
        Meta {
            store_id: view.store_id.clone(),
            grant_id: view.grant.id.clone(),
            grant: view.grant.name.clone(),
            generation: state.generation,
            issued_at: state.issued_at.rfc3339(),
            expires_at: (!state.expiry_unknown).then(|| state.expires_at.rfc3339()),
        }
    }

    /// One line, with a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings and numbers become JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Whether it tells of a later generation of the same grant in the same store.
    #[must_use]
    pub fn is_ahead_of(&self, view: &View) -> bool {
        self.store_id == view.store_id
            && self.grant_id == view.grant.id
            && self.generation > view.grant.state.generation
    }

    /// Whether the token that it is about is over.
    #[must_use]
    pub fn is_over(&self, now: WallTime) -> bool {
        let end = self.expires_at.as_deref().and_then(WallTime::parse_rfc3339);
        end.is_some_and(|end| end <= now)
    }
}

/// The metadata of an output, when there are any that can be read.
#[must_use]
pub fn read_meta(output: &Output) -> Option<Meta> {
    let (dir, name) = split(&output.path).ok()?;
    let place = Place::open(dir).ok()??;
    match find(&place, name, output.meta_path().as_deref()).ok()? {
        Found::Meta(meta) => Some(meta),
        Found::Absent | Found::Foreign => None,
    }
}

/// Looks for the metadata of the file `name`: where they are configured to be, else
/// where they may have been before.
///
/// # Errors
/// When they are there but cannot be read.
pub fn find(place: &Place, name: &OsStr, meta: Option<&Path>) -> Result<Found, FileError> {
    let configured = match meta {
        Some(path) => look(path)?,
        None => Found::Absent,
    };
    if configured != Found::Absent {
        return Ok(configured);
    }
    for path in former(place, name) {
        if Some(path.as_path()) != meta
            && let Ok(Found::Meta(meta)) = look(&path)
        {
            return Ok(Found::Meta(meta));
        }
    }
    Ok(Found::Absent)
}

/// Where metadata stand if nothing else is said, and where earlier versions had them.
fn former(place: &Place, name: &OsStr) -> [PathBuf; 2] {
    let (_, dir) = place.parts();
    let file = dir.join(name);
    [
        meta_beside(&file),
        dir.join(with_suffix(name, ".meta.json")),
    ]
}

fn look(path: &Path) -> Result<Found, FileError> {
    let (dir, name) = split(path)?;
    let Some(place) = Place::open(dir)? else {
        return Ok(Found::Absent);
    };
    if place.stand(name)?.is_none() {
        return Ok(Found::Absent);
    }
    let existing = place.read(name)?;
    let read = existing.and_then(|existing| serde_json::from_slice(&existing.bytes).ok());
    Ok(read.map_or(Found::Foreign, Found::Meta))
}

/// Replaces the metadata at a path, unless they say the same already. Who may not
/// read the file may not read them either. What stands there then, and whether it was
/// written; where that was not in `beside`, its directory is synced.
///
/// # Errors
/// When they cannot be written.
pub fn write(
    beside: &Place,
    path: &Path,
    meta: &Meta,
    access: &Access,
) -> Result<(Stand, bool), FileError> {
    let (dir, name) = split(path)?;
    let access = access.with_mode(0o600 | (beside.mode_of(access) & 0o044));
    let elsewhere = match dir == beside.parts().1 {
        true => None,
        false => Some(Place::open_or_make(dir, &access)?),
    };
    let place = elsewhere.as_ref().unwrap_or(beside);
    let bytes = meta.to_bytes();
    if let Ok(Some(existing)) = place.read(name)
        && *existing.bytes == bytes
        && place.would_keep(&existing, &access)
    {
        return Ok((existing.stand, false));
    }
    let stand = place.replace(name, &bytes, &access)?;
    if let Some(place) = &elsewhere {
        place.sync()?;
    }
    Ok((stand, true))
}

/// Removes metadata of this store that stand anywhere but where they belong.
///
/// # Errors
/// When they cannot be removed.
pub fn withdraw_former(
    place: &Place,
    name: &OsStr,
    current: Option<&Path>,
    store_id: &str,
) -> Result<(), FileError> {
    for path in former(place, name) {
        if Some(path.as_path()) != current
            && matches!(look(&path), Ok(Found::Meta(meta)) if meta.store_id == store_id)
        {
            let (_, name) = split(&path)?;
            place.remove(name)?;
        }
    }
    Ok(())
}

/// Removes the metadata at a path, if they are this store's.
///
/// # Errors
/// When they cannot be removed.
pub fn withdraw(path: &Path, store_id: &str) -> Result<(), FileError> {
    let ours = matches!(look(path), Ok(Found::Meta(meta)) if meta.store_id == store_id);
    let (dir, name) = split(path)?;
    match Place::open(dir)? {
        Some(place) if ours => place.remove(name),
        _ => Ok(()),
    }
}
