//! Takes what is due, launches flights, and keeps what is known of every grant
//! in step with the store. One task owns all of it; others send it messages.

mod candidates;
pub mod message;
pub mod perform;
pub mod roster;

use crate::clock::{Alarm, MAX_WAIT};
use crate::config::Config;
use crate::daemon::reload::published_generations;
use crate::publish::Reconciler;
use crate::report::GrantReport;
use crate::state::{Committed, Event as HistoryEvent};
use message::{Accept, Look, Message, NotRefreshed, RefreshReply, Refreshed, Wish};
use perform::{Assignment, Deck, Landing, fly};
use refreshd_core::flight::Verdict;
use refreshd_core::grant::Grant;
use refreshd_core::grant::schedule::{Denied, Plan, RETRY_BASE, plan, wish};
use refreshd_core::grant::settle::OutcomeKind;
use refreshd_core::grant::state::Status;
use refreshd_core::limits::{self, Caps, Effect, Limits};
use refreshd_core::queue::Queue;
use refreshd_core::time::{BootTime, WallTime};
use roster::{Roster, aligned, seat_of};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How to talk to the engine.
#[derive(Clone, Debug)]
pub struct EngineHandle(mpsc::UnboundedSender<Message>);

/// The engine has stopped.
#[derive(Debug, thiserror::Error)]
#[error("refreshd is stopping")]
pub struct Stopped;

impl EngineHandle {
    /// Sends a message; one to an engine that has stopped is dropped.
    pub fn tell(&self, message: Message) {
        let _stopped = self.0.send(message);
    }

    /// Sends a message that is answered.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply));
        answer.await.map_err(|_| Stopped)
    }
}

/// The engine. See [`Engine::run`].
pub struct Engine {
    deck: Deck,
    config: Arc<Config>,
    roster: Roster,
    queue: Queue,
    limits: Limits,
    publisher: Reconciler,
    handle: EngineHandle,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Flights that have not landed, overdue ones included.
    aloft: usize,
    /// How many have taken off; the number of the last one.
    flights: u64,
    draining: Option<oneshot::Sender<()>>,
    /// Why nothing is refreshed at all.
    fenced: Option<String>,
    clock_trusted: bool,
    /// When the watchdog was last fed.
    fed: BootTime,
}

