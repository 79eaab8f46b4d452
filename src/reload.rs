//! A new configuration, all or nothing, and the outputs that follow from it.

use crate::config::standby::{self, Broken};
use crate::config::{Config, Loaded, Sources, load};
use crate::engine::message::Message;
use crate::engine::{EngineHandle, save_descriptions};
use crate::exchange::Deck;
use crate::exit::{Exit, Failure};
use crate::incidents::Incidents;
use crate::publish::Reconciler;
use crate::publish::reconcile::{OutputReport, Sink, Target};
use crate::state::StoreError;
use crate::systemd::notify;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::text::counted;
use sd_notify::NotifyState;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// Holds the configuration in force and replaces it.
pub struct Reloader {
    /// What the engine works with.
    pub deck: Deck,
    sources: Sources,
    config: RwLock<Arc<Config>>,
    publisher: Reconciler,
    incidents: Incidents,
    /// Set while the configuration on disk is not in force, since it is broken.
    broken: Mutex<Option<Broken>>,
    /// … and was already at the start.
    began_without: AtomicBool,
    /// When the one in force was taken over.
    since: Mutex<String>,
    /// One reload or new set of outputs at a time; how many of those that asked for a
    /// new set have one.
    turn: tokio::sync::Mutex<u64>,
    /// How many have asked for a new set of outputs.
    asked: AtomicU64,
    replaced: Notify,
}

const WHOLE: &str = "nothing panics while it holds this";

impl Reloader {
    pub(crate) fn new(
        sources: Sources,
        config: Arc<Config>,
        deck: Deck,
        publisher: Reconciler,
        incidents: Incidents,
    ) -> Self {
        let since = deck.clock.wall().rfc3339();
        Reloader {
            deck,
            sources,
            config: RwLock::new(config),
            turn: tokio::sync::Mutex::new(0),
            asked: AtomicU64::new(0),
            replaced: Notify::new(),
            publisher,
            incidents,
            broken: Mutex::default(),
            began_without: AtomicBool::new(false),
            since: Mutex::new(since),
        }
    }

    /// Says whether the configuration in force is the one on disk; if so, it is kept.
    pub(crate) async fn begin(&self, loaded: Option<Loaded>, broken: Option<Broken>) {
        if let Some(broken) = broken {
            self.began_without.store(true, Ordering::Release);
            self.set_broken(broken);
        }
        if let Some(loaded) = loaded {
            let why = "the configuration on disk is sound";
            let (daemon, kind) = (Subject::Daemon, Kind::ConfigurationBroken);
            self.incidents.disprove(&daemon, kind, why);
            let since = self.since.lock().expect(WHOLE).clone();
            standby::keep(&loaded, &self.sources, since).await;
        }
    }

    /// Whether the daemon began with a configuration that is not the one on disk: then that
    /// is taken over once it is sound, as it would have been at the start.
    pub(crate) fn waits_for_mending(&self) -> bool {
        self.began_without.load(Ordering::Acquire)
    }

    fn set_broken(&self, broken: Broken) {
        let text = broken.text();
        let (daemon, kind) = (Subject::Daemon, Kind::ConfigurationBroken);
        self.incidents.raise(&daemon, kind, || text);
        *self.broken.lock().expect(WHOLE) = Some(broken);
    }

