//! What the limits ask for besides: incidents, probes, second chances.

use super::Engine;
use super::roster::Seat;
use super::standing::Change;
use refreshd_core::GrantId;
use refreshd_core::dispatch::Entry;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::limits::Effect;
use std::collections::HashSet;

impl Engine {
    /// Tells what the limits have done, and commits what they ask for.
    pub(super) async fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                // Of a single grant its own lines have told it all.
                Effect::LaneOpened { lane, .. } if self.grants_of(lane) < 2 => {}
                Effect::LaneOpened { lane, probe_at } => {
                    let endpoint = self.roster.endpoint(lane);
                    let text = || {
                        format!(
                            "{endpoint}: exchanges in a row got no answer; one grant at a time tries it, from {}",
                            probe_at.rfc3339()
                        )
                    };
                    let subject = Subject::Endpoint(endpoint.to_owned());
                    self.incidents.raise(&subject, Kind::EndpointFailing, text);
                }
                Effect::LaneClosed { lane } => {
                    let subject = Subject::Endpoint(self.roster.endpoint(lane).to_owned());
                    let why = "it answers again";
                    self.incidents.close(&subject, Kind::EndpointFailing, why);
                }
                Effect::LanePaused { lane, until } => {
                    let endpoint = self.roster.endpoint(lane);
                    tracing::warn!(
                        endpoint,
                        "{endpoint}: asked several grants to wait; nothing is sent there until {}",
                        until.rfc3339()
                    );
                }
                Effect::ClientPaused {
                    client,
                    mass_refusal,
                    reason,
                } => {
                    let client = self.roster.client_name(client).to_owned();
                    let text = || {
                        format!(
                            "client {client} is paused: {reason}; nothing of it is lost. Once that is mended, `refreshd reload` goes on at once"
                        )
                    };
                    let kind = match mass_refusal {
                        true => Kind::MassRefusal,
                        false => Kind::ClientPaused,
                    };
                    let subject = Subject::Client(client.clone());
                    self.incidents.raise(&subject, kind, text);
                }
                // The dispatch has armed it.
                Effect::Probe { .. } => {}
                Effect::ClientResumed { client, .. } => {
                    let client = self.roster.client_name(client).to_owned();
                    self.client_works(&client, &format!("client {client} works again"));
                    self.forget_refusals().await;
                }
                Effect::RefusalsStand { client, grants } => {
                    let client = self.roster.client_name(client).to_owned();
                    let refused = grants.len();
                    let why = format!(
                        "client {client} works; {refused} grants that were refused need another authorization"
                    );
                    self.client_works(&client, &why);
                }
            }
        }
    }

    fn client_works(&self, client: &str, why: &str) {
        let subject = Subject::Client(client.to_owned());
        for kind in [Kind::ClientPaused, Kind::MassRefusal] {
            self.incidents.close(&subject, kind, why);
        }
    }

    /// How many grants go to an endpoint.
    fn grants_of(&self, lane: u32) -> usize {
        let there = |entry: &&Entry<Seat>| entry.seat.as_ref().is_some_and(|s| s.lane == lane);
        self.dispatch.entries().filter(there).count()
    }

    /// The provider was broken, not the grants: their refusals meant nothing.
    pub(super) async fn forget_refusals(&mut self) {
        let text = "the provider refused many grants at once, and answers again";
        // Once more where a late answer was committed in between.
        for _ in 0..2 {
            let rearmed = self.dispatch.rearmed().into_iter();
            let changes = rearmed.map(|(index, state)| Change::new(index, state, "re-armed", text));
            let changes: Vec<Change> = changes.collect();
            let indices: Vec<u32> = changes.iter().map(|change| change.index).collect();
            self.commit_states(changes).await;
            for index in indices {
                self.schedule(index);
            }
        }
    }

    /// Before a person is asked, a refused grant tries what a late answer brought.
    pub(super) async fn take_second_chance(&mut self, index: u32) {
        // In a store that was put back it is not known yet which token is the newest.
        if self.dispatch.fenced().is_some() {
            return;
        }
        let grant = &self.dispatch.entry(index).grant;
        let (id, name, revision) = (grant.id.clone(), grant.name.clone(), grant.revision);
        let at = self.deck.clock.wall();
        match self.deck.store.take_second_chance(&id, revision, at).await {
            Ok(Some(grant)) => {
                tracing::warn!(grant = %name, "{name}: its refresh token was refused; one that a late answer brought is tried");
                self.dispatch.put(index, grant);
                // It is bound to whom it was asked of, which may be another by now.
                self.align(index).await;
                self.dispatch.schedule(index, at);
            }
            Ok(None) => {}
            Err(e) => {
                tracing::error!(grant = %name, "{name}: what late answers brought cannot be tried yet: {e}");
            }
        }
    }

    /// The process may have ended between a refusal and its second chance.
    pub(super) async fn recall_second_chances(&mut self) {
        let chances = match self.deck.store.second_chances().await {
            Ok(chances) => HashSet::<GrantId>::from_iter(chances),
            Err(e) => return tracing::error!("kept answers cannot be read: {e}"),
        };
        let refused = |engine: &Engine, index: &u32| {
            let grant = &engine.dispatch.entry(*index).grant;
            grant.state.refusal.is_some() && chances.contains(&grant.id)
        };
        let indices: Vec<u32> = self.dispatch.indices().collect();
        for index in indices
            .into_iter()
            .filter(|index| refused(self, index))
            .collect::<Vec<_>>()
        {
            self.take_second_chance(index).await;
            self.schedule(index);
        }
    }

    /// The limits remember nothing over a restart: they are told of the refusals
    /// of the last day, so that a provider that is still broken is seen as such.
    pub(super) async fn recall_refusals(&mut self) {
        let effects = self.dispatch.recall_refusals(self.deck.clock.wall());
        self.apply(effects).await;
    }
}
