//! What the limits ask for besides: incidents, probes, second chances.

use super::Engine;
use super::roster::Wished;
use super::standing::Change;
use crate::random;
use refreshd_core::GrantId;
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::grant::settle::OutcomeKind;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::limits::{self, Effect};
use refreshd_core::time::WallTime;
use std::collections::HashSet;
use std::time::Duration;

/// Refusals older than this say nothing about the provider's health today.
const REFUSALS_RECALLED: Duration = Duration::from_secs(86_400);

impl Engine {
    /// Tells the limits what a flight came to. `counted`: it still has its place.
    pub(super) fn settle_limits(
        &mut self,
        index: u32,
        kind: Option<OutcomeKind>,
        counted: bool,
    ) -> Vec<Effect> {
        let entry = self.roster.entry(index);
        let Some(seat) = &entry.seat else {
            return Vec::new();
        };
        let (lane, client) = (seat.lane, seat.client_number);
        let now = self.deck.clock.wall();
        let roll = u64::from_le_bytes(random::bytes());
        let (state, policy) = (&entry.grant.state, &seat.policy);
        let kind = kind.map(|kind| limits::OutcomeKind::of(kind, state, policy, now));
        match (kind, counted) {
            (Some(kind), true) => self.limits.ended(lane, client, index, kind, now, roll),
            // The doubt was told when it became overdue.
            (Some(limits::OutcomeKind::Lost), false) | (None, false) => Vec::new(),
            (Some(kind), false) => self.limits.observed(lane, client, index, kind, now, roll),
            (None, true) => {
                self.limits.abandoned(lane, client, index);
                Vec::new()
            }
        }
    }

    /// Does what the limits ask for.
    pub(super) async fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                // Of a single grant its own lines have told it all.
                Effect::LaneOpened { lane, .. } if self.roster.grants_of(lane) < 2 => {}
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
                    self.paused_clients.insert(client);
                }
                Effect::Probe { grant, at, .. } => self.probe(grant, at),
                Effect::ClientResumed { client, rearm } => {
                    let client = self.roster.client_name(client).to_owned();
                    self.client_works(&client, &format!("client {client} works again"));
                    self.forget_refusals(rearm).await;
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

    fn client_works(&mut self, client: &str, why: &str) {
        self.paused_clients.remove(client);
        let subject = Subject::Client(client.to_owned());
        for kind in [Kind::ClientPaused, Kind::MassRefusal] {
            self.incidents.close(&subject, kind, why);
        }
    }

    /// Presents a refused refresh token once more; a hold in doubt still holds.
    pub(super) fn probe(&mut self, index: u32, at: WallTime) {
        let entry = self.roster.entry_mut(index);
        let urgency = Urgency::Force;
        entry.wished = Some(Wished { urgency, at });
        self.queue.arm(index, at);
    }

    /// The provider was broken, not the grants: their refusals meant nothing.
    async fn forget_refusals(&mut self, indices: Vec<u32>) {
        for index in &indices {
            let entry = self.roster.entry_mut(*index);
            // A probe that is still to come has nothing left to find out.
            entry.wished.take_if(|_| entry.waiters.is_empty());
        }
        let refused = indices.into_iter().filter_map(|index| {
            let state = &self.roster.entry(index).grant.state;
            state.refusal.as_ref()?;
            let state = refreshd_core::GrantState {
                refusal: None,
                ..state.clone()
            };
            let text = "the provider refused many grants at once, and answers again";
            Some(Change::new(index, state, "re-armed", text))
        });
        let changes: Vec<Change> = refused.collect();
        let indices: Vec<u32> = changes.iter().map(|change| change.index).collect();
        self.commit_states(changes).await;
        for index in indices {
            self.schedule(index);
        }
    }

    /// Before a person is asked, a refused grant tries what a late answer brought.
    pub(super) async fn take_second_chance(&mut self, index: u32) {
        let grant = &self.roster.entry(index).grant;
        let (id, name, revision) = (grant.id.clone(), grant.name.clone(), grant.revision);
        let at = self.deck.clock.wall();
        match self.deck.store.take_second_chance(&id, revision, at).await {
            Ok(Some(grant)) => {
                tracing::warn!(grant = %name, "{name}: its refresh token was refused; one that a late answer brought is tried");
                self.roster.put(grant);
            }
            Ok(None) => {}
            Err(e) => tracing::error!(grant = %name, "{name}: kept answers cannot be read: {e}"),
        }
    }

    /// The process may have ended between a refusal and its second chance.
    pub(super) async fn recall_second_chances(&mut self) {
        let chances = match self.deck.store.second_chances().await {
            Ok(chances) => HashSet::<GrantId>::from_iter(chances),
            Err(e) => return tracing::error!("kept answers cannot be read: {e}"),
        };
        let refused = |engine: &Engine, index: &u32| {
            let grant = &engine.roster.entry(*index).grant;
            grant.state.refusal.is_some() && chances.contains(&grant.id)
        };
        let indices: Vec<u32> = self.roster.indices().collect();
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
        let now = self.deck.clock.wall();
        let mut refused: Vec<(WallTime, u32)> = self
            .roster
            .indices()
            .filter_map(|index| {
                let entry = self.roster.entry(index);
                let (state, seat) = (&entry.grant.state, entry.seat.as_ref()?);
                let refusal = state.refusal.as_ref()?;
                let counts = refusal.at + REFUSALS_RECALLED > now;
                (counts && !limits::is_expected(state, &seat.policy)).then_some((refusal.at, index))
            })
            .collect();
        refused.sort_unstable();
        for (at, index) in refused {
            let Some(seat) = &self.roster.entry(index).seat else {
                continue;
            };
            let (lane, client) = (seat.lane, seat.client_number);
            let kind = limits::OutcomeKind::InvalidGrant;
            let effects = self.limits.observed(lane, client, index, kind, at, 0);
            self.apply(effects).await;
        }
    }
}
