//! Backups and sealing keys, one thing at a time, so that no key goes while a backup that
//! needs it is being made.

use super::Service;
use super::api::{BackupMade, BackupRequest, KeyProgress, KeyStatus};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::incidents::Incidents;
use crate::state::{CopyError, KeyError, Keys, KeysError, Store, StoreError, Walk, backups};
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::text::counted;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

impl Service {
    /// `refreshd backup`.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub async fn backup(&self, request: &BackupRequest) -> Result<BackupMade, Failure> {
        self.maintenance.backup(&self.config(), request).await
    }

    /// `refreshd key status`.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn key(&self) -> Result<KeyStatus, Failure> {
        self.maintenance.key_status(&self.config()).await
    }

    /// How far sealing anew has come.
    #[must_use]
    pub fn key_progress(&self) -> KeyProgress {
        self.maintenance.progress()
    }

    /// `refreshd key rotate`. What the old key has sealed is sealed anew after this answer.
    ///
    /// # Errors
    /// When the new key cannot be written, or the state not read.
    pub async fn rotate_key(&self) -> Result<KeyStatus, Failure> {
        let (maintenance, config) = (self.maintenance.clone(), self.config());
        // One that was cut short is brought to its end first.
        maintenance.settle(&config).await;
        maintenance.rotate().await?;
        let status = maintenance.key_status(&config).await;
        tokio::spawn(async move { maintenance.settle(&config).await });
        status
    }
}

/// See the module.
#[derive(Debug)]
pub struct Maintenance {
    store: Store,
    keys: Keys,
    clock: SharedClock,
    turn: tokio::sync::Mutex<()>,
    progress: Mutex<KeyProgress>,
    failed_backup: Mutex<Option<String>>,
    /// Who announces what fails; nobody for a command.
    incidents: Option<Incidents>,
}

impl Maintenance {
    /// Of an open state.
    #[must_use]
    pub fn new(store: Store, keys: Keys, clock: SharedClock) -> Self {
        Maintenance {
            store,
            keys,
            clock,
            turn: tokio::sync::Mutex::default(),
            progress: Mutex::default(),
            failed_backup: Mutex::default(),
            incidents: None,
        }
    }

    /// Has failures announced as incidents.
    #[must_use]
    pub fn telling(self, incidents: Incidents) -> Self {
        let incidents = Some(incidents);
        Maintenance { incidents, ..self }
    }

