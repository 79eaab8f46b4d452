//! What stands in an output while no daemon runs, for `status` and `doctor` at rest:
//! read and compared, never written.

use super::View;
use super::file::{Place, split};
use super::format;
use super::meta::{self, Found};
use super::output::is_dead;
use super::reconcile::OutputReport;
use crate::config::{Database, Output, WhenDead};
use refreshd_core::time::WallTime;

/// How a file is, against what the state holds.
#[must_use]
pub fn file(output: &Output, view: &View, now: WallTime) -> OutputReport {
    let published = meta_generation(output, view);
    let gone = output.when_dead == WhenDead::Withdraw && is_dead(view, now);
    let error = match contents(output) {
        Ok(Some(bytes)) if gone && format::same(&output.format, &bytes, view) => {
            Some("its token is dead, and is to be withdrawn".to_owned())
        }
        Ok(Some(bytes)) if format::same(&output.format, &bytes, view) || gone => None,
        Ok(Some(_)) => Some("it holds something else than the token".to_owned()),
        Ok(None) if gone => None,
        Ok(None) => Some("it is not there".to_owned()),
        Err(error) => Some(error),
    };
    report(view, output.path.clone(), false, published, error)
}

/// How a row is, against what the state holds; `published` is what stands there.
#[must_use]
pub fn row(database: &Database, view: &View, published: Option<u64>) -> OutputReport {
    let error = match published {
        Some(generation) if generation == view.grant.state.generation => None,
        Some(generation) => Some(format!("it holds generation {generation}")),
        None => Some("it is not there".to_owned()),
    };
    report(view, database.path.clone(), true, published, error)
}

fn report(
    view: &View,
    path: std::path::PathBuf,
    is_row: bool,
    published: Option<u64>,
    error: Option<String>,
) -> OutputReport {
    let written_later = |error| format!("{error}; refreshd writes it once it runs");
    OutputReport {
        grant: view.grant.name.clone(),
        path,
        is_row,
        published_generation: published,
        wanted_generation: Some(view.grant.state.generation),
        settled: error.is_none(),
        withdrawing: false,
        error: error.map(written_later),
        disturbed: false,
        since: None,
    }
}

fn contents(output: &Output) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, String> {
    let read = || {
        let (dir, name) = split(&output.path)?;
        let Some(place) = Place::open(dir)? else {
            return Ok(None);
        };
        match place.stand(name)? {
            None => Ok(None),
            // What is no file has no bytes that could be right.
            Some(_) => Ok(Some(
                place
                    .read(name)?
                    .map(|found| found.bytes)
                    .unwrap_or_default(),
            )),
        }
    };
    read().map_err(|error: super::file::FileError| error.to_string())
}

fn meta_generation(output: &Output, view: &View) -> Option<u64> {
    let (dir, name) = split(&output.path).ok()?;
    let place = Place::open(dir).ok()??;
    match meta::find(&place, name, output.meta_path().as_deref()).ok()? {
        Found::Meta(meta) if meta.grant_id == view.grant.id => Some(meta.generation),
        _ => None,
    }
}
