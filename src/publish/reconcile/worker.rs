//! The reconciler's acting side: one dispatcher, and one short-lived task for
//! each output that is being brought to its goal.

use super::entry::{Done, Goal, Mended, Task, Turn, Turns};
use super::look::REMOVED;
use super::table::Id;
use super::{Record, Shared, Sink, Trouble, What};
use crate::config::{MetaPlace, Output};
use crate::publish::database::RowJob;
use crate::publish::file::DirectoryRights;
use crate::publish::output::{Job, PublishError, Published, claim, is_dead, withdraw};
use refreshd_core::duration;
use refreshd_core::grant::GrantId;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// The panic's own words stay out: they may hold what was being written.
const PANICKED: &str = "internal error while publishing";
/// The wall clock may be set, so no wait for a time of day is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Begins what is marked while there are permits, until the reconciler has stopped.
pub(super) async fn scheduler(shared: Arc<Shared>) {
    loop {
        let wall = (shared.wiring.clock)();
        let wait = shared.table().due(Instant::now(), wall);
        // One at a time, as the lock is not to be held over a spawn.
        while let Some((id, task)) = next_row(&shared) {
            tokio::spawn(run(shared.clone(), id, task, None));
        }
        let has_files = shared.table().has_ready();
        if !has_files && shared.table().is_stopping() && shared.table().is_quiet() {
            return;
        }
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait.min(LONGEST_WAIT)).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Ok(permit) = shared.permits.clone().acquire_owned(), if has_files => {
                let begun = shared.table().begin();
                if let Some((id, task)) = begun {
                    tokio::spawn(run(shared.clone(), id, task, Some(permit)));
                }
            }
            // Rows do not wait for a permit, nor for one that does.
            () = shared.wake.notified() => {}
            () = timer => {}
        }
    }
}

fn next_row(shared: &Shared) -> Option<(Id, Task)> {
    shared.table().begin_row()
}

/// Runs one task to its end. After the hang limit its permit goes back, and it
/// goes on alone: a write cannot be cancelled.
async fn run(shared: Arc<Shared>, id: Id, task: Task, mut permit: Option<OwnedSemaphorePermit>) {
    let limit = shared.tuning.hang;
    // A task of its own, so that a panic is an error of this output alone.
    let mut work = tokio::spawn(attempt(shared.clone(), id, task.clone()));
    let ended = match tokio::time::timeout(limit, &mut work).await {
        Ok(ended) => ended,
        Err(_) => {
            let error = format!("hangs for more than {}", duration::human(limit));
            let wall = (shared.wiring.clock)();
            let (gives_back, turn) = shared.table().hangs(id, error, wall);
            if gives_back {
                drop(permit.take());
            }
            log(&shared, &task, turn);
            shared.progress.send_replace(());
            work.await
        }
    };
    let result = ended.unwrap_or_else(|_| Err(PANICKED.to_owned()));
    finish(&shared, id, &task, result);
}

fn finish(shared: &Shared, id: Id, task: &Task, result: Result<Done, String>) {
    let wall = (shared.wiring.clock)();
    let backoff = shared.tuning.backoff;
    let retry = |failures| Instant::now() + backoff.half(failures, roll());
    let works = task.first && result.is_ok();
    let Turns { trouble, mended } = shared.table().finish(id, result, wall, retry);
    let turn = match trouble {
        // An earlier process may have left it failing.
        Turn::Same if works => Turn::Ended,
        turn => turn,
    };
    if let Some(mended) = mended {
        tell_mended(shared, task, &mended);
    }
    log(shared, task, turn);
    shared.wake.notify_one();
    shared.progress.send_replace(());
}

fn log(shared: &Shared, task: &Task, turn: Turn) {
    let what = match &turn {
        Turn::Began(error) => What::Fails(error),
        Turn::Ended => What::Works,
        Turn::Gone => What::Gone,
        Turn::Same => return,
    };
    (shared.wiring.trouble)(Trouble {
        address: &task.address,
        grant: &task.grant,
        what,
    });
}

/// A file that was removed once is no more than a line of the log; what somebody wrote
/// there, or removes again, is an incident.
fn tell_mended(shared: &Shared, task: &Task, mended: &Mended) {
    let removed = mended.why == REMOVED && mended.times < 2;
    if removed || !shared.table().tells(task) {
        return;
    }
    (shared.wiring.trouble)(Trouble {
        address: &task.address,
        grant: &task.grant,
        what: What::Disturbed(&mended.why),
    });
}

async fn attempt(shared: Arc<Shared>, id: Id, task: Task) -> Result<Done, String> {
    if let Some(refused) = task.refused {
        return Err(refused);
    }
    match &task.goal {
        Goal::Known => Ok(Done::default()),
        Goal::Publish(sink) => publish(&shared, id, &task, sink).await,
        Goal::Withdraw => take_back(&shared, &task).await,
    }
}

