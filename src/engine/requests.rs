//! What others ask the engine: status, a look at a grant, a refresh now.

use super::message::{Look, NotRefreshed, RefreshReply, Refreshed, WhichGrants, Wish};
use super::reconfigure::Change;
use super::{Engine, refreshed};
use crate::config::Client;
use crate::config::active::{Seat, has_retired, seat_of};
use crate::publish::reconcile::OutputReport;
use crate::report::GrantReport;
use refreshd_core::grant::schedule::{Denied, Never, Why};
use refreshd_core::limits::Scope;
use refreshd_core::scheduler::{Declined, Entry, Granted};
use refreshd_core::{Grant, GrantId};
use std::collections::HashMap;
use std::sync::Arc;

impl Engine {
    /// Reports of grants, by name.
    pub(super) fn status(&self, named: &WhichGrants) -> Vec<GrantReport> {
        let now = self.deck.clock.wall();
        let mut published: HashMap<String, Vec<OutputReport>> = HashMap::new();
        let reports = self.publisher.reports().into_iter();
        for report in reports.filter(|report| named.has(&report.grant)) {
            let outputs = published.entry(report.grant.clone()).or_default();
            outputs.push(report);
        }
        let report = |index: u32| {
            let entry = self.scheduler.entry(index);
            let seat = entry.seat.as_ref();
            let provider = seat.map(|s| s.client.description.name.as_str());
            let policy = seat.map(|s| &s.policy);
            let mut report = GrantReport::new(&entry.grant, provider, policy, now);
            report.refreshing = entry.in_flight.is_some();
            if let Some(hold) = self.scheduler.hold(index, now) {
                report.tell_hold(hold, |scope| self.name_of(scope), now);
            }
            report.tell_outputs(published.get(&report.grant).map_or(&[], Vec::as_slice));
            report
        };
        let mut reports: Vec<GrantReport> = match named {
            WhichGrants::All => {
                let entries = self.scheduler.entries().zip(0..);
                let there = entries.filter(|(entry, _)| !entry.removed);
                there.map(|(_, index)| report(index)).collect()
            }
            WhichGrants::These(names) => {
                let there = names.iter().filter_map(|name| self.roster.index(name));
                there.map(report).collect()
            }
        };
        let missing =
            crate::report::missing(&self.config, |name| self.roster.index(name).is_some());
        reports.extend(missing.filter(|report| named.has(&report.grant)));
        reports.sort_by(|a, b| a.grant.cmp(&b.grant));
        reports
    }

    /// The active grants with their clients, by the configuration: one in flight
    /// keeps its seat until it lands.
    pub(super) fn seated(&self) -> Vec<(String, Arc<Client>)> {
        let seated = |entry: &Entry<Seat>| {
            let seat = seat_of(&entry.grant, &self.config)?;
            Some((entry.grant.name.clone(), seat.client))
        };
        let there = self.scheduler.entries().filter(|entry| !entry.removed);
        there.filter_map(seated).collect()
    }

    /// A grant as it is.
    pub(super) fn look(&self, name: &str) -> Option<Look> {
        let index = self.roster.index(name)?;
        let entry = self.scheduler.entry(index);
        Some(Look {
            grant: entry.grant.clone(),
            suspect: self.scheduler.is_suspect(index),
            retired: has_retired(&entry.grant, &self.config),
        })
    }

    /// Starts what was wished for, or answers why not.
    pub(super) async fn refresh(&mut self, wished: Wish, reply: RefreshReply) {
        let Some(index) = self.roster.index(&wished.grant) else {
            return drop(reply.send(Err(NotRefreshed::Unknown)));
        };
        if self.is_stopping && self.scheduler.entry(index).in_flight.is_none() {
            return drop(reply.send(Err(stopping(&wished.grant))));
        }
        self.watch_store();
        let now = self.deck.clock.wall();
        let (urgency, generation) = (wished.urgency, wished.generation);
        let asked = self.scheduler.wish(index, urgency, generation, now);
        let suspected = self.scheduler.suspected(index, urgency, asked.err());
        match asked {
            Ok(_) => self.wait(index, reply),
            Err(declined) => drop(reply.send(self.declined(index, declined))),
        }
        if let Some(state) = suspected {
            let text = "a consumer's access token was refused";
            self.commit_states(vec![Change::new(index, state, "suspect", text)])
                .await;
            self.schedule(index);
        }
        if asked != Ok(Granted::Starts) {
            return;
        }
        let now = self.deck.clock.wall();
        let late_answers = &self.deck.late_answers;
        let is_pending = |grant: &GrantId| late_answers.are_pending(grant);
        let next = self.scheduler.start(index, now, is_pending);
        self.follow(next, now);
    }

