//! What the API does, once. The running daemon serves it at its socket; while none runs, a
//! command has the same in its own process.
//!
//! Each file has the functions of [`Service`] for a command, with what they are made of;
//! [`api`] has what is asked and answered.

pub mod answers;
pub mod api;
mod enroll;
pub mod import;
pub mod maintenance;
mod offline;
mod outputs;
mod remove;
mod revoke;
mod status;
mod token;
mod verify;

pub(crate) use enroll::read_id;
pub(crate) use offline::not_running;
pub use verify::{Verdict, Verified};

use crate::config::Config;
use crate::descriptors::Ration;
use crate::engine::EngineHandle;
use crate::engine::message::{Accept, Message};
use crate::enroll::Enroller;
use crate::exchange::Deck;
use crate::exit::{Exit, Failure};
use crate::incidents::Incidents;
use crate::reload::Reloader;
use api::Done;
use maintenance::Maintenance;
use offline::Offline;
use refreshd_core::grant::Grant;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// An exchange that is under way gives back its place before.
const EXCHANGE_WAIT: Duration = Duration::from_secs(45);
/// It is asked again so often.
const AGAIN: Duration = Duration::from_millis(50);

/// What the API answers from.
pub struct Service {
    deck: Deck,
    maintenance: Arc<Maintenance>,
    host: Host,
}

/// Whose process it is.
enum Host {
    Daemon(Running),
    Command(Offline),
}

/// What only a daemon has.
pub(crate) struct Running {
    /// Who refreshes.
    pub(crate) engine: EngineHandle,
    /// The configuration in force, and the outputs that follow from it.
    pub(crate) reloader: Arc<Reloader>,
    /// Who may use how many file descriptors.
    pub(crate) ration: Ration,
    /// What is not healthy.
    pub(crate) incidents: Incidents,
    /// Authorizations.
    pub(crate) enroller: Enroller,
    /// How many requests may wait for a refresh; the others find a place meanwhile.
    pub(crate) waits: Semaphore,
}

impl Running {
    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Failure> {
        let stopping = |_| Failure::new(Exit::TempFail, "refreshd is stopping");
        self.engine.ask(message).await.map_err(stopping)
    }

    /// Asks for what cannot be done while an exchange of the grant is under way, until none
    /// is.
    async fn after_exchange<T>(
        &self,
        name: &str,
        message: impl Fn(oneshot::Sender<Result<Option<T>, Failure>>) -> Message,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + EXCHANGE_WAIT;
        loop {
            if let Some(done) = self.ask(&message).await?? {
                return Ok(done);
            }
            if Instant::now() > deadline {
                let text = format!("{name}: an exchange is under way; nothing was done, try again");
                return Err(Failure::new(Exit::TempFail, text));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Service {
    /// A running daemon's.
    pub(crate) fn running(running: Running, maintenance: Arc<Maintenance>) -> Self {
        Service {
            deck: running.reloader.deck.clone(),
            maintenance,
            host: Host::Daemon(running),
        }
    }

    /// The daemon, for what cannot be done without one.
    fn daemon(&self) -> Result<&Running, Failure> {
        match &self.host {
            Host::Daemon(running) => Ok(running),
            Host::Command(offline) => Err(not_running(&offline.config)),
        }
    }

    /// The configuration that is in force, or that the command goes by.
    fn config(&self) -> Arc<Config> {
        match &self.host {
            Host::Daemon(running) => running.reloader.config(),
            Host::Command(offline) => offline.config.clone(),
        }
    }

    /// The engine is told of grants that were committed beside it.
    fn changed(&self, grants: impl IntoIterator<Item = Grant>) {
        if let Host::Daemon(running) = &self.host {
            for grant in grants {
                running.engine.tell(Message::Changed(Box::new(grant)));
            }
        }
    }

    /// `refreshd reload`.
    ///
    /// # Errors
    /// When no daemon runs; or what is wrong with the configuration, and the old one stays
    /// in force.
    pub async fn reload(&self) -> Result<Done, Failure> {
        let running = self.daemon()?;
        let reloaded = running.reloader.reload(&running.engine).await;
        reloaded.map(Done::told)
    }

    /// `refreshd doctor --accept-…`.
    ///
    /// # Errors
    /// When no daemon runs, or there is nothing to accept.
    pub async fn accept(&self, what: Accept) -> Result<Done, Failure> {
        let message = |reply| Message::Accept(what, reply);
        let accepted = self.daemon()?.ask(message).await?;
        let refused = |text: String| Failure::new(Exit::Data, text);
        accepted.map(Done::told).map_err(refused)
    }
}