async fn publish(shared: &Arc<Shared>, id: Id, task: &Task, sink: &Sink) -> Result<Done, String> {
    let Some(view) = (shared.wiring.source)(task.grant.to_string()).await? else {
        return Ok(Done::default());
    };
    let generation = view.grant.state.generation;
    if generation == 0 {
        return Ok(Done::default());
    }
    shared.table().wants(id, generation);
    let now = (shared.wiring.clock)();
    // Its status changes at its expiry without a commit.
    let alive = !is_dead(&view, now) && !view.grant.state.expiry_unknown;
    let recheck_at = alive.then_some(view.grant.state.expires_at);
    let grant_id = view.grant.id.clone();
    let is_booked = task.booked.as_ref() == Some(&grant_id);
    let published = match sink {
        Sink::File(output) => {
            let path = task.address.path();
            let job = Job {
                output: (**output).clone(),
                view,
                now,
                fenced: task.fenced,
                sweep: task.first,
                known: shared.directory_of(path),
                former: no_longer_metadata(shared, path),
            };
            let job = Arc::new(job);
            if task.booked.is_none() {
                // Where nothing may be written, nothing is to be taken back later.
                let job = job.clone();
                blocking(move || claim(&job)).await?;
            }
            if !is_booked {
                record(shared, id, task, &grant_id).await?;
            }
            let wanted = elsewhere(output).into_iter();
            let (wanted, former) = (wanted.collect::<Vec<_>>(), job.former.clone());
            keep_metadata(shared, path, [&*wanted, &*former].concat()).await;
            let writer = shared.writer.clone();
            let published = blocking(move || writer(&job)).await?;
            keep_metadata(shared, path, wanted).await;
            keep_directory(shared, task, &published).await;
            published
        }
        Sink::Row(database) => {
            if !is_booked {
                record(shared, id, task, &grant_id).await?;
            }
            let database = database.clone();
            let job = RowJob {
                database,
                view,
                now,
            };
            let row = shared.databases.publish(job).await;
            row.map_err(|error| error.to_string())?
        }
    };
    Ok(Done {
        recheck_at,
        published: Some(published.generation),
        wrote: published.wrote,
        stands: matches!(sink, Sink::File(_)).then_some(published.stands),
        complaint: published.complaint,
        withdrawn: false,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PANICKED)?
        .map_err(|error| error.to_string())
}

/// Where an output has its metadata, other than beside it.
fn elsewhere(output: &Output) -> Option<PathBuf> {
    match &output.meta {
        MetaPlace::At(path) => Some(path.clone()),
        MetaPlace::Beside | MetaPlace::Absent => None,
    }
}

/// Where a file had its metadata and no output has any now.
fn no_longer_metadata(shared: &Shared, path: &Path) -> Vec<PathBuf> {
    let mut places = shared.metadata_of(path);
    let table = shared.table();
    places.retain(|place| !table.is_metadata(place));
    places
}

/// Remembers where metadata are, before they are there and until they are gone. That it
/// cannot be written down costs no token.
async fn keep_metadata(shared: &Shared, path: &Path, places: Vec<PathBuf>) {
    if shared.metadata_of(path) == places {
        return;
    }
    let book = &shared.wiring.book;
    match book.keep_metadata(path.to_owned(), places.clone()).await {
        Ok(()) => drop(shared.metadata().insert(path.to_owned(), places)),
        Err(error) => {
            tracing::debug!(%error, "where the metadata of an output are could not be written down");
        }
    }
}

/// Remembers for which group the directory is, while that may read there. That it
/// cannot be written down costs no token.
async fn keep_directory(shared: &Shared, task: &Task, published: &Published) {
    let rights = DirectoryRights::of(&published.stands.directory);
    let (Some(rights), Some(dir)) = (rights, task.address.path().parent()) else {
        return;
    };
    if published.complaint.is_some() || shared.directory_of(task.address.path()) == Some(rights) {
        return;
    }
    let kept = shared
        .wiring
        .book
        .keep_directory(dir.to_owned(), rights)
        .await;
    match kept {
        Ok(()) => shared
            .directories()
            .insert(dir.to_owned(), rights)
            .map_or((), drop),
        Err(error) => {
            tracing::debug!(%error, "for whom a directory is could not be written down");
        }
    }
}

async fn record(shared: &Shared, id: Id, task: &Task, grant_id: &GrantId) -> Result<(), String> {
    let record = Record {
        address: task.address.clone(),
        grant: task.grant.to_string(),
        grant_id: grant_id.clone(),
    };
    shared.wiring.book.record(record).await?;
    shared.table().booked(id, grant_id.clone());
    Ok(())
}

async fn take_back(shared: &Arc<Shared>, task: &Task) -> Result<Done, String> {
    if task.fenced {
        return Err("not withdrawn while the store is fenced".to_owned());
    }
    // Never recorded: this store never wrote there.
    if let Some(grant_id) = task.booked.clone() {
        let ours = match task.address.row_name() {
            Some(name) => {
                let (path, store_id) = (task.address.path(), &shared.wiring.store_id);
                let withdrawn = shared.databases.withdraw(path, name, store_id).await;
                withdrawn.map_err(|error| error.to_string())?
            }
            None => remove_file(shared, task, grant_id).await?,
        };
        log_withdrawal(task, ours);
        shared.wiring.book.forget(task.address.clone()).await?;
        shared.metadata().remove(task.address.path());
    }
    Ok(Done {
        withdrawn: true,
        ..Done::default()
    })
}

async fn remove_file(shared: &Arc<Shared>, task: &Task, grant_id: GrantId) -> Result<bool, String> {
    let (address, store_id) = (task.address.clone(), shared.wiring.store_id.clone());
    let metas = no_longer_metadata(shared, address.path());
    let remove = move || withdraw(address.path(), &metas, &store_id, &grant_id, true);
    tokio::task::spawn_blocking(remove)
        .await
        .map_err(|_| PANICKED)?
        .map_err(|error| error.to_string())
}

fn log_withdrawal(task: &Task, ours: bool) {
    let (grant, path) = (&*task.grant, task.address.path().display());
    if ours {
        tracing::info!(grant, %path, "output of {grant} withdrawn");
    } else {
        tracing::info!(grant, %path, "output of {grant} is gone or not ours, left as it is");
    }
}

fn roll() -> u64 {
    getrandom::u64().unwrap_or_default()
}
