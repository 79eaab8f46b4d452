//! Takes what is due, launches flights, and keeps what is known of every grant
//! in step with the store. One task owns all of it; others send it messages.

mod advice;
mod descriptions;
mod effects;
pub mod message;
pub mod perform;
mod reconfigure;
pub(crate) mod recovery;
mod requests;
pub mod revoke;
pub mod roster;
mod successes;
mod watch;

use crate::clock::{Alarm, MAX_WAIT};
use crate::config::Config;
use crate::config::active::Seat;
use crate::exchange::{Deck, Late, Midway};
use crate::incidents::Incidents;
use crate::publish::Reconciler;
use crate::state::StoreError;
pub(crate) use descriptions::save_descriptions;
use message::{Message, NotRefreshed, Refreshed};
use perform::{Assignment, Landing, read_again, refresh};
use refreshd_core::exchange::grant::Verdict;
use refreshd_core::grant::candidate;
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::schedule::RETRY_BASE;
use refreshd_core::incident::{Crowds, Kind, Subject};
use refreshd_core::limits::Caps;
use refreshd_core::scheduler::{self, Declined, Landed, Next, Scheduler, TakeOff};
use refreshd_core::time::{BootTime, WallTime};
use refreshd_core::{Grant, GrantId};
pub(crate) use requests::declined;
use roster::Roster;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use successes::Successes;
use tokio::sync::{mpsc, oneshot};
use watch::NO_OUTCOMES;

