//! Performs an exchange's actions and feeds back what happened.

use super::{Deck, Patience, PendingAnswer, leave};
use crate::config::Client;
use crate::state::StoreError;
use refreshd_core::exchange::{Action, Event, Exchange, Step, Subject};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::GrantId;
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::provider::request::TokenRequest;
use refreshd_core::provider::{Answer, Ending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What is asked beside an exchange is given so long: it is a help, and the answer is at
/// hand.
const BESIDE_LIMIT: Duration = Duration::from_secs(10);

/// A subject that the store keeps.
pub(crate) trait Stored: Subject {
    /// Commits once.
    ///
    /// # Errors
    /// When it did not become durable.
    fn commit(
        deck: &Deck,
        exchange: &Exchange<Self>,
        commit: &Self::Commit,
        how: How,
    ) -> impl Future<Output = Result<Self::Committed, StoreError>> + Send;

    /// Reads the subject anew. `None`: it is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn load(
        deck: &Deck,
        intent: &Intent,
    ) -> impl Future<Output = Result<Option<Self::Loaded>, StoreError>> + Send;

    /// Whether such a commit has ended the intent, where it was to.
    fn has_ended(intent: &Intent, committed: &Self::Committed) -> bool;

    /// The grant to which a late answer matters; `None`: to none.
    fn grant(intent: &Intent) -> Option<&GrantId>;

    /// Who it is, for people.
    fn name(&self, intent: &Intent) -> String;
}

/// How a commit stands to its exchange.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// The exchange is over with it. While an overdue answer is waited for, it is not.
    pub(crate) ends: bool,
    /// The answer was kept as it came, and goes now that it is settled.
    pub(crate) was_kept: bool,
}

/// What the shell around has to know of an exchange on its way.
#[derive(Debug)]
pub(crate) enum Midway<S: Subject> {
    /// The doubt is committed, and the answer is still being waited for, until it is given
    /// up by this.
    Overdue(S::Known, oneshot::Sender<()>),
    /// What it brought could not be saved; it is tried again.
    Unsaved(StoreError),
}

/// Told of what happens on the way.
pub(crate) type Teller<'a, S> = &'a (dyn Fn(Midway<S>) + Sync);

/// Where an exchange stands among those of its grant.
#[derive(Default)]
pub(crate) struct Late {
    /// How many late answers of the grant had come when it was decided what to present.
    pub(crate) seen: u64,
    /// The late answer that it brought.
    pub(crate) brought: Option<PendingAnswer>,
}

/// Performs an exchange from its beginning.
pub(crate) async fn fly<S: Stored>(
    deck: &Deck,
    client: &Arc<Client>,
    mut exchange: Exchange<S>,
    request: TokenRequest,
    late: &mut Late,
    midway: Teller<'_, S>,
) -> S::Verdict {
    let mut driver = Driver {
        client: Some(client),
        request: Some(request),
        ..Driver::new(deck, late, midway)
    };
    let step = driver.handle(&mut exchange, Event::Begin).await;
    driver.run(&mut exchange, step).await
}

/// Settles an exchange that was found. `answer`: what was kept of it as it came; `client`:
/// who asks, where something is asked beside.
pub(crate) async fn adopt<S: Stored>(
    deck: &Deck,
    client: Option<&Arc<Client>>,
    (mut exchange, first): (Exchange<S>, Step<S>),
    answer: Option<&Answer>,
    midway: Teller<'_, S>,
) -> S::Verdict {
    let mut late = Late::default();
    let mut driver = Driver {
        client,
        is_recorded: true,
        is_kept: answer.is_some(),
        ..Driver::new(deck, &mut late, midway)
    };
    driver.answer = answer.cloned();
    driver.run(&mut exchange, first).await
}

struct Driver<'a, S: Subject> {
    deck: &'a Deck,
    client: Option<&'a Arc<Client>>,
    /// Until it is sent.
    request: Option<TokenRequest>,
    /// Its intent stands in the store.
    is_recorded: bool,
    /// What it brought, until that is settled.
    answer: Option<Answer>,
    /// That is kept as it came.
    is_kept: bool,
    /// A request that is overdue.
    overdue: Option<JoinHandle<Ending>>,
    late: &'a mut Late,
    midway: Teller<'a, S>,
}

