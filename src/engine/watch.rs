//! Looks at each grant after whatever happened to it: what is wrong is an
//! incident, what is not any more is the end of one.

use super::Engine;
use super::advice::advice;
use super::effects::endpoint_for;
use super::roster::Desk;
use crate::config::active::Seat;
use crate::incidents::{Incidents, Told, Turned};
use refreshd_core::duration::human;
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::schedule::{reauthorize_before, refresh_token_over};
use refreshd_core::grant::state::Pause;
use refreshd_core::incident::{Common, Kind, Kinds, Subject, before, over};
use refreshd_core::scheduler::Entry;
use refreshd_core::text::counted;
use refreshd_core::time::WallTime;
use std::collections::HashSet;

/// Of these the outcome of an exchange is not the reason.
pub(super) const NO_OUTCOMES: Kinds = Kinds::NONE
    .with(Kind::NeedsAuthorization)
    .with(Kind::BindingChanged)
    .with(Kind::DuplicateRefreshToken);

/// What a look has brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    /// Incidents that were opened.
    pub(super) opened: Kinds,
    /// Incidents that were closed.
    pub(super) closed: Kinds,
}

impl Engine {
    /// Looks at a grant. `said`: what was just found out about it. The scheduler has
    /// it looked at again in time for the next notice.
    pub(super) fn watch(&mut self, index: u32, now: WallTime, said: Option<&str>) -> Watched {
        let (entry, desk) = (self.scheduler.entry(index), self.roster.desk(index));
        let (wrong, ends_at) = wrong(entry, now);
        let wrong = wrong.with_if(Kind::NotSaved, desk.unsaved.is_some());
        let ends_at = ends_at.filter(|_| wrong.contains(Kind::NeedsAuthorization));
        if desk.watched.replace((wrong, ends_at)) == Some((wrong, ends_at)) {
            return Watched::default();
        }
        let told_apart = self.without_crowd(index, wrong, now);
        let (entry, desk) = (self.scheduler.entry(index), self.roster.desk(index));
        let Turned { opened, closed } = observe(
            &self.incidents,
            entry,
            (told_apart, ends_at),
            now,
            said,
            desk,
        );
        // What is told of many is told.
        Watched {
            opened: opened.with_if(Kind::Expired, told_apart != wrong),
            closed,
        }
    }

    /// What is told of the grant by itself: where many lack a living token together, one
    /// incident tells of all.
    fn without_crowd(&mut self, index: u32, wrong: Kinds, now: WallTime) -> Kinds {
        let seat = self.scheduler.entry(index).seat.as_ref();
        let route = seat.map(|seat| seat.route);
        let Some(route) = route.filter(|_| wrong.contains(Kind::Expired)) else {
            for (common, count) in self.crowds.remove(index) {
                self.recount(common, count);
            }
            return wrong;
        };
        let commons = [Common::Host(route.host), Common::Client(route.client)];
        let Some((common, count)) = self.crowds.add(index, commons, now) else {
            return wrong;
        };
        self.recount(common, count);
        wrong.without(Kinds::NONE.with(Kind::Expired))
    }

    /// Tells how many grants lack a living token together.
    fn recount(&self, common: Common, count: usize) {
        let subject = match common {
            Common::Host(host) => Subject::Endpoint(self.roster.host_name(host).to_owned()),
            Common::Client(client) => Subject::Client(self.roster.client_name(client).to_owned()),
        };
        if count == 0 {
            let why = "none of its grants lacks a living access token any more";
            self.incidents.close(&subject, Kind::Expired, why);
            return;
        }
        let name = |index| self.scheduler.entry(index).grant.name.as_str();
        let some: Vec<&str> = self.crowds.some(common, 3).map(name).collect();
        let more = if count > some.len() { ", …" } else { "" };
        let text = format!(
            "{} without a living access token: {}{more}; `refreshd status` shows each, and why",
            counted(count, "grant"),
            some.join(", ")
        );
        self.incidents.recount(&subject, Kind::Expired, &text);
    }

    /// What an earlier process left open, and what is plainly not so any more.
    pub(super) fn disprove_at_start(&mut self) {
        let why = "it was not so when refreshd started again";
        let daemon = Subject::Daemon;
        if self.scheduler.fenced().is_none() {
            self.incidents.disprove(&daemon, Kind::Fenced, why);
        }
        if self.deck.clock.is_trusted() {
            self.incidents.disprove(&daemon, Kind::ClockDistrusted, why);
        }
        if self.deck.store.took_last_commit() {
            self.incidents.disprove(&daemon, Kind::StoreUnwritable, why);
        }
        self.forget_incidents();
    }

    /// What is gone from the configuration is not unhealthy.
    pub(super) fn forget_incidents(&self) {
        let (roster, config) = (&self.roster, &self.config);
        let seats = (self.scheduler.entries()).filter_map(|entry| entry.seat.as_ref());
        let asked = seats.map(|seat| (seat.route.host, seat.route.client));
        let asked: HashSet<(u32, u32)> = asked.collect();
        let endpoints = asked.iter().flat_map(|(host, client)| {
            let host = roster.host_name(*host);
            let alone = endpoint_for(host, roster.client_name(*client));
            [host.to_owned(), alone]
        });
        let endpoints: HashSet<String> = endpoints.collect();
        self.incidents.forget(|subject| match subject {
            Subject::Grant(name) => roster.index(name).is_none(),
            Subject::Client(name) => !config.clients.contains_key(name),
            Subject::Endpoint(endpoint) => !endpoints.contains(endpoint),
            Subject::Output { .. } | Subject::Daemon => false,
        });
    }

