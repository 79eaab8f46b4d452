//! How many exchanges may be under way, and whose: no host takes the places of the
//! others, and those that hang give theirs back.

use crate::mutation::{self, Mutation};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// After so long without an answer an exchange gives its place to other hosts.
const SLOW_AFTER: Duration = Duration::from_secs(5);

/// So long an answer is waited for at least where it may hold the only good refresh token,
/// however many are.
const READ_AT_LEAST: Duration = Duration::from_secs(150);

/// That so many grants of a client get no answer is not their own affair.
const ALIKE: usize = 3;

/// How many exchanges may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// At a time, but for those that are slow; at least one.
    pub flights: u32,
    /// At a time, with those that are slow or overdue.
    pub read_on: u32,
}

impl Caps {
    /// With so many descriptors that exchanges may use.
    #[must_use]
    pub fn new(flights: u32, descriptors: u32) -> Caps {
        let flights = flights.max(1);
        Caps {
            flights,
            read_on: flights.saturating_mul(4).min(descriptors).max(flights),
        }
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The host has its share.
    Host,
    /// Hosts that hang have their share.
    Hanging,
    /// Grants of the host whose last exchange hung, or whose client's exchanges hang there,
    /// have their share.
    Hung,
}

#[derive(Debug, Default)]
struct Host {
    /// Under way, the slow ones included, but for the overdue.
    flights: u32,
    /// Of these, the slow ones.
    slow: u32,
    /// Of these, those of grants whose last exchange hung.
    hung: u32,
    /// Of these, those of other grants of clients whose exchanges hang there.
    beside: u32,
    /// Read on, though overdue.
    overdue: u32,
    /// The exchange that began last of those that brought no answer in time.
    silent: u64,
    /// The one that began last of those that were answered.
    answered: u64,
    /// How many it bears at a time, as it has shown.
    bears: Option<u32>,
    /// Grants that wait for a place of those whose last exchange hung.
    line: BTreeSet<InLine>,
}

/// Where a grant stands in its host's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InLine {
    /// Those go last whose own exchange hung, and not their client's alone.
    own: bool,
    /// First come, first served.
    came: u64,
    grant: u32,
}

impl Host {
    /// Whether it answers nothing, as far as is known.
    fn hangs(&self) -> bool {
        self.silent > self.answered
    }

    fn is_idle(&self) -> bool {
        self.flights == 0
            && self.overdue == 0
            && !self.hangs()
            && self.bears.is_none()
            && self.line.is_empty()
    }
}

/// The exchanges of a client at a host.
#[derive(Debug, Default)]
struct Served {
    /// Under way or read on without an answer in time, of each grant.
    unanswered: BTreeMap<u32, u32>,
    /// As for a host.
    silent: u64,
    answered: u64,
}

impl Served {
    fn hangs(&self) -> bool {
        self.unanswered.len() >= ALIKE && self.silent > self.answered
    }
}

/// Why an exchange is likely to get no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likely {
    /// Its grant's last one got none.
    Hung,
    /// Those of its client get none, where other clients' do.
    Beside,
}

/// Who begins an exchange, as far as places go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) host: u32,
    pub(super) client: u32,
    pub(super) grant: u32,
    /// Other clients are asked at that host too.
    pub(super) has_company: bool,
    /// No refresh token is lost where its answer is.
    pub(super) outlasts_loss: bool,
    /// How long its access tokens live.
    pub(super) life: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    host: u32,
    client: u32,
    grant: u32,
    began: WallTime,
    slow_at: WallTime,
    slow: bool,
    hung: Option<Likely>,
    overdue: bool,
    outlasts_loss: bool,
    given_up: bool,
}

/// Who is under way.
#[derive(Debug)]
pub(super) struct Places {
    caps: Caps,
    hosts: HashMap<u32, Host>,
    /// By host and client.
    served: HashMap<(u32, u32), Served>,
    flights: HashMap<u64, Flight>,
    /// The overdue ones that may be given up at any time, and the others.
    overdue_spare: BTreeSet<u64>,
    overdue_others: BTreeSet<u64>,
    /// How many were given up and have not ended.
    given_up: usize,
    slow_next: BTreeSet<(WallTime, u64)>,
    /// Places that are taken.
    taken: u32,
    /// Those of hosts that hang.
    by_hanging: u32,
    /// Grants whose last exchange hung.
    hung: HashSet<u32>,
    /// Those who stand in the line of their host, and how many ever did.
    lined: HashMap<u32, InLine>,
    came: u64,
}

