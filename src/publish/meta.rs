//! `FILE.meta.json`: what is no secret about a published file, written after
//! it. It says whose the file is (so that nothing else is ever withdrawn) and
//! which generation it holds (so that a rolled-back store is noticed).

use super::View;
use super::file::{FileError, Place, split, with_suffix};
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::Path;

/// Ends the name of a published file's metadata.
pub const SUFFIX: &str = ".meta.json";

/// The content of `FILE.meta.json`.
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
    /// The word for how the grant is, as in `status`.
    pub state: String,
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
    /// What is to be said of a view now.
    #[must_use]
    pub fn of(view: &View, now: WallTime) -> Meta {
        let state = &view.grant.state;
        Meta {
            store_id: view.store_id.clone(),
            grant_id: view.grant.id.clone(),
            grant: view.grant.name.clone(),
            generation: state.generation,
            issued_at: state.issued_at.rfc3339(),
            expires_at: (!state.expiry_unknown).then(|| state.expires_at.rfc3339()),
            state: state.status(now).to_string(),
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
}

/// The metadata of a published file, when there is any that can be read.
#[must_use]
pub fn read_meta(path: &Path) -> Option<Meta> {
    let (dir, name) = split(path).ok()?;
    match find(&Place::open(dir).ok()??, name).ok()? {
        Found::Meta(meta) => Some(meta),
        Found::Absent | Found::Foreign => None,
    }
}

/// Looks for the metadata of the file `name`.
///
/// # Errors
/// When it is there but cannot be read.
pub fn find(place: &Place, name: &OsStr) -> Result<Found, FileError> {
    let Some(existing) = place.read(&with_suffix(name, SUFFIX))? else {
        return Ok(Found::Absent);
    };
    Ok(serde_json::from_slice(&existing.bytes).map_or(Found::Foreign, Found::Meta))
}

/// Replaces the metadata of the file `name`, unless they say the same already.
/// Who may not read the file may not read them either. Whether it did; the
/// directory is still to be synced then.
///
/// # Errors
/// When it cannot be written.
pub fn write(place: &Place, name: &OsStr, meta: &Meta, file_mode: u32) -> Result<bool, FileError> {
    let (name, bytes) = (with_suffix(name, SUFFIX), meta.to_bytes());
    let mode = 0o600 | (file_mode & 0o044);
    if let Ok(Some(existing)) = place.read(&name)
        && *existing.bytes == bytes
        && place.would_keep(&existing, mode)
    {
        return Ok(false);
    }
    place.replace(&name, &bytes, mode).map(|()| true)
}