impl Engine {
    /// An engine over the grants that the store knows.
    #[must_use]
    pub fn new(
        deck: Deck,
        config: Arc<Config>,
        publisher: Reconciler,
        fenced: Option<String>,
    ) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let limits = Limits::new(caps(&config));
        Engine {
            deck,
            config,
            roster: Roster::default(),
            queue: Queue::default(),
            limits,
            publisher,
            handle: EngineHandle(sender),
            inbox,
            aloft: 0,
            flights: 0,
            draining: None,
            fenced,
            clock_trusted: true,
            fed: BootTime(0),
        }
    }

    /// How to talk to it.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Takes in what the store knows, in line with the configuration.
    pub async fn load(&mut self, grants: Vec<Grant>) {
        for grant in grants {
            let (index, _) = self.roster.put(grant);
            self.align(index).await;
        }
    }

    /// Runs until it is drained.
    ///
    /// # Errors
    /// When the kernel's timers fail.
    pub async fn run(mut self) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        loop {
            let wake = self.tick();
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.handle_message(message).await,
                    None => return Ok(()),
                },
                rang = alarm.sleep(wake) => rang?,
            }
            if self.aloft == 0
                && let Some(drained) = self.draining.take()
            {
                let _gone = drained.send(());
                return Ok(());
            }
        }
    }

    /// Launches what may start now; returns how long there is nothing to do.
    fn tick(&mut self) -> Duration {
        let now = self.deck.clock.wall();
        self.feed_watchdog();
        self.watch_clock();
        if self.draining.is_some() || self.fenced.is_some() {
            return MAX_WAIT;
        }
        self.queue.release(now);
        let mut blocked: Option<WallTime> = None;
        while self.deck.journal.free_slots() > 0 {
            let limits = &self.limits;
            let next = self
                .queue
                .pop(now, |lane| match limits.lane_may_start(lane, now) {
                    Ok(()) => true,
                    Err(why) => {
                        let until = why.until.unwrap_or(WallTime::NEVER);
                        blocked = Some(blocked.map_or(until, |earlier| earlier.min(until)));
                        false
                    }
                });
            match next {
                Some(index) => self.launch(index, now),
                None => break,
            }
        }
        let due = [self.queue.next_due(), blocked].into_iter().flatten().min();
        due.map_or(MAX_WAIT, |due| due.since(now).min(MAX_WAIT))
    }

    /// Fed here, by the loop that does the work: a loop that hangs starves it.
    fn feed_watchdog(&mut self) {
        let now = self.deck.clock.now().boot;
        if now.0 - self.fed.0 < 1000 {
            return;
        }
        self.fed = now;
        let _unsupervised = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }

    fn watch_clock(&mut self) {
        let trusted = self.deck.clock.is_trusted();
        if trusted == self.clock_trusted {
            return;
        }
        self.clock_trusted = trusted;
        if trusted {
            tracing::info!("the system's wall clock has caught up and is followed again");
        } else {
            tracing::error!(
                "the system's wall clock was set back and is not followed; the time since boot carries on. \
                 If the clock is right now, run `refreshd doctor --accept-clock`"
            );
        }
    }

    fn launch(&mut self, index: u32, now: WallTime) {
        let entry = self.roster.entry_mut(index);
        let Some(seat) = entry.seat.clone() else {
            return;
        };
        let wished = std::mem::take(&mut entry.wished);
        // What was due may have changed since it was queued.
        let due =
            matches!(plan(&entry.grant.state, &seat.policy, now), Plan::At { at, .. } if at <= now);
        if entry.in_flight.is_some() || !(due || wished) {
            return self.schedule(index);
        }
        if let Err(blocked) = self
            .limits
            .may_start(seat.lane, seat.client_number, index, now)
        {
            entry.wished = wished;
            return self
                .queue
                .arm(index, blocked.until.unwrap_or(now + MAX_WAIT));
        }
        self.flights += 1;
        let flight = self.flights;
        entry.in_flight = Some(flight);
        let grant = entry.grant.id.clone();
        self.aloft += 1;
        self.limits.started(seat.lane, seat.client_number, index);
        let (deck, engine) = (self.deck.clone(), self.handle.clone());
        let assignment = Assignment {
            grant,
            client: seat.client,
            policy: seat.policy,
            vars: seat.vars,
            redirect_uri: seat.redirect_uri,
        };
        tokio::spawn(async move {
            let overdue = |grant| engine.tell(Message::Overdue(index, flight, Box::new(grant)));
            let landing = fly(&deck, &assignment, overdue).await;
            engine.tell(Message::Landed(index, flight, Box::new(landing)));
        });
    }

    async fn handle_message(&mut self, message: Message) {
        match message {
            Message::Landed(index, flight, landing) => self.landed(index, flight, *landing).await,
            Message::Overdue(index, flight, grant) => self.overdue(index, flight, *grant).await,
            Message::Changed(grant) => self.changed(*grant).await,
            Message::Status(reply) => drop(reply.send(self.status())),
            Message::Seated(reply) => drop(reply.send(self.seated())),
            Message::Look(name, reply) => drop(reply.send(self.look(&name))),
            Message::Refresh(wish, reply) => self.refresh(wish, reply),
            Message::Reload(config, reply) => {
                self.reload(config).await;
                let _gone = reply.send(());
            }
            Message::Accept(what, reply) => drop(reply.send(self.accept(what).await)),
            Message::Drain(reply) => self.draining = Some(reply),
        }
    }

    async fn landed(&mut self, index: u32, flight: u64, landing: Landing) {
        self.aloft -= 1;
        // An overdue flight has given back its place; another may be under way by now.
        let counted = self.roster.entry(index).in_flight == Some(flight);
        let (kind, text, grant) = match landing {
            Landing::Verdict(Verdict::Landed { kind, text, grant }) => {
                (Some(kind), text, Some(*grant))
            }
            Landing::Verdict(Verdict::Superseded { grant }) => (
                None,
                "another authorization came first".to_owned(),
                Some(*grant),
            ),
            Landing::Verdict(Verdict::NotStarted { text }) | Landing::Grounded { text } => {
                (None, text, None)
            }
        };
        let grounded = grant.is_none();
        if let Some(grant) = grant {
            self.roster.put(grant);
        }
        let name = self.roster.entry(index).grant.name.clone();
        let effects = if counted {
            self.settle_limits(index, kind)
        } else {
            Vec::new()
        };
        if counted {
            self.roster.entry_mut(index).in_flight = None;
        }
        if grounded {
            self.grounded(index, &text);
        } else {
            self.report_outcome(index, kind, &text);
            if kind == Some(OutcomeKind::InvalidGrant) {
                let grant = self.roster.entry(index).grant.clone();
                self.try_candidate(&grant).await;
            }
            self.schedule(index);
        }
        self.publisher.notify(&name);
        self.answer_waiters(index, kind, &text);
        if std::mem::take(&mut self.roster.entry_mut(index).recheck) {
            self.align(index).await;
        }
        self.apply(effects).await;
    }

    /// A flight that could not begin is tried again a little later: nothing was spent.
    fn grounded(&mut self, index: u32, text: &str) {
        let name = &self.roster.entry(index).grant.name;
        tracing::error!(grant = %name, "{name}: not refreshed, since {text}");
        let wait = RETRY_BASE * 10;
        self.queue.arm(index, self.deck.clock.wall() + wait);
    }

    async fn overdue(&mut self, index: u32, flight: u64, grant: Grant) {
        debug_assert_eq!(self.roster.entry(index).in_flight, Some(flight));
        self.roster.put(grant);
        let effects = self.settle_limits(index, Some(OutcomeKind::InDoubt));
        self.roster.entry_mut(index).in_flight = None;
        let text = "no answer yet; still listening";
        self.report_outcome(index, Some(OutcomeKind::InDoubt), text);
        self.answer_waiters(index, Some(OutcomeKind::InDoubt), text);
        self.publisher
            .notify(&self.roster.entry(index).grant.name.clone());
        self.schedule(index);
        self.apply(effects).await;
    }

    fn settle_limits(&mut self, index: u32, kind: Option<OutcomeKind>) -> Vec<Effect> {
        let entry = self.roster.entry(index);
        let Some(seat) = &entry.seat else {
            return Vec::new();
        };
        let now = self.deck.clock.wall();
        let roll = u64::from_le_bytes(perform::random());
        let kind = limits_kind(kind, entry.grant.state.not_before.map(|at| at.since(now)));
        self.limits
            .ended(seat.lane, seat.client_number, index, kind, now, roll)
    }

    /// Does what the limits ask for besides.
    async fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::LaneOpened { lane, probe_at } => {
                    let endpoint = self.roster.endpoint(lane);
                    tracing::error!(
                        endpoint,
                        "{endpoint}: several grants in a row got no answer; one at a time tries it, from {}",
                        probe_at.rfc3339()
                    );
                }
                Effect::LaneClosed { lane } => {
                    let endpoint = self.roster.endpoint(lane);
                    tracing::info!(endpoint, "{endpoint}: answers again");
                }
                Effect::LanePaused { lane, until } => {
                    let endpoint = self.roster.endpoint(lane);
                    tracing::warn!(
                        endpoint,
                        "{endpoint}: asked several grants to wait; nothing is sent there until {}",
                        until.rfc3339()
                    );
                }
                Effect::ClientPaused { client, reason } => {
                    let client = self.roster.client_name(client);
                    tracing::error!(client, "client {client} is paused: {reason}");
                }
                Effect::Probe { grant, at, .. } => {
                    self.roster.entry_mut(grant).wished = true;
                    self.queue.arm(grant, at);
                }
                Effect::ClientResumed { client, rearm } => {
                    let client = self.roster.client_name(client);
                    tracing::info!(client, "client {client} works again");
                    for index in rearm {
                        self.forget_refusal(index).await;
                    }
                }
                Effect::RefusalsStand { client, grants } => {
                    let client = self.roster.client_name(client);
                    tracing::warn!(
                        client,
                        "client {client} works; {} grants that were refused need another authorization",
                        grants.len()
                    );
                }
            }
        }
    }

    /// The provider was broken, not the grant: its refusal meant nothing.
    async fn forget_refusal(&mut self, index: u32) {
        let grant = self.roster.entry(index).grant.clone();
        if grant.state.refusal.is_none() || self.roster.entry(index).in_flight.is_some() {
            return;
        }
        let state = refreshd_core::GrantState {
            refusal: None,
            ..grant.state.clone()
        };
        self.commit_state(
            grant,
            state,
            "re-armed",
            "the provider refused many grants at once, and answers again",
        )
        .await;
        self.schedule(index);
    }

    /// One line when trouble begins or changes, one when it is over; not one for each try.
    fn report_outcome(&mut self, index: u32, kind: Option<OutcomeKind>, text: &str) {
        let entry = self.roster.entry_mut(index);
        let name = entry.grant.name.clone();
        let state = &entry.grant.state;
        let Some(kind) = kind else {
            tracing::warn!(grant = %name, "{name}: {text}; what the exchange brought is kept");
            return;
        };
        if kind == OutcomeKind::Success {
            let refresh_token = state.presents.map(|f| f.to_string()).unwrap_or_default();
            if let Some(trouble) = entry.incident.take() {
                tracing::info!(grant = %name, "{name}: {trouble} is over");
            }
            tracing::info!(
                grant = %name, generation = state.generation, expires_at = %state.expires_at.rfc3339(), refresh_token,
                "{name}: generation {} until {}", state.generation, state.expires_at.rfc3339()
            );
            return;
        }
        let word = kind.word();
        if entry.incident.as_deref() != Some(word) || state.failures.is_power_of_two() {
            tracing::warn!(grant = %name, outcome = word, tries = state.failures, "{name}: {word}: {text}");
        }
        entry.incident = Some(word.to_owned());
    }

    fn answer_waiters(&mut self, index: u32, kind: Option<OutcomeKind>, text: &str) {
        let entry = self.roster.entry_mut(index);
        let (name, state) = (entry.grant.name.clone(), entry.grant.state.clone());
        let text = format!("{name}: {text}");
        for waiter in entry.waiters.drain(..) {
            let answer = match kind {
                Some(OutcomeKind::Success) => {
                    Ok(refreshed(&name, state.generation, state.expires_at))
                }
                Some(
                    OutcomeKind::InvalidGrant | OutcomeKind::InvalidClient | OutcomeKind::Refused,
                ) => Err(NotRefreshed::NeedsPerson(text.clone())),
                Some(OutcomeKind::AskedToWait | OutcomeKind::TooEarly) | None => {
                    Err(NotRefreshed::Later(text.clone()))
                }
                Some(OutcomeKind::NotSent | OutcomeKind::InDoubt | OutcomeKind::Unread) => {
                    Err(NotRefreshed::Unavailable(text.clone()))
                }
            };
            let _gone = waiter.send(answer);
        }
    }

    async fn changed(&mut self, grant: Grant) {
        let name = grant.name.clone();
        let (index, _) = self.roster.put(grant);
        self.roster.entry_mut(index).incident = None;
        self.align(index).await;
        self.publisher.notify(&name);
    }

    /// Brings a grant in line with the configuration and puts it into the queue.
    async fn align(&mut self, index: u32) {
        if self.roster.entry(index).in_flight.is_some() {
            // The limits must see it land in the lane that it took off from.
            self.roster.entry_mut(index).recheck = true;
            return;
        }
        let config = self.config.clone();
        // Once more where a late answer was committed in between.
        for _ in 0..2 {
            let grant = &self.roster.entry(index).grant;
            let seat = seat_of(grant, &config);
            let Some((state, kind, text)) = seat.and_then(|seat| aligned(grant, &seat, &config))
            else {
                break;
            };
            self.commit_state(grant.clone(), state, kind, &text).await;
        }
        let seat = self.roster.find_seat(index, &config);
        self.take_seat(index, seat).await;
        self.schedule(index);
    }

    /// Moves a grant from one lane and client to another, as far as limits go.
    async fn take_seat(&mut self, index: u32, seat: Option<roster::Seat>) {
        let numbers = |seat: &roster::Seat| (seat.lane, seat.client_number);
        let old = self.roster.entry(index).seat.as_ref().map(numbers);
        let new = seat.as_ref().map(numbers);
        self.roster.entry_mut(index).seat = seat;
        if old == new {
            return;
        }
        if let Some((lane, client)) = new {
            self.limits.enter(lane, client);
        }
        if let Some((lane, client)) = old {
            let effects = self
                .limits
                .leave(lane, client, index, self.deck.clock.wall());
            Box::pin(self.apply(effects)).await;
        }
    }

    async fn commit_state(
        &mut self,
        grant: Grant,
        state: refreshd_core::GrantState,
        kind: &str,
        text: &str,
    ) {
        let name = grant.name.clone();
        if kind == "paused" {
            tracing::error!(grant = %name, "{name}: paused: {text}; run `refreshd doctor --accept-binding {name}` if that is meant");
        }
        let event = HistoryEvent {
            at: self.deck.clock.wall(),
            kind: kind.to_owned(),
            text: text.to_owned(),
        };
        match self
            .deck
            .store
            .update_state(&grant.id, grant.revision, state, event)
            .await
        {
            Ok(Committed::Applied(grant) | Committed::Stale(grant)) => drop(self.roster.put(grant)),
            Err(e) => tracing::error!(grant = %name, "{name}: its state could not be saved: {e}"),
        }
    }

    /// Arms the grant for when it is due.
    fn schedule(&mut self, index: u32) {
        let entry = self.roster.entry(index);
        let Some(seat) = &entry.seat else {
            return self.queue.remove(index);
        };
        let now = self.deck.clock.wall();
        self.queue
            .insert(index, seat.lane, entry.grant.state.expires_at);
        match plan(&entry.grant.state, &seat.policy, now) {
            Plan::At { at, .. } if entry.in_flight.is_none() => self.queue.arm(index, at),
            _ => self.queue.arm(index, WallTime::NEVER),
        }
    }

    /// Starts what was wished for, or answers why not.
    fn refresh(&mut self, wished: Wish, reply: RefreshReply) {
        let index = match self.grant_wish(&wished) {
            Ok(index) => index,
            Err(answer) => return drop(reply.send(answer)),
        };
        let entry = self.roster.entry_mut(index);
        entry.waiters.push(reply);
        if entry.in_flight.is_none() {
            entry.wished = true;
            self.queue.arm(index, self.deck.clock.wall());
        }
    }

    /// The index of a grant whose flight the wish is to wait for; or the answer.
    fn grant_wish(&self, wished: &Wish) -> Result<u32, Result<Refreshed, NotRefreshed>> {
        let index = self
            .roster
            .index(&wished.grant)
            .ok_or(Err(NotRefreshed::Unknown))?;
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
        let Some(seat) = &entry.seat else {
            return needs_person("it is not in the configuration any more");
        };
        match wish(state, &seat.policy, wished.urgency, self.deck.clock.wall()) {
            Ok(()) => Ok(index),
            Err(Denied::Never(why)) => needs_person(why.explain()),
            Err(Denied::NotBefore { at, why }) => {
                let text = format!(
                    "{}: not before {}: {}",
                    wished.grant,
                    at.rfc3339(),
                    why.explain()
                );
                Err(Err(NotRefreshed::Later(text)))
            }
        }
    }

    fn status(&self) -> Vec<GrantReport> {
        let now = self.deck.clock.wall();
        let mut reports: Vec<GrantReport> = self
            .roster
            .iter()
            .map(|entry| {
                let seat = entry.seat.as_ref();
                let provider = seat.map(|s| s.client.description.name.as_str());
                let mut report =
                    GrantReport::new(&entry.grant, provider, seat.map(|s| &s.policy), now);
                report.refreshing = entry.in_flight.is_some();
                report
            })
            .collect();
        reports.extend(crate::report::missing(&self.config, |name| {
            self.roster.index(name).is_some()
        }));
        for failed in self.publisher.reports() {
            if let (Some(error), Some(report)) = (
                failed.error,
                reports.iter_mut().find(|r| r.grant == failed.grant),
            ) {
                report
                    .output_errors
                    .push(format!("{}: {error}", failed.path.display()));
            }
        }
        reports.sort_by(|a, b| a.grant.cmp(&b.grant));
        reports
    }

    /// By the configuration: one in flight keeps its seat until it lands.
    fn seated(&self) -> Vec<(String, Arc<crate::config::Client>)> {
        let seated = |entry: &roster::Entry| {
            let seat = seat_of(&entry.grant, &self.config)?;
            Some((entry.grant.name.clone(), seat.client))
        };
        self.roster.iter().filter_map(seated).collect()
    }

    fn look(&self, name: &str) -> Option<Look> {
        let entry = self.roster.entry(self.roster.index(name)?);
        Some(Look {
            grant: entry.grant.clone(),
            in_flight: entry.in_flight.is_some(),
            retired: entry.seat.is_none(),
        })
    }

    async fn reload(&mut self, config: Arc<Config>) {
        self.config = config;
        self.deck.http.forget();
        // A changed secret may have mended what paused a client.
        for client in self.config.clients.keys().cloned().collect::<Vec<_>>() {
            let number = self.roster.client_number(&client);
            let effects = self.limits.resume(number);
            self.apply(effects).await;
        }
        for index in self.roster.indices() {
            self.align(index).await;
        }
    }

    async fn accept(&mut self, what: Accept) -> Result<String, String> {
        match what {
            Accept::Clock => {
                self.deck.clock.accept();
                let accepted = self.deck.store.accept_time(self.deck.clock.wall()).await;
                accepted.map_err(|e| e.to_string())?;
                Ok("the system's wall clock is followed again".to_owned())
            }
            Accept::Binding(name) => self.accept_binding(&name).await,
            Accept::Restore => self.accept_restore().await,
        }
    }

    async fn accept_binding(&mut self, name: &str) -> Result<String, String> {
        let index = self
            .roster
            .index(name)
            .ok_or_else(|| format!("there is no grant {name}"))?;
        let entry = self.roster.entry(index);
        let seat = entry
            .seat
            .as_ref()
            .ok_or_else(|| format!("{name} is not in the configuration"))?;
        if entry.grant.state.status(self.deck.clock.wall()) != Status::Paused {
            return Err(format!("{name} is not paused"));
        }
        let mut state = entry.grant.state.clone();
        let binding = roster::binding_of(seat)?;
        let text = format!(
            "its refresh token may go to client {} at {}",
            binding.client_id, binding.origin
        );
        state.binding = Some(binding);
        state.pause = None;
        self.commit_state(entry.grant.clone(), state, "accepted", &text)
            .await;
        self.schedule(index);
        Ok(format!("{name}: {text}"))
    }

    async fn accept_restore(&mut self) -> Result<String, String> {
        if self.fenced.is_none() {
            return Err("the state is not fenced".to_owned());
        }
        let grants = self.roster.iter().map(|entry| &entry.grant);
        let published = published_generations(&self.config, self.deck.store.store_id(), grants);
        let now = self.deck.clock.wall();
        // Whatever a description says, a token that may have been rotated since is in doubt.
        let rotates = |grant: &Grant| grant.state.presents.is_some();
        let grants = self
            .deck
            .store
            .accept_restore(now, &published, rotates)
            .await
            .map_err(|e| e.to_string())?;
        self.fenced = None;
        self.publisher.set_fenced(false);
        for grant in grants {
            self.changed(grant).await;
        }
        Ok("the restored state is accepted: generations go on above every published one, and refresh tokens that may have been rotated since are in doubt".to_owned())
    }
}

