//! Each rule of the brakes, the places and the refusals. What they come to together is the
//! simulation's.

mod brakes;
mod chain;
mod clients;
mod places;
mod refused;

use super::*;

const NOW: WallTime = WallTime(10_000_000_000);
/// How long access tokens live here.
const LIFE: Duration = Duration::from_secs(3600);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many seconds from the beginning.
fn at(after: u64) -> WallTime {
    NOW + secs(after)
}

fn on_host(host: u32) -> Route {
    Route {
        host,
        ..Route::default()
    }
}

fn of_client(client: u32) -> Route {
    Route {
        client,
        ..Route::default()
    }
}

/// A grant that worked last, whose access token ends so many seconds from the beginning,
/// and that loses its refresh token where an answer is lost.
fn fresh(ends_in: u64) -> Asking {
    Asking {
        sends: 0,
        asked_at: WallTime(0),
        ends_at: Some(at(ends_in)),
        life: LIFE,
        fresh: true,
        spends: true,
        harmless: false,
        outlasts_loss: false,
        wished: false,
        trouble: None,
        is_witness: true,
    }
}

/// The same after so many failures.
fn failed(ends_in: u64, sends: u32) -> Asking {
    Asking {
        sends,
        fresh: false,
        ..fresh(ends_in)
    }
}

/// A grant whose access token is dead.
fn dead(sends: u32) -> Asking {
    Asking {
        ends_at: None,
        ..failed(0, sends)
    }
}

fn trouble(trouble: Trouble) -> Sign {
    Sign::Failed {
        trouble,
        overloaded: false,
        told: None,
    }
}

fn told(until: WallTime) -> Sign {
    Sign::Failed {
        trouble: Trouble::Wait,
        overloaded: false,
        told: Some(until),
    }
}

/// Limits, with a count of the exchanges.
struct World {
    limits: Limits,
    flights: u64,
    /// Those whose turn it is.
    taken: BTreeSet<u32>,
}

impl World {
    /// So many grants at each of these routes.
    fn new(routes: &[(Route, u32)]) -> World {
        World::with(Caps::new(64, 512), routes)
    }

    fn with(caps: Caps, routes: &[(Route, u32)]) -> World {
        let mut limits = Limits::new(caps);
        for (route, count) in routes {
            (0..*count).for_each(|_| limits.enter(*route));
        }
        World {
            limits,
            flights: RECALLED,
            taken: BTreeSet::new(),
        }
    }

    /// An exchange starts, whatever the limits say.
    fn start(&mut self, route: Route, grant: u32, asking: &Asking, now: WallTime) -> u64 {
        self.flights += 1;
        let taken = self.taken.remove(&grant);
        (self.limits).started(self.flights, route, grant, asking, taken, now);
        self.flights
    }

    fn land(&mut self, flight: u64, sign: Sign, asking: &Asking, now: WallTime) -> Vec<Effect> {
        self.limits.ended(flight, Some(sign), asking, now).0
    }

    /// A fresh grant is asked, and fails so.
    fn fail(&mut self, route: Route, grant: u32, kind: Trouble, now: WallTime) -> Vec<Effect> {
        let flight = self.start(route, grant, &fresh(3600), now);
        self.land(flight, trouble(kind), &failed(3600, 1), now)
    }

    /// A grant that had failed before is asked, and fails so.
    fn fail_again(&mut self, route: Route, grant: u32, kind: Trouble) -> Vec<Effect> {
        let flight = self.start(route, grant, &failed(3600, 1), NOW);
        self.land(flight, trouble(kind), &failed(3600, 2), NOW)
    }

    fn succeed(&mut self, route: Route, grant: u32, now: WallTime) -> Vec<Effect> {
        let flight = self.start(route, grant, &fresh(3600), now);
        self.land(flight, Sign::Success, &fresh(7200), now)
    }

    /// Three that had failed before fail alike; two fresh ones prove it, where that is asked for.
    fn brake(&mut self, route: Route, kind: Trouble, proven: bool) {
        (100..103).for_each(|grant| drop(self.fail_again(route, grant, kind)));
        if proven {
            (103..105).for_each(|grant| drop(self.fail(route, grant, kind, NOW)));
        }
    }

    fn may(&self, route: Route, grant: u32, asking: &Asking, now: WallTime) -> Result<(), Blocked> {
        self.limits.may_start(route, grant, asking, false, now)
    }

    /// A grant that may not go waits.
    fn wait(&mut self, route: Route, grant: u32, asking: &Asking, now: WallTime) {
        let blocked = self.may(route, grant, asking, now).expect_err("it may go");
        self.limits.wait(route, grant, blocked, asking, now);
    }

    /// Whose turn it is of those who wait at this route.
    fn take(&mut self, route: Route, now: WallTime) -> Option<u32> {
        let taken = self.limits.take(now, |_| Some(route.host))?;
        let (Taken::Waited { grant, .. } | Taken::Refused(grant) | Taken::Early(grant)) = taken;
        self.taken.insert(grant);
        Some(grant)
    }

    /// What is known of a brake: its trouble, and whether it is proven.
    fn known(&self, scope: Scope) -> Option<(Trouble, bool)> {
        let (trouble, proven, _) = self.limits.brake(scope)?;
        Some((trouble, proven))
    }

    /// When its chain asks the next one.
    fn chain(&self, scope: Scope) -> WallTime {
        let (_, _, at) = self.limits.brake(scope).expect("a brake");
        at.expect("a chain")
    }
}

const HOST: Scope = Scope::Host(0);

fn here() -> Route {
    Route::default()
}
