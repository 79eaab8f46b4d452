//! The daemon under a script: thin, since what is judged is in the core.

use super::course::{Course, Lack, Send};
use super::evidence::Evidence;
use super::provider::{Account, Met, answer, rules};
use super::script::{Kind as Wrong, Manner, Script, Turn, hash};
use refreshd_core::flight::settle::{Rules, settle};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::{Grant, GrantId, GrantState, Policy, TokenSet, presentation};
use refreshd_core::incident::{Kind, Kinds};
use refreshd_core::limits::{Caps, Effect, Route, Scope, Trouble};
use refreshd_core::mutation::{self, Mutation};
use refreshd_core::provider::Ending;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::scheduler::{Landing, Next, Post, Scheduler, TakeOff};
use refreshd_core::secret::Secret;
use refreshd_core::time::{BootTime, Clock, Now, Stamp, WallTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

/// The wall clock at the beginning.
const BASE: i64 = 1_800_000_000_000;
/// After so long an exchange is in doubt.
const OVERDUE: i64 = 30_000;
/// After so long nothing is read on.
const READ_LIMIT: i64 = 600_000;
/// How long a stop waits for exchanges.
const DRAIN: i64 = 2_500;

/// What is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake,
    Reaches(u64),
    Ends(u64),
    Overdue(u64),
    Publish(u32, i64),
    Turn(usize),
    Starts,
}

pub(crate) struct Seat {
    policy: Rc<Policy>,
    route: Route,
}

impl Post for Seat {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn route(&self) -> Route {
        self.route
    }
}

/// An exchange under way.
struct Exchange {
    grant: u32,
    /// Which of the sends it is.
    send: usize,
    began: i64,
    flight: u64,
    intent: Intent,
    met: Option<Met>,
    /// What was wrong when it reached its host.
    wrong: Option<Wrong>,
    back: i64,
    overdue: bool,
    /// It is read on no longer.
    given_up: bool,
}

pub(crate) struct World<'a> {
    script: &'a Script,
    /// Which grants are configured; the numbers are those of the script.
    only: Option<u32>,
    rules: Vec<Rules>,
    policies: Vec<Rc<Policy>>,
    now: i64,
    /// What the system's wall clock is ahead of the truth.
    ahead: i64,
    /// The daemon's clock.
    clock: Clock,
    asleep_until: i64,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    count: u64,
    wakes_at: i64,
    scheduler: Option<Scheduler<Seat>>,
    grants: Vec<(Grant, TokenSet)>,
    accounts: Vec<Account>,
    exchanges: BTreeMap<u64, Exchange>,
    /// When the published access token of each really ends, and since when it is dead time.
    published: Vec<i64>,
    /// When the shell saw that a grant has no living token.
    told: Vec<Option<i64>>,
    /// Of each host, the exchange that began last of those that were answered.
    answered: Vec<u64>,
    evidence: Evidence,
    course: Course,
    tells: bool,
}

impl<'a> World<'a> {
    pub(crate) fn new(script: &'a Script, only: Option<u32>, tells: bool) -> Self {
        let rules: Vec<Rules> = script.hosts.iter().map(rules).collect();
        let policies = rules
            .iter()
            .map(|rules| Rc::new(rules.policy.clone()))
            .collect();
        let count = script.members.len();
        let mut world = World {
            script,
            only,
            rules,
            policies,
            now: 0,
            ahead: 0,
            clock: Clock::new(reading(0, 0), "boot", None),
            asleep_until: 0,
            events: BinaryHeap::new(),
            count: 0,
            wakes_at: i64::MAX,
            scheduler: None,
            grants: Vec::new(),
            accounts: vec![Account::default(); count],
            exchanges: BTreeMap::new(),
            published: Vec::new(),
            told: vec![None; count],
            answered: vec![0; script.hosts.len()],
            evidence: Evidence::default(),
            course: Course {
                dead: vec![0; count],
                lacks: vec![Vec::new(); count],
                ..Course::default()
            },
            tells,
        };
        for grant in 0..u32::try_from(count).expect("few") {
            let first = world.first(grant);
            world.published.push(first.0.state.expires_at.0 - BASE);
            world.grants.push(first);
        }
        for (index, (at, _)) in script.turns.iter().enumerate() {
            world.after(*at, Event::Turn(index));
        }
        world.after(0, Event::Starts);
        world
    }

