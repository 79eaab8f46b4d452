//! A service without a daemon: a command has opened the state. What a crash left is settled
//! first, on a copy where the command only looks.

use super::maintenance::Maintenance;
use super::{Host, Service};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::engine::recovery::{self, Unsaved};
use crate::exchange::Deck;
use crate::exit::{Exit, Failure, internal};
use crate::http::{Http, install_tls};
use crate::opening::{Access, access};
use crate::state::{Recovered, State};
use std::sync::Arc;

/// What only a command has.
pub(super) struct Offline {
    pub(super) config: Arc<Config>,
    /// Exchanges of authorizations that are not settled: only a daemon does that.
    pub(super) waiting: Vec<Recovered>,
    /// What the store did not take: their grants present nothing meanwhile.
    _unsaved: Vec<Unsaved>,
    /// Held for its lock.
    _state: State,
}

impl Service {
    /// One without a daemon, on the state of a configuration.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub async fn offline(config: Arc<Config>, how: Access) -> Result<Self, Failure> {
        install_tls();
        let mut state = access(&config, how)?;
        let last_seen = state.last_seen();
        let deck = Deck {
            store: state.store.clone(),
            http: Http::default(),
            clock: SharedClock::new(last_seen.as_ref()),
            fingerprinter: state.store.fingerprinter(),
            late_answers: Default::default(),
            unsettled: Default::default(),
        };
        let recovered = std::mem::take(&mut state.recovered);
        let left = recovery::finish(&deck, &config, recovered).await?;
        let (store, keys) = (deck.store.clone(), state.keys.clone());
        let maintenance = Maintenance::new(store, keys, deck.clock.clone());
        let offline = Offline {
            config,
            waiting: left.enrolments,
            _unsaved: left.unsaved,
            _state: state,
        };
        Ok(Service {
            deck,
            maintenance: Arc::new(maintenance),
            host: Host::Command(offline),
        })
    }

    /// Writes everything down and lets go of the store.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn close(&self) -> Result<(), Failure> {
        let closed = self.deck.store.close().await;
        let unsettled = self.deck.unsettled.all();
        if !unsettled.is_empty() {
            self.deck.store.rescue(&unsettled).map_err(internal)?;
        }
        closed.map_err(internal)
    }
}

/// The answer to what cannot be done without a daemon.
pub(crate) fn not_running(config: &Config) -> Failure {
    let text = format!(
        "refreshd is not running (nobody answers at {}); start it with `refreshd run`",
        config.socket().display()
    );
    Failure::new(Exit::Unavailable, text)
}
