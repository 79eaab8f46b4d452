//! Takes what is due, launches flights, and keeps what is known of every grant
//! in step with the store. One task owns all of it; others send it messages.

mod advice;
pub mod arrivals;
mod effects;
pub mod message;
pub mod perform;
mod requests;
pub mod roster;
mod standing;
mod watch;

use crate::clock::{Alarm, MAX_WAIT};
use crate::config::Config;
use crate::daemon::reload::save_descriptions;
use crate::incidents::Incidents;
use crate::publish::Reconciler;
use arrivals::InHand;
use message::{Message, NotRefreshed, Refreshed};
use perform::{Assignment, Deck, Landing, fly, read_again};
use refreshd_core::Grant;
use refreshd_core::flight::Verdict;
use refreshd_core::grant::schedule::{Plan, RETRY_BASE, RETRY_CAP, plan, wish};
use refreshd_core::grant::settle::OutcomeKind;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::limits::{Caps, Effect, Limits};
use refreshd_core::queue::Queue;
use refreshd_core::time::{BootTime, WallTime};
use roster::Roster;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use watch::NO_OUTCOMES;

/// The most messages that are handled before it is looked what may start.
const MESSAGES: usize = 64;

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
    incidents: Incidents,
    handle: EngineHandle,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// Flights that have not landed, overdue ones included.
    aloft: usize,
    /// How many have taken off; the number of the last one.
    flights: u64,
    draining: Option<oneshot::Sender<()>>,
    /// Why nothing is refreshed at all.
    fenced: Option<String>,
    /// The store takes no commits; a task waits until it does.
    unwritable: bool,
    /// Clients that wait for their operator or their provider.
    paused_clients: BTreeSet<String>,
    clock_trusted: bool,
    /// When the watchdog was last fed.
    fed: BootTime,
    /// [`MAX_WAIT`], or a third of what the watchdog bears.
    longest_wait: Duration,
}