    fn first(&self, grant: u32) -> (Grant, TokenSet) {
        let member = self.script.members[grant as usize];
        let host = self.script.hosts[member.route.host as usize];
        let rules = &self.rules[member.route.host as usize];
        let anew = host.manner == Manner::Anew;
        let tokens = TokenSet {
            access_token: Secret::new(format!("at-{grant}-first")),
            refresh_token: (!anew).then(|| Secret::new(format!("rt-{grant}-0"))),
            ..TokenSet::none()
        };
        let issued_at = WallTime(BASE - member.age);
        let fingerprint = |secret: &Secret| rules.fingerprinter.of(secret);
        let state = GrantState {
            generation: 1,
            issued_at,
            expires_at: WallTime(issued_at.0 + host.life),
            roll: hash(&[self.script.seed, u64::from(grant), 1]),
            presents: tokens.refresh_token.as_ref().map(fingerprint),
            access: Some(fingerprint(&tokens.access_token)),
            configured: true,
            asks_anew: anew,
            ..GrantState::default()
        };
        let grant = Grant {
            id: GrantId(grant.to_string()),
            name: format!("g{grant}"),
            client: format!("c{}", member.route.client),
            vars: BTreeMap::new(),
            redirect_uri: None,
            revision: 1,
            state,
        };
        (grant, tokens)
    }

    fn wall(&self) -> WallTime {
        let mut clock = self.clock.clone();
        clock.observe(reading(self.now, self.ahead)).wall
    }

    fn after(&mut self, wait: i64, event: Event) {
        self.count += 1;
        self.events
            .push(Reverse((self.now + wait.max(0), self.count, event)));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.tells {
            let line = format!("{:>10.3} {}", self.now as f64 / 1000.0, text());
            self.course.history.push(line);
        }
    }

