//! What may start now: [places](places::Places) for exchanges, and
//! [brakes](brake::Brake) where many fail alike. An exchange asks
//! [`Limits::may_start`], then reports [`Limits::started`] and [`Limits::ended`];
//! what else must happen comes back as [`Effect`]s. Who may not go waits here, and
//! [`Limits::take`] says whose turn it is.
//!
//! A brake must never cost more than the storm that it prevents. So a grant whose
//! access token lives is asked when it is due and once more at its last moment,
//! whatever became of others; only where many have shown that asking cannot help, or
//! does harm, is its first attempt held.

mod asking;
mod brake;
mod effect;
mod places;
mod refused;
mod suspicion;
mod trouble;

use crate::mutation::{self, Mutation};
use crate::time::WallTime;
use brake::{ALIKE, Brake, Failure, Pass, Quorum, Turn};
use places::{Asker, Places};
use refused::{ManyRefused, Refused};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::time::Duration;
use suspicion::Suspicions;

pub use asking::Asking;
pub use brake::{FRESH, STEP_BASE, STEP_CAP};
pub use effect::{Blocked, Effect, Scope};
pub use places::{Caps, Full};
pub use refused::{ALONE_AFTER, MANY};
pub use suspicion::EARLY_EVERY;
pub use trouble::{Sign, Trouble};

/// So many of a line are looked at for one whose host has a place.
const LOOKED_AT: usize = 16;

/// The numbers up to this are those of exchanges before the process began, by their times:
/// milliseconds of the wall clock.
pub const RECALLED: u64 = 1 << 48;

fn recalled(at: WallTime) -> u64 {
    u64::try_from(at.0).unwrap_or(0).min(RECALLED)
}

/// The grants of a client at a host.
#[derive(Clone, Copy, Debug, Default)]
struct Members {
    count: usize,
    /// The exchange that began last of those that brought a token set before the process began.
    issued: u64,
    /// The grant that succeeded last.
    worked: Option<u32>,
}

/// Where a grant is asked, and as whose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Route {
    /// Host and port as asked, with the proxy.
    pub host: u32,
    /// The client.
    pub client: u32,
    /// The URL's template; `None`: it has no variables.
    pub template: Option<u32>,
}

impl Route {
    /// Whose brakes the grant is under, the widest first.
    fn scopes(self) -> impl Iterator<Item = Scope> {
        let template = self.template.map(Scope::Template);
        let (client, host) = (self.client, self.host);
        template.into_iter().chain([
            Scope::Host(host),
            Scope::Client(client),
            Scope::ClientAt { client, host },
        ])
    }
}

/// An exchange under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    grant: u32,
    route: Route,
    fresh: bool,
    life: Duration,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A grant that waited under this brake; freed: its own back-off counts no longer.
    Waited {
        /// The grant.
        grant: u32,
        /// The brake.
        by: Scope,
        /// The brake is over.
        freed: bool,
    },
    /// A grant whose refusal may not have been meant is presented once more.
    Refused(u32),
    /// A grant that works may be asked early, to find out whether its client is still accepted,
    /// if it loses nothing by it.
    Early(u32),
}

/// All limits of one daemon.
#[derive(Debug)]
pub struct Limits {
    places: Places,
    brakes: HashMap<Scope, Brake>,
    /// When something is to be taken, by whom.
    timers: BTreeSet<(WallTime, Scope)>,
    timed: HashMap<Scope, WallTime>,
    refused: HashMap<(u32, u32), Refused>,
    /// When a refused grant of a client at a host is to be taken.
    refused_timers: BTreeSet<(WallTime, (u32, u32))>,
    refused_timed: HashMap<(u32, u32), WallTime>,
    flights: HashMap<u64, Flight>,
    /// The exchange that began last.
    latest: u64,
    /// Under which brake a grant waits.
    waits: HashMap<u32, Scope>,
    /// Of each host, the grants of each client.
    members: HashMap<u32, BTreeMap<u32, Members>>,
    /// Grants that have cast suspicion on their client, until they work again.
    accusers: HashSet<u32>,
    /// Clients that may not be accepted any more, until one of their grants is.
    suspicions: Suspicions,
    /// Of each client, the grants for which it was not accepted when they were last asked.
    rejected: BTreeMap<u32, BTreeSet<u32>>,
    /// Of each client, the grants that are refused, since when, and whether that was told.
    many_refused: HashMap<u32, ManyRefused>,
    /// Hosts at which a client is proven not to be accepted, and not accepted anywhere since.
    rejected_at: HashMap<u32, BTreeSet<u32>>,
}