    /// Whom a brake is about, for people.
    pub(super) fn name_of(&self, scope: Scope) -> String {
        match scope {
            Scope::Template(template) => self.roster.template_name(template).to_owned(),
            Scope::Host(host) => self.roster.host_name(host).to_owned(),
            Scope::ClientAt { client, .. } | Scope::Client(client) => {
                format!("client {}", self.roster.client_name(client))
            }
        }
    }

    fn wait(&mut self, index: u32, reply: RefreshReply) {
        let desk = self.roster.desk(index);
        desk.waiters.retain(|waiter| !waiter.is_closed());
        desk.waiters.push(reply);
    }

    /// Why a wish comes to nothing, for whoever wished.
    fn declined(&self, index: u32, why: Declined) -> Result<Refreshed, NotRefreshed> {
        let grant = &self.scheduler.entry(index).grant;
        declined(grant, why, self.scheduler.fenced(), |scope| {
            self.name_of(scope)
        })
    }

    /// Answers those who wait for a refresh that is not made after all.
    pub(super) fn turn_down(&mut self, index: u32, declined: Declined) {
        let answer = self.declined(index, declined);
        self.scheduler.answered(index);
        for waiter in self.roster.desk(index).waiters.drain(..) {
            let _gone = waiter.send(answer.clone());
        }
    }

    /// Nothing begins any more; what is under way may still be joined.
    pub(super) fn turn_down_at_stop(&mut self, index: u32) {
        self.scheduler.answered(index);
        let name = &self.scheduler.entry(index).grant.name;
        for waiter in self.roster.desk(index).waiters.drain(..) {
            let _gone = waiter.send(Err(stopping(name)));
        }
    }

    /// The grant was retired, paused or authorized again while somebody waited.
    pub(super) fn turn_down_if_idle(&mut self, index: u32) {
        if !self.scheduler.waits_in_vain(index) {
            return;
        }
        self.scheduler.answered(index);
        let name = &self.scheduler.entry(index).grant.name;
        for waiter in self.roster.desk(index).waiters.drain(..) {
            let text = format!("{name}: it was changed meanwhile; ask again");
            let _gone = waiter.send(Err(NotRefreshed::Later(text)));
        }
    }
}

/// Why a wish comes to nothing, for whoever wished. `fenced`: why nothing is refreshed;
/// `name_of`: whom a brake is about.
pub(crate) fn declined(
    grant: &Grant,
    why: Declined,
    fenced: Option<&str>,
    name_of: impl Fn(Scope) -> String,
) -> Result<Refreshed, NotRefreshed> {
    let (name, state) = (&grant.name, &grant.state);
    match why {
        Declined::Fulfilled => Ok(refreshed(name, state.generation, state.expires_at)),
        Declined::Fenced => {
            let why = fenced.unwrap_or_default();
            Err(NotRefreshed::NeedsPerson(format!("{name}: {why}")))
        }
        Declined::Unwritable => Err(NotRefreshed::Later(format!(
            "{name}: the database cannot be written, so nothing is refreshed until it can; the log says why"
        ))),
        Declined::Retired => Err(NotRefreshed::NeedsPerson(format!(
            "{name}: it is not in the configuration any more"
        ))),
        Declined::Denied(denied) => Err(refusal(name, denied)),
        Declined::Braked { by, trouble, until } => {
            let until = until.map_or_else(String::new, |at| format!(" before {}", at.rfc3339()));
            Err(NotRefreshed::Later(format!(
                "{name}: not asked{until}: {}: {}, so grants are asked one at a time; `refreshd refresh {name} --force` asks all the same, which where answers are lost can cost the refresh token",
                name_of(by),
                trouble.explain()
            )))
        }
    }
}

fn stopping(name: &str) -> NotRefreshed {
    NotRefreshed::Later(format!(
        "{name}: refreshd is stopping; ask again when it runs"
    ))
}

/// Why a wish is turned down, for a person.
fn refusal(grant: &str, denied: Denied) -> NotRefreshed {
    match denied {
        Denied::Never(Never::AnswerKept) => NotRefreshed::NeedsPerson(format!(
            "{grant}: an answer that could not be read may hold its refresh token, and presenting the old one could revoke that; see `refreshd answers {grant}`, or take the risk with `refreshd refresh {grant} --force --accept-risk`"
        )),
        Denied::Never(why) => NotRefreshed::NeedsPerson(format!("{grant}: {}", why.explain())),
        // Waiting is not likely to help: the retries are there in case it does.
        Denied::NotBefore {
            at,
            why: why @ (Why::RefusedRetry | Why::RefreshOver),
        } => NotRefreshed::NeedsPerson(format!(
            "{grant}: not before {}: {}",
            at.rfc3339(),
            why.explain()
        )),
        Denied::NotBefore { at, why } => NotRefreshed::Later(format!(
            "{grant}: not before {}: {}",
            at.rfc3339(),
            why.explain()
        )),
    }
}