    /// A success says of client and endpoint that they work: limits do not
    /// remember over a restart that they did not.
    pub(super) fn disprove_for(&mut self, index: u32) {
        let Some(seat) = &self.scheduler.entry(index).seat else {
            return;
        };
        if !self.incidents.may_disprove() {
            return;
        }
        let client = Subject::Client(seat.client.name.clone());
        let host = self.roster.host_name(seat.route.host);
        let endpoints = [host.to_owned(), endpoint_for(host, &seat.client.name)];
        let why = "it works again";
        for kind in [Kind::ClientNotAccepted, Kind::MassRefusal, Kind::Expired] {
            self.incidents.disprove(&client, kind, why);
        }
        for endpoint in endpoints.map(Subject::Endpoint) {
            for kind in [Kind::EndpointFailing, Kind::Expired] {
                self.incidents.disprove(&endpoint, kind, why);
            }
        }
    }
}

/// What is wrong with a grant, and an end that a person alone can move. Nothing
/// is with one that was taken out of the configuration.
fn wrong(entry: &Entry<Seat>, now: WallTime) -> (Kinds, Option<WallTime>) {
    let Some(seat) = &entry.seat else {
        return (Kinds::NONE, None);
    };
    let state = &entry.grant.state;
    let wrong = Kinds::of_grant(state, &seat.policy, now)
        .with_if(Kind::NotStarted, entry.grounded > 0 && state.generation > 0);
    let over = wrong.contains(Kind::RefreshTokenOver);
    let ends_at = reauthorize_before(state, &seat.policy).filter(|_| !over);
    (wrong, ends_at)
}

fn observe(
    incidents: &Incidents,
    entry: &Entry<Seat>,
    (wrong, ends_at): (Kinds, Option<WallTime>),
    now: WallTime,
    said: Option<&str>,
    desk: &Desk,
) -> Turned {
    let (state, retired) = (&entry.grant.state, entry.seat.is_none());
    let told = |kind| match (kind, &desk.unsaved) {
        (Kind::NotSaved, Some(why)) => unsaved(why).into(),
        _ => tell(entry, kind, ends_at, now, said),
    };
    let over = |kind| match retired {
        true => "it was taken out of the configuration".to_owned(),
        false => over(kind, state),
    };
    incidents.observe(&entry.grant.name, wrong, ends_at, told, over)
}

/// What is wrong, for a person.
fn tell(
    entry: &Entry<Seat>,
    kind: Kind,
    ends_at: Option<WallTime>,
    now: WallTime,
    said: Option<&str>,
) -> Told {
    let (state, name) = (&entry.grant.state, &entry.grant.name);
    match kind {
        Kind::RefreshTokenOver => died(entry, now).into(),
        Kind::NeedsAuthorization => before(ends_at.unwrap_or(now), now).into(),
        Kind::BindingChanged => {
            let Some(Pause::BindingChanged { from, to }) = &state.pause else {
                return Told::default();
            };
            format!(
                "its refresh token belongs to client {} at {}, the configuration now says client {} at {}; run `refreshd doctor --accept-binding {name}` if that is meant",
                from.client_id, from.origin, to.client_id, to.origin
            )
            .into()
        }
        Kind::DuplicateRefreshToken => {
            let other = state.shared_with.as_deref().unwrap_or("?");
            format!(
                "the provider gave it a refresh token that grant {other} has had too: one authorization under two names, of which each cuts the other off where refresh tokens rotate; authorize one of them again, or take it out of the configuration"
            )
            .into()
        }
        _ => Told {
            text: found(entry, said),
            advice: entry.seat.as_ref().map_or_else(String::new, |seat| {
                let last = state.last_outcome.as_ref();
                let client = OutcomeKind::InvalidClient;
                // Only what depends on the outcome's kind is of interest.
                let kind = last.filter(|last| last.kind == client.word());
                let kind = kind.map_or(OutcomeKind::InDoubt, |_| client);
                advice(state, seat, kind, now)
            }),
        },
    }
}

fn unsaved(why: &str) -> String {
    format!(
        "the database does not take what its provider has answered: {why}. The answer is kept, and is tried again; this grant waits until then, and no other"
    )
}

/// What was just found out, or what the state remembers of it.
fn found(entry: &Entry<Seat>, said: Option<&str>) -> String {
    let state = &entry.grant.state;
    let last = state.last_outcome.as_ref();
    let last = last.filter(|last| last.is_failure() && !last.text.is_empty());
    match (said, last, &state.refusal) {
        (Some(said), _, _) => said.to_owned(),
        (None, _, Some(refusal)) if !refusal.text.is_empty() => refusal.text.clone(),
        (None, Some(last), _) => last.text.clone(),
        (None, None, _) if state.access_dead => "its access token was refused".to_owned(),
        (None, None, _) => {
            "its refresh token may have been exchanged, and the answer is not here".to_owned()
        }
    }
}

fn died(entry: &Entry<Seat>, now: WallTime) -> String {
    let (state, name) = (&entry.grant.state, &entry.grant.name);
    let seat = entry.seat.as_ref();
    let died = seat.and_then(|seat| refresh_token_over(state, &seat.policy, now));
    let died = died.unwrap_or(now);
    let tried = state.refusal.is_some() || state.last_send.is_some_and(|at| at >= died);
    let next = match tried {
        true => format!("{name} has to be authorized again"),
        false => format!(
            "It is tried once, in case a clock errs; then {name} has to be authorized again"
        ),
    };
    let (at, ago) = (died.rfc3339(), human(now.since(died)));
    let lived = human(died.since(state.issued_at));
    let issued = state.issued_at.rfc3339();
    format!(
        "its refresh token died at {at}, {ago} ago: it was issued at {issued} and lived {lived}. {next}"
    )
}
