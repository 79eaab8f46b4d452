//! Backups by cron; a reload changes when.

use crate::api::BackupRequest;
use crate::reload::Reloader;
use crate::upkeep::Upkeep;
use std::sync::Arc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Keeps the job as the configuration has it, for as long as the process lives.
pub(super) async fn keep_schedule(
    reloader: Arc<Reloader>,
    upkeep: Arc<Upkeep>,
    scheduler: JobScheduler,
) {
    let mut current: Option<(String, Job)> = None;
    loop {
        let config = reloader.config();
        let wanted = config.backup.as_ref().map(|backup| &backup.schedule);
        if wanted.is_none() {
            upkeep.expects_no_backups();
        }
        if current.as_ref().map(|(schedule, _)| schedule) != wanted {
            if let Some((_, job)) = current.take()
                && let Err(e) = scheduler.remove(&job.guid()).await
            {
                tracing::error!("the old schedule of backups goes on: {e}");
            }
            if let Some(schedule) = wanted {
                match add(schedule, &reloader, &upkeep, &scheduler).await {
                    Ok(job) => current = Some((schedule.clone(), job)),
                    Err(e) => tracing::error!("no backups will be made: {e}"),
                }
            }
        }
        reloader.replaced().await;
    }
}

async fn add(
    schedule: &str,
    reloader: &Arc<Reloader>,
    upkeep: &Arc<Upkeep>,
    scheduler: &JobScheduler,
) -> Result<Job, JobSchedulerError> {
    let (reloader, upkeep) = (reloader.clone(), upkeep.clone());
    let job = Job::new_async(schedule, move |_, _| {
        let (config, upkeep) = (reloader.config(), upkeep.clone());
        Box::pin(async move {
            // What it came to is logged, and a failure stands in the status.
            let _told = upkeep.backup(&config, &BackupRequest::default()).await;
            upkeep.settle(&config).await;
        })
    })?;
    scheduler.add(job.clone()).await?;
    Ok(job)
}
