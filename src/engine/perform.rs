//! Performs one flight's actions and feeds what happened back to it. Everything
//! that decides is in the core; this file only waits.

use crate::clock::SharedClock;
use crate::config::Client;
use crate::config::active::{Seat, binding_of};
use crate::engine::arrivals::{Arrivals, InHand};
use crate::http::Http;
use crate::random;
use crate::state::{
    Commit as StoreCommit, Committed, Event as HistoryEvent, Store, StoreError, Unread,
};
use refreshd_core::flight::settle::{Rules, Settled};
use refreshd_core::flight::{Action, Event, Flight, FlightId, Intent, Step, Verdict};
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::grant::{
    Binding, Grant, GrantId, GrantState, Policy, Presents, TokenSet, presentation,
};
use refreshd_core::provider::request::{self, Registration, RequestError, TokenRequest};
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::secret::Fingerprinter;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What every flight needs.
#[derive(Clone)]
pub struct Deck {
    /// Where token sets live.
    pub store: Store,
    /// Sends requests.
    pub http: Http,
    /// The time.
    pub clock: SharedClock,
    /// Makes fingerprints.
    pub fingerprinter: Fingerprinter,
    /// Late answers.
    pub arrivals: Arrivals,
    /// Answers that are not settled yet.
    pub unsettled: Unsettled,
}

/// Answers that are in memory alone until they are settled: what the store does not take
/// before a stop is rescued.
#[derive(Clone, Debug, Default)]
pub struct Unsettled(Arc<Mutex<BTreeMap<FlightId, (Intent, Answer)>>>);

impl Unsettled {
    /// An answer has come.
    pub fn put(&self, intent: &Intent, answer: &Answer) {
        self.lock()
            .insert(intent.flight, (intent.clone(), answer.clone()));
    }

    /// What it said is durable.
    pub(crate) fn settled(&self, flight: FlightId) {
        self.lock().remove(&flight);
    }

    /// All that are not settled.
    #[must_use]
    pub fn all(&self) -> Vec<(Intent, Answer)> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlightId, (Intent, Answer)>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// What one flight is about.
#[derive(Clone)]
pub struct Assignment {
    /// The grant as the engine knows it.
    pub grant: Grant,
    /// Its client, schedule and variables as the configuration has them.
    pub seat: Seat,
}

/// How a flight ended, for the engine.
#[derive(Debug)]
pub enum Landing {
    /// The flight's own verdict.
    Verdict(Verdict),
    /// There was nothing to do after all.
    Idle,
    /// It could not begin: the grant cannot be read, or its request not be built.
    Grounded {
        /// Why, for people.
        text: String,
    },
}

/// What happens to a flight on its way that the engine has to know.
#[derive(Debug)]
pub enum Midway {
    /// The doubt is committed, and the answer is still being waited for, until it is given
    /// up by this.
    Overdue(Box<Grant>, oneshot::Sender<()>),
    /// What it brought could not be saved; it is tried again.
    Unsaved(StoreError),
}

/// Told of what happens on the way.
pub type Teller<'a> = &'a (dyn Fn(Midway) + Sync);

/// Flies one flight to its end. `in_hand` is set when a late answer comes.
pub async fn fly(
    deck: &Deck,
    assignment: Assignment,
    midway: Teller<'_>,
    in_hand: &mut Option<InHand>,
) -> Landing {
    let Assignment { grant, seat } = assignment;
    if let Some(lacks) = &seat.client.lacks {
        return grounded(lacks.clone());
    }
    let arrived = deck.arrivals.count(&grant.id);
    let (grant, tokens) = match deck.store.load_known(grant).await {
        Ok(Some((grant, tokens))) => (grant, tokens.unwrap_or_else(TokenSet::none)),
        Ok(None) => return grounded("the grant is gone from the store".to_owned()),
        Err(e) => return grounded(e.to_string()),
    };
    let (flight, request) = match begin(deck, &seat, grant, tokens) {
        Ok(begun) => begun,
        Err(text) => return grounded(text),
    };
    let mut performer = Performer::new(deck, midway);
    performer.arrived = arrived;
    let verdict = perform(&mut performer, &seat.client, flight, Some(request)).await;
    *in_hand = performer.in_hand;
    Landing::Verdict(verdict)
}

/// The flight, and the request that it is to send.
fn begin(
    deck: &Deck,
    seat: &Seat,
    grant: Grant,
    tokens: TokenSet,
) -> Result<(Box<Flight>, TokenRequest), String> {
    let presents = presentation::next(&grant.state, &seat.policy, deck.clock.wall())
        .ok_or("there is nothing to present")?;
    let request = request(&grant.state, seat, presents, &tokens).map_err(|e| e.to_string())?;
    may_leave(&grant, seat, presents, &request)?;
    let intent = intent(deck, seat, &grant, presents);
    let rules = rules(deck, &seat.client, seat.policy.clone());
    Ok((Box::new(Flight::new(intent, grant, tokens, rules)), request))
}

/// Who the client is, for requests of a grant.
#[must_use]
pub fn registration(seat: &Seat) -> Registration<'_> {
    let client = &seat.client;
    Registration {
        client_id: &client.client_id,
        client_secret: client.client_secret.as_ref(),
        redirect_uri: seat
            .redirect_uri
            .as_deref()
            .or(client.redirect_uri.as_deref()),
        scopes: &client.scopes,
        unencoded: false,
    }
}

