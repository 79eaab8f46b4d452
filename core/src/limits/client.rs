//! One client: paused when the provider does not accept it, and when so many of
//! its grants are refused at once that the provider is likelier to be broken
//! than all these grants to be void.

mod pause;

use super::{Blocked, Effect, OutcomeKind, Why};
use crate::mischief::{self, Mischief};
use crate::time::WallTime;
use pause::{Own, Pause};
use std::collections::VecDeque;
use std::time::Duration;

/// A paused client sends one probe in this time; a set of refused grants too.
pub const CLIENT_PROBE_EVERY: Duration = Duration::from_secs(15 * 60);
/// While many are refused, a grant that is not probes in this time: less than
/// the least lead of an ordinary token, so that the others outlive a pause for
/// refusals that were meant.
pub const UNREFUSED_PROBE_EVERY: Duration = Duration::from_secs(5 * 60);
/// The next of the refused is asked so soon when one may not probe.
const HELD_PROBE_EVERY: Duration = Duration::from_secs(60);
/// The least number of refused grants that counts as many; a fifth of the client's too.
pub const REFUSED_AT_LEAST: usize = 5;
/// They must have been refused within this.
pub const REFUSED_WINDOW: Duration = Duration::from_secs(10 * 60);
/// After so many refused probes (a day of them) the refusals stand, if others work.
const PROBES: u32 = 96;

#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) grants: u32,
    /// Refusals within the window.
    recent: Vec<(u32, WallTime)>,
    pause: Option<Pause>,
    own: Own,
    refused: Option<Refused>,
}

/// The grants that are out to probe: one, and those that were forced meanwhile,
/// whose outcomes say as much.
#[derive(Debug, Default)]
struct Probing(Vec<u32>);

impl Probing {
    fn add(&mut self, grant: u32) {
        self.0.push(grant);
    }

    /// Whether that one was out; it is no longer.
    fn take(&mut self, grant: u32) -> bool {
        let before = self.0.len();
        self.0.retain(|probing| *probing != grant);
        self.0.len() < before
    }