/// The most messages that are handled before it is looked what may start.
const MESSAGES: usize = 64;
/// After a transaction that failed though others can be committed.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
    scheduler: Scheduler<Seat>,
    publisher: Reconciler,
    incidents: Incidents,
    /// Grants that lack a living token.
    crowds: Crowds,
    handle: EngineHandle,
    inbox: mpsc::UnboundedReceiver<Message>,
    draining: Option<oneshot::Sender<()>>,
    /// Nothing begins any more.
    is_stopping: bool,
    /// What could not be saved is looked for soon.
    looks_again: bool,
    clock_trusted: bool,
    /// Late answers that are waited for, each with what gives that up.
    read_on: HashMap<u64, oneshot::Sender<()>>,
    successes: Successes,
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
        let mut scheduler = Scheduler::new(caps(&config, &deck));
        scheduler.set_fenced(fenced);
        Engine {
            deck,
            config,
            roster: Roster::default(),
            scheduler,
            publisher,
            incidents,
            crowds: Crowds::default(),
            handle: EngineHandle(sender),
            inbox,
            draining: None,
            is_stopping: false,
            looks_again: false,
            clock_trusted: true,
            read_on: HashMap::new(),
            successes: Successes::new(Instant::now()),
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
            self.put(grant);
        }
        self.align_all().await;
        self.recall_second_chances().await;
        self.disprove_at_start();
    }

    /// Runs for as long as anyone may ask; drained, it begins nothing new.
    ///
    /// # Errors
    /// When the kernel's timers fail.
    pub async fn run(mut self) -> std::io::Result<()> {
        let alarm = Alarm::new()?;
        let mut writable = self.deck.store.watch_writable();
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
                // Every flight may hang on a full disk: nobody else would say so.
                Ok(()) = writable.changed() => self.look_again_later(),
                rang = alarm.sleep(wake) => rang?,
            }
            for message in messages.drain(..) {
                self.handle_message(message).await;
            }
            if self.scheduler.aloft() == 0
                && let Some(drained) = self.draining.take()
            {
                // It goes on answering: what lives is served to the end.
                let _gone = drained.send(());
            }
        }
    }

    /// Launches what may start now; returns how long there is nothing to do.
    fn tick(&mut self) -> Duration {
        let now = self.deck.clock.wall();
        self.feed_watchdog();
        self.watch_clock();
        self.watch_store();
        loop {
            let late_answers = &self.deck.late_answers;
            let is_pending = |grant: &GrantId| late_answers.are_pending(grant);
            match self.scheduler.poll(now, is_pending) {
                Next::Wait(None) => return self.longest_wait,
                Next::Wait(Some(due)) => return due.since(now).min(self.longest_wait),
                next => self.follow(next, now),
            }
        }
    }

    /// Does what the scheduler has decided.
    fn follow(&mut self, next: Next, now: WallTime) {
        match next {
            Next::TakeOff(flight) => self.take_off(flight, Errand::Refresh),
            Next::Stay { index, declined } => {
                if let Some(declined) = declined {
                    self.turn_down(index, declined);
                }
                self.watch(index, now, None);
            }
            Next::GiveUp { index, flight } => self.give_up(index, flight),
            Next::Wait(_) => {}
        }
    }

    /// An overdue exchange is read on no longer; it lands as one that brought nothing.
    fn give_up(&mut self, index: u32, flight: u64) {
        let Some(give_up) = self.read_on.remove(&flight) else {
            return;
        };
        let name = &self.scheduler.entry(index).grant.name;
        tracing::warn!(grant = %name, "{name}: its late answer is not waited for any longer, since so many are; see max_flights");
        let _landed = give_up.send(());
    }

    /// Preflight: a refresh that could not be saved is not started.
    fn watch_store(&mut self) {
        if self.scheduler.is_unwritable() || self.deck.store.took_last_commit() {
            return;
        }
        self.scheduler.set_unwritable(true);
        let text = "the database cannot be written: nothing is refreshed until it can; see whether its disk is full or read-only";
        let kind = Kind::StoreUnwritable;
        (self.incidents).raise(&Subject::Daemon, kind, || text.to_owned());
        for index in self.scheduler.withdraw_wishes() {
            self.turn_down(index, Declined::Unwritable);
        }
        let (store, engine) = (self.deck.store.clone(), self.handle.clone());
        let config = self.config.clone();
        tokio::spawn(async move {
            // No intent may refer to a description that is not durable.
            while !store.is_writable().await || save_descriptions(&store, &config).await.is_err() {
                tokio::time::sleep(RETRY_BASE).await;
            }
            engine.tell(Message::Writable);
        });
    }

    /// Fed here, by the loop that does the work: a loop that hangs starves it.
    fn feed_watchdog(&mut self) {
        let now = self.deck.clock.now().boot;
        // One that was skipped comes a whole wait later: both together within half of it.
        let rest = Duration::from_secs(1).min(self.longest_wait / 2);
        if u128::from(now.0.abs_diff(self.fed.0)) < rest.as_millis() {
            return;
        }
        self.fed = now;
        let _unsupervised = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }

    /// A transaction failed, though others can be committed: what was to be saved with it is
    /// looked for after a while.
    fn look_again_later(&mut self) {
        let works = self.deck.store.took_last_commit() && !self.scheduler.is_unwritable();
        if !works || std::mem::replace(&mut self.looks_again, true) {
            return;
        }
        let engine = self.handle.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AGAIN).await;
            engine.tell(Message::LookAgain);
        });
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

    fn take_off(&mut self, taking_off: TakeOff, errand: Errand) {
        let TakeOff { index, flight, .. } = taking_off;
        let entry = self.scheduler.entry(index);
        let assignment = Assignment {
            grant: entry.grant.clone(),
            seat: entry.seat.clone().expect("who takes off has a seat"),
        };
        let deck = self.deck.clone();
        let mut ticket = Ticket {
            engine: self.handle.clone(),
            index,
            flight,
            landing: Some(Landing::Grounded {
                text: "of an internal error".to_owned(),
            }),
            late: Late::default(),
        };
        tokio::spawn(async move {
            let engine = ticket.engine.clone();
            let name = assignment.grant.name.clone();
            let midway = |what| {
                engine.tell(match what {
                    Midway::Overdue(grant, give_up) => {
                        Message::Overdue(index, flight, grant, give_up)
                    }
                    Midway::Unsaved(error) => Message::Unsaved(name.clone(), error),
                });
            };
            let landing = match errand {
                Errand::Refresh => refresh(&deck, assignment, &midway, &mut ticket.late).await,
                // Rare, and not to be carried in every flight.
                Errand::ReadAgain => Box::pin(read_again(&deck, assignment)).await,
            };
            ticket.land(landing);
        });
    }

    async fn handle_message(&mut self, message: Message) {
        match message {
            Message::Landed(index, flight, landing, late_answer) => {
                self.read_on.remove(&flight);
                self.landed(index, flight, *landing).await;
                drop(late_answer);
            }
            Message::Overdue(index, flight, grant, give_up) => {
                self.read_on.insert(flight, give_up);
                self.overdue(index, flight, *grant).await;
            }
            Message::Unsaved(name, error) => self.unsaved(&name, &error),
            Message::Changed(grant) => self.changed(*grant).await,
            Message::Writable => self.writable().await,
            Message::LookAgain => {
                self.looks_again = false;
                self.find_unsaved().await;
            }
            Message::Status(named, reply) => drop(reply.send(self.status(&named))),
            Message::UnacceptedClients(reply) => drop(reply.send(self.unaccepted_clients())),
            Message::Seated(reply) => drop(reply.send(self.seated())),
            Message::Look(name, reply) => drop(reply.send(self.look(&name))),
            Message::Refresh(wish, reply) => self.refresh(wish, reply).await,
            Message::Reload(config, reply) => {
                self.reload(config).await;
                let _gone = reply.send(());
            }
            Message::Accept(what, reply) => drop(reply.send(self.accept(what).await)),
            Message::BeginRevocation(name, meant, reply) => {
                let begun = self.begin_revocation(&name, meant).await;
                drop(reply.send(begun.map(|begun| begun.map(Box::new))));
            }
            Message::EndRevocation(ended, reply) => {
                drop(reply.send(self.end_revocation(*ended).await));
            }
            Message::Remove(name, meant, reply) => {
                drop(reply.send(self.remove(&name, meant).await));
            }
            Message::Drain(reply) => {
                self.scheduler.drain();
                self.is_stopping = true;
                for index in self.scheduler.withdraw_wishes() {
                    self.turn_down_at_stop(index);
                }
                self.draining = Some(reply);
            }
        }
    }

    /// Clients that their provider does not accept: for all their grants, or for some.
    fn unaccepted_clients(&self) -> BTreeSet<String> {
        let clients = self.scheduler.limits().rejected_clients();
        let names = clients.map(|number| self.roster.client_name(number).to_owned());
        names.collect()
    }

    async fn writable(&mut self) {
        self.scheduler.set_unwritable(false);
        let why = "the database can be written again";
        (self.incidents).close(&Subject::Daemon, Kind::StoreUnwritable, why);
        self.find_unsaved().await;
    }

    /// What could not be saved meanwhile: a grant that was to begin, a pause, a second chance.
    async fn find_unsaved(&mut self) {
        self.align_all().await;
        self.recall_second_chances().await;
    }

    /// The grant waits with what its exchange brought; the others go on. Where nothing can
    /// be saved, the store's own trouble is told.
    fn unsaved(&mut self, name: &str, error: &StoreError) {
        let Some(index) = self.roster.index(name).filter(|_| error.is_of_one()) else {
            return;
        };
        self.roster.desk(index).unsaved = Some(error.to_string());
        self.watch(index, self.deck.clock.wall(), None);
    }

    async fn landed(&mut self, index: u32, flight: u64, landing: Landing) {
        self.roster.desk(index).unsaved = None;
        let (text, how) = landed_how(landing);
        let now = self.deck.clock.wall();
        let landed = self.scheduler.landed(index, flight, how.clone(), now);
        let state = &self.scheduler.entry(index).grant.state;
        let superseded = matches!(how, scheduler::Landing::Settled { kind: None, .. });
        if landed.second_chance || candidate::came_late(superseded, state) {
            self.take_second_chance(index).await;
        }
        let text = match how {
            scheduler::Landing::Settled { .. } => {
                self.report_outcome(index, landed.kind, &text);
                self.with_advice(index, landed.kind, text)
            }
            _ => text,
        };
        if let Some(before) = landed.grounded {
            self.report_grounded(index, before, &text);
        }
        if landed.counted {
            self.answer_waiters(index, landed.kind, &text);
        }
        self.touched(index, landed).await;
    }

    /// What an exchange came to, with what follows from it where it failed.
    fn with_advice(&self, index: u32, kind: Option<OutcomeKind>, text: String) -> String {
        let entry = self.scheduler.entry(index);
        match (kind, &entry.seat) {
            (None | Some(OutcomeKind::Success), _) | (_, None) => text,
            (Some(kind), Some(seat)) => {
                let now = self.deck.clock.wall();
                text + &advice::advice(&entry.grant.state, seat, kind, now)
            }
        }
    }

    async fn overdue(&mut self, index: u32, flight: u64, grant: Grant) {
        let now = self.deck.clock.wall();
        let landed = self.scheduler.overdue(index, flight, grant, now);
        let text = "no answer yet; still listening".to_owned();
        self.report_outcome(index, landed.kind, &text);
        let text = self.with_advice(index, landed.kind, text);
        self.answer_waiters(index, landed.kind, &text);
        self.touched(index, landed).await;
    }

    /// What follows when a flight has given back its place.
    async fn touched(&mut self, index: u32, landed: Landed) {
        self.watch(index, self.deck.clock.wall(), None);
        self.publisher
            .notify(&self.scheduler.entry(index).grant.name);
        if landed.align {
            self.align(index).await;
        }
        self.apply(landed.effects);
    }

    /// A flight that could not begin is tried again later: nothing was spent.
    fn report_grounded(&mut self, index: u32, before: u32, text: &str) {
        let text = format!("not refreshed, since {text}");
        let told = self.watch(index, self.deck.clock.wall(), Some(&text));
        if (before + 1).is_power_of_two() && told.opened.is_empty() {
            let name = &self.scheduler.entry(index).grant.name;
            tracing::error!(grant = %name, "{name}: {text}");
        }
    }

    /// One line when trouble begins or changes, one when it is over; not one for each
    /// try, nor for what an incident has told.
    fn report_outcome(&mut self, index: u32, kind: Option<OutcomeKind>, text: &str) {
        let told = self.watch(index, self.deck.clock.wall(), Some(text));
        let advice = self.with_advice(index, kind, String::new());
        let grant = &self.scheduler.entry(index).grant;
        let (name, state) = (&grant.name, &grant.state);
        let desk = self.roster.desk(index);
        let Some(kind) = kind else {
            tracing::warn!(grant = %name, "{name}: {text}; what the exchange brought is kept");
            return;
        };
        if kind == OutcomeKind::Success {
            let presents = state.presents.map(|f| f.to_string());
            let refresh_token_fingerprint = presents.unwrap_or_default();
            let until = state.expires_at.rfc3339();
            if let Some(trouble) = desk.trouble.take().filter(|_| told.closed.is_empty()) {
                tracing::info!(grant = %name, "{name}: {trouble} is over");
            }
            let odd = match text {
                "" => String::new(),
                text => format!("; {text}"),
            };
            if !odd.is_empty() && !desk.odd {
                tracing::warn!(grant = %name, "{name}: {text}");
            }
            desk.odd = !odd.is_empty();
            let generation = state.generation;
            match self.successes.tell(Instant::now()) {
                Some(untold) => {
                    let others = match untold {
                        0 => String::new(),
                        untold => {
                            format!("; {untold} others were refreshed since the last such line")
                        }
                    };
                    tracing::info!(
                        grant = %name, generation, expires_at = %until, refresh_token_fingerprint,
                        "{name}: generation {generation} until {until}{odd}{others}"
                    );
                }
                None => tracing::debug!(
                    grant = %name, generation, expires_at = %until, refresh_token_fingerprint,
                    "{name}: generation {generation} until {until}{odd}"
                ),
            }
            return self.disprove_for(index);
        }
        let word = kind.word();
        let news = desk.trouble.as_deref() != Some(word) || state.failures.is_power_of_two();
        if news && told.opened.without(NO_OUTCOMES).is_empty() {
            tracing::warn!(grant = %name, outcome = word, tries = state.failures, "{name}: {word}: {text}{advice}");
        }
        desk.trouble = Some(word.to_owned());
    }

    fn answer_waiters(&mut self, index: u32, kind: Option<OutcomeKind>, text: &str) {
        let grant = &self.scheduler.entry(index).grant;
        let (name, state) = (&grant.name, &grant.state);
        let text = format!("{name}: {text}");
        for waiter in self.roster.desk(index).waiters.drain(..) {
            let answer = match kind {
                Some(OutcomeKind::Success) => {
                    Ok(refreshed(name, state.generation, state.expires_at))
                }
                Some(
                    OutcomeKind::InvalidGrant
                    | OutcomeKind::InvalidClient
                    | OutcomeKind::InteractionRequired
                    | OutcomeKind::Refused,
                ) => Err(NotRefreshed::NeedsPerson(text.clone())),
                Some(OutcomeKind::AskedToWait | OutcomeKind::TooEarly) | None => {
                    Err(NotRefreshed::Later(text.clone()))
                }
                Some(
                    OutcomeKind::NotSent
                    | OutcomeKind::InDoubt
                    | OutcomeKind::Unread
                    | OutcomeKind::Unavailable
                    | OutcomeKind::Unanswered,
                ) => Err(NotRefreshed::Unavailable(text.clone())),
            };
            let _gone = waiter.send(answer);
        }
    }

    /// Arms the grant for when it is due or wished for, and looks at it.
    fn schedule(&mut self, index: u32) {
        let now = self.deck.clock.wall();
        self.watch(index, now, None);
        self.scheduler.schedule(index, now);
    }

    /// Takes in what is known of a grant; its index.
    fn put(&mut self, grant: Grant) -> u32 {
        if let Some(index) = self.roster.index(&grant.name) {
            let effect = self.scheduler.put(index, grant);
            self.apply(effect.into_iter().collect());
            return index;
        }
        let name = grant.name.clone();
        let index = self.scheduler.add(grant);
        self.roster.add(&name, index);
        index
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
    late: Late,
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
                self.late.brought.take(),
            ));
        }
    }
}