/// The request that presents this for a grant.
///
/// # Errors
/// When the description cannot be filled for it.
pub fn request(
    state: &GrantState,
    seat: &Seat,
    presents: Presents,
    tokens: &TokenSet,
) -> Result<TokenRequest, RequestError> {
    let registration = Registration {
        unencoded: state.unencoded,
        ..registration(seat)
    };
    let (description, vars) = (&seat.client.description, &seat.vars);
    match presents {
        Presents::RefreshToken(_) => request::refresh(description, &registration, vars, tokens),
        Presents::ClientCredentials => {
            request::client_credentials(description, &registration, vars)
        }
        // An enrolment's, and made there.
        Presents::Code(_) => Err(RequestError::NothingToPresent),
    }
}

/// Reads an answer once more that could not be read by an earlier description.
/// Nothing is sent.
pub async fn read_again(deck: &Deck, assignment: Assignment) -> Landing {
    let client = &assignment.seat.client;
    let kept = async {
        let loaded = deck.store.load(&assignment.grant.id).await?;
        let unread = deck.store.unread(&assignment.grant.id).await?;
        Ok::<_, StoreError>(loaded.zip(Some(unread)))
    };
    let ((grant, tokens), unread) = match kept.await {
        Ok(Some(kept)) => kept,
        Ok(None) => return Landing::Idle,
        Err(e) => return grounded(e.to_string()),
    };
    let answers = unread.iter().map(|kept| (&kept.intent, &kept.answer));
    let (description, hash) = (&client.description, &client.hash);
    let newest = Intent::newest_unread(answers, &grant.state, description, hash);
    let Some(newest) = newest else {
        return Landing::Idle;
    };
    let newest = &unread[newest];
    let flight = newest.flight;
    let now = deck.clock.stamp();
    let mut intent = newest
        .intent
        .clone()
        .again(&grant.state, client.hash.clone());
    if deck.store.fence().is_some() {
        intent = intent.in_restored_store(&now);
    }
    let rules = rules(deck, client, assignment.seat.policy.clone());
    let tokens = tokens.unwrap_or_else(TokenSet::none);
    let answer = Some(newest.answer.clone());
    let (read, before) = (intent.clone(), grant.state.clone());
    let (flying, first) = Flight::recovered(intent, answer, grant, tokens, rules.clone(), &now);
    let verdict = adopt(deck, flying, first, None, &|_| ()).await;
    if let Verdict::Landed {
        kind: OutcomeKind::Success,
        ..
    } = &verdict
    {
        for other in unread
            .iter()
            .filter(|other| other.intent.is_beside(&read, &before))
        {
            read_beside(deck, other, &read, &before, &rules).await;
        }
    }
    if !matches!(
        &verdict,
        Verdict::Landed {
            kind: OutcomeKind::Unread,
            ..
        }
    ) && let Err(e) = deck.store.forget_unread(flight).await
    {
        tracing::warn!("an answer that has been read stays in the store: {e}");
    }
    Landing::Verdict(verdict)
}

