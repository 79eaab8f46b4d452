//! A client that a provider does not accept, as far as is known: perhaps for one grant
//! alone (Atlassian says `unauthorized_client` of a dead refresh token).

use super::{CLIENT_PROBE_EVERY, Probing, gate};
use crate::limits::{Blocked, OutcomeKind, Why};
use crate::time::WallTime;
use std::time::Duration;

/// After the second grant for which the client is not accepted, others wait so long, and
/// twice as long after each further one.
const OTHERS_BASE: Duration = Duration::from_secs(30);
/// A grant that alone is not accepted waits so long at first, twice as long after each
/// further try, and an hour at the most.
const OWN_BASE: Duration = Duration::from_secs(30);
const OWN_CAP: Duration = Duration::from_secs(3600);

/// The grants for which the client was not accepted wait for their turns to probe. Others
/// find out at their own time whether it is for them.
#[derive(Debug)]
pub(super) struct Pause {
    probe_at: WallTime,
    others_at: WallTime,
    probing: Probing,
    /// Those whose probes are overdue, or lost: an answer may come still.
    awaited: Probing,
    /// Those for which it was not accepted.
    accused: Vec<u32>,
}

impl Pause {
    /// A pause of all grants alike.
    pub(super) fn new(now: WallTime) -> Self {
        let probe_at = now + CLIENT_PROBE_EVERY;
        Pause {
            probe_at,
            others_at: probe_at,
            probing: Probing::default(),
            awaited: Probing::default(),
            accused: Vec::new(),
        }
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        self.probe_at = self.probe_at - by;
        self.others_at = self.others_at - by;
    }

    pub(super) fn check(&self, grant: u32, now: WallTime) -> Result<(), Blocked> {
        let at = match self.accused.contains(&grant) {
            true => self.probe_at,
            false => self.others_at,
        };
        gate(&self.probing, at, now, Why::ClientPaused)
    }

    pub(super) fn started(&mut self, grant: u32) {
        self.probing.add(grant);
    }

    pub(super) fn abandoned(&mut self, grant: u32) {
        self.probing.take(grant);
    }

    /// The client was not accepted for this grant.
    pub(super) fn accuse(&mut self, grant: u32, now: WallTime) {
        if self.accused.contains(&grant) {
            return;
        }
        self.accused.push(grant);
        let further = u32::try_from(self.accused.len() - 1).unwrap_or(u32::MAX);
        let wait = match further {
            0 => Duration::ZERO,
            further => OTHERS_BASE
                .saturating_mul(1 << (further - 1).min(8))
                .min(CLIENT_PROBE_EVERY),
        };
        self.others_at = now + wait;
    }

    /// A probe is back, also one that comes late: the grants that alone are not accepted,
    /// where the client itself is.
    pub(super) fn settle(
        &mut self,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
    ) -> Option<Vec<u32>> {
        let (in_time, late) = (self.probing.take(grant), self.awaited.take(grant));
        if in_time && self.accused.contains(&grant) {
            self.probe_at = now + CLIENT_PROBE_EVERY;
        } else if in_time {
            self.others_at = self.others_at.max(now + OTHERS_BASE);
        } else if !late {
            return None;
        }
        if kind == OutcomeKind::Lost {
            self.awaited.add(grant);
        }
        let accepted = matches!(
            kind,
            OutcomeKind::Success
                | OutcomeKind::InvalidGrant
                | OutcomeKind::ExpectedRefusal
                | OutcomeKind::TooEarly
        );
        let others = |accused: &u32| *accused != grant;
        accepted.then(|| self.accused.iter().copied().filter(others).collect())
    }

    pub(super) fn leave(&mut self, grant: u32) {
        self.accused.retain(|accused| *accused != grant);
    }
}

/// Grants for which alone the client is not accepted: others of it are. They back off by
/// themselves, and cast no suspicion on the client until they work again.
#[derive(Debug, Default)]
pub(super) struct Own(Vec<Alone>);

#[derive(Debug)]
struct Alone {
    grant: u32,
    tries: u32,
    until: WallTime,
}

impl Own {
    pub(super) fn contains(&self, grant: u32) -> bool {
        self.0.iter().any(|own| own.grant == grant)
    }

    pub(super) fn check(&self, grant: u32, now: WallTime) -> Result<(), Blocked> {
        let own = self
            .0
            .iter()
            .find(|own| own.grant == grant && now < own.until);
        own.map_or(Ok(()), |own| {
            Err(Blocked {
                until: Some(own.until),
                why: Why::NotAccepted,
            })
        })
    }

    pub(super) fn add(&mut self, grant: u32, now: WallTime) {
        let found = self.0.iter_mut().find(|own| own.grant == grant);
        let tries = found.map_or(0, |own| own.tries + 1);
        let wait = OWN_BASE.saturating_mul(1 << tries.min(8)).min(OWN_CAP);
        self.remove(grant);
        self.0.push(Alone {
            grant,
            tries,
            until: now + wait,
        });
    }

    pub(super) fn remove(&mut self, grant: u32) {
        self.0.retain(|own| own.grant != grant);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        for own in &mut self.0 {
            own.until = own.until - by;
        }
    }
}