fn refreshed(grant: &str, generation: u64, expires_at: WallTime) -> Refreshed {
    Refreshed {
        grant: grant.to_owned(),
        generation,
        expires_at: expires_at.rfc3339(),
    }
}

fn caps(config: &Config) -> Caps {
    Caps {
        flights: u32::from(config.daemon.max_flights),
        lane: None,
    }
}

/// An outcome as the limits see it; a flight that never began says nothing.
fn limits_kind(kind: Option<OutcomeKind>, wait: Option<Duration>) -> limits::OutcomeKind {
    match kind {
        Some(OutcomeKind::Success) => limits::OutcomeKind::Success,
        Some(OutcomeKind::NotSent) => limits::OutcomeKind::NotSent,
        Some(OutcomeKind::AskedToWait) => limits::OutcomeKind::AskedToWait { retry_after: wait },
        Some(OutcomeKind::InDoubt) => limits::OutcomeKind::Lost,
        Some(OutcomeKind::Unread) => limits::OutcomeKind::Unread,
        Some(OutcomeKind::InvalidGrant) => limits::OutcomeKind::InvalidGrant,
        Some(OutcomeKind::InvalidClient) => limits::OutcomeKind::InvalidClient,
        Some(OutcomeKind::TooEarly) | None => limits::OutcomeKind::TooEarly,
        Some(OutcomeKind::Refused) => limits::OutcomeKind::Refused,
    }
}
