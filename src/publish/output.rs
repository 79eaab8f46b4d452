//! One output brought to one view: the decisions around the write. What is
//! equal is not written, what is newer is left alone while the store is fenced,
//! and only what is ours is removed.

use super::View;
use super::file::{FileError, Place, split, with_suffix};
use super::format::{self, FormatError};
use super::meta::{self, Found, Meta};
use crate::config::{Output, WhenDead};
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::path::Path;

/// Why an output is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The token has no form in the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The file could not be replaced or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store was rolled back: what is published may be the living token.
    #[error(
        "generation {published} is published but the fenced store holds {held}; it is left alone until `refreshd doctor --accept-restore`"
    )]
    Fenced {
        /// The generation on disk.
        published: u64,
        /// The generation in the store.
        held: u64,
    },
}

/// Everything that one run over an output goes by.
#[derive(Debug)]
pub struct Job {
    /// The output, `{grant}` filled in.
    pub output: Output,
    /// What the store holds.
    pub view: View,
    /// The time to go by.
    pub now: WallTime,
    /// The store may be older than what is published.
    pub fenced: bool,
    /// Remove first what a crash left in `.tmp/`.
    pub sweep: bool,
}

/// Brings an output to a view. Returns the generation that is published now;
/// `None` when the token is dead and was withdrawn.
///
/// # Errors
/// When the output cannot be brought there; what was published stays.
pub fn publish(job: &Job) -> Result<Option<u64>, PublishError> {
    let (output, view) = (&job.output, &job.view);
    let (dir, name) = split(&output.path)?;
    let place = Place::open_or_make(dir)?;
    if job.sweep {
        place.sweep();
    }
    // Before the metadata, so that a wrong target is named as such.
    place.check_target(name)?;
    let found = meta::find(&place, name)?;
    if let Found::Meta(meta) = &found
        && job.fenced
        && meta.is_ahead_of(view)
    {
        return Err(PublishError::Fenced {
            published: meta.generation,
            held: view.grant.state.generation,
        });
    }
    let mode = output.mode.unwrap_or(place.default_mode()) & 0o777;
    let dead = output.when_dead == WhenDead::Withdraw && is_dead(view, job.now);
    let mut replaced = false;
    if dead {
        // The metadata stays: it says why there is no token, and its generation guards the fence.
        if is_ours(&found, &view.store_id, true) {
            place.remove(name)?;
        }
    } else {
        match write_if_changed(&place, job, mode) {
            Ok(wrote) => replaced = wrote,
            Err(error) => {
                if matches!(error, PublishError::Format(_)) && is_over(&found, job) {
                    place.remove(name)?;
                }
                return Err(error);
            }
        }
    }
    let told = meta::write(&place, name, &Meta::of(view, job.now), mode);
    // One sync for both, and also when the metadata could not be written.
    if replaced || told.as_ref().is_ok_and(|told| *told) {
        place.sync()?;
    }
    told?;
    Ok((!dead).then_some(view.grant.state.generation))
}

/// Whether what is published is ours, dead, and to be withdrawn then: the format
/// refused its successors.
fn is_over(found: &Found, job: &Job) -> bool {
    let Found::Meta(meta) = found else {
        return false;
    };
    let end = meta.expires_at.as_deref().and_then(WallTime::parse_rfc3339);
    job.output.when_dead == WhenDead::Withdraw
        && is_ours(found, &job.view.store_id, true)
        && end.is_some_and(|end| end <= job.now)
}

/// Whether the access token is over, or revoked. One whose expiry is a guess is not, until
/// somebody found it dead.
#[must_use]
pub fn is_dead(view: &View, now: WallTime) -> bool {
    let state = &view.grant.state;
    state.access_dead
        || state.revocation_was_sent()
        || (!state.expiry_unknown && now >= state.expires_at)
}

/// Whether it did; the directory is still to be synced then.
fn write_if_changed(place: &Place, job: &Job, mode: u32) -> Result<bool, PublishError> {
    let (output, view) = (&job.output, &job.view);
    let (_, name) = split(&output.path)?;
    let content = format::render(&output.format, view, job.now)?;
    // A file that cannot be read (mode 0200, say) is written again.
    if let Ok(Some(existing)) = place.read(name)
        && format::same(&output.format, &existing.bytes, view)
        && place.would_keep(&existing, mode)
    {
        return Ok(false);
    }
    place.replace(name, &content, mode)?;
    Ok(true)
}

fn is_ours(found: &Found, store_id: &str, recorded: bool) -> bool {
    match found {
        Found::Meta(meta) => meta.store_id == store_id,
        // A crash may have come between the file and its metadata.
        Found::Absent => recorded,
        Found::Foreign => false,
    }
}

/// Removes a published file, then its metadata, but only what is ours: the
/// metadata says so, or there is none and the store `recorded` the path.
/// Returns whether anything of ours was (or may have been) there.
///
/// # Errors
/// When something of ours cannot be removed.
pub fn withdraw(
    path: &Path,
    store_id: &str,
    grant_id: &GrantId,
    recorded: bool,
) -> Result<bool, FileError> {
    let (dir, name) = split(path)?;
    let Some(place) = Place::open(dir)? else {
        return Ok(false);
    };
    place.sweep();
    let found = meta::find(&place, name)?;
    let other_grant = matches!(&found, Found::Meta(meta) if meta.grant_id != *grant_id);
    if !is_ours(&found, store_id, recorded) || (other_grant && !recorded) {
        return Ok(false);
    }
    match place.remove(name) {
        // A directory is not ours, whatever stands beside it.
        Ok(()) | Err(FileError::IsDirectory(_)) => {}
        Err(error) => return Err(error),
    }
    place.remove(&with_suffix(name, meta::SUFFIX))?;
    Ok(true)
}

#[cfg(test)]
mod tests;