/// Reads an answer that was kept beside the one that is the grant's token set by now:
/// what it brought is a candidate.
async fn read_beside(
    deck: &Deck,
    other: &Unread,
    read: &Intent,
    before: &GrantState,
    rules: &Rules,
) {
    let now = deck.clock.stamp();
    let mut intent = (other.intent.clone()).again(before, read.description.clone());
    if deck.store.fence().is_some() {
        intent = intent.in_restored_store(&now);
    }
    let (grant, tokens) = match deck.store.load(&intent.grant).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return,
        Err(e) => return tracing::warn!("an answer that is kept could not be read: {e}"),
    };
    let (answer, tokens) = (
        Some(other.answer.clone()),
        tokens.unwrap_or_else(TokenSet::none),
    );
    let (flying, first) = Flight::recovered(intent, answer, grant, tokens, rules.clone(), &now);
    let _candidate = adopt(deck, flying, first, None, &|_| ()).await;
    if let Err(e) = deck.store.forget_unread(other.flight).await {
        tracing::warn!("an answer that has been read stays in the store: {e}");
    }
}

/// The last look before a refresh token leaves: it goes to nobody but the client
/// and origin that it is bound to, whatever was reloaded or imported meanwhile.
fn may_leave(
    grant: &Grant,
    seat: &Seat,
    presents: Presents,
    request: &TokenRequest,
) -> Result<(), String> {
    if grant.state.pause.is_some() {
        return Err("it is paused".to_owned());
    }
    let to = match presents {
        Presents::RefreshToken(_) => Binding {
            client_id: seat.client.client_id.clone(),
            origin: request.origin(),
        },
        Presents::ClientCredentials | Presents::Code(_) => binding_of(seat)?,
    };
    match &grant.state.binding {
        Some(bound) if *bound != to => Err(format!(
            "its refresh token belongs to client {} at {}",
            bound.client_id, bound.origin
        )),
        _ => Ok(()),
    }
}

fn grounded(text: String) -> Landing {
    Landing::Grounded { text }
}

/// What settling goes by for a client.
#[must_use]
pub fn rules(deck: &Deck, client: &Client, policy: Policy) -> Rules {
    Rules {
        description: Arc::clone(&client.description),
        policy,
        fingerprinter: deck.fingerprinter.clone(),
    }
}

fn intent(deck: &Deck, seat: &Seat, grant: &Grant, presents: Presents) -> Intent {
    Intent::new(
        FlightId(random::bytes()),
        grant,
        presents,
        deck.clock.stamp(),
        seat.client.hash.clone(),
        u64::from_le_bytes(random::bytes()),
    )
}

/// Commits a flight that was found. `answer`: what was kept of it as it came.
pub async fn adopt(
    deck: &Deck,
    mut flight: Flight,
    first: Step,
    answer: Option<Answer>,
    midway: Teller<'_>,
) -> Verdict {
    let mut performer = Performer::new(deck, midway);
    performer.is_kept = answer.is_some();
    performer.answer = answer;
    let mut step = first;
    loop {
        match step {
            Step::Do(action) => {
                let event = performer.act(*action, None, &flight).await;
                step = flight.handle(event, &deck.clock.stamp());
            }
            Step::GoOnReading(_) => unreachable!("a recovered flight has ended"),
            Step::Done(verdict) => {
                performer.settled(flight.intent().flight);
                return verdict;
            }
        }
    }
}

async fn perform(
    performer: &mut Performer<'_>,
    client: &Arc<Client>,
    mut flight: Box<Flight>,
    mut request: Option<TokenRequest>,
) -> Verdict {
    let deck = performer.deck;
    let mut event = Event::Begin;
    loop {
        if let Event::Ended(Ending::Answered(answer)) = &event {
            performer.answered(flight.intent(), answer);
        }
        let now = deck.clock.stamp();
        let step = match catch_unwind(AssertUnwindSafe(|| flight.handle(event, &now))) {
            Ok(step) => step,
            Err(panic) => {
                // What came is kept, whatever is wrong with it. The next start looks at it again;
                // until then it may be the successor of what would be presented.
                performer.keep_raw(flight.intent()).await;
                if performer.answer.is_some() {
                    std::mem::forget(deck.arrivals.came(&flight.intent().grant));
                }
                resume_unwind(panic)
            }
        };
        match step {
            Step::Do(action) => {
                let sending = matches!(*action, Action::Send { .. })
                    .then(|| request.take())
                    .flatten();
                event = performer
                    .act(
                        *action,
                        sending.map(|request| (client.clone(), request)),
                        &flight,
                    )
                    .await;
            }
            Step::GoOnReading(grant) => {
                // Only now: until its send is on record, the next one would not heed it.
                let (give_up, given_up) = oneshot::channel();
                (performer.midway)(Midway::Overdue(grant, give_up));
                let grant = &flight.intent().grant;
                let ending = performer.rest_of_exchange(grant, given_up).await;
                event = Event::Ended(ending);
            }
            Step::Done(verdict) => {
                let flight = flight.intent().flight;
                if performer.is_recorded {
                    leave(deck, flight).await;
                }
                performer.settled(flight);
                return verdict;
            }
        }
    }
}