impl Limits {
    /// Nothing is under way and nothing is known.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Limits {
            places: Places::new(caps),
            brakes: HashMap::new(),
            timers: BTreeSet::new(),
            timed: HashMap::new(),
            refused: HashMap::new(),
            refused_timers: BTreeSet::new(),
            refused_timed: HashMap::new(),
            flights: HashMap::new(),
            latest: RECALLED,
            waits: HashMap::new(),
            members: HashMap::new(),
            accusers: HashSet::new(),
            suspicions: Suspicions::default(),
            rejected: BTreeMap::new(),
            many_refused: HashMap::new(),
            rejected_at: HashMap::new(),
        }
    }

    /// Changes the caps; what is under way above them ends by itself.
    pub fn set_caps(&mut self, caps: Caps) {
        self.places.set_caps(caps);
    }

    /// A grant takes this route.
    pub fn enter(&mut self, route: Route) {
        let of_host = self.members.entry(route.host).or_default();
        of_host.entry(route.client).or_default().count += 1;
    }

    /// It leaves it.
    #[must_use]
    pub fn leave(&mut self, route: Route, grant: u32) -> Vec<Effect> {
        let key = (route.client, route.host);
        let of_host = self.members.entry(route.host).or_default();
        let left = of_host.get_mut(&route.client).map(|members| {
            members.count -= 1;
            members.worked = members.worked.filter(|worked| *worked != grant);
            members.count
        });
        if left == Some(0) {
            self.suspicions.end(key);
        }
        of_host.retain(|_, members| members.count > 0);
        if of_host.is_empty() {
            self.members.remove(&route.host);
        }
        self.places.leave(route.host, grant);
        self.accusers.remove(&grant);
        self.waits.remove(&grant);
        self.accepted(route.client, grant);
        if let Some(refused) = self.refused.get_mut(&key) {
            refused.leave(grant);
        }
        let mut effects: Vec<Effect> = self.works(route.client, grant).into_iter().collect();
        for scope in route.scopes() {
            let Some(brake) = self.brakes.get_mut(&scope) else {
                continue;
            };
            let before = brake.trouble();
            brake.depart(grant);
            let is_empty = match scope {
                Scope::ClientAt { .. } => left == Some(0),
                Scope::Host(host) => !self.members.contains_key(&host),
                Scope::Client(_) | Scope::Template(_) => false,
            };
            if is_empty && before.is_some() {
                brake.end();
                effects.push(Effect::Freed { scope });
            }
            self.retime(scope);
        }
        self.retime_refused(key);
        effects
    }

    /// How many grants the client has at the host.
    fn members(&self, client: u32, host: u32) -> usize {
        let of_host = self.members.get(&host);
        let members = of_host.and_then(|of_host| of_host.get(&client));
        members.map_or(0, |members| members.count)
    }

    /// How many must fail alike. Of a client that is not accepted for its one or two grants
    /// somebody is to be told.
    fn threshold(&self, scope: Scope, trouble: Trouble) -> usize {
        match (scope, trouble) {
            (_, Trouble::Client) if mutation::is(Mutation::OneRejectionPausesClient) => 1,
            (Scope::ClientAt { client, host }, Trouble::Client) => {
                ALIKE.min(self.members(client, host)).max(1)
            }
            _ => ALIKE,
        }
    }

    /// Whether anything may start at the host: the filter for
    /// [`Queue::pop`](crate::queue::Queue::pop). `others`: grants of other hosts wait.
    ///
    /// # Errors
    /// What is full.
    pub fn host_may_start(&self, host: u32, others: bool) -> Result<(), Full> {
        self.places.host_has_place(host, others)
    }

    /// Whether all places are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.places.is_full()
    }

    /// Whether the host's last exchange to end, or to become slow, brought no answer in time.
    #[must_use]
    pub fn hangs(&self, host: u32) -> bool {
        self.places.hangs(host)
    }

    /// How many exchanges count towards a host's share.
    #[must_use]
    pub fn load(&self, host: u32) -> u32 {
        self.places.load(host)
    }

    /// Whether this exchange may start. `taken`: it is its turn under a brake.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn may_start(
        &self,
        route: Route,
        grant: u32,
        asking: &Asking,
        taken: bool,
        now: WallTime,
    ) -> Result<(), Blocked> {
        match self.braked(route, asking, taken, now) {
            Some(blocked) => Err(blocked),
            None => self.has_place(route, grant, asking),
        }
    }

    /// Whether there is a place for this exchange, whatever brakes are on.
    ///
    /// # Errors
    /// What is full.
    pub fn has_place(&self, route: Route, grant: u32, asking: &Asking) -> Result<(), Blocked> {
        let place = self.places.host_has_place(route.host, false);
        let asker = self.asker(route, grant, asking);
        let place = place.and_then(|()| self.places.grant_has_place(&asker));
        place.map_err(Blocked::Full)
    }

    /// Which brake holds the grant up, if one does.
    #[must_use]
    pub fn braked(
        &self,
        route: Route,
        asking: &Asking,
        taken: bool,
        now: WallTime,
    ) -> Option<Blocked> {
        for by in route.scopes() {
            let Some(brake) = self.brakes.get(&by).filter(|_| self.has_chain(by)) else {
                continue;
            };
            match brake.pass(asking, now) {
                Pass::Goes => {}
                // Where two brakes are on, it is its turn under both.
                _ if taken && brake.has_turn(now) => {}
                Pass::Held(until) => return Some(Blocked::Held { by, until }),
                Pass::Waits => return Some(Blocked::Waits { by }),
            }
        }
        None
    }

    /// Whether a brake gives turns. A client of one or two grants has their own back-off for a
    /// chain, and one that is accepted nowhere has one for all its hosts.
    fn has_chain(&self, scope: Scope) -> bool {
        let Scope::ClientAt { client, host } = scope else {
            return true;
        };
        let of = |scope| self.brakes.get(&scope)?.trouble();
        let rejected = matches!(of(scope), Some((Trouble::Client, _)));
        let everywhere = rejected && of(Scope::Client(client)).is_some();
        self.members(client, host) >= ALIKE && !everywhere
    }

    /// Whose brake is on, in what trouble, whether it is proven, and when the next one is asked.
    #[must_use]
    pub fn brake(&self, scope: Scope) -> Option<(Trouble, bool, Option<WallTime>)> {
        let brake = self.brakes.get(&scope)?;
        let (trouble, proven) = brake.trouble()?;
        Some((trouble, proven, brake.chain_at()))
    }

    /// The clients that were not accepted for some grant, and not for it since.
    pub fn rejected_clients(&self) -> impl Iterator<Item = u32> {
        self.rejected.keys().copied()
    }

    /// All brakes that are on.
    pub fn brakes(&self) -> impl Iterator<Item = (Scope, Trouble, bool)> {
        let on = |(scope, brake): (&Scope, &Brake)| {
            let (trouble, proven) = brake.trouble()?;
            Some((*scope, trouble, proven))
        };
        self.brakes.iter().filter_map(on)
    }

    /// Takes a grant in that was blocked.
    pub fn wait(
        &mut self,
        route: Route,
        grant: u32,
        blocked: Blocked,
        asking: &Asking,
        now: WallTime,
    ) {
        self.leave_line(grant);
        let (by, pass) = match blocked {
            Blocked::Full(Full::Hung) => return self.places.line_up(route.host, grant),
            Blocked::Full(_) => return,
            Blocked::Held { by, until } => (by, Pass::Held(until)),
            Blocked::Waits { by } => (by, Pass::Waits),
        };
        let (client, host) = (route.client, route.host);
        let own = self.brakes.get(&Scope::ClientAt { client, host });
        let own = own
            .and_then(Brake::since)
            .filter(|_| by == Scope::Host(host));
        if let Some(brake) = self.brakes.get_mut(&by) {
            let is_witness = own.is_none_or(|own| brake.since() < Some(own));
            let asking = Asking {
                is_witness,
                ..*asking
            };
            brake.wait(grant, pass, &asking, now);
            self.waits.insert(grant, by);
            self.retime(by);
        }
    }

    /// A grant waits no longer: it is asked, or has no need to be. The end of the brake
    /// under which it failed still frees it.
    pub fn leave_line(&mut self, grant: u32) {
        if let Some(scope) = self.waits.remove(&grant)
            && let Some(brake) = self.brakes.get_mut(&scope)
        {
            brake.step_back(grant);
            self.retime(scope);
        }
    }

    /// When [`Limits::take`] has somebody, or [`Limits::give_places`] has something to do:
    /// what is so now, but for a want of places, is waited for no longer.
    #[must_use]
    pub fn next_at(&self, now: WallTime) -> Option<WallTime> {
        let last = (now, Scope::Client(u32::MAX));
        let brakes = self.timers.range((Bound::Excluded(last), Bound::Unbounded));
        let brakes = brakes.map(|(at, _)| *at).next();
        let last = (now, (u32::MAX, u32::MAX));
        let refused = (self.refused_timers).range((Bound::Excluded(last), Bound::Unbounded));
        let refused = refused.map(|(at, _)| *at).next();
        let given_up = self.places.next_given_up();
        let given_up = given_up.filter(|at| *at > now);
        let early = self.suspicions.next_at().filter(|at| *at > now);
        [brakes, refused, self.places.next_slow(), given_up, early]
            .into_iter()
            .flatten()
            .min()
    }

    /// Exchanges that have brought no answer for long give their places to other hosts:
    /// these hosts' numbers.
    pub fn give_places(&mut self, now: WallTime) -> Vec<u32> {
        let mut hosts = Vec::new();
        while let Some((flight, host)) = self.places.take_slow(now) {
            hosts.push(host);
            if let Some(route) = self.route_of(flight) {
                self.each_brake(route, |brake| brake.slow(flight, now));
            }
        }
        hosts
    }

    /// Whose turn it is now, where there is a place. Whoever is taken waits no longer:
    /// it is to [start](Limits::started), or to [wait](Limits::wait) again.
    pub fn take(&mut self, now: WallTime, host_of: impl Fn(u32) -> Option<u32>) -> Option<Taken> {
        if self.is_full() {
            return None;
        }
        let due = self.timers.iter().take_while(|(at, _)| *at <= now);
        let has_place = |grant: &u32| {
            let host = host_of(*grant);
            host.is_none_or(|host| self.places.host_has_place(host, false).is_ok())
        };
        let found = due.map(|(_, scope)| *scope).find_map(|scope| {
            // A host of a template that has no place does not hold up the others.
            let mut line = self.brakes.get(&scope)?.line().take(LOOKED_AT);
            Some((scope, line.find(has_place)?))
        });
        if let Some((by, grant)) = found {
            let freed = self.brakes.get(&by);
            let freed = freed.is_some_and(|brake| brake.frees(grant));
            self.leave_line(grant);
            // One that was freed out of its own back-off stands in no line of its own.
            if let Some(brake) = self.brakes.get_mut(&by) {
                brake.step_back(grant);
                self.retime(by);
            }
            return Some(Taken::Waited { grant, by, freed });
        }
        let refused = self.take_refused(now).map(Taken::Refused);
        refused.or_else(|| self.take_early(now).map(Taken::Early))
    }

    /// A grant that works, of a client that one of its grants was told is not accepted.
    fn take_early(&mut self, now: WallTime) -> Option<u32> {
        while let Some((client, host)) = self.suspicions.take(now) {
            let members = self.members.get(&host)?.get(&client);
            if let Some(worked) = members.and_then(|members| members.worked) {
                return Some(worked);
            }
        }
        None
    }

    /// A refused grant that is presented once more.
    fn take_refused(&mut self, now: WallTime) -> Option<u32> {
        while let Some((_, key)) = self.refused_timers.first().filter(|(at, _)| *at <= now) {
            let key @ (client, host) = *key;
            let of = self.members(client, host);
            let refused = self.refused.get_mut(&key)?;
            let taken = refused.take(of, now);
            self.retime_refused(key);
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// An exchange that was let through has started.
    pub fn started(
        &mut self,
        flight: u64,
        route: Route,
        grant: u32,
        asking: &Asking,
        taken: bool,
        now: WallTime,
    ) {
        self.leave_line(grant);
        self.latest = flight.max(self.latest);
        let asker = self.asker(route, grant, asking);
        self.places.started(flight, &asker, now);
        self.each_brake(route, |brake| {
            brake.started(flight, grant, asking, taken, now)
        });
        self.flights.insert(
            flight,
            Flight {
                grant,
                route,
                fresh: asking.fresh && !asking.wished,
                life: asking.life,
            },
        );
    }

    fn asker(&self, route: Route, grant: u32, asking: &Asking) -> Asker {
        Asker {
            host: route.host,
            client: route.client,
            grant,
            has_company: self.serves_several(route.host),
            outlasts_loss: asking.outlasts_loss,
            life: asking.life,
        }
    }

    /// Whether several clients are asked at a host.
    fn serves_several(&self, host: u32) -> bool {
        let of_host = self.members.get(&host);
        of_host.is_some_and(|of_host| of_host.len() > 1)
    }

    /// An exchange that is read on no longer, since so many are, and its grant.
    pub fn give_up(&mut self, now: WallTime) -> Option<(u64, u32)> {
        let flight = self.places.give_up(now)?;
        let grant = self.flights.get(&flight)?.grant;
        Some((flight, grant))
    }

    /// The route that an exchange took.
    #[must_use]
    pub fn route_of(&self, flight: u64) -> Option<Route> {
        self.flights.get(&flight).map(|flight| flight.route)
    }

    /// It is in doubt and goes on being read; `asking`: its grant as it is now.
    #[must_use]
    pub fn overdue(&mut self, flight: u64, asking: &Asking, now: WallTime) -> Vec<Effect> {
        let sign = Sign::Failed {
            trouble: Trouble::Lossy,
            overloaded: false,
            told: None,
        };
        let effects = self.observe(flight, sign, asking, now);
        self.places.overdue(flight);
        effects
    }

    /// It has ended; `sign`: what it said, `None`: nothing that was not known. `again`: not to
    /// be presented again before that, where it was refused and that may not have been meant.
    /// Besides the effects: a grant for which there is a place now.
    #[must_use]
    pub fn ended(
        &mut self,
        flight: u64,
        sign: Option<Sign>,
        asking: &Asking,
        now: WallTime,
    ) -> (Vec<Effect>, Option<u32>) {
        let answered = match sign {
            Some(Sign::Failed { trouble, .. }) => {
                matches!(trouble, Trouble::Wait | Trouble::Sick | Trouble::Client)
            }
            Some(_) => true,
            None => false,
        };
        let freed = self.places.ended(flight, answered);
        let effects = match sign {
            Some(sign) => self.observe(flight, sign, asking, now),
            // Nothing was learned from it.
            None => {
                if let Some(route) = self.route_of(flight) {
                    self.each_brake(route, |brake| brake.forget(flight));
                }
                Vec::new()
            }
        };
        self.flights.remove(&flight);
        (effects, freed)
    }

    /// A token set had been issued before this process began.
    #[must_use]
    pub fn recall_success(&mut self, route: Route, grant: u32, at: WallTime) -> Vec<Effect> {
        let (number, client) = (recalled(at), route.client);
        let of_host = self.members.entry(route.host).or_default();
        let members = of_host.entry(client).or_default();
        if number >= members.issued {
            (members.issued, members.worked) = (number, Some(grant));
        }
        let braked = route
            .scopes()
            .filter(|scope| self.brakes.contains_key(scope));
        let braked: Vec<Scope> = braked.collect();
        let ends = |scope| self.refute(scope, number, |_| true, true);
        braked.into_iter().filter_map(ends).collect()
    }

    /// Whether one at that brake's had succeeded later, before this process began.
    fn worked_since(&self, scope: Scope, number: u64) -> bool {
        let issued = |host: u32, client: Option<u32>| {
            let of_host = self.members.get(&host).into_iter().flatten();
            let of = of_host.filter(|(of, _)| client.is_none_or(|client| client == **of));
            of.map(|(_, members)| members.issued).max()
        };
        let issued = match scope {
            Scope::Host(host) => issued(host, None),
            Scope::ClientAt { client, host } => issued(host, Some(client)),
            Scope::Client(_) | Scope::Template(_) => None,
        };
        issued > Some(number)
    }

    /// A grant had failed before this process began, when it was asked then.
    #[must_use]
    pub fn recall(
        &mut self,
        route: Route,
        grant: u32,
        sign: Sign,
        asking: &Asking,
        at: WallTime,
        now: WallTime,
    ) -> Vec<Effect> {
        let flight = Flight {
            grant,
            route,
            // It was, when it failed first: a restart is no reason to spend five more.
            fresh: !asking.life.is_zero()
                && matches!(
                    sign,
                    Sign::Failed {
                        trouble: Trouble::Lossy,
                        ..
                    }
                ),
            life: asking.life,
        };
        self.note_acceptance(flight, sign);
        let number = recalled(at);
        let scopes = route.scopes();
        let scopes = scopes.filter(|scope| !self.worked_since(*scope, number));
        let scopes: Vec<Scope> = scopes.collect();
        let tell = |scope| self.tell(scope, number, flight, sign, asking, now);
        scopes.into_iter().flat_map(tell).collect()
    }

    /// What is refused tells of its host, and stands in no line.
    pub fn leave_brakes(&mut self, route: Route, grant: u32) {
        self.each_brake(route, |brake| brake.leave(grant));
    }

    fn observe(&mut self, number: u64, sign: Sign, asking: &Asking, now: WallTime) -> Vec<Effect> {
        let Some(flight) = self.flights.get(&number).copied() else {
            return Vec::new();
        };
        match sign {
            Sign::Success => self.places.add_one(flight.route.host),
            Sign::Failed {
                overloaded: true, ..
            } => self.places.halve(flight.route.host),
            _ => {}
        }
        self.note_acceptance(flight, sign);
        let mut effects = Vec::new();
        if sign == Sign::Success {
            self.accusers.remove(&flight.grant);
            effects.extend(self.works(flight.route.client, flight.grant));
            let key = (flight.route.client, flight.route.host);
            if let Some(refused) = self.refused.get_mut(&key) {
                refused.succeeded(flight.grant, number);
            }
            self.suspicions.refute(key, number);
            let of_host = self.members.get_mut(&flight.route.host);
            if let Some(members) = of_host.and_then(|of_host| of_host.get_mut(&key.0)) {
                members.worked = Some(flight.grant);
            }
            self.retime_refused(key);
        }
        let met = sign.trouble();
        if met.is_some()
            && let Some(refused) = self
                .refused
                .get_mut(&(flight.route.client, flight.route.host))
        {
            refused.failed(flight.grant);
        }
        for scope in flight.route.scopes() {
            effects.extend(self.tell(scope, number, flight, sign, asking, now));
        }
        self.each_brake(flight.route, |brake| {
            // Its turn brought no success: the next one comes later.
            brake.in_vain(number, met, now);
            // One that was answered waits for no end of a brake.
            if met.is_none() {
                brake.leave(flight.grant);
            }
        });
        self.widen(flight.route, &mut effects, flight.life, now);
        effects
    }

    /// Keeps count of the grants for which their client is not accepted.
    fn note_acceptance(&mut self, flight: Flight, sign: Sign) {
        let (client, grant) = (flight.route.client, flight.grant);
        match sign {
            Sign::Failed {
                trouble: Trouble::Client,
                ..
            } => {
                self.rejected.entry(client).or_default().insert(grant);
            }
            Sign::Success | Sign::Answered { accepted: true } => self.accepted(client, grant),
            _ => {}
        }
    }

    fn accepted(&mut self, client: u32, grant: u32) {
        if let Some(rejected) = self.rejected.get_mut(&client) {
            rejected.remove(&grant);
            if rejected.is_empty() {
                self.rejected.remove(&client);
            }
        }
    }

    /// Tells one brake.
    fn tell(
        &mut self,
        scope: Scope,
        number: u64,
        flight: Flight,
        sign: Sign,
        asking: &Asking,
        now: WallTime,
    ) -> Vec<Effect> {
        let met = sign
            .trouble()
            .filter(|trouble| self.counts(scope, *trouble));
        // An `invalid_client` casts suspicion once.
        let met =
            met.filter(|trouble| *trouble != Trouble::Client || self.accuse(flight.grant, asking));
        let mut effects = Vec::new();
        if met == Some(Trouble::Client) {
            let key = (flight.route.client, flight.route.host);
            self.suspicions.begin(key, number, now);
        }
        if let Some(trouble) = met {
            let failed = (trouble, sign.told());
            effects.extend(self.fail(scope, number, flight, failed, asking, now));
        }
        if sign.is_answer() {
            let refuted = |trouble| scope.is_refuted(trouble, sign);
            effects.extend(self.refute(scope, number, refuted, met.is_none()));
        }
        effects
    }

    fn fail(
        &mut self,
        scope: Scope,
        number: u64,
        flight: Flight,
        (trouble, told): (Trouble, Option<WallTime>),
        asking: &Asking,
        now: WallTime,
    ) -> Option<Effect> {
        let of_template = matches!(scope, Scope::Template(_));
        let failure = Failure {
            who: match of_template {
                true => flight.route.host,
                false => flight.grant,
            },
            client: flight.route.client,
            flight: number,
            trouble,
            fresh: flight.fresh,
            life: flight.life,
            told,
        };
        let of_host = self.members.get(&flight.route.host);
        let others = |client: u32| {
            let other = |(of, _): &(&u32, &Members)| **of != client;
            let all = of_host.into_iter().flatten().filter(other);
            all.map(|(_, members)| members.count).sum()
        };
        let quorum = Quorum {
            alike: self.threshold(scope, trouble),
            others: match scope {
                Scope::Host(_) => &others,
                _ => &|_| 0,
            },
            latest: self.latest,
        };
        let brake = self.brakes.entry(scope).or_default();
        brake.never_proven = of_template;
        let turn = brake.fail(failure, flight.grant, asking, &quorum, now);
        self.retime(scope);
        turn.map(|turn| effect(scope, turn))
    }

    /// Whether that trouble is evidence for that brake. What is not about the client itself
    /// may still be a client's alone, where a host serves several.
    fn counts(&self, scope: Scope, trouble: Trouble) -> bool {
        match scope {
            // It rests on those at two hosts.
            Scope::Client(_) => false,
            Scope::ClientAt { host, .. } => trouble == Trouble::Client || self.serves_several(host),
            Scope::Host(_) => trouble != Trouble::Client,
            // A host that asks to wait answers, and says for itself until when.
            Scope::Template(_) => !matches!(trouble, Trouble::Client | Trouble::Wait),
        }
    }

    /// An answer refutes these troubles. `passed`: it is no failure of the brake's.
    fn refute(
        &mut self,
        scope: Scope,
        number: u64,
        refuted: impl Fn(Trouble) -> bool,
        passed: bool,
    ) -> Option<Effect> {
        let threshold = self.threshold(scope, Trouble::Client);
        // What is under way may fail after it, and began before: that is no news then.
        if !matches!(scope, Scope::Client(_)) && self.is_busy(scope) {
            self.brakes.entry(scope).or_default();
        }
        let brake = self.brakes.get_mut(&scope)?;
        if passed {
            brake.passed(number);
        }
        let turn = brake.refute(number, refuted, threshold);
        self.retime(scope);
        turn.map(|turn| effect(scope, turn))
    }

    /// Whether a grant for which its client was not accepted casts suspicion on it: once,
    /// if it worked before.
    fn accuse(&mut self, grant: u32, asking: &Asking) -> bool {
        let again = mutation::is(Mutation::SuspicionAtEachRetry);
        !asking.life.is_zero() && (self.accusers.insert(grant) || again)
    }

    /// A client that two hosts are proven not to accept is held at all of them.
    fn widen(&mut self, route: Route, effects: &mut Vec<Effect>, life: Duration, now: WallTime) {
        let here = Scope::ClientAt {
            client: route.client,
            host: route.host,
        };
        for effect in effects.clone() {
            match effect {
                // Its chain finds out.
                Effect::Braked {
                    scope: Scope::ClientAt { client, host },
                    trouble: Trouble::Client,
                    proven: false,
                } => self.suspicions.end((client, host)),
                Effect::Braked {
                    scope,
                    proven: true,
                    trouble: Trouble::Client,
                } if scope == here => {
                    self.suspicions.end((route.client, route.host));
                    let hosts = self.rejected_at.entry(route.client).or_default();
                    hosts.insert(route.host);
                    let wide = Scope::Client(route.client);
                    if hosts.len() == 2 && !self.brakes.contains_key(&wide) {
                        let trouble = Trouble::Client;
                        self.brakes.insert(wide, Brake::proven(trouble, life, now));
                        effects.push(Effect::Braked {
                            scope: wide,
                            trouble,
                            proven: true,
                        });
                    }
                }
                Effect::Freed {
                    scope: scope @ (Scope::ClientAt { client, .. } | Scope::Client(client)),
                } => {
                    self.rejected_at.remove(&client);
                    if scope == Scope::Client(client) {
                        self.try_clients(|of| of == client, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// A grant was refused in that exchange. `again`: it may not have been meant, and it is
    /// not presented again before that.
    pub fn refused(
        &mut self,
        route: Route,
        grant: u32,
        flight: u64,
        again: Option<WallTime>,
        at: WallTime,
    ) -> Option<Effect> {
        let key = (route.client, route.host);
        let refused = self.refused.entry(key).or_default();
        refused.refused(grant, flight, again, at);
        self.retime_refused(key);
        let client = route.client;
        let many = self.many_refused.entry(client).or_default();
        let count = many.add(grant, at)?;
        Some(Effect::ManyRefused { client, count })
    }

    /// A grant is refused no longer.
    fn works(&mut self, client: u32, grant: u32) -> Option<Effect> {
        let many = self.many_refused.get_mut(&client)?;
        let told = many.remove(grant);
        if many.grants.is_empty() {
            self.many_refused.remove(&client);
        }
        told.then_some(Effect::FewRefused { client })
    }

    /// A refused grant was to be presented again, and could not be.
    pub fn put_off(&mut self, route: Route, grant: u32, until: WallTime) {
        let key = (route.client, route.host);
        if let Some(refused) = self.refused.get_mut(&key) {
            refused.put_off(grant, until);
            self.retime_refused(key);
        }
    }

    /// A refused grant is not refused any more.
    pub fn unrefused(&mut self, route: Route, grant: u32) -> Option<Effect> {
        let key = (route.client, route.host);
        if let Some(refused) = self.refused.get_mut(&key) {
            refused.leave(grant);
        }
        self.retime_refused(key);
        self.works(route.client, grant)
    }

    /// The secrets of these clients may have been changed: what their brakes hold is tried
    /// at once. The grants for which their client was not accepted when they were last asked.
    #[must_use]
    pub fn secrets_changed(&mut self, of: impl Fn(u32) -> bool, now: WallTime) -> Vec<u32> {
        self.try_clients(&of, now);
        let rejected = self.rejected.iter().filter(|(client, _)| of(**client));
        rejected.flat_map(|(_, grants)| grants).copied().collect()
    }

    /// What the brakes of these clients hold is tried at once.
    fn try_clients(&mut self, of: impl Fn(u32) -> bool, now: WallTime) {
        let of_client = |(scope, brake): (&Scope, &Brake)| {
            let (Scope::ClientAt { client, .. } | Scope::Client(client)) = *scope else {
                return None;
            };
            let rejected = matches!(brake.trouble(), Some((Trouble::Client, _)));
            (of(client) && rejected).then_some(*scope)
        };
        let scopes: Vec<Scope> = self.brakes.iter().filter_map(of_client).collect();
        for scope in scopes {
            if let Some(brake) = self.brakes.get_mut(&scope) {
                brake.try_now(now);
                self.retime(scope);
            }
        }
    }

    /// A clock that was set back by so much has been accepted: nothing waits any
    /// longer for that.
    pub fn bring_back(&mut self, by: Duration) {
        if mutation::is(Mutation::LimitsNotBroughtBack) {
            return;
        }
        self.places.bring_back(by);
        self.suspicions.bring_back(by);
        let keys: Vec<(u32, u32)> = self.refused.keys().copied().collect();
        for key in keys {
            if let Some(refused) = self.refused.get_mut(&key) {
                refused.bring_back(by);
            }
            self.retime_refused(key);
        }
        let scopes: Vec<Scope> = self.brakes.keys().copied().collect();
        for scope in scopes {
            if let Some(brake) = self.brakes.get_mut(&scope) {
                brake.bring_back(by);
            }
            self.retime(scope);
        }
    }

    /// How many places are taken.
    #[must_use]
    pub fn flights(&self) -> u32 {
        self.places.taken()
    }

    /// Brings the timer of a brake up to date, and forgets one that is of no use.
    fn retime(&mut self, scope: Scope) {
        let brake = self.brakes.get(&scope);
        let at = brake.and_then(Brake::next_at);
        let idle = brake.is_some_and(Brake::is_idle) && !self.is_busy(scope);
        if let Some(old) = self.timed.remove(&scope) {
            self.timers.remove(&(old, scope));
        }
        if let Some(at) = at {
            self.timers.insert((at, scope));
            self.timed.insert(scope, at);
        }
        if idle {
            self.brakes.remove(&scope);
        }
    }

    /// Whether exchanges are under way whose failure an earlier success refutes.
    fn is_busy(&self, scope: Scope) -> bool {
        match scope {
            Scope::Host(host) | Scope::ClientAt { host, .. } => self.places.knows(host),
            Scope::Template(_) | Scope::Client(_) => !self.flights.is_empty(),
        }
    }

    /// The same for the refused grants of a client at a host.
    fn retime_refused(&mut self, key: (u32, u32)) {
        let refused = self.refused.get(&key);
        let at = refused.and_then(Refused::next_at);
        let idle = refused.is_some_and(Refused::is_idle);
        if let Some(old) = self.refused_timed.remove(&key) {
            self.refused_timers.remove(&(old, key));
        }
        if let Some(at) = at {
            self.refused_timers.insert((at, key));
            self.refused_timed.insert(key, at);
        }
        if idle {
            self.refused.remove(&key);
        }
    }

    /// Does something with each brake that the grants of a route are under.
    fn each_brake(&mut self, route: Route, mut tell: impl FnMut(&mut Brake)) {
        for scope in route.scopes() {
            if let Some(brake) = self.brakes.get_mut(&scope) {
                tell(brake);
                self.retime(scope);
            }
        }
    }
}

fn effect(scope: Scope, turn: Turn) -> Effect {
    match turn {
        Turn::Began { trouble, proven } => Effect::Braked {
            scope,
            trouble,
            proven,
        },
        Turn::Proven(trouble) => Effect::Braked {
            scope,
            trouble,
            proven: true,
        },
        Turn::Ended => Effect::Freed { scope },
    }
}

#[cfg(test)]
mod tests;