    /// Lives to the horizon.
    pub(crate) fn run(mut self) -> Course {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.script.horizon {
                break;
            }
            self.now = at;
            self.clock.observe(reading(self.now, self.ahead));
            let inside = !matches!(event, Event::Reaches(_) | Event::Turn(_));
            if inside && at < self.asleep_until {
                let wait = self.asleep_until - at;
                self.after(wait, event);
                continue;
            }
            self.happen(event);
        }
        self.now = self.script.horizon;
        for grant in 0..self.published.len() {
            self.count_dead(grant);
        }
        self.course
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake => self.poll(),
            Event::Reaches(number) => self.reaches(number),
            Event::Ends(number) => self.ends(number),
            Event::Overdue(number) => self.overdue(number),
            Event::Publish(grant, ends) => {
                self.count_dead(grant as usize);
                let published = &mut self.published[grant as usize];
                *published = ends;
            }
            Event::Turn(index) => self.turn(index),
            Event::Starts => self.start(),
        }
    }

    /// Adds up the time since the published access token really ended.
    fn count_dead(&mut self, grant: usize) {
        let dead = (self.now - self.published[grant].max(0)).max(0);
        self.course.dead[grant] += dead;
        if dead > 0 {
            self.course.lacks[grant].push(Lack {
                from: self.published[grant],
                to: self.now,
                told: self.told[grant].take(),
            });
        }
        self.published[grant] = self.published[grant].max(self.now);
    }

    fn turn(&mut self, index: usize) {
        let (_, turn) = self.script.turns[index];
        self.note(|| format!("{turn:?}"));
        match turn {
            Turn::Restart(down) => {
                if let Some(scheduler) = &mut self.scheduler {
                    scheduler.drain();
                }
                self.after(DRAIN + down, Event::Starts);
            }
            Turn::Reload => {
                let now = self.wall();
                let Some(mut scheduler) = self.scheduler.take() else {
                    return;
                };
                scheduler.secrets_changed(|_| true, now);
                for index in scheduler.indices() {
                    if scheduler.may_align(index) {
                        let seat = Some(self.seat(self.number(index)));
                        let _effects = scheduler.seat(index, seat, now);
                        scheduler.schedule(index, now);
                    }
                }
                self.scheduler = Some(scheduler);
                self.poll();
            }
            Turn::Step(by) => {
                self.ahead += by;
                self.poll();
            }
            Turn::Suspend(length) => self.asleep_until = self.asleep_until.max(self.now + length),
        }
    }

    /// The number of a grant in the script.
    fn number(&self, index: u32) -> u32 {
        self.only.unwrap_or(index)
    }

    fn seat(&self, grant: u32) -> Seat {
        let route = self.script.members[grant as usize].route;
        // The simulated shell: hosts of a template are told apart.
        let together = route.template.is_some() && mutation::is(Mutation::UnitIsTemplate);
        Seat {
            policy: Rc::clone(&self.policies[route.host as usize]),
            route: Route {
                host: if together { 0 } else { route.host },
                ..route
            },
        }
    }

    /// A process begins: what is under way is in doubt.
    fn start(&mut self) {
        let numbers: Vec<u64> = self.exchanges.keys().copied().collect();
        for number in numbers {
            let Some(exchange) = self.exchanges.remove(&number) else {
                continue;
            };
            if !exchange.overdue {
                let text = "refreshd stopped".to_owned();
                self.settle(exchange.grant, &exchange.intent, Ending::Lost { text });
            }
        }
        self.evidence = Evidence::new(self.scheduler.is_some());
        let caps = Caps::new(self.script.flights, self.script.flights * 4);
        let mut scheduler = Scheduler::new(caps);
        let now = self.wall();
        let all = 0..u32::try_from(self.grants.len()).expect("few");
        for grant in all.filter(|grant| self.only.is_none_or(|only| only == *grant)) {
            let index = scheduler.add(self.grants[grant as usize].0.clone());
            let _effects = scheduler.seat(index, Some(self.seat(grant)), now);
            scheduler.schedule(index, now);
        }
        self.scheduler = Some(scheduler);
        self.wakes_at = i64::MAX;
        self.poll();
    }

    fn poll(&mut self) {
        if self.now < self.asleep_until {
            return;
        }
        let now = self.wall();
        if self.now >= self.wakes_at {
            self.wakes_at = i64::MAX;
        }
        loop {
            let Some(scheduler) = &mut self.scheduler else {
                return;
            };
            match scheduler.poll(now, |_| false) {
                Next::TakeOff(flight) => self.send(flight),
                Next::Stay { index, .. } => self.look(self.number(index)),
                Next::GiveUp { flight, .. } => self.give_up(flight),
                Next::Wait(None) => return,
                Next::Wait(Some(due)) => {
                    let wait = (due.0 - now.0).max(1);
                    if self.now + wait < self.wakes_at {
                        self.wakes_at = self.now + wait;
                        self.after(wait, Event::Wake);
                    }
                    return;
                }
            }
        }
    }

    /// The shell looks at a grant: whoever is to be told that it has no living token is.
    fn look(&mut self, grant: u32) {
        let host = self.script.members[grant as usize].route.host;
        let state = &self.grants[grant as usize].0.state;
        let kinds = Kinds::of_grant(state, &self.policies[host as usize], self.wall());
        // What holds it otherwise is another incident, which is told besides.
        let lacks = kinds.contains(Kind::Expired) || kinds.contains(Kind::Refused);
        if lacks {
            self.told[grant as usize].get_or_insert(self.now);
        }
    }

    /// How many exchanges at a host are under way and not in doubt, and whether it leaves one
    /// without an answer and has answered none since.
    fn at_host(&self, host: u32) -> (u32, bool) {
        let life = self.script.hosts[host as usize].life;
        let patience = 5_000.min(life / 4);
        let answered = self.answered[host as usize];
        let (mut count, mut hangs) = (0, false);
        for (number, exchange) in &self.exchanges {
            if self.script.members[exchange.grant as usize].route.host != host {
                continue;
            }
            count += u32::from(!exchange.overdue);
            hangs |= self.now > exchange.began + patience && *number > answered;
        }
        (count, hangs)
    }

    fn roll(&self, grant: u32, intent: (u64, u32), purpose: u64) -> u64 {
        let (generation, attempt) = intent;
        hash(&[
            self.script.seed,
            u64::from(grant),
            generation,
            u64::from(attempt),
            purpose,
        ])
    }

    fn travel(&self, grant: u32, at: (u64, u32), purpose: u64, most: u64) -> i64 {
        (20 + self.roll(grant, at, purpose) % most).cast_signed()
    }

    fn send(&mut self, taking_off: TakeOff) {
        let grant = self.number(taking_off.index);
        let (found, _) = &self.grants[grant as usize];
        let (state, route) = (&found.state, self.script.members[grant as usize].route);
        let rules = &self.rules[route.host as usize];
        let now = self.wall();
        let Some(presents) = presentation::next(state, &rules.policy, now) else {
            let scheduler = self.scheduler.as_mut().expect("it lives");
            let _landed =
                scheduler.landed(taking_off.index, taking_off.flight, Landing::Grounded, now);
            return;
        };
        let at = (state.generation, state.failures);
        let stamp = Stamp {
            wall: now,
            boot: BootTime(self.now),
            boot_id: "boot".to_owned(),
        };
        self.count += 1;
        let number = self.count;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let roll = self.roll(grant, at, 1);
        let intent = Intent::new(
            ExchangeId(id),
            found,
            presents,
            stamp,
            DescriptionHash(String::new()),
            roll,
        );
        let brake = self.brake_of(route);
        let (at_host, host_hangs) = self.at_host(route.host);
        let read_on = self.exchanges.values().filter(|e| !e.given_up).count();
        let read_on = u32::try_from(read_on).expect("few");
        let (ends_at, issued_at) = (state.expires_at, state.issued_at);
        self.course.sends.push(Send {
            at: self.now,
            grant,
            generation: state.generation,
            tries: state.failures,
            taken: taking_off.taken,
            brake,
            succeeded: false,
            wrong: None,
            done: None,
            spent: false,
            told: None,
            refused: false,
            probe: taking_off.wished.is_some_and(|wished| wished.probe),
            // By the truth as the daemon's clock has it.
            ends_at: ends_at.0 - now.0 + self.now,
            life: ends_at.0 - issued_at.0,
            at_host: at_host + 1,
            read_on,
            host_hangs,
        });
        self.note(|| {
            format!(
                "g{grant} generation {} try {} is sent (taken: {}, brake {brake:?})",
                at.0, at.1, taking_off.taken
            )
        });
        let (there, back) = (
            self.travel(grant, at, 2, 400),
            self.travel(grant, at, 3, 600),
        );
        self.exchanges.insert(
            number,
            Exchange {
                grant,
                send: self.course.sends.len() - 1,
                began: self.now,
                flight: taking_off.flight,
                intent,
                met: None,
                wrong: None,
                back,
                overdue: false,
                given_up: false,
            },
        );
        self.after(there, Event::Reaches(number));
    }

    fn brake_of(&self, route: Route) -> Option<(Trouble, bool)> {
        let limits = self.scheduler.as_ref()?.limits();
        let (client, host) = (route.client, route.host);
        let scopes = [
            Scope::Host(host),
            Scope::ClientAt { client, host },
            Scope::Client(client),
        ];
        let found = scopes.into_iter().filter_map(|scope| limits.brake(scope));
        found
            .map(|(trouble, proven, _)| (trouble, proven))
            .max_by_key(|(_, proven)| *proven)
    }

    /// What is wrong with a grant's exchanges now.
    fn wrong(&self, grant: u32) -> Option<Wrong> {
        let route = self.script.members[grant as usize].route;
        let faults = self.script.faults.iter();
        let mut now = faults.filter(|fault| fault.from <= self.now && self.now < fault.until);
        now.find(|fault| fault.is_about(grant, route))
            .map(|fault| fault.kind)
    }

    fn reaches(&mut self, number: u64) {
        let Some(grant) = self.exchanges.get(&number).map(|exchange| exchange.grant) else {
            return;
        };
        let wrong = self.wrong(grant);
        let host = self.script.hosts[self.script.members[grant as usize].route.host as usize];
        let presented = self.presented(number);
        let account = &mut self.accounts[grant as usize];
        let before = account.spent;
        let met = account.meet(
            &host,
            presented,
            wrong,
            &grant.to_string(),
            WallTime(BASE + self.now),
        );
        let spent = account.spent > before;
        self.note(|| format!("g{grant} meets {wrong:?}"));
        let exchange = self.exchanges.get_mut(&number).expect("it is under way");
        let send = &mut self.course.sends[exchange.send];
        send.spent = spent;
        send.wrong = wrong;
        send.told = match wrong {
            Some(Wrong::TooMany(told)) => told,
            _ => None,
        };
        send.succeeded = matches!(met, Met::Answer(200, ..));
        send.refused = matches!(&met, Met::Answer(400, body, ..) if body.contains("invalid_grant"));
        exchange.wrong = wrong;
        let back = match &met {
            Met::Silence => READ_LIMIT,
            _ => exchange.back,
        };
        exchange.met = Some(met);
        self.after(back, Event::Ends(number));
        if back > OVERDUE {
            self.after(OVERDUE, Event::Overdue(number));
        }
    }

    /// The number of the refresh token that an exchange presents.
    fn presented(&self, number: u64) -> u64 {
        let exchange = &self.exchanges[&number];
        let tokens = &self.grants[exchange.grant as usize].1;
        let text = tokens
            .refresh_token
            .as_ref()
            .map(|token| token.expose().to_owned());
        let number = text.and_then(|text| text.rsplit('-').next()?.parse().ok());
        number.unwrap_or(0)
    }

    /// Commits what an exchange came to; what it came to, and the grant after it.
    fn settle(&mut self, grant: u32, intent: &Intent, ending: Ending) -> (OutcomeKind, Grant) {
        let host = self.script.members[grant as usize].route.host;
        let now = self.wall();
        let (found, tokens) = &mut self.grants[grant as usize];
        let settled = settle(
            &self.rules[host as usize],
            &found.state,
            tokens,
            intent,
            ending,
            now,
        );
        found.state = settled.settlement.state;
        found.revision += 1;
        if let Some(new) = settled.settlement.tokens {
            *tokens = new;
        }
        *self.course.counts.entry(settled.kind.word()).or_default() += 1;
        (settled.kind, found.clone())
    }

    fn overdue(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.get_mut(&number) else {
            return;
        };
        exchange.overdue = true;
        self.course.sends[exchange.send].done = Some(self.now);
        let (grant, flight, intent) = (exchange.grant, exchange.flight, exchange.intent.clone());
        let route = self.script.members[grant as usize].route;
        self.evidence.fails(number, grant, route, Wrong::Hang);
        let text = "no answer in time".to_owned();
        let (_, settled) = self.settle(grant, &intent, Ending::Lost { text });
        let now = self.wall();
        let index = if self.only.is_some() { 0 } else { grant };
        let scheduler = self.scheduler.as_mut().expect("it lives");
        let landed = scheduler.overdue(index, flight, settled, now);
        self.tell(landed.effects);
        self.look(grant);
        self.poll();
    }

    fn ends(&mut self, number: u64) {
        let Some(exchange) = self.exchanges.remove(&number) else {
            return;
        };
        let Exchange {
            grant,
            flight,
            intent,
            met,
            overdue,
            wrong,
            send,
            ..
        } = exchange;
        self.course.sends[send].done.get_or_insert(self.now);
        let met = met.expect("it has met something");
        let route = self.script.members[grant as usize].route;
        match (&met, wrong) {
            (Met::Answer(200, ..), _) => self.evidence.succeeds(number, grant, route),
            (_, Some(wrong)) if !overdue => self.evidence.fails(number, grant, route, wrong),
            _ => {}
        }
        if matches!(met, Met::Answer(..)) {
            let answered = &mut self.answered[route.host as usize];
            *answered = number.max(*answered);
        }
        let now = self.wall();
        let text = String::new();
        let (ending, real_end) = match met {
            Met::NotSent => (Ending::NotSent { text }, None),
            Met::Silence | Met::Cut => (Ending::Lost { text }, None),
            Met::Answer(status, body, headers, ends) => {
                (Ending::Answered(answer(status, &body, &headers, now)), ends)
            }
        };
        let index = if self.only.is_some() { 0 } else { grant };
        let stale = self.grants[grant as usize].0.state.generation != intent.generation;
        let landing = if overdue && (stale || matches!(ending, Ending::Lost { .. })) {
            Landing::Settled {
                kind: Some(OutcomeKind::InDoubt),
                grant: Box::new(self.grants[grant as usize].0.clone()),
            }
        } else {
            let (kind, settled) = self.settle(grant, &intent, ending);
            self.note(|| format!("g{grant}: {}", kind.word()));
            if let Some(end) = real_end {
                self.after(10, Event::Publish(grant, end.0 - BASE));
            }
            Landing::Settled {
                kind: Some(kind),
                grant: Box::new(settled),
            }
        };
        if let Some(scheduler) = &mut self.scheduler {
            let landed = scheduler.landed(index, flight, landing, now);
            self.tell(landed.effects);
            self.look(grant);
        }
        self.poll();
    }

    /// An exchange is read on no longer.
    fn give_up(&mut self, flight: u64) {
        let mut all = self.exchanges.iter_mut();
        let given_up = all.find(|(_, exchange)| exchange.flight == flight && exchange.overdue);
        let (number, exchange) = given_up.expect("it is read on");
        (exchange.met, exchange.given_up) = (Some(Met::Silence), true);
        let number = *number;
        self.after(0, Event::Ends(number));
    }

    fn tell(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let word = match effect {
                Effect::Braked { proven: true, .. } => "brake proven",
                Effect::Braked { .. } => "brake began",
                Effect::Freed { .. } => "brake over",
                Effect::ManyRefused { .. } => "many refused",
                Effect::FewRefused { .. } => "few refused",
            };
            *self.course.counts.entry(word).or_default() += 1;
            if let Effect::Freed {
                scope: Scope::Host(host),
            } = effect
            {
                self.course.freed.push((self.now, host));
            }
            let members = |client, host| {
                let all = self.script.members.iter().map(|member| member.route);
                all.filter(|route| route.client == client && route.host == host)
                    .count()
            };
            let lacks = self.evidence.lacks(&effect, members);
            // One that is alone has no company to fail alike with.
            let lacks = lacks.filter(|_| self.only.is_none());
            self.course.unfounded.extend(lacks);
            self.note(|| format!("{effect:?}"));
        }
    }
}

/// What the system's clocks show.
fn reading(now: i64, ahead: i64) -> Now {
    Now {
        wall: WallTime(BASE + now + ahead),
        boot: BootTime(now),
    }
}

/// The least time between two sends of a grant.
pub(crate) fn gap(life: i64) -> i64 {
    let life = Duration::from_millis(life.unsigned_abs());
    let gap = refreshd_core::grant::schedule::gap(life);
    i64::try_from(gap.as_millis()).expect("short")
}
