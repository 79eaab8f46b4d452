//! What others ask the engine: status, a look at a grant, a refresh now.

use super::message::{Look, NotRefreshed, RefreshReply, Refreshed, Wish};
use super::roster::{Entry, Wished, seat_of};
use super::standing::Change;
use super::{Engine, refreshed};
use crate::config::Client;
use crate::publish::reconcile::OutputReport;
use crate::report::GrantReport;
use refreshd_core::grant::schedule::{Denied, Urgency, wish};
use std::collections::HashMap;
use std::sync::Arc;

impl Engine {
    /// Reports of all grants, by name.
    pub(super) fn status(&self) -> Vec<GrantReport> {
        let now = self.deck.clock.wall();
        let mut published: HashMap<String, Vec<OutputReport>> = HashMap::new();
        for report in self.publisher.reports() {
            let outputs = published.entry(report.grant.clone()).or_default();
            outputs.push(report);
        }
        let mut reports: Vec<GrantReport> = self
            .roster
            .iter()
            .map(|entry| {
                let seat = entry.seat.as_ref();
                let provider = seat.map(|s| s.client.description.name.as_str());
                let policy = seat.map(|s| &s.policy);
                let mut report = GrantReport::new(&entry.grant, provider, policy, now);
                report.refreshing = entry.in_flight.is_some();
                let outputs = published.remove(&report.grant).unwrap_or_default();
                report.tell_outputs(&outputs);
                report
            })
            .collect();
        let missing =
            crate::report::missing(&self.config, |name| self.roster.index(name).is_some());
        reports.extend(missing);
        reports.sort_by(|a, b| a.grant.cmp(&b.grant));
        reports
    }

    /// The active grants with their clients, by the configuration: one in flight
    /// keeps its seat until it lands.
    pub(super) fn seated(&self) -> Vec<(String, Arc<Client>)> {
        let seated = |entry: &Entry| {
            let seat = seat_of(&entry.grant, &self.config)?;
            Some((entry.grant.name.clone(), seat.client))
        };
        self.roster.iter().filter_map(seated).collect()
    }

    /// A grant as it is.
    pub(super) fn look(&self, name: &str) -> Option<Look> {
        let entry = self.roster.entry(self.roster.index(name)?);
        Some(Look {
            grant: entry.grant.clone(),
            suspect: entry.in_flight.is_some()
                && entry
                    .seat
                    .as_ref()
                    .is_some_and(|seat| seat.policy.rotation.revokes_old_access),
            retired: seat_of(&entry.grant, &self.config).is_none(),
        })
    }

    /// Starts what was wished for, or answers why not.
    pub(super) async fn refresh(&mut self, wished: Wish, reply: RefreshReply) {
        let index = match self.grant_wish(&wished) {
            Ok(index) => index,
            Err(answer) => return drop(reply.send(answer)),
        };
        let entry = self.roster.entry_mut(index);
        entry.waiters.retain(|waiter| !waiter.is_closed());
        entry.waiters.push(reply);
        if entry.in_flight.is_some() {
            return;
        }
        entry.wished = Some(Wished {
            urgency: wished.urgency,
            at: self.deck.clock.wall(),
        });
        let state = &entry.grant.state;
        if wished.urgency == Urgency::Rejected && state.doubt.is_some() && !state.access_dead {
            let state = refreshd_core::GrantState {
                access_dead: true,
                ..state.clone()
            };
            let text = "a consumer's access token was refused";
            self.commit_states(vec![Change::new(index, state, "suspect", text)])
                .await;
        }
        let now = self.deck.clock.wall();
        let can_start = self.deck.journal.free_slots() > 0 && self.store_is_writable();
        if wished.urgency.is_forced() && can_start {
            // The queue would hold it back with its endpoint.
            self.launch(index, now);
        } else {
            self.queue.arm(index, now);
        }
    }

    /// The index of a grant whose flight the wish is to wait for; or the answer.
    fn grant_wish(&self, wished: &Wish) -> Result<u32, Result<Refreshed, NotRefreshed>> {
        let index = self.roster.index(&wished.grant);
        let index = index.ok_or(Err(NotRefreshed::Unknown))?;
        let entry = self.roster.entry(index);
        let state = &entry.grant.state;
        if wished
            .generation
            .is_some_and(|generation| generation < state.generation)
        {
            return Err(Ok(refreshed(
                &wished.grant,
                state.generation,
                state.expires_at,
            )));
        }
        if entry.in_flight.is_some() {
            return Ok(index);
        }
        let needs_person = |why: &str| {
            Err(Err(NotRefreshed::NeedsPerson(format!(
                "{}: {why}",
                wished.grant
            ))))
        };
        if let Some(why) = &self.fenced {
            return needs_person(why);
        }
        if self.unwritable {
            let text = format!(
                "{}: the database cannot be written, so nothing is refreshed until it can; the log says why",
                wished.grant
            );
            return Err(Err(NotRefreshed::Later(text)));
        }
        let Some(seat) = &entry.seat else {
            return needs_person("it is not in the configuration any more");
        };
        let now = self.deck.clock.wall();
        if let Err(denied) = wish(state, &seat.policy, wished.urgency, now) {
            return Err(Err(refusal(&wished.grant, denied)));
        }
        match self
            .limits
            .may_start(seat.lane, seat.client_number, index, now)
        {
            Err(blocked)
                if !wished.urgency.is_forced()
                    && blocked.until.is_some_and(|until| until > now) =>
            {
                let until = blocked.until.unwrap_or(now).rfc3339();
                let text = format!(
                    "{}: not before {until}: its provider fails or asked to wait; `refreshd status` tells more",
                    wished.grant
                );
                Err(Err(NotRefreshed::Later(text)))
            }
            _ => Ok(index),
        }
    }

    /// Answers those who wait for a refresh that is not made after all.
    pub(super) fn turn_down(&mut self, index: u32, denied: Denied) {
        let entry = self.roster.entry_mut(index);
        let answer = refusal(&entry.grant.name, denied);
        for waiter in entry.waiters.drain(..) {
            let _gone = waiter.send(Err(answer.clone()));
        }
    }

    /// The grant was retired, paused or authorized again while somebody waited.
    pub(super) fn turn_down_if_idle(&mut self, index: u32) {
        let entry = self.roster.entry_mut(index);
        if entry.in_flight.is_some() || entry.wished.is_some() {
            return;
        }
        let name = entry.grant.name.clone();
        for waiter in entry.waiters.drain(..) {
            let text = format!("{name}: it was changed meanwhile; ask again");
            let _gone = waiter.send(Err(NotRefreshed::Later(text)));
        }
    }
}

/// Why a wish is turned down, for a person.
fn refusal(grant: &str, denied: Denied) -> NotRefreshed {
    match denied {
        Denied::Never(why) => NotRefreshed::NeedsPerson(format!("{grant}: {}", why.explain())),
        Denied::NotBefore { at, why } => NotRefreshed::Later(format!(
            "{grant}: not before {}: {}",
            at.rfc3339(),
            why.explain()
        )),
    }
}
