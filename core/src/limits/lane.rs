//! One endpoint: its concurrency, its breaker, and its wish to be left alone.

use super::backoff::full_jitter;
use super::{Blocked, Effect, OutcomeKind, Why};
use crate::time::WallTime;
use std::time::Duration;

/// So many different grants must fail in a row for the breaker to open.
pub const TRIP: usize = 3;
/// The first wait for a probe is up to this.
pub const PROBE_BASE: Duration = Duration::from_secs(1);
/// No wait for a probe is longer.
pub const PROBE_CAP: Duration = Duration::from_secs(300);
/// Three grants asked to wait within this pause the lane.
pub const THROTTLE_WINDOW: Duration = Duration::from_secs(60);
/// Where the endpoint does not say for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// However long it says.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) grants: u32,
    flights: u32,
    /// Different grants that failed since the last answer.
    failing: Vec<u32>,
    open: Option<Open>,
    /// Concurrency while the lane recovers; `None`: the cap's.
    ramp: Option<u32>,
    throttled: Vec<Throttled>,
    paused_until: Option<WallTime>,
}

/// An open breaker.
#[derive(Debug)]
struct Open {
    probe_at: WallTime,
    failures: u32,
    probing: Option<u32>,
}

#[derive(Debug)]
struct Throttled {
    grant: u32,
    at: WallTime,
    until: WallTime,
}

/// How an exchange ended.
pub(super) struct End {
    pub(super) grant: u32,
    pub(super) kind: OutcomeKind,
    pub(super) now: WallTime,
    pub(super) roll: u64,
}

impl Lane {
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn check(&self, cap: u32, now: WallTime) -> Result<(), Blocked> {
        let blocked = |until, why| Err(Blocked { until, why });
        if self.paused_until.is_some_and(|until| now < until) {
            return blocked(self.paused_until, Why::LanePaused);
        }
        match &self.open {
            Some(open) if open.probing.is_some() => return blocked(None, Why::LaneOpen),
            Some(open) if now < open.probe_at => {
                return blocked(Some(open.probe_at), Why::LaneOpen);
            }
            _ => {}
        }
        if self.flights >= self.ramp.unwrap_or(cap).min(cap) {
            return blocked(None, Why::LaneFull);
        }
        Ok(())
    }

    pub(super) fn started(&mut self, grant: u32) {
        self.flights += 1;
        if let Some(open) = &mut self.open {
            open.probing = Some(grant);
        }
    }

    pub(super) fn give_back(&mut self) {
        self.flights = self.flights.saturating_sub(1);
    }

    pub(super) fn abandoned(&mut self, grant: u32) {
        if let Some(open) = &mut self.open {
            open.probing.take_if(|probing| *probing == grant);
        }
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at - by;
        }
        for throttled in &mut self.throttled {
            throttled.at = throttled.at - by;
            throttled.until = throttled.until - by;
        }
        self.paused_until = self.paused_until.map(|until| until - by);
    }

    pub(super) fn leave(&mut self, grant: u32) {
        self.grants = self.grants.saturating_sub(1);
        self.failing.retain(|failing| *failing != grant);
        self.throttled.retain(|throttled| throttled.grant != grant);
    }

    pub(super) fn observe(&mut self, lane: u32, end: &End, cap: u32) -> Option<Effect> {
        let open = self.open.as_mut();
        let probe = open.is_some_and(|open| open.probing.take_if(|g| *g == end.grant).is_some());
        match end.kind {
            // Whatever it says, it is there, and it knows what it is talking about.
            OutcomeKind::Success
            | OutcomeKind::InvalidGrant
            | OutcomeKind::ExpectedRefusal
            | OutcomeKind::InvalidClient
            | OutcomeKind::TooEarly
            | OutcomeKind::Refused => self.answered(lane, cap),
            OutcomeKind::NotSent | OutcomeKind::Lost | OutcomeKind::Unread => {
                self.failed(lane, end, probe)
            }
            OutcomeKind::AskedToWait { retry_after } => {
                let wait = retry_after.unwrap_or(DEFAULT_WAIT).min(LONGEST_WAIT);
                self.asked_to_wait(lane, end, end.now + wait, probe)
            }
        }
    }

    fn answered(&mut self, lane: u32, cap: u32) -> Option<Effect> {
        self.failing.clear();
        if self.open.take().is_some() {
            self.ramp = Some(1);
            return Some(Effect::LaneClosed { lane });
        }
        self.ramp = self.ramp.map(|ramp| ramp.saturating_mul(2));
        self.ramp.take_if(|ramp| *ramp >= cap);
        None
    }

    fn failed(&mut self, lane: u32, end: &End, probe: bool) -> Option<Effect> {
        self.ramp = self.ramp.map(|_| 1);
        let wait = |failures| full_jitter(failures, PROBE_BASE, PROBE_CAP, end.roll);
        if let Some(open) = &mut self.open {
            // What started before the breaker opened tells nothing new.
            if probe {
                open.failures = open.failures.saturating_add(1);
                open.probe_at = end.now + wait(open.failures);
            }
            return None;
        }
        if !self.failing.contains(&end.grant) {
            self.failing.push(end.grant);
        }
        let trip = TRIP.min(self.grants as usize).max(1);
        if self.failing.len() < trip {
            return None;
        }
        self.failing.clear();
        let probe_at = end.now + wait(0);
        self.open = Some(Open {
            probe_at,
            failures: 0,
            probing: None,
        });
        Some(Effect::LaneOpened { lane, probe_at })
    }

    /// One grant's wish is that grant's affair; three grants' is the lane's.
    fn asked_to_wait(
        &mut self,
        lane: u32,
        end: &End,
        until: WallTime,
        probe: bool,
    ) -> Option<Effect> {
        self.ramp = self.ramp.map(|_| 1);
        if let Some(open) = self.open.as_mut().filter(|_| probe) {
            open.probe_at = until;
        }
        let recent = |t: &Throttled| t.grant != end.grant && t.at + THROTTLE_WINDOW > end.now;
        self.throttled.retain(recent);
        self.throttled.push(Throttled {
            grant: end.grant,
            at: end.now,
            until,
        });
        let paused = self.paused_until.filter(|paused| end.now < *paused);
        if self.throttled.len() < 3 && paused.is_none() {
            return None;
        }
        let largest = self.throttled.drain(..).map(|t| t.until).max();
        let until = largest.filter(|until| Some(*until) > paused && *until > end.now)?;
        self.paused_until = Some(until);
        // All who waited would come at once.
        self.ramp = Some(1);
        Some(Effect::LanePaused { lane, until })
    }
}