impl<'a, S: Stored> Driver<'a, S> {
    fn new(deck: &'a Deck, late: &'a mut Late, midway: Teller<'a, S>) -> Self {
        Driver {
            deck,
            client: None,
            request: None,
            is_recorded: false,
            answer: None,
            is_kept: false,
            overdue: None,
            late,
            midway,
        }
    }

    async fn run(&mut self, exchange: &mut Exchange<S>, first: Step<S>) -> S::Verdict {
        let mut step = first;
        loop {
            let event = match step {
                Step::Do(action) => self.act(*action, exchange).await,
                Step::GoOnReading(known) => {
                    // Only now: until its send is on record, the next one would not heed it.
                    let (give_up, given_up) = oneshot::channel();
                    (self.midway)(Midway::Overdue(known, give_up));
                    Event::Ended(self.rest_of_request(exchange.intent(), given_up).await)
                }
                Step::Done(verdict) => {
                    self.over(exchange.intent().flight).await;
                    return verdict;
                }
            };
            step = self.handle(exchange, event).await;
        }
    }

    /// Tells the machine what has happened.
    async fn handle(&mut self, exchange: &mut Exchange<S>, event: Event<S>) -> Step<S> {
        if let Event::Ended(Ending::Answered(answer)) = &event {
            self.answered(exchange.intent(), answer);
        }
        let now = self.deck.clock.stamp();
        match catch_unwind(AssertUnwindSafe(|| exchange.handle(event, &now))) {
            Ok(step) => step,
            Err(panic) => {
                // What came is kept, whatever is wrong with it. The next start looks at it
                // again; until then it may be the successor of what would be presented.
                self.keep_unsettled(exchange).await;
                if let (Some(_), Some(grant)) = (&self.answer, S::grant(exchange.intent())) {
                    std::mem::forget(self.deck.late_answers.came(grant));
                }
                resume_unwind(panic)
            }
        }
    }

    /// An answer has come, and is in memory alone.
    fn answered(&mut self, intent: &Intent, answer: &Answer) {
        self.deck.unsettled.put(intent, answer);
        self.answer = Some(answer.clone());
    }

    /// What it brought is durable.
    async fn over(&self, flight: ExchangeId) {
        if self.is_recorded {
            leave(self.deck, flight).await;
        }
        if self.answer.is_some() {
            self.deck.unsettled.settled(flight);
        }
    }

    /// Keeps what came as it came, where it cannot be settled.
    async fn keep_unsettled(&mut self, exchange: &Exchange<S>) {
        if self.keep_raw(exchange).await {
            let name = exchange.subject().name(exchange.intent());
            tracing::warn!(grant = %name, "{name}: what its exchange came to is kept as it came, until its grant takes it");
        }
    }

    /// Keeps what came as it came. Whether it does now and did not before.
    async fn keep_raw(&mut self, exchange: &Exchange<S>) -> bool {
        let Some(answer) = self.answer.as_ref().filter(|_| !self.is_kept) else {
            return false;
        };
        let intent = exchange.intent();
        let kept = self.deck.store.keep_answer(intent, answer).await;
        self.is_kept = kept.is_ok();
        match kept {
            Ok(()) => self.deck.unsettled.settled(intent.flight),
            Err(e) => tracing::debug!("an answer could not be kept as it came: {e}"),
        }
        self.is_kept
    }

    async fn act(&mut self, action: Action<S>, exchange: &Exchange<S>) -> Event<S> {
        match action {
            Action::RecordIntent(intent) => self.record_intent(&intent).await,
            Action::Send { within } => {
                if self.is_forestalled(exchange.intent()) {
                    return Event::Forestalled;
                }
                self.send(within).await
            }
            Action::Ask(request) => {
                // It takes its time: until then the answer would be in memory alone.
                self.keep_raw(exchange).await;
                Event::Told(self.ask(request).await)
            }
            Action::Reload => self.reload(exchange).await,
            Action::Commit(commit) => self.commit(commit, exchange).await,
        }
    }

    async fn record_intent(&mut self, intent: &Intent) -> Event<S> {
        match self.deck.store.record_intent(intent).await {
            Ok(()) => {
                self.is_recorded = true;
                Event::IntentRecorded
            }
            Err(e) => Event::IntentFailed {
                text: e.to_string(),
            },
        }
    }