/// Ends a flight that has nothing more to commit. Where the store does not take that, it is
/// tried again behind whoever asked; a process that stops before leaves a doubt that is
/// known already.
pub async fn leave(deck: &Deck, flight: FlightId) {
    let Err(e) = deck.store.end(flight).await else {
        return;
    };
    tracing::warn!("the end of an exchange could not be written down; it is tried again: {e}");
    let deck = deck.clone();
    tokio::spawn(async move {
        let mut patience = Patience::default();
        loop {
            patience.wait().await;
            match deck.store.end(flight).await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(e) => tracing::debug!("the end of an exchange could not be written down: {e}"),
            }
        }
    });
}

struct Performer<'a> {
    deck: &'a Deck,
    /// Its intent stands in the store.
    is_recorded: bool,
    /// What it brought, until that is settled.
    answer: Option<Answer>,
    /// That is kept as it came.
    is_kept: bool,
    /// An exchange that is overdue.
    exchange: Option<JoinHandle<Ending>>,
    /// How many late answers of the grant had come when it was read.
    arrived: u64,
    /// The late answer that this flight brought.
    in_hand: Option<InHand>,
    midway: Teller<'a>,
}

impl<'a> Performer<'a> {
    fn new(deck: &'a Deck, midway: Teller<'a>) -> Self {
        Performer {
            deck,
            is_recorded: false,
            answer: None,
            is_kept: false,
            exchange: None,
            arrived: 0,
            in_hand: None,
            midway,
        }
    }

    /// An answer has come, and is in memory alone.
    fn answered(&mut self, intent: &Intent, answer: &Answer) {
        self.deck.unsettled.put(intent, answer);
        self.answer = Some(answer.clone());
    }

    /// What it brought is durable.
    fn settled(&self, flight: FlightId) {
        if self.answer.is_some() {
            self.deck.unsettled.settled(flight);
        }
    }

    /// Keeps what came as it came, where the grant does not take it.
    async fn keep_raw(&mut self, intent: &Intent) {
        let Some(answer) = self.answer.as_ref().filter(|_| !self.is_kept) else {
            return;
        };
        let name = &intent.name;
        match self.deck.store.keep_answer(intent, answer).await {
            Ok(()) => {
                self.is_kept = true;
                self.deck.unsettled.settled(intent.flight);
                tracing::warn!(grant = %name, "{name}: what its exchange came to is kept as it came, until its grant takes it");
            }
            Err(e) => tracing::debug!("an answer could not be kept as it came: {e}"),
        }
    }

    async fn act(
        &mut self,
        action: Action,
        send: Option<(Arc<Client>, TokenRequest)>,
        flight: &Flight,
    ) -> Event {
        match action {
            Action::RecordIntent(intent) => self.record_intent(&intent).await,
            Action::Send { within } => {
                let (client, request) = send.expect("a flight sends once, with its request");
                let grant = &flight.intent().grant;
                let arrivals = &self.deck.arrivals;
                if arrivals.are_in_hand(grant) || arrivals.count(grant) != self.arrived {
                    return Event::Forestalled;
                }
                self.send(within, client, request).await
            }
            Action::Reload => self.reload(&flight.intent().grant).await,
            Action::Commit(commit) => self.commit(commit.settled, flight).await,
        }
    }

