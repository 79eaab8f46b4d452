mod clients;
mod lanes;
mod random;

use super::*;

const NOW: WallTime = WallTime(1_000_000_000);

fn after(secs: u64) -> WallTime {
    NOW + Duration::from_secs(secs)
}

/// Limits with one lane and one client of so many grants.
fn limits(flights: u32, grants: u32) -> Limits {
    let mut limits = Limits::new(Caps {
        flights,
        lane: None,
    });
    for _ in 0..grants {
        limits.enter(0, 0);
    }
    limits
}

impl Limits {
    /// One exchange that was let through, from start to end.
    fn run(&mut self, grant: u32, kind: OutcomeKind, now: WallTime) -> Vec<Effect> {
        assert_eq!(self.may_start(0, 0, grant, now), Ok(()), "grant {grant}");
        self.started(0, 0, grant);
        self.ended(0, 0, grant, kind, now, u64::MAX)
    }

    fn why(&self, grant: u32, now: WallTime) -> Option<(Why, Option<WallTime>)> {
        let blocked = self.may_start(0, 0, grant, now).err();
        blocked.map(|blocked| (blocked.why, blocked.until))
    }
}
