//! Keeps grants in line with the configuration: seats, bindings, what an
//! operator confirms.

use super::message::Accept;
use super::{Engine, Errand, caps};
use crate::config::Config;
use crate::config::active::{self, aligned, seat_of};
use crate::publish::published_generations;
use crate::state::{Committed, Event as HistoryEvent, StoreError};
use refreshd_core::grant::align;
use refreshd_core::grant::state::Status;
use refreshd_core::incident::{self, Subject};
use refreshd_core::{Grant, GrantState};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A state to be committed outside a flight.
pub(super) struct Change {
    /// Whose.
    pub(super) index: u32,
    state: GrantState,
    kind: &'static str,
    text: String,
}

impl Change {
    pub(super) fn new(
        index: u32,
        state: GrantState,
        kind: &'static str,
        text: impl Into<String>,
    ) -> Self {
        Change {
            index,
            state,
            kind,
            text: text.into(),
        }
    }
}

impl Engine {
    /// Somebody else committed a grant: an import.
    pub(super) async fn changed(&mut self, grant: Grant) {
        let name = grant.name.clone();
        let index = self.put(grant.clone());
        let desk = self.roster.desk(index);
        (desk.trouble, desk.unsaved) = (None, None);
        let now = self.deck.clock.wall();
        let effects = self.scheduler.changed(index, grant, now);
        self.apply(effects);
        self.align(index).await;
        self.publisher.notify(&name);
    }

    /// A new configuration.
    pub(super) async fn reload(&mut self, config: Arc<Config>) {
        self.config = config;
        self.deck.http.forget();
        self.scheduler.set_caps(caps(&self.config, &self.deck));
        // A changed secret may have mended why a client was not accepted.
        let now = self.deck.clock.wall();
        self.scheduler.secrets_changed(|_| true, now);
        self.align_all().await;
        self.forget_incidents();
    }

    /// Brings every grant in line; their commits share transactions.
    pub(super) async fn align_all(&mut self) {
        self.begin_grants().await;
        let grounded =
            |engine: &Engine, index: &u32| engine.scheduler.entry(*index).in_flight.is_none();
        let indices: Vec<u32> = self.scheduler.indices().collect();
        let changes = indices
            .iter()
            .filter(|index| grounded(self, index))
            .filter_map(|index| self.wanted_change(*index));
        let changes: Vec<Change> = changes.collect();
        self.commit_states(changes).await;
        for index in indices {
            self.align(index).await;
        }
    }

    /// Adds the configured grants that the store does not know and whose client
    /// can ask for their first token set.
    async fn begin_grants(&mut self) {
        let at = self.deck.clock.wall();
        let new = |name: &str| self.roster.index(name).is_none();
        let begin = self.config.grants.values().filter_map(|grant| {
            let client = self.config.clients.get(&grant.client)?;
            (client.description.refresh.asks_anew() && new(&grant.name)).then(|| {
                let (store, grant) = (self.deck.store.clone(), grant.clone());
                let state = GrantState {
                    // Since then it waits for its first token set.
                    login_at: at,
                    configured: true,
                    asks_anew: true,
                    ..GrantState::default()
                };
                async move {
                    let begun = store.begin(&grant.name, &grant.client, state, at).await;
                    (grant.name, begun)
                }
            })
        });
        let mut begun: JoinSet<_> = begin.collect();
        while let Some(joined) = begun.join_next().await {
            match joined.expect("a commit does not panic") {
                (_, Ok(grant)) => drop(self.put(grant)),
                (name, Err(e)) => {
                    tracing::error!(grant = %name, "{name}: it could not be begun: {e}");
                }
            }
        }
    }

    /// Brings a grant in line with the configuration and puts it into the queue.
    pub(super) async fn align(&mut self, index: u32) {
        if !self.scheduler.may_align(index) {
            return;
        }
        // Once more where a late answer was committed in between.
        for _ in 0..2 {
            match self.wanted_change(index) {
                Some(change) => self.commit_states(vec![change]).await,
                None => break,
            };
        }
        let config = self.config.clone();
        let seat = self
            .roster
            .find_seat(&self.scheduler.entry(index).grant, &config);
        let effects = self.scheduler.seat(index, seat, self.deck.clock.wall());
        self.apply(effects);
        self.turn_down_if_idle(index);
        self.schedule(index);
        // By the description of now it may be readable.
        if let Some(flight) = self.scheduler.read_again(index, self.deck.clock.wall()) {
            self.take_off(flight, Errand::ReadAgain);
        }
    }