    fn is_any(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Many were refused at once.
#[derive(Debug)]
struct Refused {
    /// The first of them probes next.
    grants: VecDeque<u32>,
    probe_at: WallTime,
    probing: Probing,
    probes: u32,
    /// When one of the others may probe; `None`: one of them succeeded since,
    /// and they are free to go.
    others_at: Option<WallTime>,
    other_probing: Probing,
}

impl Client {
    /// Whether the client is accepted for others of its grants, and not for this one.
    pub(super) fn is_own_trouble(&self, grant: u32) -> bool {
        self.own.contains(grant)
    }

    pub(super) fn bring_back(&mut self, by: Duration) {
        for (_, at) in &mut self.recent {
            *at = *at - by;
        }
        if let Some(pause) = &mut self.pause {
            pause.bring_back(by);
        }
        self.own.bring_back(by);
        if let Some(refused) = &mut self.refused {
            refused.probe_at = refused.probe_at - by;
            refused.others_at = refused.others_at.map(|at| at - by);
        }
    }

    pub(super) fn check(&self, grant: u32, now: WallTime) -> Result<(), Blocked> {
        if mischief::is(Mischief::ClientPauseIgnored) {
            return Ok(());
        }
        self.own.check(grant, now)?;
        if let Some(pause) = &self.pause {
            pause.check(grant, now)?;
        }
        let Some(refused) = &self.refused else {
            return Ok(());
        };
        if refused.grants.contains(&grant) {
            gate(&refused.probing, refused.probe_at, now, Why::Refused)?;
            let turn = refused.grants.front() == Some(&grant);
            return turn.then_some(()).ok_or(Blocked {
                until: Some(refused.probe_at.max(now) + CLIENT_PROBE_EVERY),
                why: Why::Refused,
            });
        }
        refused.others_at.map_or(Ok(()), |at| {
            gate(&refused.other_probing, at, now, Why::ClientPaused)
        })
    }

    pub(super) fn started(&mut self, grant: u32) {
        if let Some(pause) = &mut self.pause {
            pause.started(grant);
        }
        if let Some(refused) = &mut self.refused {
            if refused.grants.contains(&grant) {
                refused.probing.add(grant);
            } else if refused.others_at.is_some() {
                refused.other_probing.add(grant);
            }
        }
    }

    pub(super) fn abandoned(&mut self, grant: u32) {
        if let Some(pause) = &mut self.pause {
            pause.abandoned(grant);
        }
        if let Some(refused) = &mut self.refused {
            refused.probing.take(grant);
            refused.other_probing.take(grant);
        }
    }

    /// The grant whose turn it is to probe may not: the next one does, in a while.
    pub(super) fn held(&mut self, client: u32, grant: u32, now: WallTime) -> Option<Effect> {
        let refused = self.refused.as_mut()?;
        if refused.grants.front() != Some(&grant) || refused.probing.is_any() {
            return None;
        }
        refused.grants.rotate_left(1);
        refused.probe_at = now + HELD_PROBE_EVERY;
        Some(Effect::Probe {
            client,
            grant: refused.grants[0],
            at: refused.probe_at,
        })
    }

    pub(super) fn leave(
        &mut self,
        client: u32,
        grant: u32,
        now: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        self.grants = self.grants.saturating_sub(1);
        self.recent.retain(|(recent, _)| *recent != grant);
        self.own.remove(grant);
        if let Some(pause) = &mut self.pause {
            pause.leave(grant);
        }
        let Some(refused) = &mut self.refused else {
            return;
        };
        let turn = refused.grants.front() == Some(&grant);
        refused.grants.retain(|refused| *refused != grant);
        match refused.grants.front() {
            Some(next) if turn => effects.push(Effect::Probe {
                client,
                grant: *next,
                at: refused.probe_at.max(now),
            }),
            Some(_) => {}
            None => effects.extend(self.end_refusals(client, Vec::new())),
        }
    }

    pub(super) fn pause(
        &mut self,
        client: u32,
        reason: &str,
        now: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        if self.pause.is_none() {
            self.pause = Some(Pause::new(now));
            effects.push(Effect::ClientPaused {
                client,
                mass_refusal: false,
                reason: reason.to_owned(),
            });
        }
    }

    pub(super) fn resume(&mut self, client: u32) -> Option<Effect> {
        self.recent.clear();
        self.own.clear();
        let refused = self.refused.take();
        let paused = self.pause.take().is_some() || refused.is_some();
        let grants = refused.map(|refused| Vec::from(refused.grants));
        paused.then(|| Effect::ClientResumed {
            client,
            rearm: grants.unwrap_or_default(),
        })
    }

    pub(super) fn observe(
        &mut self,
        client: u32,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        self.settle_pause(client, grant, kind, now, effects);
        match kind {
            OutcomeKind::InvalidClient if self.own.contains(grant) => self.own.add(grant, now),
            OutcomeKind::InvalidClient => {
                let reason = "the provider does not accept the client";
                self.pause(client, reason, now, effects);
                if let Some(pause) = &mut self.pause {
                    pause.accuse(grant, now);
                }
            }
            OutcomeKind::Success => self.succeeded(client, grant, effects),
            OutcomeKind::InvalidGrant => self.count_refusal(client, grant, now, effects),
            _ => {}
        }
        self.settle_probes(client, grant, kind, now, effects);
    }

    /// The pause's probe is back: an answer about the grant means that the
    /// client itself is accepted, also one that comes late.
    fn settle_pause(
        &mut self,
        client: u32,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pause) = self.pause.as_mut() else {
            return;
        };
        let Some(alone) = pause.settle(grant, kind, now) else {
            return;
        };
        for grant in alone {
            self.own.add(grant, now);
        }
        self.pause = None;
        // While refusals hold the client up as well, it goes on being paused.
        if self.refused.as_ref().is_none_or(|r| r.others_at.is_none()) {
            effects.push(Effect::ClientResumed {
                client,
                rearm: Vec::new(),
            });
        }
    }

    fn succeeded(&mut self, client: u32, grant: u32, effects: &mut Vec<Effect>) {
        self.recent.retain(|(recent, _)| *recent != grant);
        self.own.remove(grant);
        let Some(refused) = &mut self.refused else {
            return;
        };
        if refused.grants.contains(&grant) {
            let grants = refused.grants.iter().copied();
            let rearm = grants.filter(|other| *other != grant).collect();
            effects.extend(self.end_refusals(client, rearm));
        } else if refused.other_probing.take(grant) {
            // The provider works for others, so these refusals may be meant: let
            // the others go, but let the refused go on probing.
            refused.others_at = None;
            self.recent.clear();
            effects.push(Effect::ClientResumed {
                client,
                rearm: Vec::new(),
            });
        }
    }

    fn end_refusals(&mut self, client: u32, rearm: Vec<u32>) -> Option<Effect> {
        let held_up = self.refused.take()?.others_at.is_some() && self.pause.is_none();
        self.recent.clear();
        (held_up || !rearm.is_empty()).then_some(Effect::ClientResumed { client, rearm })
    }

    fn count_refusal(&mut self, client: u32, grant: u32, now: WallTime, effects: &mut Vec<Effect>) {
        if let Some(refused) = &mut self.refused {
            if refused.grants.contains(&grant) {
                return;
            }
            refused.grants.push_back(grant);
        }
        let fresh = |(recent, at): &(u32, WallTime)| *recent != grant && *at + REFUSED_WINDOW > now;
        self.recent.retain(fresh);
        self.recent.push((grant, now));
        let held_up = self.refused.as_ref().is_some_and(|r| r.others_at.is_some());
        let many = self.recent.len();
        if held_up || many < REFUSED_AT_LEAST || many * 5 < self.grants as usize {
            return;
        }
        let others_at = Some(now + UNREFUSED_PROBE_EVERY);
        effects.push(Effect::ClientPaused {
            client,
            mass_refusal: true,
            reason: format!("{many} of its grants were refused within ten minutes"),
        });
        match &mut self.refused {
            Some(refused) => refused.others_at = others_at,
            None => {
                let probe_at = now + CLIENT_PROBE_EVERY;
                effects.push(Effect::Probe {
                    client,
                    grant: self.recent[0].0,
                    at: probe_at,
                });
                self.refused = Some(Refused {
                    grants: self.recent.iter().map(|(grant, _)| *grant).collect(),
                    probe_at,
                    probing: Probing::default(),
                    probes: 0,
                    others_at,
                    other_probing: Probing::default(),
                });
            }
        }
    }

    /// A probe of the refused, or of the others, is back without a success.
    fn settle_probes(
        &mut self,
        client: u32,
        grant: u32,
        kind: OutcomeKind,
        now: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(refused) = &mut self.refused else {
            return;
        };
        if refused.other_probing.take(grant) {
            let next = now + UNREFUSED_PROBE_EVERY;
            refused.others_at = refused.others_at.map(|_| next);
        }
        if !refused.probing.take(grant) {
            return;
        }
        if matches!(
            kind,
            OutcomeKind::InvalidGrant | OutcomeKind::ExpectedRefusal
        ) {
            refused.probes += 1;
            refused.grants.rotate_left(1.min(refused.grants.len()));
        }
        if refused.probes >= PROBES && refused.others_at.is_none() {
            let grants = Vec::from(std::mem::take(&mut refused.grants));
            self.refused = None;
            effects.push(Effect::RefusalsStand { client, grants });
            return;
        }
        refused.probe_at = now + CLIENT_PROBE_EVERY;
        effects.extend(refused.grants.front().map(|next| Effect::Probe {
            client,
            grant: *next,
            at: refused.probe_at,
        }));
    }
}

/// One probe at a time, and not before its time.
fn gate(probing: &Probing, at: WallTime, now: WallTime, why: Why) -> Result<(), Blocked> {
    if probing.is_any() {
        Err(Blocked { until: None, why })
    } else if now < at {
        Err(Blocked {
            until: Some(at),
            why,
        })
    } else {
        Ok(())
    }
}