    /// What holds for all grants: that the last backup into the configured
    /// directory failed.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let failed = self.failed_backup.lock();
        failed.expect("nothing panics under this lock").clone()
    }

    /// Makes a backup: into the file that is named, or another one in the
    /// configured directory, from which the oldest go.
    ///
    /// # Errors
    /// When it cannot be made. What stood there before still does.
    pub async fn backup(
        &self,
        config: &Config,
        request: &BackupRequest,
    ) -> Result<BackupMade, Failure> {
        if let Some(file) = &request.file {
            let _turn = self.turn.lock().await;
            return self.copy_to(file, request.replace).await.map_err(failure);
        }
        let Some(backup) = &config.backup else {
            let message = "name a file, as in `refreshd backup /mnt/refreshd.db`, or set backup.dir in the configuration";
            return Err(Failure::new(Exit::Usage, message));
        };
        let made = self
            .backup_into(&backup.dir, backup.keep, request.replace)
            .await;
        let failed = made.as_ref().err();
        self.announce(failed);
        *(self.failed_backup.lock()).expect("nothing panics under this lock") =
            failed.map(|failure| format!("the last backup was not made: {failure}"));
        made
    }

    /// None are made by themselves any more, so none can fail.
    pub fn expects_no_backups(&self) {
        *(self.failed_backup.lock()).expect("nothing panics under this lock") = None;
        if let Some(incidents) = &self.incidents {
            let why = "no backups are configured any more";
            incidents.close(&Subject::Daemon, Kind::BackupFailed, why);
        }
    }

    fn announce(&self, failed: Option<&Failure>) {
        let (daemon, kind) = (Subject::Daemon, Kind::BackupFailed);
        match (&self.incidents, failed) {
            (Some(incidents), Some(failure)) => {
                let text = || format!("no backup was made: {failure}");
                incidents.raise(&daemon, kind, text);
            }
            (Some(incidents), None) => {
                incidents.close(&daemon, kind, "a backup was made");
            }
            (None, _) => {}
        }
    }

    async fn backup_into(
        &self,
        dir: &Path,
        keep: usize,
        replace: bool,
    ) -> Result<BackupMade, Failure> {
        let _turn = self.turn.lock().await;
        backups::prepare(dir).map_err(failure)?;
        let file = backups::path_at(dir, self.clock.wall());
        let mut made = self.copy_to(&file, replace).await.map_err(failure)?;
        match backups::prune(dir, keep) {
            Ok(removed) => made.removed = removed,
            Err(e) => tracing::warn!("old backups in {} cannot be removed: {e}", dir.display()),
        }
        Ok(made)
    }

    async fn copy_to(&self, file: &Path, replace: bool) -> Result<BackupMade, CopyError> {
        let copied = self.store.copy_to(file, replace, self.clock.wall()).await?;
        tracing::info!(
            "backup made: {}, {}, {} bytes",
            copied.path.display(),
            counted(
                usize::try_from(copied.grants).unwrap_or(usize::MAX),
                "grant"
            ),
            copied.bytes
        );
        Ok(BackupMade {
            copied,
            removed: Vec::new(),
        })
    }

    /// The keys, and what needs them.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn key_status(&self, config: &Config) -> Result<KeyStatus, Failure> {
        Ok(KeyStatus {
            path: self.keys.path().to_owned(),
            credential: self.keys.are_read_only(),
            finished: !(self.keys.is_unfinished().await).map_err(of_store)?,
            keys: self
                .keys
                .survey(dir_of(config).as_deref())
                .await
                .map_err(of_keys)?,
        })
    }

    /// Begins to seal with a new key; [`Maintenance::settle`] does the rest.
    ///
    /// # Errors
    /// When the new key cannot be written, or the last rotation has not come to its end.
    pub async fn rotate(&self) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let id = self.keys.rotate().await.map_err(of_keys)?;
        self.tell(KeyProgress {
            running: true,
            ..KeyProgress::default()
        });
        tracing::info!("key {id} seals from now on; what older keys have sealed is sealed anew");
        Ok(())
    }

    /// Seals anew what an older key has sealed, and gives up keys that nothing
    /// needs any more.
    pub async fn settle(&self, config: &Config) {
        let _turn = self.turn.lock().await;
        if let Err(e) = self.settle_in_turn(dir_of(config)).await
            && !matches!(e, KeysError::Store(StoreError::Closed))
        {
            tracing::error!("the sealing keys stay as they are: {e}");
        }
        let done = self.progress();
        self.tell(KeyProgress {
            running: false,
            ..done
        });
    }

    async fn settle_in_turn(&self, backups: Option<PathBuf>) -> Result<(), KeysError> {
        if self.keys.is_unfinished().await? {
            let told = |walk: &Walk| {
                self.tell(KeyProgress {
                    running: true,
                    looked_at: walk.found.values().sum(),
                    resealed: walk.resealed,
                });
            };
            let walk = self.keys.reseal(told).await?;
            tracing::info!("{} records were sealed anew", walk.resealed);
            if walk.unreadable > 0 {
                tracing::error!(
                    "{} sealed records do not open, and were left as they are; the keys that they name are kept",
                    walk.unreadable
                );
            }
        }
        for id in self.keys.retire(backups.as_deref()).await? {
            tracing::info!("key {id} is needed by nothing any more, and was removed");
        }
        Ok(())
    }

    /// How far sealing anew has come.
    #[must_use]
    pub fn progress(&self) -> KeyProgress {
        *(self.progress.lock()).expect("nothing panics under this lock")
    }

    fn tell(&self, progress: KeyProgress) {
        *(self.progress.lock()).expect("nothing panics under this lock") = progress;
    }
}

fn dir_of(config: &Config) -> Option<PathBuf> {
    config.backup.as_ref().map(|backup| backup.dir.clone())
}

fn failure(error: CopyError) -> Failure {
    let exit = match &error {
        CopyError::Busy => Exit::TempFail,
        CopyError::Store(_) | CopyError::Unsound { .. } => Exit::Data,
        CopyError::Exists(_)
        | CopyError::InState(_)
        | CopyError::Io { .. }
        | CopyError::Sql { .. } => Exit::CannotCreate,
    };
    Failure::new(exit, error.to_string())
}

fn of_store(error: StoreError) -> Failure {
    of_keys(error.into())
}

fn of_keys(error: KeysError) -> Failure {
    let exit = match &error {
        KeysError::Unfinished => Exit::TempFail,
        KeysError::Key(KeyError::Io { .. }) => Exit::CannotCreate,
        KeysError::Key(_) => Exit::Config,
        KeysError::Store(_) => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}