    fn is_forestalled(&self, intent: &Intent) -> bool {
        let late = &self.deck.late_answers;
        S::grant(intent)
            .is_some_and(|grant| late.are_pending(grant) || late.count(grant) != self.late.seen)
    }

    /// The request runs in a task of its own: whatever becomes of this one, what has begun
    /// is read to its end.
    async fn send(&mut self, within: Option<Duration>) -> Event<S> {
        let client = Arc::clone(self.client.expect("who sends is a client"));
        let request = self.request.take().expect("an exchange sends once");
        let deck = self.deck.clone();
        let mut sent = tokio::spawn(async move {
            deck.http
                .exchange_within(within, &client, request, || deck.clock.wall())
                .await
        });
        match tokio::time::timeout(EXCHANGE_LIMIT, &mut sent).await {
            Ok(ended) => Event::Ended(ended.unwrap_or_else(lost)),
            Err(_elapsed) => {
                self.overdue = Some(sent);
                Event::Overdue
            }
        }
    }

    /// Waits for the late answer, unless that is given up.
    async fn rest_of_request(
        &mut self,
        intent: &Intent,
        given_up: oneshot::Receiver<()>,
    ) -> Ending {
        let mut sent = self.overdue.take().expect("it is still running");
        let ended = tokio::select! {
            // An answer that is there is taken.
            biased;
            ended = &mut sent => ended,
            Ok(()) = given_up => {
                sent.abort();
                sent.await
            }
        };
        let ending = ended.unwrap_or_else(lost);
        if let (Ending::Answered(_), Some(grant)) = (&ending, S::grant(intent)) {
            self.late.brought = Some(self.deck.late_answers.came(grant));
        }
        ending
    }

    async fn ask(&self, request: TokenRequest) -> Option<Answer> {
        let clock = &self.deck.clock;
        let asked = self.deck.http.get(self.client?, request, || clock.wall());
        match tokio::time::timeout(BESIDE_LIMIT, asked).await {
            Ok(Ending::Answered(answer)) => Some(answer),
            _ => None,
        }
    }

    async fn reload(&self, exchange: &Exchange<S>) -> Event<S> {
        let intent = exchange.intent();
        let mut patience = Patience::default();
        loop {
            let name = || exchange.subject().name(intent);
            match S::load(self.deck, intent).await {
                Ok(Some(loaded)) => return Event::Reloaded(loaded),
                Ok(None) => tracing::error!(
                    "{} is gone from the store while its answer is waited for",
                    name()
                ),
                Err(e) => tracing::error!("{}: the store cannot be read: {e}", name()),
            }
            patience.wait().await;
        }
    }

    /// Tries until it is durable: what is in hand may be the only copy of a refresh token.
    async fn commit(&mut self, commit: S::Commit, exchange: &Exchange<S>) -> Event<S> {
        let intent = exchange.intent();
        let ends = self.overdue.is_none();
        let mut patience = Patience::default();
        let mut writable = self.deck.store.watch_writable();
        loop {
            writable.mark_unchanged();
            let how = How {
                ends,
                was_kept: self.is_kept,
            };
            match S::commit(self.deck, exchange, &commit, how).await {
                Ok(committed) => {
                    self.is_recorded &= !(ends && S::has_ended(intent, &committed));
                    return Event::Committed(committed);
                }
                Err(e) => {
                    let name = exchange.subject().name(intent);
                    tracing::error!(grant = %name, "{name}: what its exchange came to could not be saved; it is kept in memory and tried again: {e}");
                    // Perhaps its rows alone are damaged.
                    if e.is_of_one() || patience.has_waited() {
                        self.keep_unsettled(exchange).await;
                    }
                    (self.midway)(Midway::Unsaved(e));
                }
            }
            tokio::select! {
                () = patience.wait() => {}
                () = turned_writable(&mut writable) => {}
            }
        }
    }
}

/// When there is room again for what could not be saved.
async fn turned_writable(writable: &mut watch::Receiver<bool>) {
    while writable.changed().await.is_ok() {
        if *writable.borrow() {
            return;
        }
    }
    // The store is gone; nothing is to be hurried.
    std::future::pending().await
}

fn lost(error: tokio::task::JoinError) -> Ending {
    Ending::Lost {
        text: format!("the exchange ended without a result: {error}"),
    }
}