/// How a flight landed, as the scheduler is told, and in words.
fn landed_how(landing: Landing) -> (String, scheduler::Landing) {
    match landing {
        Landing::Idle => (
            "nothing was to be done".to_owned(),
            scheduler::Landing::Idle,
        ),
        Landing::Verdict(Verdict::Withheld) => {
            let text =
                "nothing was sent: at the last look its refresh token was not to be presented now";
            (text.to_owned(), scheduler::Landing::Idle)
        }
        Landing::Verdict(Verdict::Landed { kind, text, grant }) => {
            let kind = Some(kind);
            (text, scheduler::Landing::Settled { kind, grant })
        }
        Landing::Verdict(Verdict::Superseded { grant }) => {
            let text = match grant.state.access_dead {
                true => "an exchange that came too late may have ended its access token",
                false => "another authorization came first",
            };
            let kind = None;
            (text.to_owned(), scheduler::Landing::Settled { kind, grant })
        }
        Landing::Verdict(Verdict::NotStarted { text }) | Landing::Grounded { text } => {
            (text, scheduler::Landing::Grounded)
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

fn caps(config: &Config, deck: &Deck) -> Caps {
    let flights = u32::from(config.daemon.max_flights).min(deck.http.flights());
    // Hosts that hang have two in three of all exchanges, so that the others find a place.
    let overdue = u32::from(config.daemon.max_flights)
        .saturating_mul(2)
        .max(8);
    let read_on = deck.http.exchanges().min(overdue);
    Caps::new(flights, read_on)
}