    async fn record_intent(&mut self, intent: &Intent) -> Event {
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

    /// The exchange runs in a task of its own: whatever becomes of this one, a
    /// request that has begun is read to its end.
    async fn send(
        &mut self,
        within: Option<Duration>,
        client: Arc<Client>,
        request: TokenRequest,
    ) -> Event {
        let deck = self.deck.clone();
        let mut exchange = tokio::spawn(async move {
            deck.http
                .exchange_within(within, &client, request, || deck.clock.wall())
                .await
        });
        match tokio::time::timeout(EXCHANGE_LIMIT, &mut exchange).await {
            Ok(ended) => Event::Ended(ended.unwrap_or_else(lost)),
            Err(_elapsed) => {
                self.exchange = Some(exchange);
                Event::Overdue
            }
        }
    }

    /// Waits for the late answer, unless that is given up.
    async fn rest_of_exchange(
        &mut self,
        grant: &GrantId,
        given_up: oneshot::Receiver<()>,
    ) -> Ending {
        let mut exchange = self
            .exchange
            .take()
            .expect("an overdue exchange is still running");
        let ended = tokio::select! {
            // An answer that is there is taken.
            biased;
            ended = &mut exchange => ended,
            Ok(()) = given_up => {
                exchange.abort();
                exchange.await
            }
        };
        let ending = ended.unwrap_or_else(lost);
        if matches!(ending, Ending::Answered(_)) {
            self.in_hand = Some(self.deck.arrivals.came(grant));
        }
        ending
    }

    async fn reload(&self, grant: &GrantId) -> Event {
        let mut patience = Patience::default();
        loop {
            match self.deck.store.load(grant).await {
                Ok(Some((grant, tokens))) => {
                    let tokens = tokens.unwrap_or_else(TokenSet::none);
                    return Event::Reloaded(Box::new(grant), Box::new(tokens));
                }
                Ok(None) => {
                    tracing::error!(grant = %grant.0, "a grant is gone from the store while its answer is waited for")
                }
                Err(e) => tracing::error!(grant = %grant.0, "the store cannot be read: {e}"),
            }
            patience.wait().await;
        }
    }

    /// Tries until it is durable: what is in hand may be the only copy of a refresh token.
    async fn commit(&mut self, settled: Settled, flight: &Flight) -> Event {
        let intent = flight.intent();
        // While an answer is listened for, its exchange is not over.
        let ends = self.exchange.is_none();
        let mut commit = Arc::new(StoreCommit {
            base: flight.grant().clone(),
            settlement: settled.settlement,
            event: HistoryEvent {
                at: self.deck.clock.wall(),
                kind: settled.kind.word().to_owned(),
                text: settled.text,
            },
            intent: Some(intent.clone()),
            ends,
            was_kept: self.is_kept,
        });
        let mut patience = Patience::default();
        let mut writable = self.deck.store.watch_writable();
        loop {
            writable.mark_unchanged();
            match self.deck.store.commit(Arc::clone(&commit)).await {
                Ok(Committed::Applied(grant)) => {
                    self.is_recorded &= !ends;
                    return Event::Committed(Box::new(grant));
                }
                Ok(Committed::Stale(grant)) => {
                    // Of the same generation it is settled again, and the intent must last until then.
                    let again = intent.generation == grant.state.generation;
                    self.is_recorded &= !ends || again;
                    return Event::Superseded(Box::new(grant));
                }
                Err(e) => {
                    let name = &intent.name;
                    tracing::error!(grant = %name, "{name}: what its exchange came to could not be saved; it is kept in memory and tried again: {e}");
                    // Perhaps its grant's rows alone are damaged.
                    if e.is_of_one() || patience.has_waited() {
                        self.keep_raw(intent).await;
                    }
                    if self.is_kept && !commit.was_kept {
                        commit = Arc::new(StoreCommit {
                            was_kept: true,
                            ..(*commit).clone()
                        });
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

/// Waits that grow from 250 ms to 30 s.
#[derive(Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Whether it is not the first try.
    fn has_waited(&self) -> bool {
        self.0 > 0
    }

    pub(crate) async fn wait(&mut self) {
        let wait = Duration::from_millis(250 << self.0.min(7)).min(Duration::from_secs(30));
        self.0 += 1;
        tokio::time::sleep(wait).await;
    }
}
