//! Performs a flight's actions as `src/exchange/driver.rs` does, each as a
//! happening of its own, and looks at each.

use crate::audit::{Check, Sending, ensure};
use crate::fate::{Fate, ending};
use crate::server::TokenId;
use crate::setup::{Setup, binding};
use crate::store::{Recovered, Unread};
use crate::transactions::{Job, Keeping, Settling};
use crate::world::{Exchange, Happening, Inside, World};
use refreshd_core::exchange::grant::{Commit, Committed, OfGrant, Verdict};
use refreshd_core::exchange::{Action, Event, Exchange as Machine, Step};
use refreshd_core::flight::{ExchangeId, Intent, Standing};
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::{Grant, GrantState, Presents, presentation};
use refreshd_core::mutation::{self, Mutation};
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::scheduler::{Landing, TakeOff};
use refreshd_core::time::{Clock, Stamp, WallTime};
use std::time::Duration;

/// A flight that has taken off.
pub(crate) struct Aloft {
    pub(crate) index: u32,
    /// Its number in the scheduler.
    pub(crate) ticket: u64,
    setup: Setup,
    /// It reads once more what came before, and sends nothing.
    reads: bool,
    /// What it reads is ours once its commit is durable.
    readable: Vec<TokenId>,
    flight: Machine<OfGrant>,
    base: GrantState,
    /// The newest refresh token at the server, and whether it was ours.
    newest: (TokenId, bool),
    token: Option<TokenId>,
    forced: bool,
    /// Its intent stands in the store.
    is_recorded: bool,
    /// It waits for the end of its exchange.
    waits: bool,
    overdue: bool,
    told: bool,
    /// An end that came while it was busy otherwise.
    ended: Option<Ending>,
    answer: Option<Answer>,
    /// When it came, by the physical clock.
    came: i64,
    /// What came is kept as it came.
    pub(crate) is_kept: bool,
    commit: Option<Commit>,
    patience: u32,
    /// When it took off, by the daemon's clock.
    took_off: WallTime,
    /// How many late answers of the grant had come then.
    arrived: u64,
}

impl Aloft {
    /// What is kept of that grant cannot be read meanwhile, or is being read.
    pub(crate) fn keeps_busy(&self, index: u32) -> bool {
        self.index == index && !self.told
    }

    /// A late answer of that grant is being written down, or settled.
    pub(crate) fn has_in_hand(&self, index: u32) -> bool {
        self.index == index && self.told && self.answer.is_some()
    }

    /// Whether it counts among those that may be under way: one that is slow has given
    /// its place to other hosts.
    fn has_place(&self, now: WallTime) -> bool {
        let patience = Duration::from_secs(5).min(self.base.lifetime() / 4);
        let patience = match self.base.lifetime().is_zero() {
            true => Duration::from_secs(5),
            false => patience,
        };
        !self.told && !self.reads && self.took_off + patience > now
    }

    /// The clock was set back by so much, and that was accepted: the checks go by it.
    pub(crate) fn bring_back(&mut self, by: Duration) {
        self.base = self.base.brought_back(by);
        self.took_off = self.took_off - by;
    }

    /// Whether it is over with what it commits now.
    fn ends(&self) -> bool {
        !self.overdue || self.answer.is_some()
    }

    /// What it has brought, and by which form it is read.
    pub(crate) fn brought(&self) -> Option<Keeping> {
        let answer = self.answer.clone().filter(|_| !self.reads)?;
        Some(Keeping {
            flight: self.flight.intent().flight,
            answer,
            reads: self.setup.form,
        })
    }

    /// Its intent is durable.
    pub(crate) fn recorded(&mut self) {
        self.is_recorded = true;
    }
}

fn landing(verdict: Verdict) -> Landing {
    match verdict {
        Verdict::Landed { kind, grant, .. } => {
            let kind = Some(kind);
            Landing::Settled { kind, grant }
        }
        Verdict::Superseded { grant } => Landing::Settled { kind: None, grant },
        Verdict::NotStarted { .. } => Landing::Grounded,
        Verdict::Withheld => Landing::Idle,
    }
}

/// Until when an answer asks to wait, which came so long ago at the least: its own
/// time may be by a clock that has been set back since.
fn asked_until(answer: Option<&Answer>, now: WallTime, ago: Duration) -> Option<WallTime> {
    let answer = answer?;
    let (_, value) = answer
        .headers
        .iter()
        .find(|(name, _)| name == "retry-after")?;
    let wait = value.parse().ok().map(Duration::from_secs)?;
    Some(answer.received.min(now - ago) + wait)
}

fn hash(form: usize) -> DescriptionHash {
    DescriptionHash(form.to_string())
}

