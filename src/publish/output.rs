//! One output brought to one view: the decisions around the write. What is
//! equal is not written, what is newer is left alone while the store is fenced,
//! and only what is ours is removed.

use super::View;
use super::file::{
    Access, DirectoryRights, DirectoryStand, Existing, FileError, Place, Stand, split,
};
use super::format::{self, FormatError};
use super::meta::{self, Found, Meta};
use crate::config::{Output, WhenDead};
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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
    /// What the directory was when others could read there.
    pub known: Option<DirectoryRights>,
    /// Where its metadata were before, and are not to be any more.
    pub former: Vec<PathBuf>,
}

/// What came of bringing an output to a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The generation that stands there; `None`: the token is dead and was withdrawn.
    pub generation: Option<u64>,
    /// Something was written, since it did not stand there as wanted.
    pub wrote: bool,
    /// What stands there now.
    pub stands: Stands,
    /// Who cannot read it, and what to do: it was written all the same.
    pub complaint: Option<String>,
}

/// What was left behind by a write, for a later glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// The file; `None` where it was withdrawn.
    pub file: Option<Stand>,
    /// Its metadata and where they are.
    pub meta: Option<(PathBuf, Stand)>,
    /// The directory that it is in.
    pub directory: DirectoryStand,
}

/// Whether a file may be written that the store does not remember to have written:
/// the directory can be written to, and nothing stands there that is not ours. To be
/// asked before it is remembered.
///
/// # Errors
/// When it may not.
pub fn claim(job: &Job) -> Result<(), PublishError> {
    let (output, view) = (&job.output, &job.view);
    let (_, name) = split(&output.path)?;
    let place = directory_of(job)?;
    place.check_target(name)?;
    place.check_writable()?;
    if output.replace {
        return Ok(());
    }
    if let Some(path) = output.meta_path()
        && meta_is_foreign(&path)?
    {
        let what = "it holds no metadata of an output".to_owned();
        return Err(FileError::Foreign { path, what }.into());
    }
    let Some(stand) = place.stand(name)?.filter(|stand| !stand.is_empty_file()) else {
        return Ok(());
    };
    let what = match meta::find(&place, name, output.meta_path().as_deref())? {
        Found::Meta(meta) if meta.store_id == view.store_id => return Ok(()),
        Found::Meta(meta) if meta.grant == view.grant.name || meta.is_over(job.now) => {
            let path = output.path.display();
            tracing::warn!(%path, "{path} was published from another state of refreshd; it is replaced from now on");
            return Ok(());
        }
        Found::Meta(meta) => format!(
            "it holds the token of grant {:?} of another state of refreshd",
            meta.grant
        ),
        Found::Absent | Found::Foreign => {
            let existing = place.read(name).ok().flatten();
            let same = |found: &Existing| format::same(&output.format, &found.bytes, view);
            if existing.as_ref().is_some_and(same) {
                return Ok(());
            }
            match stand.kind() {
                Some(kind) => format!("it is {kind}"),
                None => format!("it belongs to {}", crate::config::user_name(stand.owner)),
            }
        }
    };
    let path = output.path.clone();
    Err(FileError::Foreign { path, what }.into())
}

/// Whether something else than metadata stands where metadata are to go.
fn meta_is_foreign(path: &Path) -> Result<bool, FileError> {
    let (dir, name) = split(path)?;
    match Place::open(dir)? {
        Some(place) => Ok(meta::find(&place, name, Some(path))? == Found::Foreign),
        None => Ok(false),
    }
}