impl Places {
    pub(super) fn new(caps: Caps) -> Places {
        Places {
            caps,
            hosts: HashMap::new(),
            served: HashMap::new(),
            flights: HashMap::new(),
            overdue_spare: BTreeSet::new(),
            overdue_others: BTreeSet::new(),
            given_up: 0,
            slow_next: BTreeSet::new(),
            taken: 0,
            by_hanging: 0,
            hung: HashSet::new(),
            lined: HashMap::new(),
            came: 0,
        }
    }

    pub(super) fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken >= self.caps.flights.max(1) && !mutation::is(Mutation::CapIgnored)
    }

    /// How many exchanges count towards a host's share.
    pub(super) fn load(&self, host: u32) -> u32 {
        self.hosts.get(&host).map_or(0, |host| host.flights)
    }

    pub(super) fn hangs(&self, host: u32) -> bool {
        self.hosts.get(&host).is_some_and(Host::hangs)
    }

    pub(super) fn knows(&self, host: u32) -> bool {
        self.hosts.contains_key(&host)
    }

    /// Whether the host has a place; `others`: grants of other hosts wait for one.
    pub(super) fn host_has_place(&self, host: u32, others: bool) -> Result<(), Full> {
        if self.is_full() {
            return Err(Full::All);
        }
        let Some(host) = self.hosts.get(&host) else {
            return Ok(());
        };
        // What hangs has given its place to other hosts already, and is no work of its own
        // host's that others must wait for.
        let at_work = host.flights - host.slow;
        let towards_own = match mutation::is(Mutation::GivingBackFreesOwn) {
            true => at_work,
            false => host.flights,
        };
        let borne = host.bears.is_none_or(|bears| at_work < bears);
        let has_share = towards_own < self.share(false) && at_work < self.share(others);
        let has_place = has_share && borne;
        if !has_place && !mutation::is(Mutation::CapIgnored) {
            return Err(Full::Host);
        }
        let half = (self.caps.flights / 2).max(1);
        if host.hangs() && (self.by_hanging >= half || self.is_crowded()) {
            return Err(Full::Hanging);
        }
        Ok(())
    }

    /// Whether as many exchanges are read on as may be.
    fn is_crowded(&self) -> bool {
        let read_on = u32::try_from(self.flights.len() - self.given_up).unwrap_or(u32::MAX);
        read_on >= self.caps.read_on && !mutation::is(Mutation::ReadOnUncapped)
    }

    /// The exchange that is read on no longer, since so many are: the oldest of those that can
    /// lose nothing by it, else the oldest, if that has been waited for long enough.
    pub(super) fn give_up(&mut self, now: WallTime) -> Option<u64> {
        if !self.is_crowded() {
            return None;
        }
        let given_up = self.overdue_spare.pop_first().or_else(|| {
            self.next_given_up().filter(|at| *at <= now)?;
            self.overdue_others.pop_first()
        })?;
        if let Some(flight) = self.flights.get_mut(&given_up) {
            flight.given_up = true;
            self.given_up += 1;
        }
        Some(given_up)
    }

    /// When the next one may be given up, where there is need for that.
    pub(super) fn next_given_up(&self) -> Option<WallTime> {
        let oldest = self.overdue_others.first().filter(|_| self.is_crowded())?;
        let flight = self.flights.get(oldest)?;
        Some(flight.began + READ_AT_LEAST)
    }

    /// Whether it is likely to get no answer.
    fn likely_hung(&self, asker: &Asker) -> Option<Likely> {
        if self.hung.contains(&asker.grant) {
            return Some(Likely::Hung);
        }
        let served = self.served.get(&(asker.host, asker.client));
        let hangs = asker.has_company && served.is_some_and(Served::hangs);
        hangs.then_some(Likely::Beside)
    }

    /// Whether the grant has a place, where its host has one.
    pub(super) fn grant_has_place(&self, asker: &Asker) -> Result<(), Full> {
        let state = self.hosts.get(&asker.host);
        let Some((state, likely)) = state.zip(self.likely_hung(asker)) else {
            return Ok(());
        };
        // Those that hang for good take none of the places by which their client could show that
        // it is answered.
        let alike = match likely {
            Likely::Hung => state.hung,
            Likely::Beside => state.beside,
        };
        match alike >= (self.share(false) / 4).max(1) {
            true => Err(Full::Hung),
            false => Ok(()),
        }
    }

    /// A grant waits for a place of its host's hanging ones.
    pub(super) fn line_up(&mut self, host: u32, grant: u32) {
        if self.lined.contains_key(&grant) {
            return;
        }
        self.came += 1;
        let in_line = InLine {
            own: self.hung.contains(&grant),
            came: self.came,
            grant,
        };
        self.lined.insert(grant, in_line);
        self.hosts.entry(host).or_default().line.insert(in_line);
    }

    /// All places but an eighth, so that another host finds one; half while others wait.
    fn share(&self, others: bool) -> u32 {
        let all = self.caps.flights.max(1);
        match (all, others) {
            (1, _) => 1,
            (_, true) => all / 2,
            (_, false) => all - (all / 8).max(1),
        }
    }

    /// Changes what is known of a host, and the sums with it.
    fn change(&mut self, number: u32, change: impl FnOnce(&mut Host)) {
        let host = self.hosts.entry(number).or_default();
        let places = |host: &Host| match host.hangs() {
            true => host.flights - host.slow,
            false => 0,
        };
        let before = places(host);
        change(host);
        self.by_hanging = self.by_hanging + places(host) - before;
        if host.is_idle() {
            self.hosts.remove(&number);
        }
    }

    pub(super) fn started(&mut self, flight: u64, asker: &Asker, now: WallTime) {
        let Asker {
            host,
            client,
            grant,
            outlasts_loss,
            life,
            ..
        } = *asker;
        let patience = match life.is_zero() {
            true => SLOW_AFTER,
            false => SLOW_AFTER.min(life / 4),
        };
        let slow_at = now + patience;
        let hung = self.likely_hung(asker);
        self.taken += 1;
        self.leave_line(host, grant);
        self.change(host, |state| {
            state.flights += 1;
            state.hung += u32::from(hung == Some(Likely::Hung));
            state.beside += u32::from(hung == Some(Likely::Beside));
        });
        self.slow_next.insert((slow_at, flight));
        self.flights.insert(
            flight,
            Flight {
                host,
                client,
                grant,
                began: now,
                slow_at,
                slow: false,
                hung,
                overdue: false,
                outlasts_loss,
                given_up: false,
            },
        );
    }

    /// When the next exchange becomes slow.
    pub(super) fn next_slow(&self) -> Option<WallTime> {
        let next = self.slow_next.first().map(|(at, _)| *at);
        next.filter(|_| !mutation::is(Mutation::HangingKeepPlaces))
    }

    /// An exchange that has become slow by now: it gives its place to other hosts.
    pub(super) fn take_slow(&mut self, now: WallTime) -> Option<(u64, u32)> {
        let (at, number) = *self.slow_next.first()?;
        if at > now || mutation::is(Mutation::HangingKeepPlaces) {
            return None;
        }
        self.slow_next.remove(&(at, number));
        let flight = self.flights.get_mut(&number)?;
        flight.slow = true;
        let (host, client, grant) = (flight.host, flight.client, flight.grant);
        self.taken -= 1;
        self.is_silent(number, (host, client), grant);
        self.change(host, |host| {
            host.slow += 1;
            host.silent = host.silent.max(number);
        });
        Some((number, host))
    }

    /// An exchange has brought no answer in time.
    fn is_silent(&mut self, number: u64, by: (u32, u32), grant: u32) {
        self.hung.insert(grant);
        let served = self.served.entry(by).or_default();
        *served.unanswered.entry(grant).or_default() += 1;
        served.silent = served.silent.max(number);
    }

    /// It is overdue, and goes on being read: it counts towards nobody's share.
    pub(super) fn overdue(&mut self, number: u64) {
        let was_slow = self.flights.get(&number).is_some_and(|f| f.slow);
        self.give_back(number);
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        flight.overdue = true;
        let (host, client, grant) = (flight.host, flight.client, flight.grant);
        match flight.outlasts_loss {
            true => self.overdue_spare.insert(number),
            false => self.overdue_others.insert(number),
        };
        if !was_slow {
            self.is_silent(number, (host, client), grant);
        }
        self.change(host, |host| {
            host.overdue += 1;
            host.silent = host.silent.max(number);
        });
    }

    fn give_back(&mut self, number: u64) {
        let Some(flight) = self.flights.get(&number).copied().filter(|f| !f.overdue) else {
            return;
        };
        self.slow_next.remove(&(flight.slow_at, number));
        self.taken -= u32::from(!flight.slow);
        self.change(flight.host, |host| {
            host.flights -= 1;
            host.hung -= u32::from(flight.hung == Some(Likely::Hung));
            host.beside -= u32::from(flight.hung == Some(Likely::Beside));
            host.slow -= u32::from(flight.slow);
        });
        if let Some(flight) = self.flights.get_mut(&number) {
            (flight.hung, flight.slow) = (None, false);
        }
    }

    /// It has ended; who waits for a place of its host's hanging ones may have one.
    /// `answered`: its host has shown that it answers.
    pub(super) fn ended(&mut self, number: u64, answered: bool) -> Option<u32> {
        let was = self.flights.get(&number).copied()?;
        self.give_back(number);
        self.flights.remove(&number);
        self.overdue_spare.remove(&number);
        self.overdue_others.remove(&number);
        self.given_up -= usize::from(was.given_up);
        self.forget_silence(number, &was, answered);
        let mut freed = None;
        self.change(was.host, |host| {
            host.overdue -= u32::from(was.overdue);
            if answered {
                host.answered = host.answered.max(number);
            }
            freed = host.line.pop_first().map(|first| first.grant);
        });
        freed.map(|grant| self.lined.remove(&grant));
        if answered && !was.overdue {
            self.hung.remove(&was.grant);
        }
        freed
    }

    fn forget_silence(&mut self, number: u64, was: &Flight, answered: bool) {
        let by = (was.host, was.client);
        let Some(served) = self.served.get_mut(&by) else {
            return;
        };
        if was.slow || was.overdue {
            let left = served
                .unanswered
                .get(&was.grant)
                .map_or(0, |count| count - 1);
            match left {
                0 => served.unanswered.remove(&was.grant),
                left => served.unanswered.insert(was.grant, left),
            };
        }
        if answered {
            served.answered = served.answered.max(number);
        }
        if served.unanswered.is_empty() {
            self.served.remove(&by);
        }
    }

    /// The host has more to do than it can.
    pub(super) fn halve(&mut self, host: u32) {
        let share = self.share(false);
        self.change(host, |host| {
            // The one that was told is under way no longer.
            let bears = host.bears.unwrap_or(share).min(host.flights + 1);
            host.bears = Some((bears / 2).max(1));
        });
    }

    /// The host does one more.
    pub(super) fn add_one(&mut self, host: u32) {
        let share = self.share(false);
        if self.knows(host) {
            self.change(host, |host| {
                host.bears = host
                    .bears
                    .map(|bears| bears + 1)
                    .filter(|bears| *bears < share);
            });
        }
    }

    pub(super) fn leave(&mut self, host: u32, grant: u32) {
        self.hung.remove(&grant);
        self.leave_line(host, grant);
    }

    fn leave_line(&mut self, host: u32, grant: u32) {
        if let Some(in_line) = self.lined.remove(&grant) {
            self.change(host, |host| {
                host.line.remove(&in_line);
            });
        }
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        for flight in self.flights.values_mut() {
            flight.slow_at = flight.slow_at - by;
            flight.began = flight.began - by;
        }
        self.slow_next = self
            .slow_next
            .iter()
            .map(|(at, n)| (*at - by, *n))
            .collect();
    }
}