/// The form of an answer.
pub(crate) fn form_of(answer: &Answer) -> usize {
    let body = std::str::from_utf8(&answer.body).unwrap_or_default();
    let form = body
        .strip_prefix(r#"{"v"#)
        .and_then(|rest| rest.split_once('"'));
    form.and_then(|(form, _)| form.parse().ok()).unwrap_or(0)
}

/// The refresh token that an answer brings.
pub(crate) fn brought(answer: &Answer) -> Option<TokenId> {
    let whole = answer.complete && answer.status == 200;
    let body = whole
        .then(|| std::str::from_utf8(&answer.body).ok())
        .flatten()?;
    let (_, rest) = body.split_once(r#""refresh_token":""#)?;
    Some(TokenId::of(rest.split_once('"')?.0))
}

impl World {
    pub(crate) fn fly(&mut self, taking_off: TakeOff) -> Check {
        let (index, forced) = (taking_off.index, taking_off.is_forced());
        self.flights += 1;
        let number = self.flights;
        let (now, roll) = (self.time(), self.rng.roll());
        let stamp = self.stamp(now);
        let setup = self.setup(index);
        let rules = self.server(index).rules(setup.form).clone();
        let row = &self.store.rows[index as usize];
        let (grant, tokens) = (row.grant.clone(), row.tokens.clone());
        let bound = grant.state.binding == Some(binding(setup.home));
        let presents = presentation::next(&grant.state, &rules.policy, now);
        let presents = presents.filter(|_| bound && grant.state.pause.is_none());
        let Some(presents) = presents else {
            self.report.count("grounded");
            return self.landed(taking_off.flight, index, Landing::Grounded);
        };
        self.check_healed(self.lane(index), setup.secret)?;
        let named = self.named.get(&index).copied();
        self.audit.needed(&taking_off, named, &grant.state, now)?;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let hash = hash(setup.form);
        let intent = Intent::new(ExchangeId(id), &grant, presents, stamp, hash, roll);
        let refresh = tokens.refresh_token.as_ref();
        let token = refresh
            .filter(|_| presents != Presents::ClientCredentials)
            .map(|token| TokenId::of(token.expose()));
        let overlaps = self
            .process()
            .aloft
            .values()
            .any(|aloft| aloft.index == index);
        if overlaps {
            self.report.count("overlaps");
        }
        if grant.state.doubt.is_some() && token.is_some() {
            self.report.count("replays");
        }
        let held = tokens.refresh_token.as_ref();
        let held = TokenId::of(held.expect("a grant keeps its refresh token").expose());
        let newest = TokenId {
            number: self.server(index).family(held).current,
            ..held
        };
        // A candidate is tried after a refusal and not before, as the table has it.
        let candidates = self.store.rows[index as usize].candidates.iter();
        let mut refresh = candidates.filter_map(|c| c.tokens.as_ref()?.refresh_token.as_ref());
        let waits = refresh.any(|token| TokenId::of(token.expose()) == newest);
        let had = self.audit.is_durable(newest) && !waits;
        let arrived = self.process().arrived(index);
        let aloft = Aloft {
            index,
            ticket: taking_off.flight,
            setup,
            reads: false,
            readable: Vec::new(),
            newest: (newest, had),
            base: grant.state.clone(),
            flight: Machine::<OfGrant>::new(intent, grant, tokens, rules),
            token,
            forced,
            is_recorded: false,
            waits: false,
            overdue: false,
            told: false,
            ended: None,
            answer: None,
            came: 0,
            is_kept: false,
            commit: None,
            patience: 0,
            took_off: now,
            arrived,
        };
        self.process().aloft.insert(number, aloft);
        self.feed(number, Event::Begin)
    }

    /// What is configured about a grant's client.
    fn setup(&mut self, index: u32) -> Setup {
        let lane = self.lane(index) as usize;
        self.process().config.clients[lane]
    }

    /// An answer that could not be read is read by the description of now.
    pub(crate) fn read_again(&mut self, taking_off: TakeOff) -> Check {
        let (index, ticket) = (taking_off.index, taking_off.flight);
        let (now, setup) = (self.time(), self.setup(index));
        let (rules, hash) = (
            self.server(index).rules(setup.form).clone(),
            hash(setup.form),
        );
        let row = &self.store.rows[index as usize];
        let state = &row.grant.state;
        let ours = |kept: &&Unread| form_of(&kept.answer) == setup.form;
        let readable = row.unread.iter().filter(ours);
        let readable: Vec<_> = readable.filter_map(|kept| brought(&kept.answer)).collect();
        let kept = row.unread.iter().map(|kept| (&kept.intent, &kept.answer));
        let Some(newest) = Intent::newest_unread(kept, state, &rules.description, &hash) else {
            for token in readable {
                self.audit.can_read(token);
            }
            // What answers the refresh token that the grant has, and can be read, is read.
            let missed = row.unread.iter().find(|kept| {
                let doubt = state.doubt.as_ref();
                let answers = doubt.is_some_and(|d| kept.intent.presents.is_token(d.presents));
                let ours = kept.intent.generation >= state.chances_from;
                let can_be_read = form_of(&kept.answer) == setup.form;
                answers && ours && can_be_read && brought(&kept.answer).is_some()
            });
            ensure(missed.is_none(), "kept-is-read", || {
                let intent = missed.map(|kept| &kept.intent);
                format!("grant {index} leaves {intent:?} unread, {state:?}")
            })?;
            return self.landed(ticket, index, Landing::Idle);
        };
        let newest = &row.unread[newest];
        self.report.count("read again");
        if newest.intent.generation < state.generation {
            self.report.count("read after a restore");
        }
        let mut intent = newest.intent.clone().again(state, hash);
        if self
            .process
            .as_ref()
            .is_some_and(|p| p.scheduler.fenced().is_some())
        {
            intent = intent.in_restored_store(&self.stamp(now));
        }
        let (grant, tokens) = (row.grant.clone(), row.tokens.clone());
        let (base, answer) = (state.clone(), newest.answer.clone());
        let held = tokens
            .refresh_token
            .as_ref()
            .expect("a grant keeps its refresh token");
        let newest = (TokenId::of(held.expose()), false);
        let (flight, step) = Machine::<OfGrant>::recovered(
            intent,
            Some(answer.clone()),
            grant,
            tokens,
            rules,
            &self.stamp(now),
        );
        self.flights += 1;
        let number = self.flights;
        let aloft = Aloft {
            index,
            ticket,
            setup,
            reads: true,
            readable,
            newest,
            base,
            flight,
            token: None,
            forced: false,
            is_recorded: false,
            waits: false,
            overdue: false,
            told: false,
            ended: None,
            answer: Some(answer),
            came: i64::MAX,
            is_kept: false,
            commit: None,
            patience: 0,
            took_off: now,
            arrived: 0,
        };
        self.process().aloft.insert(number, aloft);
        self.follow(number, step, None)
    }

    /// The others that were kept beside it are candidates.
    fn read_beside(
        &mut self,
        index: u32,
        read: &Intent,
        before: &GrantState,
        form: usize,
    ) -> Check {
        let now = self.time();
        let stamp = self.stamp(now);
        let kept = self.store.rows[index as usize].unread.clone();
        for other in kept
            .iter()
            .filter(|other| other.intent.is_beside(read, before))
        {
            let mut intent = (other.intent.clone()).again(before, read.description.clone());
            if self.process().scheduler.fenced().is_some() {
                intent = intent.in_restored_store(&stamp);
            }
            let rules = self.server(index).rules(form).clone();
            let row = &self.store.rows[index as usize];
            let (grant, tokens) = (row.grant.clone(), row.tokens.clone());
            let (base, answer) = (intent.clone(), Some(other.answer.clone()));
            let (_, step) =
                Machine::<OfGrant>::recovered(base, answer, grant, tokens, rules, &stamp);
            if let Step::Do(action) = step
                && let Action::Commit(commit) = *action
            {
                self.commit_now(index, &intent, true, &commit, None)?;
            }
            self.store.forget_unread(index, intent.flight);
        }
        Ok(())
    }

    fn aloft(&mut self, number: u64) -> &mut Aloft {
        let aloft = self.process().aloft.get_mut(&number);
        aloft.expect("what happens to a flight happens before it lands")
    }

    pub(crate) fn happen(&mut self, what: Inside) -> Check {
        match what {
            Inside::Wake => Ok(()),
            Inside::Tell(number, event) => self.tell(number, *event),
            Inside::Ended(number) => self.ended(number),
            Inside::Overdue(number) => self.reach_limit(number),
            Inside::Load(number) => {
                let index = self.aloft(number).index as usize;
                let row = &self.store.rows[index];
                let (grant, tokens) = (Box::new(row.grant.clone()), Box::new(row.tokens.clone()));
                self.feed(number, Event::Reloaded((grant, tokens)))
            }
            Inside::Transact => self.transact(),
            Inside::Again(job) => {
                self.ask_store(*job, 0);
                Ok(())
            }
            Inside::Overwrite => {
                let _tried_again = !self.process().begins_in_doubt || self.overwrite();
                Ok(())
            }
            Inside::Probe => {
                if !self.overwrite() {
                    self.inside(1000, Inside::Probe);
                    return Ok(());
                }
                self.process().scheduler.set_unwritable(false);
                // What could not be saved meanwhile: a pause, a second chance.
                (0..self.size.grants).try_for_each(|index| self.align(index))?;
                self.recall_second_chances()
            }
            Inside::Publish(index) => self.bring_out(index),
            Inside::Heal => self.heal(),
        }
    }

    /// A flight learns something, and says what it wants next.
    fn feed(&mut self, number: u64, event: Event<OfGrant>) -> Check {
        let now = self.time();
        let known = match &event {
            Event::Committed(Committed::Applied(grant) | Committed::Superseded(grant)) => {
                Some(grant.clone())
            }
            _ => None,
        };
        let now = self.stamp(now);
        let step = self.aloft(number).flight.handle(event, &now);
        self.follow(number, step, known)
    }

    fn follow(&mut self, number: u64, step: Step<OfGrant>, known: Option<Box<Grant>>) -> Check {
        let index = self.aloft(number).index;
        match step {
            Step::Do(action) => self.act(number, *action),
            Step::GoOnReading(_) => {
                self.aloft(number).told = true;
                self.overdue(number, index, *known.expect("it comes after a commit"))?;
                let aloft = self.aloft(number);
                aloft.waits = true;
                match aloft.ended.take() {
                    Some(ending) => self.end(number, ending),
                    None => Ok(()),
                }
            }
            Step::Done(verdict) => {
                self.check_answer_is_kept(number)?;
                self.leave(number);
                let aloft = self.process().aloft.remove(&number).expect("it was aloft");
                for token in &aloft.readable {
                    self.audit.can_read(*token);
                }
                let landing = landing(verdict);
                let unread = matches!(
                    &landing,
                    Landing::Settled {
                        kind: Some(OutcomeKind::Unread),
                        ..
                    }
                );
                if aloft.reads && !unread && !self.store.full {
                    let read = aloft.flight.intent().clone();
                    self.store.forget_unread(index, read.flight);
                    if let Landing::Settled {
                        kind: Some(OutcomeKind::Success),
                        ..
                    } = &landing
                    {
                        self.read_beside(index, &read, &aloft.base, aloft.setup.form)?;
                    }
                }
                self.landed(aloft.ticket, index, landing)
            }
        }
    }

    /// Ends a flight that has nothing more to commit.
    pub(crate) fn leave(&mut self, number: u64) {
        let aloft = self.aloft(number);
        if !std::mem::take(&mut aloft.is_recorded) {
            return;
        }
        let flight = aloft.flight.intent().flight;
        // Whatever it was about is known already.
        self.audit.open.remove(&flight);
        self.process().ending += 1;
        self.ask_store(Job::End(flight), 0);
    }

    /// What came must be somewhere when the flight is over.
    fn check_answer_is_kept(&mut self, number: u64) -> Check {
        let aloft = self.aloft(number);
        let form = aloft.answer.as_ref().map_or(0, form_of);
        let unreadable = form != 0 && form != aloft.setup.form;
        if unreadable && aloft.flight.intent().presents == Presents::ClientCredentials {
            // Its client asks anew, which is as good.
            return Ok(());
        }
        let token = aloft.answer.as_ref().and_then(brought);
        let index = aloft.index as usize;
        let unread = &self.store.rows[index].unread;
        let unread = |token| {
            unread
                .iter()
                .any(|kept| brought(&kept.answer) == Some(token))
        };
        let kept =
            |token| self.audit.is_durable(token) || self.audit.is_unread(token) || unread(token);
        let kept = token.is_none_or(kept);
        ensure(kept, "no-answer-dropped", || {
            format!("flight {number} had {token:?}")
        })
    }

    fn act(&mut self, number: u64, action: Action<OfGrant>) -> Check {
        match action {
            Action::RecordIntent(intent) => {
                let hangs = match self.process().transacting {
                    true => 0,
                    false => std::mem::take(&mut self.hangs_for),
                };
                if hangs > 0 {
                    self.report.count("disk hung");
                    self.audit.promptly.clear();
                    self.hangs_until = self.now + hangs;
                }
                self.ask_store(Job::Begin(number, intent), hangs);
                Ok(())
            }
            // A connection takes no time here, and the machine does not sleep in between.
            Action::Send { .. } => self.send(number),
            Action::Ask(_) => unreachable!("nothing is asked beside a refresh"),
            Action::Reload => {
                let wait = self.rng.millis(1, 5);
                self.inside(wait, Inside::Load(number));
                Ok(())
            }
            Action::Commit(commit) => {
                let index = self.aloft(number).index;
                if mutation::is(Mutation::PublishBeforeDurable) {
                    let stored = self.store.rows[index as usize].grant.state.generation;
                    let settled = commit.settled.settlement.state.generation;
                    self.audit.publishes(index, settled, stored)?;
                }
                let aloft = self.aloft(number);
                aloft.commit = Some(commit);
                aloft.patience = 0;
                self.ask_store(Job::Commit(number), 0);
                Ok(())
            }
        }
    }

    fn send(&mut self, number: u64) -> Check {
        let now = self.now;
        let calm = self.calm;
        let aloft = &self.process.as_ref().expect("it lives").aloft[&number];
        let (index, intent) = (aloft.index, aloft.flight.intent().clone());
        let process = self.process.as_ref().expect("it lives");
        let mut others = process.aloft.values();
        if others.any(|other| other.has_in_hand(index)) || process.arrived(index) != aloft.arrived {
            self.report.count("forestalled");
            return self.feed(number, Event::Forestalled);
        }
        let (token, forced, base) = (aloft.token, aloft.forced, aloft.base.clone());
        let setup = aloft.setup;
        let durable = self.store.has_intent(intent.flight);
        ensure(durable, "intent-before-byte", || format!("{intent:?}"))?;
        self.check_alone(number, index)?;
        self.check_fence(index, token)?;
        let mood = self.server(index).mood(now);
        let fate = Fate::draw(&mut self.rng, mood, calm);
        *self.report.fates.entry(fate).or_default() += 1;
        self.note(|_| {
            let (attempt, generation) = (intent.attempt, intent.generation);
            format!("{number} grant {index} generation {generation} attempt {attempt}: {token:?} is sent: {fate:?}")
        });
        let (there, back) = fate.travel(&mut self.rng);
        if mutation::is(Mutation::IntentEndedEarly) {
            self.store.end(intent.flight);
        }
        self.aloft(number).waits = true;
        let facts = self.server(index).facts;
        let (newest, had) = self.aloft(number).newest;
        if fate != Fate::NotSent {
            self.report.sends += 1;
            if let Some(token) = token {
                self.audit.goes(token, setup.home)?;
            }
            let sending = Sending {
                index,
                intent: &intent,
                token,
                base: &base,
                facts: &facts,
                forced,
                now,
            };
            self.audit.sends(&sending)?;
            self.schedule(there, Happening::Received(number));
        }
        let exchange = Exchange {
            index,
            fate,
            token,
            base,
            sent: intent.sent.wall,
            newest,
            had,
            setup,
            back,
            incarnation: self.incarnation,
            reply: None,
        };
        self.exchanges.insert(number, exchange);
        self.inside(there + back, Inside::Ended(number));
        if there + back > 30_000 {
            self.inside(30_000, Inside::Overdue(number));
        }
        Ok(())
    }

    /// One flight a grant, and no more than may be in all; overdue ones apart.
    fn check_alone(&mut self, number: u64, index: u32) -> Check {
        let cap = self.temper.flights as usize;
        let now = self.time();
        let aloft = &self.process().aloft;
        let going = aloft.values().filter(|aloft| aloft.has_place(now)).count();
        ensure(going <= cap, "no-more-than-may-be", || {
            format!("{going} of {cap}")
        })?;
        let other = aloft
            .iter()
            .any(|(other, aloft)| *other != number && aloft.index == index && !aloft.told);
        ensure(!other, "one-flight-a-grant", || {
            format!("{number} of grant {index} is not alone")
        })
    }

    /// A request comes to its server, whatever has become of who sent it.
    pub(crate) fn received(&mut self, number: u64) -> Check {
        let now = self.now;
        let Some(exchange) = self.exchanges.get(&number) else {
            return Ok(());
        };
        let (index, token, fate) = (exchange.index, exchange.token, exchange.fate);
        let server = self.server(index);
        let facts = server.facts;
        if fate == Fate::FalseRefusal && (facts.rotates || !facts.described) {
            let newest = exchange.newest;
            self.server_mut(index).family_mut(newest).excused = true;
            return Ok(());
        }
        if !fate.is_processed() {
            return Ok(());
        }
        if exchange.setup.secret != server.secret {
            let refused = (401, r#"{"error":"invalid_client"}"#.to_owned());
            self.exchanges.get_mut(&number).expect("it is there").reply = Some(refused);
            return Ok(());
        }
        let home = exchange.setup.home;
        let reply = match token {
            None => {
                let body = self.server_mut(index).authorize(index, now);
                let family = self.server(index).latest_family(index);
                self.audit.may_go((index, family), home);
                (200, body)
            }
            Some(token) => {
                let (lived, good) = (!server.family(token).dead, server.is_good(token, now));
                let first = self.audit.first_sent(token);
                let lost_time = self.audit.lost_time_since(first);
                // A request that was late, or a replay of it, may have superseded it before
                // we ever sent it: of two answers nobody can tell which is newer.
                let unknown = server.superseded_at(token).is_some_and(|at| at < first);
                let innocent = fate == Fate::Delayed || unknown || lost_time;
                if facts.revokes && lived && !good && !innocent {
                    self.audit.spares_what_is_kept(&exchange.base)?;
                }
                if facts.revokes
                    && lived
                    && !good
                    && exchange.base.is_alive(exchange.sent)
                    && !innocent
                {
                    self.report.count("last chances");
                    let (base, sent) = (exchange.base.clone(), exchange.sent);
                    self.audit.gambles(token, &base, sent)?;
                }
                let exchange = &self.exchanges[&number];
                let raced = exchange.newest.number != self.server(index).family(token).current;
                let excused = raced || unknown || lost_time || !exchange.had;
                let server = self.server_mut(index);
                let before = server.revoked_before(token);
                let reply = server.present(token, now);
                let family = server.family_mut(token);
                if lived && family.dead {
                    family.excused |= excused;
                    self.note(|_| format!("{number} kills its family, excused: {excused}"));
                }
                if self.server(index).revoked_before(token) != before {
                    self.check_old_access(number, token);
                }
                reply
            }
        };
        self.exchanges.get_mut(&number).expect("it is there").reply = Some(reply);
        Ok(())
    }

    /// The old access token may have died at a refresh: whoever holds it finds out,
    /// and has another as soon as the answer is there.
    fn check_old_access(&mut self, number: u64, token: TokenId) {
        let exchange = &self.exchanges[&number];
        let (index, now) = (exchange.index, self.now);
        let server = self.server(index);
        if !server.facts.revokes_old {
            return;
        }
        let row = &self.store.rows[index as usize];
        let access = TokenId::of(row.tokens.access_token.expose());
        let family = (index, token.family);
        let before = server.revoked_before(token);
        let aloft = self.process.as_ref().and_then(|p| p.aloft.get(&number));
        let awaited = aloft.is_some_and(|aloft| !aloft.told);
        let known = exchange.base.generation == row.grant.state.generation;
        let state = &row.grant.state;
        let doubted = state.doubt.is_some() || self.process.is_none();
        let in_time = exchange.fate != Fate::Delayed;
        let accounted = awaited || (known && doubted && in_time);
        let readable = server.form == 0 || server.form == exchange.setup.form;
        let prompt = exchange.fate == Fate::Answered
            && known
            && awaited
            && readable
            && exchange.incarnation == self.incarnation
            && now >= self.asleep_until
            && now >= self.hangs_until
            && !self.store.full
            && self.failing_commits == 0;
        let until = now + exchange.back + 2000;
        let dies = access.family == token.family && access.number < before;
        if !accounted {
            self.audit.unaccounted(family, before);
        }
        let out = self.published[index as usize].is_some_and(|found| found.access == access);
        if dies && out {
            if prompt {
                self.audit.promptly.insert(index, until);
            }
            let wait = self.rng.millis(0, 20_000);
            self.schedule(wait, Happening::Consume(index));
        }
    }

    /// The exchange of a flight has come to its end.
    fn ended(&mut self, number: u64) -> Check {
        let now = self.time();
        let Some(exchange) = self.exchanges.remove(&number) else {
            return Ok(());
        };
        let life = self.server(exchange.index).facts.life;
        let ending = ending(&mut self.rng, exchange.fate, exchange.reply, life, now);
        let aloft = self.aloft(number);
        if aloft.waits {
            return self.end(number, ending);
        }
        aloft.ended = Some(ending);
        Ok(())
    }

    fn end(&mut self, number: u64, ending: Ending) -> Check {
        let came = self.now;
        let aloft = self.aloft(number);
        aloft.waits = false;
        if let Ending::Answered(answer) = &ending {
            aloft.answer = Some(answer.clone());
            aloft.came = came;
            let late = aloft.told.then_some(aloft.index);
            if let Some(index) = late {
                self.process().arrives(index);
            }
        }
        self.feed(number, Event::Ended(ending))
    }

    /// An overdue exchange is read on no longer.
    pub(crate) fn give_up(&mut self, ticket: u64) {
        let aloft = self.process().aloft.iter();
        let given_up = aloft.filter(|(_, aloft)| aloft.overdue && aloft.ticket == ticket);
        let numbers: Vec<u64> = given_up.map(|(number, _)| *number).collect();
        for number in numbers {
            // One that has ended meanwhile tells so itself.
            if let Some(exchange) = self.exchanges.get_mut(&number) {
                exchange.fate = Fate::LostAfter;
                self.report.count("given up");
                self.inside(0, Inside::Ended(number));
            }
        }
    }

    fn reach_limit(&mut self, number: u64) -> Check {
        let aloft = self.process().aloft.get_mut(&number);
        let Some(aloft) = aloft.filter(|aloft| aloft.waits && !aloft.overdue) else {
            return Ok(());
        };
        aloft.waits = false;
        aloft.overdue = true;
        self.feed(number, Event::Overdue)
    }

    fn tell(&mut self, number: u64, event: Event<OfGrant>) -> Check {
        let aloft = self.aloft(number);
        let done = match &event {
            Event::Committed(Committed::Applied(_)) => true,
            Event::Committed(Committed::Superseded(grant)) => {
                grant.state.generation != aloft.flight.intent().generation
            }
            _ => false,
        };
        aloft.is_recorded &= !(done && aloft.ends());
        self.feed(number, event)
    }

    /// A commit has failed, and is tried again.
    pub(crate) fn commit_later(&mut self, number: u64) {
        let now = self.now;
        let aloft = self.aloft(number);
        let wait = (250 << aloft.patience.min(7)).min(30_000);
        let (index, form, reads) = (aloft.index, aloft.setup.form, aloft.reads);
        if reads {
            self.audit.is_read_later(index, form, now + wait);
        }
        let aloft = self.aloft(number);
        aloft.patience += 1;
        // Perhaps its grant's rows alone are damaged.
        let keeps = aloft.patience > 1 && !aloft.is_kept && aloft.brought().is_some();
        self.inside(wait, Inside::Again(Box::new(Job::Commit(number))));
        if keeps {
            self.ask_store(Job::Keep(number), 0);
        }
    }

    /// What a flight has to commit.
    pub(crate) fn settling(&self, number: u64) -> Option<Settling> {
        let process = self.process.as_ref()?;
        let aloft = process.aloft.get(&number)?;
        let now = process.last_now;
        let ago = self.now.saturating_sub(aloft.came).max(0).unsigned_abs();
        Some(Settling {
            index: aloft.index,
            intent: aloft.flight.intent().clone(),
            ends: aloft.ends(),
            commit: aloft.commit.clone()?,
            asked: asked_until(aloft.answer.as_ref(), now, Duration::from_millis(ago)),
        })
    }

    /// The store's thread commits a flight.
    pub(crate) fn commit(&mut self, number: u64) -> Check {
        let _now = self.time();
        let it = self.settling(number);
        let it = it.expect("there is something to commit");
        self.aloft(number).commit = None;
        let (standing, grant) =
            self.commit_now(it.index, &it.intent, it.ends, &it.commit, it.asked)?;
        let grant = Box::new(grant);
        let event = match standing {
            Standing::Current => Event::Committed(Committed::Applied(grant)),
            Standing::Outdated | Standing::Superseded => {
                Event::Committed(Committed::Superseded(grant))
            }
        };
        self.inside(0, Inside::Tell(number, Box::new(event)));
        Ok(())
    }

    /// One transaction, and what must hold after it.
    pub(crate) fn commit_now(
        &mut self,
        index: u32,
        intent: &Intent,
        ends: bool,
        commit: &Commit,
        asked: Option<WallTime>,
    ) -> Result<(Standing, Grant), crate::audit::Violation> {
        let now = self.time();
        let settlement = &commit.settled.settlement;
        let row = &self.store.rows[index as usize];
        let (before, refused) = (row.tokens.clone(), row.grant.state.refusal.is_some());
        // A client that asks for itself is glad of anything where its newer token was refused.
        let any = refused && intent.presents == Presents::ClientCredentials;
        let (stamp, physical) = (self.stamp(now), self.now);
        self.store.saw(stamp, physical);
        let flight = intent.flight;
        let committed = self.store.commit(
            index,
            ends,
            commit.base_revision,
            settlement,
            intent,
            (now, physical),
        );
        let standing = match committed {
            Ok(standing) => standing,
            Err(error) => {
                ensure(false, "generations-rise", || error.to_string())?;
                unreachable!("it is broken")
            }
        };
        let grant = self.store.rows[index as usize].grant.clone();
        let kind = commit.settled.kind;
        self.note(|_| {
            let generation = grant.state.generation;
            format!("grant {index} generation {generation}: {kind:?} is {standing:?}")
        });
        match standing {
            Standing::Outdated => {
                self.report.count("settled again");
                return Ok((standing, grant));
            }
            Standing::Superseded => {
                self.report.count("superseded");
                // Another authorization's provider has not counted what was sent for this one.
                let base = settlement.base_generation();
                if base < grant.state.chances_from && !grant.state.own {
                    self.audit.counts_as(index, &grant.state);
                    self.audit.afresh(index, grant.state.last_send);
                }
            }
            Standing::Current => {
                self.audit.asked(index, asked, kind == OutcomeKind::Success);
                self.audit.redates(index, &grant.state);
                let (generation, with) = (grant.state.generation, settlement.tokens.is_some());
                self.audit.stored(index, generation, with)?;
            }
        }
        if ends {
            self.audit.closes(flight);
        }
        let unread = settlement.unread.as_ref();
        if let Some(token) = unread.and_then(brought) {
            self.audit.cannot_read(token);
        }
        if let Some(tokens) = &settlement.tokens {
            let kept = standing == Standing::Current || !mutation::is(Mutation::CandidateDropped);
            if kept {
                self.audit.durable(tokens);
            }
            if standing == Standing::Current {
                self.report.generations += 1;
                self.check_tokens(index, (&before, any), tokens, &grant.state, intent)?;
            }
        }
        Ok((standing, grant))
    }

    fn check_tokens(
        &mut self,
        index: u32,
        (before, any): (&refreshd_core::TokenSet, bool),
        after: &refreshd_core::TokenSet,
        state: &GrantState,
        intent: &Intent,
    ) -> Check {
        let number = |tokens: &refreshd_core::TokenSet| {
            tokens
                .refresh_token
                .as_ref()
                .map(|token| TokenId::of(token.expose()))
        };
        let (old, new) = (number(before), number(after));
        // Beside a backup there may be answers of what has been another since.
        let candidates = self.store.rows[index as usize].candidates.iter();
        let mut candidates = candidates.map(|candidate| candidate.tokens.as_ref().and_then(number));
        let kept =
            new >= old || any || self.audit.was_put_back || candidates.any(|kept| kept == old);
        ensure(kept, "newest-kept", || {
            format!("{old:?} gave way to {new:?}")
        })?;
        let access = TokenId::of(after.access_token.expose());
        let rest = self.server(index).end_of(access) - self.now;
        let presented = old.map_or(i64::MAX, |token| self.audit.first_sent(token));
        let superseded = old.and_then(|token| self.server(index).superseded_at(token));
        let first = superseded.map_or(presented, |at| at.min(presented));
        if self.audit.has_lost(first) && !intent.is_undated() {
            // What a refresh token in doubt has brought was presented in the time that a
            // restore has lost as well: the answer is that one's, once more.
            return Ok(());
        }
        let sent = self.audit.sent_at(intent.flight).unwrap_or(0);
        // What is adopted before lost time is allowed for is not shown before that.
        if self.store.lost_time || self.audit.lost_time_since(presented.min(sent)) {
            return Ok(());
        }
        let now = self.time();
        self.audit.dates(state, now, rest)
    }

    /// A new process: it opens the store and settles what it finds there.
    pub(crate) fn start(&mut self) -> Check {
        if self.process.is_some() {
            return Ok(());
        }
        if self.store.full {
            self.start_later();
            return Ok(());
        }
        let mut recovered = self.store.recovered();
        self.note(|_| format!("the store is opened: {recovered:?}"));
        for (flight, answered) in &self.audit.open {
            let found = recovered.iter().find(|r| r.intent.flight == *flight);
            let whole = found.is_some_and(|r| r.answer.is_some() || !answered);
            ensure(whole, "no-flight-forgotten", || {
                format!("{flight:?}, answered: {answered}, found: {found:?}")
            })?;
        }
        let audit = &self.audit;
        let closed = |flight| audit.closed.contains(flight);
        let closed = recovered.iter().find(|r| closed(&r.intent.flight));
        ensure(closed.is_none(), "settled-stays-settled", || {
            format!("{closed:?}")
        })?;
        for found in &mut recovered {
            let accepted = self.store.accepted.as_ref();
            found.intent = found.intent.clone().by_accepted_clock(accepted);
        }
        self.look_at_fence();
        let clock = self.start_clock(&recovered)?;
        let caps = refreshd_core::limits::Caps {
            flights: self.temper.flights,
            read_on: self.temper.flights + u32::from(self.temper.read_on),
        };
        let grants = self
            .store
            .rows
            .iter()
            .map(|row| row.grant.clone())
            .collect();
        let config = self.config.clone();
        let process = crate::engine::Process::new(clock, caps, config, grants);
        self.process = Some(process);
        self.note(|_| {
            format!(
                "a process starts: {} flights are recovered",
                recovered.len()
            )
        });
        // As `src/daemon/recovery.rs` does: one generation follows the other.
        recovered.sort_by_key(|r| (r.intent.generation, r.intent.attempt));
        for found in recovered {
            if !self.adopt(found)? {
                return Ok(());
            }
        }
        let now = self.time();
        self.store.allow_for_lost_time(now);
        for index in 0..self.size.grants {
            let grant = self.store.rows[index as usize].grant.clone();
            self.process().put(index, grant);
        }
        self.fence_at_start();
        self.load()?;
        self.tick()
    }

    /// Starts the clock from the latest moment that is remembered. In the same boot
    /// no time is lost; in another one, the clock may have been set back by less
    /// than passed, which nobody can tell.
    fn start_clock(&mut self, recovered: &[Recovered]) -> Result<Clock, crate::audit::Violation> {
        let physical = self.store.last_seen_at;
        let stored = self.store.last_seen.clone().map(|seen| (seen, physical));
        let sent = |found: &Recovered| {
            let at = self.audit.sent_at(found.intent.flight)?;
            Some((found.intent.sent.clone(), at))
        };
        let known: Vec<(Stamp, i64)> = recovered.iter().filter_map(sent).collect();
        let sent = known.iter().map(|(sent, _)| sent.clone());
        let last = Stamp::latest(self.store.last_seen.clone(), sent);
        let mut known = known.into_iter().chain(stored);
        let last = last.and_then(|last| known.find(|(seen, _)| *seen == last));
        let boot_id = self.boots.to_string();
        let seen = last.as_ref().map(|(seen, _)| seen);
        let mut clock = Clock::new(self.reading(), &boot_id, seen);
        let now = clock.observe(self.reading()).wall;
        if clock.lost_time() {
            self.report.count("lost time was noticed");
            self.store.lost_time = true;
        } else if let Some((seen, at)) = last {
            let real = seen.wall + Duration::from_millis((self.now - at).unsigned_abs());
            let lost = now < real;
            ensure(!lost || seen.boot_id != boot_id, "no-time-lost", || {
                format!("{now:?} is believed, {real:?} is the least that it can be")
            })?;
            if lost {
                self.report.count("lost time went unnoticed");
                let now = self.now;
                self.audit.lost_time(now);
            }
        }
        Ok(clock)
    }

    pub(crate) fn stamp(&self, wall: WallTime) -> Stamp {
        Stamp {
            wall,
            boot: self.reading().boot,
            boot_id: self.boots.to_string(),
        }
    }

    /// Settles a flight that was found; false when the process ended over it.
    fn adopt(&mut self, found: Recovered) -> Result<bool, crate::audit::Violation> {
        let Recovered { intent, answer } = found;
        let index: u32 = intent.grant.0.parse().expect("a grant's number");
        let row = &self.store.rows[index as usize];
        // What was counted as it was sent: not in the time that a restore has lost.
        let counted = self.audit.has_counted(intent.flight);
        self.report.count(if answer.is_some() {
            "answers adopted"
        } else {
            "in doubt after a stop"
        });
        let (grant, tokens) = (row.grant.clone(), row.tokens.clone());
        let form = intent.description.0.parse().expect("a form");
        let rules = self.server(index).rules(form).clone();
        let now = self.time();
        let asked = asked_until(answer.as_ref(), now, Duration::ZERO);
        let stamp = self.stamp(now);
        let intent = match self.store.fenced {
            Some(_) => intent.in_restored_store(&stamp),
            None => intent,
        };
        let (held, base) = (intent.clone(), grant);
        let window = |state: &GrantState| (state.window_from, state.sends_in_window);
        let before = window(&base.state);
        let (mut flight, mut step) =
            Machine::<OfGrant>::recovered(held, answer, base, tokens, rules, &stamp);
        loop {
            if self.dies_here() {
                self.end_process()?;
                return Ok(false);
            }
            let event = match step {
                Step::Do(action) => match *action {
                    Action::Commit(commit) => {
                        let (standing, grant) =
                            self.commit_now(index, &intent, true, &commit, asked)?;
                        // It is counted as sent, though it never was, from this commit on.
                        if !counted && window(&grant.state) != before {
                            self.audit.counts_as(index, &grant.state);
                        }
                        match standing {
                            Standing::Current => {
                                Event::Committed(Committed::Applied(Box::new(grant)))
                            }
                            _ => Event::Committed(Committed::Superseded(Box::new(grant))),
                        }
                    }
                    _ => {
                        let row = &self.store.rows[index as usize];
                        Event::Reloaded((Box::new(row.grant.clone()), Box::new(row.tokens.clone())))
                    }
                },
                _ => break,
            };
            let now = self.time();
            step = flight.handle(event, &self.stamp(now));
        }
        let grant = self.store.rows[index as usize].grant.clone();
        self.process().put(index, grant);
        Ok(true)
    }
}