impl Engine {
    /// An engine over the grants that the store knows.
    #[must_use]
    pub fn new(
        deck: Deck,
        config: Arc<Config>,
        publisher: Reconciler,
        incidents: Incidents,
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
            incidents,
            handle: EngineHandle(sender),
            inbox,
            aloft: 0,
            flights: 0,
            draining: None,
            fenced,
            unwritable: false,
            paused_clients: BTreeSet::new(),
            clock_trusted: true,
            fed: BootTime(0),
            longest_wait: sd_notify::watchdog_enabled()
                .map_or(MAX_WAIT, |limit| MAX_WAIT.min(limit / 3)),
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
            self.roster.put(grant);
        }
        self.align_all().await;
        self.recall_second_chances().await;
        self.recall_refusals().await;
        self.disprove_at_start();
    }

    /// Runs until it is drained.
    ///
    /// # Errors
    /// When the kernel's timers fail.
    pub async fn run(mut self) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        let mut messages = Vec::new();
        loop {
            let wake = self.tick();
            tokio::select! {
                // First, so that no timer is set while there is something to do.
                biased;
                count = self.inbox.recv_many(&mut messages, MESSAGES) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                rang = alarm.sleep(wake) => rang?,
            }
            for message in messages.drain(..) {
                self.handle_message(message).await;
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
        if self.draining.is_some() || self.fenced.is_some() || !self.store_is_writable() {
            return self.longest_wait;
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
        due.map_or(self.longest_wait, |due| {
            due.since(now).min(self.longest_wait)
        })
    }

    /// Preflight: a refresh that could not be saved is not started.
    fn store_is_writable(&mut self) -> bool {
        if self.unwritable {
            return false;
        }
        if self.deck.store.took_last_commit() {
            return true;
        }
        self.unwritable = true;
        let text = "the database cannot be written: nothing is refreshed until it can; see whether its disk is full or read-only";
        let kind = Kind::StoreUnwritable;
        (self.incidents).raise(&Subject::Daemon, kind, || text.to_owned());
        let (store, engine) = (self.deck.store.clone(), self.handle.clone());
        let config = self.config.clone();
        tokio::spawn(async move {
            // No intent may refer to a description that is not durable.
            while !store.is_writable().await || save_descriptions(&store, &config).await.is_err() {
                tokio::time::sleep(RETRY_BASE).await;
            }
            engine.tell(Message::Writable);
        });
        false
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
        let (subject, kind) = (Subject::Daemon, Kind::ClockDistrusted);
        if trusted {
            let why = "the system's wall clock is followed again";
            self.incidents.close(&subject, kind, why);
        } else {
            let text = "the system's wall clock was set back and is not followed; the time since boot carries on. \
                 If the clock is right now, run `refreshd doctor --accept-clock`";
            self.incidents.raise(&subject, kind, || text.to_owned());
        }
    }

    fn launch(&mut self, index: u32, now: WallTime) {
        let entry = self.roster.entry_mut(index);
        let Some(seat) = entry.seat.clone() else {
            return;
        };
        // Both are asked anew: much may have happened since it was queued.
        let state = &entry.grant.state;
        let due = matches!(plan(state, &seat.policy, now), Plan::At { at, .. } if at <= now);
        let wished = entry
            .wished
            .take_if(|wished| wished.at <= now)
            .map(|wished| (wished, wish(state, &seat.policy, wished.urgency, now)));
        let granted = due || matches!(wished, Some((_, Ok(()))));
        if entry.in_flight.is_some() || !granted {
            if let Some((_, Err(denied))) = wished {
                if let Some(Effect::Probe { grant, at, .. }) =
                    self.limits.held(seat.client_number, index, now)
                {
                    self.probe(grant, at);
                }
                self.turn_down(index, denied);
            }
            return self.schedule(index);
        }
        let wished = wished.map(|(wished, _)| wished);
        if self.deck.arrivals.are_in_hand(&entry.grant.id) {
            // Its landing schedules anew; this is for a store that takes its time.
            entry.wished = wished.or(entry.wished);
            return self.queue.arm(index, now + RETRY_BASE);
        }
        let forced = wished.is_some_and(|wished| wished.urgency.is_forced());
        match self
            .limits
            .may_start(seat.lane, seat.client_number, index, now)
        {
            Err(blocked) if blocked.why.is_full() || !forced => {
                let entry = self.roster.entry_mut(index);
                entry.wished = wished.or(entry.wished);
                // Where all places are taken, the next one to land frees one: the queue sees to that.
                let wait = if blocked.why.is_full() {
                    Duration::ZERO
                } else {
                    MAX_WAIT
                };
                return self.queue.arm(index, blocked.until.unwrap_or(now + wait));
            }
            _ => {}
        }
        self.take_off(index, seat, Errand::Refresh);
    }

    fn take_off(&mut self, index: u32, seat: roster::Seat, errand: Errand) {
        self.flights += 1;
        self.aloft += 1;
        let flight = self.flights;
        let entry = self.roster.entry_mut(index);
        entry.in_flight = Some(flight);
        self.limits.started(seat.lane, seat.client_number, index);
        let assignment = Assignment {
            grant: entry.grant.clone(),
            seat,
        };
        let deck = self.deck.clone();
        let mut ticket = Ticket {
            engine: self.handle.clone(),
            index,
            flight,
            landing: Some(Landing::Grounded {
                text: "of an internal error".to_owned(),
            }),
            in_hand: None,
        };
        tokio::spawn(async move {
            let engine = ticket.engine.clone();
            let overdue = |grant| engine.tell(Message::Overdue(index, flight, Box::new(grant)));
            let landing = match errand {
                Errand::Refresh => fly(&deck, assignment, overdue, &mut ticket.in_hand).await,
                // Rare, and not to be carried in every flight.
                Errand::ReadAgain => Box::pin(read_again(&deck, assignment)).await,
            };
            ticket.land(landing);
        });
    }

    async fn handle_message(&mut self, message: Message) {
        match message {
            Message::Landed(index, flight, landing, in_hand) => {
                self.landed(index, flight, *landing).await;
                drop(in_hand);
            }
            Message::Overdue(index, flight, grant) => self.overdue(index, flight, *grant).await,
            Message::Changed(grant) => self.changed(*grant).await,
            Message::Writable => self.writable().await,
            Message::Status(reply) => drop(reply.send(self.status())),
            Message::PausedClients(reply) => {
                drop(reply.send(self.paused_clients.iter().cloned().collect()));
            }
            Message::Seated(reply) => drop(reply.send(self.seated())),
            Message::Look(name, reply) => drop(reply.send(self.look(&name))),
            Message::Refresh(wish, reply) => self.refresh(wish, reply).await,
            Message::Reload(config, reply) => {
                self.reload(config).await;
                let _gone = reply.send(());
            }
            Message::Accept(what, reply) => drop(reply.send(self.accept(what).await)),
            Message::Drain(reply) => self.draining = Some(reply),
        }
    }

    async fn writable(&mut self) {
        self.unwritable = false;
        let why = "the database can be written again";
        (self.incidents).close(&Subject::Daemon, Kind::StoreUnwritable, why);
        // What could not be saved meanwhile: a grant that was to begin, a pause.
        self.align_all().await;
    }

    async fn landed(&mut self, index: u32, flight: u64, landing: Landing) {
        self.aloft -= 1;
        // An overdue flight has given back its place; another may be under way by now.
        let counted = self.roster.entry(index).in_flight == Some(flight);
        let idle = matches!(landing, Landing::Idle);
        let (kind, text, grant) = match landing {
            Landing::Idle => (None, "nothing was to be done".to_owned(), None),
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
        let effects = self.settle_limits(index, kind, counted);
        if kind == Some(OutcomeKind::InvalidGrant) {
            self.take_second_chance(index).await;
        }
        let entry = self.roster.entry_mut(index);
        if counted {
            entry.in_flight = None;
        } else {
            // What came late is bound to where the grant was when it was asked for.
            entry.recheck = true;
        }
        if idle {
            self.schedule(index);
        } else if grounded {
            self.grounded(index, &text);
        } else {
            self.roster.entry_mut(index).grounded = 0;
            self.report_outcome(index, kind, &text);
            self.schedule(index);
            let text = self.with_advice(index, kind, text);
            if counted {
                self.answer_waiters(index, kind, &text);
            }
            return self.touched(index, effects).await;
        }
        if counted {
            self.answer_waiters(index, kind, &text);
        }
        self.touched(index, effects).await;
    }

    /// What an exchange came to, with what follows from it where it failed.
    fn with_advice(&self, index: u32, kind: Option<OutcomeKind>, text: String) -> String {
        let entry = self.roster.entry(index);
        match (kind, &entry.seat) {
            (None | Some(OutcomeKind::Success), _) | (_, None) => text,
            (Some(kind), Some(seat)) => {
                let now = self.deck.clock.wall();
                text + &advice::advice(&entry.grant.state, seat, kind, now)
            }
        }
    }

    async fn overdue(&mut self, index: u32, flight: u64, grant: Grant) {
        debug_assert_eq!(self.roster.entry(index).in_flight, Some(flight));
        self.roster.put(grant);
        let last = self.roster.entry(index).grant.state.last_outcome.as_ref();
        let at_stake = last.is_none_or(|last| last.kind != OutcomeKind::Unanswered.word());
        let kind = Some(match at_stake {
            true => OutcomeKind::InDoubt,
            false => OutcomeKind::Unanswered,
        });
        let effects = self.settle_limits(index, kind, true);
        self.roster.entry_mut(index).in_flight = None;
        let text = "no answer yet; still listening".to_owned();
        self.report_outcome(index, kind, &text);
        let text = self.with_advice(index, kind, text);
        self.answer_waiters(index, kind, &text);
        self.schedule(index);
        self.touched(index, effects).await;
    }

    /// What follows when a flight has given back its place.
    async fn touched(&mut self, index: u32, effects: Vec<refreshd_core::limits::Effect>) {
        let entry = self.roster.entry_mut(index);
        let recheck = std::mem::take(&mut entry.recheck);
        self.publisher.notify(&entry.grant.name);
        if recheck {
            self.align(index).await;
        }
        self.apply(effects).await;
    }

    /// A flight that could not begin is tried again later: nothing was spent.
    fn grounded(&mut self, index: u32, text: &str) {
        let now = self.deck.clock.wall();
        let entry = self.roster.entry_mut(index);
        let wait = (RETRY_BASE * 10).saturating_mul(1 << entry.grounded.min(8));
        entry.grounded += 1;
        let news = entry.grounded.is_power_of_two();
        let text = format!("not refreshed, since {text}");
        let told = self.watch(index, now, Some(&text));
        if news && told.opened.is_empty() {
            let name = &self.roster.entry(index).grant.name;
            tracing::error!(grant = %name, "{name}: {text}");
        }
        self.queue.arm(index, now + wait.min(RETRY_CAP));
    }

    /// One line when trouble begins or changes, one when it is over; not one for each
    /// try, nor for what an incident has told.
    fn report_outcome(&mut self, index: u32, kind: Option<OutcomeKind>, text: &str) {
        let now = self.deck.clock.wall();
        let told = self.watch(index, now, Some(text));
        let advice = self.with_advice(index, kind, String::new());
        let entry = self.roster.entry_mut(index);
        let name = entry.grant.name.clone();
        let state = &entry.grant.state;
        let Some(kind) = kind else {
            tracing::warn!(grant = %name, "{name}: {text}; what the exchange brought is kept");
            return;
        };
        if kind == OutcomeKind::Success {
            let refresh_token = state.presents.map(|f| f.to_string()).unwrap_or_default();
            let until = state.expires_at.rfc3339();
            if let Some(trouble) = entry.trouble.take().filter(|_| told.closed.is_empty()) {
                tracing::info!(grant = %name, "{name}: {trouble} is over");
            }
            tracing::info!(
                grant = %name, generation = state.generation, expires_at = %until, refresh_token,
                "{name}: generation {} until {until}", state.generation
            );
            return self.disprove_for(index);
        }
        let word = kind.word();
        let news = entry.trouble.as_deref() != Some(word) || state.failures.is_power_of_two();
        if news && told.opened.without(NO_OUTCOMES).is_empty() {
            tracing::warn!(grant = %name, outcome = word, tries = state.failures, "{name}: {word}: {text}{advice}");
        }
        entry.trouble = Some(word.to_owned());
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
                Some(
                    OutcomeKind::NotSent
                    | OutcomeKind::InDoubt
                    | OutcomeKind::Unread
                    | OutcomeKind::Unanswered,
                ) => Err(NotRefreshed::Unavailable(text.clone())),
            };
            let _gone = waiter.send(answer);
        }
    }

    /// Arms the grant for when it is due or wished for.
    fn schedule(&mut self, index: u32) {
        let entry = self.roster.entry(index);
        let now = self.deck.clock.wall();
        let Some(seat) = &entry.seat else {
            self.queue.remove(index);
            self.watch(index, now, None);
            return;
        };
        self.queue
            .insert(index, seat.lane, entry.grant.state.expires_at);
        let due = match plan(&entry.grant.state, &seat.policy, now) {
            Plan::At { at, .. } if entry.in_flight.is_none() => at,
            _ => WallTime::NEVER,
        };
        // A flight's landing schedules anew, so nothing is missed meanwhile.
        let wished = entry.wished.map_or(WallTime::NEVER, |wished| wished.at);
        let look_again = self.watch(index, now, None).again;
        let look_again = look_again.unwrap_or(WallTime::NEVER);
        self.queue.arm(index, due.min(wished).min(look_again));
    }
}

/// What a flight takes off for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// An exchange with the provider.
    Refresh,
    /// To read an answer once more by another description.
    ReadAgain,
}

/// Reports the landing, whatever becomes of the flight's task.
struct Ticket {
    engine: EngineHandle,
    index: u32,
    flight: u64,
    landing: Option<Landing>,
    in_hand: Option<InHand>,
}

impl Ticket {
    fn land(&mut self, landing: Landing) {
        self.landing = Some(landing);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(landing) = self.landing.take() {
            self.engine.tell(Message::Landed(
                self.index,
                self.flight,
                Box::new(landing),
                self.in_hand.take(),
            ));
        }
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