/// Brings an output to a view.
///
/// # Errors
/// When the output cannot be brought there; what was published stays.
pub fn publish(job: &Job) -> Result<Published, PublishError> {
    let (output, view) = (&job.output, &job.view);
    let (_, name) = split(&output.path)?;
    let access = access(output);
    let place = directory_of(job)?;
    if job.sweep {
        place.sweep();
    }
    // Before the metadata, so that a wrong target is named as such.
    place.check_target(name)?;
    let meta_path = output.meta_path();
    let found = meta::find(&place, name, meta_path.as_deref())?;
    if let Found::Meta(meta) = &found
        && job.fenced
        && meta.is_ahead_of(view)
    {
        return Err(PublishError::Fenced {
            published: meta.generation,
            held: view.grant.state.generation,
        });
    }
    let dead = output.when_dead == WhenDead::Withdraw && is_dead(view, job.now);
    let (mut file, mut wrote) = (None, false);
    if dead {
        // The metadata stay: their generation guards the fence.
        if is_ours(&found, &view.store_id, true) {
            place.remove(name)?;
        }
    } else {
        match write_if_changed(&place, name, job, &access) {
            Ok(written) => (file, wrote) = (Some(written.0), written.1),
            Err(error) => {
                if matches!(error, PublishError::Format(_)) && is_over(&found, job) {
                    place.remove(name)?;
                }
                return Err(error);
            }
        }
    }
    let told = (meta_path.as_deref())
        .map(|path| meta::write(&place, path, &Meta::of(view), &access))
        .transpose();
    // One sync for both, and also when the metadata could not be written.
    let told_anew = told
        .as_ref()
        .is_ok_and(|told| told.is_some_and(|told| told.1));
    if wrote || told_anew {
        place.sync()?;
    }
    let told = told?;
    meta::withdraw_former(&place, name, meta_path.as_deref(), &view.store_id)?;
    for former in &job.former {
        meta::withdraw(former, &view.store_id)?;
    }
    Ok(Published {
        generation: (!dead).then_some(view.grant.state.generation),
        wrote: wrote || told_anew,
        complaint: complaint(&place, job, &access)?,
        stands: Stands {
            file,
            meta: meta_path.zip(told.map(|told| told.0)),
            directory: place.directory()?,
        },
    })
}

/// The directory, made when it is missing: for the group that is configured, else for
/// the one that it was for, where that may be done.
fn directory_of(job: &Job) -> Result<Place, FileError> {
    let (dir, _) = split(&job.output.path)?;
    let access = access(&job.output);
    let for_known = (job.known.filter(|_| access.group.is_none())).map(|known| Access {
        group: Some(known.group),
        dir_mode: Some(known.mode),
        ..access
    });
    match for_known.map(|access| Place::open_or_make(dir, &access)) {
        Some(Ok(place)) => Ok(place),
        _ => Place::open_or_make(dir, &access),
    }
}

/// Who cannot read what was written, and what to do.
fn complaint(place: &Place, job: &Job, access: &Access) -> Result<Option<String>, FileError> {
    let shut_out = place.let_in(access, job.known.as_ref())?;
    Ok(shut_out.or_else(|| crate::sandboxed::private(&job.output.path)))
}

fn access(output: &Output) -> Access {
    Access {
        mode: output.mode,
        group: output.group,
        owner: output.owner,
        dir_mode: output.dir_mode,
    }
}

/// Whether what is published is ours, dead, and to be withdrawn then: the format
/// refused its successors.
fn is_over(found: &Found, job: &Job) -> bool {
    let Found::Meta(meta) = found else {
        return false;
    };
    job.output.when_dead == WhenDead::Withdraw
        && is_ours(found, &job.view.store_id, true)
        && meta.is_over(job.now)
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

/// What stands there then, and whether it was written; the directory is still to be
/// synced then.
fn write_if_changed(
    place: &Place,
    name: &OsStr,
    job: &Job,
    access: &Access,
) -> Result<(Stand, bool), PublishError> {
    let (output, view) = (&job.output, &job.view);
    let content = format::render(&output.format, view, job.now)?;
    // A file that cannot be read (mode 0200, say) is written again.
    if let Ok(Some(existing)) = place.read(name)
        && format::same(&output.format, &existing.bytes, view)
        && place.would_keep(&existing, access)
    {
        return Ok((existing.stand, false));
    }
    Ok((place.replace(name, &content, access)?, true))
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
/// metadata says so, or there is none and the store `recorded` the path. The metadata
/// stand beside it, or at one of `metas`.
/// Returns whether anything of ours was (or may have been) there.
///
/// # Errors
/// When something of ours cannot be removed.
pub fn withdraw(
    path: &Path,
    metas: &[PathBuf],
    store_id: &str,
    grant_id: &GrantId,
    recorded: bool,
) -> Result<bool, FileError> {
    let (dir, name) = split(path)?;
    let Some(place) = Place::open(dir)? else {
        return Ok(false);
    };
    place.sweep();
    let beside = crate::config::meta_beside(path);
    let mut found = meta::find(&place, name, Some(&beside))?;
    for meta in metas {
        if found == Found::Absent {
            found = meta::find(&place, name, Some(meta))?;
        }
    }
    let other_grant = matches!(&found, Found::Meta(meta) if meta.grant_id != *grant_id);
    if !is_ours(&found, store_id, recorded) || (other_grant && !recorded) {
        return Ok(false);
    }
    match place.remove(name) {
        // A directory is not ours, whatever stands beside it.
        Ok(()) | Err(FileError::IsDirectory(_)) => {}
        Err(error) => return Err(error),
    }
    meta::withdraw_former(&place, name, None, store_id)?;
    for meta in metas {
        meta::withdraw(meta, store_id)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
