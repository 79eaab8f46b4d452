//! Backups by cron; a reload changes when.

use crate::reload::Reloader;
use crate::service::api::BackupRequest;
use crate::service::maintenance::Maintenance;
use std::sync::Arc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Keeps the job as the configuration has it, for as long as the process lives.
pub(super) async fn keep_schedule(
    reloader: Arc<Reloader>,
    maintenance: Arc<Maintenance>,
    scheduler: JobScheduler,
) {
    let mut current: Option<(String, Job)> = None;
    loop {
        let config = reloader.config();
        let wanted = config.backup.as_ref().map(|backup| &backup.schedule);
        if wanted.is_none() {
            maintenance.expects_no_backups();
        }
        if current.as_ref().map(|(schedule, _)| schedule) != wanted {
            if let Some((_, job)) = current.take()
                && let Err(e) = scheduler.remove(&job.guid()).await
            {
                tracing::error!("the old schedule of backups goes on: {e}");
            }
            if let Some(schedule) = wanted {
                match add(schedule, &reloader, &maintenance, &scheduler).await {
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
    maintenance: &Arc<Maintenance>,
    scheduler: &JobScheduler,
) -> Result<Job, JobSchedulerError> {
    let (reloader, maintenance) = (reloader.clone(), maintenance.clone());
    let job = Job::new_async(schedule, move |_, _| {
        let (config, maintenance) = (reloader.config(), maintenance.clone());
        Box::pin(async move {
            // What it came to is logged, and a failure stands in the status.
            let _told = maintenance.backup(&config, &BackupRequest::default()).await;
            maintenance.settle(&config).await;
        })
    })?;
    scheduler.add(job.clone()).await?;
    Ok(job)
}
