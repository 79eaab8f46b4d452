//! `[backup]`: off unless it names a directory.

use super::super::raw::RawBackup;
use super::super::{Backup, Daemon};
use super::{Check, settled};
use tokio_cron_scheduler::Job;

/// Every night, an hour before history is pruned.
const SCHEDULE: &str = "0 30 2 * * *";
const KEEP: i64 = 7;

impl Check<'_> {
    pub(super) fn backup(&mut self, raw: &RawBackup, daemon: Option<&Daemon>) -> Option<Backup> {
        let schedule = raw.schedule.as_deref().unwrap_or(SCHEDULE);
        let keep = raw.keep.unwrap_or(KEEP);
        self.schedule(schedule);
        if !(1..=10_000).contains(&keep) {
            let message = format!("backup.keep: {keep} is not from 1 to 10000");
            self.wrong(&["backup", "keep"], message, None);
        }
        let path = ["backup", "dir"];
        let Some(dir) = &raw.dir else {
            if raw.schedule.is_some() || raw.keep.is_some() {
                let message = "backup.dir is missing: no backup would be made";
                let remedy = "write dir = \"/var/backups/refreshd\", for instance";
                self.missing(&path, message, remedy.to_owned());
            }
            return None;
        };
        if !self.is_absolute(&path, dir) {
            return None;
        }
        let state_dir = daemon.map(|daemon| settled(&daemon.state_dir));
        if state_dir.is_some_and(|state| settled(dir).starts_with(state)) {
            let message = format!(
                "backup directory {} lies inside the state directory: the backups would be lost with it",
                dir.display()
            );
            self.wrong(
                &path,
                message,
                Some("put it elsewhere, best on another disk".to_owned()),
            );
        }
        Some(Backup {
            dir: dir.clone(),
            schedule: schedule.to_owned(),
            keep: usize::try_from(keep).ok()?,
        })
    }

    fn schedule(&mut self, schedule: &str) {
        if Job::new(schedule, |_, _| {}).is_err() {
            let message = format!("backup.schedule: {schedule:?} is no schedule");
            let remedy = format!(
                "write second, minute, hour, day, month and weekday, in UTC, as in {SCHEDULE:?} for every night at half past two"
            );
            self.wrong(&["backup", "schedule"], message, Some(remedy));
        }
    }
}