    fn wanted_change(&self, index: u32) -> Option<Change> {
        let grant = &self.scheduler.entry(index).grant;
        let seat = seat_of(grant, &self.config)?;
        let change = aligned(grant, &seat, &self.config)?;
        Some(Change::new(index, change.state, change.kind, change.text))
    }

    /// Commits states outside a flight, all at once so that they share
    /// transactions. Returns the first error.
    pub(super) async fn commit_states(&mut self, changes: Vec<Change>) -> Option<StoreError> {
        let mut commits = JoinSet::new();
        for change in changes {
            let grant = self.scheduler.entry(change.index).grant.clone();
            let name = grant.name.clone();
            let Change {
                kind, text, state, ..
            } = change;
            let event = HistoryEvent {
                at: self.deck.clock.wall(),
                kind: kind.to_owned(),
                text,
            };
            let store = self.deck.store.clone();
            commits.spawn(async move { (name, store.update_state(&grant, state, event).await) });
        }
        let mut failed = None;
        while let Some(joined) = commits.join_next().await {
            match joined.expect("a commit does not panic") {
                (_, Ok(Committed::Applied(grant) | Committed::Stale(grant))) => {
                    self.put(grant);
                }
                (name, Err(e)) => {
                    tracing::error!(grant = %name, "{name}: its state could not be saved: {e}");
                    failed = failed.or(Some(e));
                }
            }
        }
        failed
    }

    /// An operator confirms something.
    pub(super) async fn accept(&mut self, what: Accept) -> Result<String, String> {
        match what {
            Accept::Clock => self.accept_clock().await,
            Accept::Binding(name) => self.accept_binding(&name).await,
            Accept::Restore => self.accept_restore().await,
        }
    }

    async fn accept_clock(&mut self) -> Result<String, String> {
        let before = self.deck.clock.wall();
        self.deck.clock.accept();
        let now = self.deck.clock.wall();
        let accepted = self.deck.store.accept_time(now).await;
        accepted.map_err(|e| e.to_string())?;
        let text = "its times were moved along with the clock that was accepted";
        let ahead = self.scheduler.bring_back(before.since(now)).into_iter();
        let ahead = ahead.map(|(index, state)| Change::new(index, state, "clock", text));
        let changes: Vec<Change> = ahead.collect();
        if let Some(e) = self.commit_states(changes).await {
            return Err(e.to_string());
        }
        for index in self.scheduler.indices() {
            self.schedule(index);
        }
        Ok("the system's wall clock is followed again".to_owned())
    }

    async fn accept_binding(&mut self, name: &str) -> Result<String, String> {
        let missing = || format!("there is no grant {name}");
        let index = self.roster.index(name).ok_or_else(missing)?;
        let entry = self.scheduler.entry(index);
        let seat = entry
            .seat
            .as_ref()
            .ok_or_else(|| format!("{name} is not in the configuration"))?;
        if entry.grant.state.status(self.deck.clock.wall()) != Status::Paused {
            return Err(format!("{name} is not paused"));
        }
        let binding = active::binding_of(seat)?;
        let text = format!(
            "its refresh token may go to client {} at {}",
            binding.client_id, binding.origin
        );
        let state = align::accepted(&entry.grant.state, binding);
        let change = Change::new(index, state, "accepted", text.clone());
        if let Some(e) = self.commit_states(vec![change]).await {
            return Err(e.to_string());
        }
        self.schedule(index);
        Ok(format!("{name}: {text}"))
    }

    async fn accept_restore(&mut self) -> Result<String, String> {
        if self.scheduler.fenced().is_none() {
            return Err("the state is not fenced".to_owned());
        }
        let grants: Vec<Grant> = self
            .scheduler
            .entries()
            .filter(|entry| !entry.removed)
            .map(|entry| entry.grant.clone())
            .collect();
        let store_id = self.deck.store.store_id().to_owned();
        let published = published_generations(self.config.clone(), store_id, grants).await;
        let now = self.deck.clock.wall();
        // Whatever a description says, a token that may have been rotated since is in doubt.
        let rotates = |grant: &Grant| grant.state.presents.is_some();
        let accepted = self
            .deck
            .store
            .accept_restore(now, &published, rotates)
            .await;
        let grants = accepted.map_err(|e| e.to_string())?;
        self.scheduler.set_fenced(None);
        let accepted = "the restored state was accepted";
        self.incidents
            .close(&Subject::Daemon, incident::Kind::Fenced, accepted);
        self.publisher.set_fenced(false);
        for grant in grants {
            self.changed(grant).await;
        }
        self.recall_second_chances().await;
        Ok("the restored state is accepted: generations go on above every published one, and refresh tokens that may have been rotated since are in doubt".to_owned())
    }
}
