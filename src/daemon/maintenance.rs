//! Housekeeping by cron: checkpoints, pruning of history, integrity checks,
//! backups, sealing keys that are not needed any more, and a look at clients
//! that are paused.

use super::backups;
use super::healing;
use crate::descriptors::{self, Ration};
use crate::engine::EngineHandle;
use crate::exchange::Deck;
use crate::exit::{Failure, internal};
use crate::incidents::Incidents;
use crate::reload::Reloader;
use crate::service::maintenance::Maintenance;
use refreshd_core::incident::{Kind, Subject};
use std::sync::Arc;
use std::time::Duration;
use tokio_cron_scheduler::{Job, JobScheduler};

/// Seconds, minutes, hours, days, months, weekdays.
const HEALING: &str = "*/30 * * * * *";
const DESCRIPTORS: &str = "15,45 * * * * *";
const CHECKPOINT: &str = "0 */5 * * * *";
const KEYS: &str = "30 */5 * * * *";
const PRUNE: &str = "0 17 3 * * *";
const INTEGRITY: &str = "0 47 3 * * Sun";

/// Starts the jobs; they end with the process.
pub(super) async fn start(
    reloader: &Arc<Reloader>,
    engine: &EngineHandle,
    upkeep: &Arc<Maintenance>,
    incidents: &Incidents,
    ration: Ration,
) -> Result<JobScheduler, Failure> {
    let deck = &reloader.deck;
    let scheduler = JobScheduler::new().await.map_err(internal)?;
    let current = reloader.clone();
    let (healer, engine) = (reloader.clone(), engine.clone());
    let (keeper, keys) = (reloader.clone(), upkeep.clone());
    let (incidents, counting) = (incidents.clone(), incidents.clone());
    let jobs = [
        job(HEALING, deck, move |_| {
            let (healer, engine) = (healer.clone(), engine.clone());
            async move { healing::look(&healer, &engine).await }
        })?,
        job(DESCRIPTORS, deck, move |_| {
            let incidents = counting.clone();
            async move { count_descriptors(ration, &incidents) }
        })?,
        job(
            CHECKPOINT,
            deck,
            |deck| async move { checkpoint(&deck).await },
        )?,
        job(KEYS, deck, move |_| {
            let (config, keys) = (keeper.config(), keys.clone());
            async move { keys.settle(&config).await }
        })?,
        job(PRUNE, deck, move |deck| {
            let history = current.config().daemon.history;
            async move { prune(&deck, history).await }
        })?,
        job(INTEGRITY, deck, move |deck| {
            let incidents = incidents.clone();
            async move { integrity(&deck, &incidents).await }
        })?,
    ];
    for job in jobs {
        scheduler.add(job).await.map_err(internal)?;
    }
    scheduler.start().await.map_err(internal)?;
    // A rotation that was cut short is gone on with.
    let (config, keys) = (reloader.config(), upkeep.clone());
    tokio::spawn(async move { keys.settle(&config).await });
    tokio::spawn(backups::keep_schedule(
        reloader.clone(),
        upkeep.clone(),
        scheduler.clone(),
    ));
    Ok(scheduler)
}

fn job<F>(
    schedule: &str,
    deck: &Deck,
    work: impl Fn(Deck) -> F + Send + Sync + 'static,
) -> Result<Job, Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let deck = deck.clone();
    Job::new_async(schedule, move |_, _| Box::pin(work(deck.clone()))).map_err(internal)
}

async fn checkpoint(deck: &Deck) {
    // So that a clock that was set back while nothing ran is noticed at the next start.
    let remembered = deck.store.remember_time(deck.clock.wall()).await;
    if let Err(e) = remembered.and(deck.store.checkpoint().await) {
        tracing::warn!("the database could not be checkpointed: {e}");
    }
}

async fn prune(deck: &Deck, history: Duration) {
    match deck.store.prune(deck.clock.wall() - history).await {
        Ok(pruned) => tracing::info!("history pruned: {pruned:?}"),
        Err(e) => tracing::warn!("history could not be pruned: {e}"),
    }
    if let Err(e) = deck.store.prune_incidents(deck.clock.wall()).await {
        tracing::warn!("old incidents could not be pruned: {e}");
    }
}

/// Told while there is still something left to do it with.
fn count_descriptors(ration: Ration, incidents: &Incidents) {
    let (daemon, kind) = (Subject::Daemon, Kind::DescriptorsScarce);
    let Some(open) = descriptors::open_now() else {
        return;
    };
    if ration.is_short(open) {
        incidents.raise(&daemon, kind, || ration.shortage(open));
    } else if open * 10 < ration.limit * 7 {
        incidents.close(&daemon, kind, "enough file descriptors are free");
    }
}

async fn integrity(deck: &Deck, incidents: &Incidents) {
    let (daemon, kind) = (Subject::Daemon, Kind::DatabaseDamaged);
    match deck.store.integrity_check().await {
        Ok(()) => {
            tracing::info!("the database is sound");
            incidents.close(&daemon, kind, "it passes SQLite's check");
        }
        Err(e) => {
            let text = || format!("the database is damaged: {e}; restore it from a backup");
            incidents.raise(&daemon, kind, text);
        }
    }
}