    /// Why the configuration in force is not the one on disk.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        self.broken.lock().expect(WHOLE).clone()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config
            .read()
            .expect("nothing panics while it holds the configuration")
            .clone()
    }

    /// Where it is read from.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Waits until nothing of a grant is published that is to be withdrawn; what is
    /// left after the limit, with the reason.
    pub async fn withdrawn(&self, grant: &str, limit: Duration) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let reports = self.publisher.reports().into_iter();
            let left: Vec<_> = reports
                .filter(|report| report.grant == grant && report.withdrawing)
                .collect();
            let over = tokio::time::Instant::now() > deadline;
            if left.is_empty() || over || left.iter().all(|report| report.error.is_some()) {
                let told = |report: &OutputReport| {
                    let error = report.error.as_deref().unwrap_or("not done yet");
                    format!("{}: {error}", report.place())
                };
                return left.iter().map(told).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Looks at every output now, for the limit at most.
    pub async fn look_at_outputs(&self, limit: Duration) {
        self.publisher.look(limit).await;
    }

    /// Waits until the configuration has been replaced since this was last
    /// waited for; one task may.
    pub(crate) async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// The configuration as it is on disk now; `None` when something is wrong with it.
    pub(crate) fn read(&self) -> Option<Config> {
        load(&self.sources).config
    }

    /// What the configuration on disk says about a grant or a client that the one in force
    /// does not, in words; `None`: nothing, or it cannot be read. It blocks.
    #[must_use]
    pub fn newer_on_disk(&self, grant: Option<&str>, client: Option<&str>) -> Option<String> {
        let disk = self.read()?;
        let now = self.config();
        let of = |config: &Config| {
            let grant = grant.and_then(|name| config.grants.get(name)).cloned();
            let name = grant.as_ref().map(|grant| grant.client.clone());
            let name = name.or_else(|| client.map(str::to_owned));
            let client = name.and_then(|name| config.clients.get(&name).cloned());
            (grant, client)
        };
        let ((old_grant, old), (new_grant, new)) = (of(&now), of(&disk));
        let mut changed = Vec::new();
        if let (Some(old), Some(new)) = (&old_grant, &new_grant) {
            let keys = [
                ("client", old.client != new.client),
                ("vars", old.vars != new.vars),
                ("redirect_uri", old.redirect_uri != new.redirect_uri),
            ];
            let keys = keys.iter().filter(|(_, differs)| *differs);
            changed.extend(keys.map(|(key, _)| format!("{key} of grant {}", new.name)));
        }
        if let (Some(old), Some(new)) = (&old, &new) {
            let keys = [
                ("client_id", old.client_id != new.client_id),
                ("client_secret", old.client_secret != new.client_secret),
                ("redirect_uri", old.redirect_uri != new.redirect_uri),
                ("scopes", old.scopes != new.scopes),
                ("proxy", old.proxy != new.proxy),
                ("ca_file", old.ca_file != new.ca_file),
                ("the provider's description", old.hash != new.hash),
            ];
            let keys = keys.iter().filter(|(_, differs)| *differs);
            changed.extend(keys.map(|(key, _)| format!("{key} of client {}", new.name)));
        }
        (!changed.is_empty()).then(|| format!("changed: {}", changed.join(", ")))
    }

    /// Reads the configuration again and takes it over if nothing is wrong with it.
    ///
    /// # Errors
    /// Its problems; the old configuration stays in force.
    pub async fn reload(&self, engine: &EngineHandle) -> Result<String, Failure> {
        if let Ok(monotonic) = NotifyState::monotonic_usec_now() {
            notify(&[NotifyState::Reloading, monotonic]);
        }
        let result = self.replace(engine).await;
        notify(&[NotifyState::Ready]);
        result
    }

    async fn replace(&self, engine: &EngineHandle) -> Result<String, Failure> {
        let _turn = self.turn.lock().await;
        let loaded = load(&self.sources);
        let warnings = loaded.problems.len();
        let Some(mut config) = loaded.config.clone() else {
            let since = match self.broken() {
                Some(before) => before.since().to_owned(),
                None => self.since.lock().expect(WHOLE).clone(),
            };
            self.set_broken(Broken::new(&loaded.problems, since));
            return Err(Failure::new(
                Exit::Config,
                crate::config::render(&loaded.problems),
            ));
        };
        let old = self.config();
        let needs_restart = config.daemon.state_dir != old.daemon.state_dir
            || config.daemon.runtime_dir != old.daemon.runtime_dir
            || config.daemon.key != old.daemon.key
            || config.daemon.max_flights != old.daemon.max_flights
            || config.enroll.listen != old.enroll.listen
            || config.enroll.public_url != old.enroll.public_url;
        config.daemon = crate::config::Daemon {
            history: config.daemon.history,
            drain: config.daemon.drain,
            ..old.daemon.clone()
        };
        config.enroll = crate::config::Enroll {
            link_valid: config.enroll.link_valid,
            ..old.enroll.clone()
        };
        let config = Arc::new(config);
        let internal = |e: StoreError| Failure::new(Exit::Internal, e.to_string());
        save_descriptions(&self.deck.store, &config)
            .await
            .map_err(internal)?;
        *self
            .config
            .write()
            .expect("nothing panics while it holds the configuration") = config.clone();
        let stopping = |_| Failure::new(Exit::TempFail, "refreshd is stopping");
        engine
            .ask(|reply| Message::Reload(config.clone(), reply))
            .await
            .map_err(stopping)?;
        self.set_targets(engine).await;
        self.replaced.notify_one();
        self.taken_over(&loaded).await;
        let mut message = format!(
            "configuration reloaded: {}, {}",
            counted(config.clients.len(), "client"),
            counted(config.grants.len(), "grant")
        );
        if warnings > 0 {
            let text = crate::config::render(&loaded.problems);
            tracing::warn!("the new configuration: {}", text.trim_end());
            let warnings = counted(warnings, "warning");
            message.push_str(&format!("; {warnings}, see `refreshd check`"));
        }
        if needs_restart {
            message.push_str(
                "; changes of state_dir, runtime_dir, key, max_flights, listen and public_url take a restart",
            );
        }
        Ok(message)
    }

    /// The configuration on disk is in force.
    async fn taken_over(&self, loaded: &Loaded) {
        let now = self.deck.clock.wall().rfc3339();
        *self.since.lock().expect(WHOLE) = now.clone();
        *self.broken.lock().expect(WHOLE) = None;
        self.began_without.store(false, Ordering::Release);
        let (daemon, kind) = (Subject::Daemon, Kind::ConfigurationBroken);
        let why = "the configuration is sound, and in force";
        self.incidents.close(&daemon, kind, why);
        standby::keep(loaded, &self.sources, now).await;
    }

    /// Tells the outputs which grants there are. All grants are looked at for it, so
    /// those who ask while others are served are served together.
    pub async fn retarget(&self, engine: &EngineHandle) {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut served = self.turn.lock().await;
        if *served < mine {
            let all = self.asked.load(Ordering::Acquire);
            self.set_targets(engine).await;
            *served = all;
        }
    }

    async fn set_targets(&self, engine: &EngineHandle) {
        let Ok(seated) = engine.ask(Message::Seated).await else {
            return;
        };
        let config = self.config();
        let targets = seated.iter().flat_map(|(grant, client)| {
            let files = config.outputs_of(grant, client).into_iter();
            let files = files.map(|output| Sink::File(Arc::new(output)));
            let rows = config.databases_of(grant).cloned().map(Sink::Row);
            let grant = grant.clone();
            files.chain(rows).map(move |sink| Target {
                grant: grant.clone(),
                sink,
            })
        });
        self.publisher.set_targets(targets.collect());
    }
}
