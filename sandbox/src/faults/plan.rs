//! When faults come.

use super::{Fault, Outage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A fault that waits for the next token request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queued {
    /// The grant whose request it waits for; `None`: any.
    #[serde(default)]
    pub grant: Option<String>,
    /// The fault.
    pub fault: Fault,
}

/// Faults that come now and then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NowAndThen {
    /// How likely a token request meets one, 0 to 1.
    pub probability: f64,
    /// From which one is drawn.
    pub faults: Vec<Fault>,
    /// A grant that has just met one is spared the next time.
    #[serde(default)]
    pub spare_next: bool,
}

/// Which faults are to come, and how many came.
#[derive(Debug, Default)]
pub struct Plan {
    outage: Option<Outage>,
    queue: VecDeque<Queued>,
    now_and_then: NowAndThen,
    spared: BTreeSet<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Plan {
    /// Adds a fault to the queue.
    pub fn queue(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    /// Sets what comes now and then.
    pub fn now_and_then(&mut self, now_and_then: NowAndThen) {
        self.now_and_then = now_and_then;
        self.spared.clear();
    }

    /// Begins or ends an outage.
    pub fn set_outage(&mut self, outage: Option<Outage>) {
        self.outage = outage;
    }

    /// The outage that lasts.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// Forgets what is to come and ends an outage; the counts stay.
    pub fn clear(&mut self) {
        self.outage = None;
        self.queue.clear();
        self.now_and_then(NowAndThen::default());
    }

    /// How many faults wait in the queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many faults of each kind came.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The fault of this request, if it meets one: that of an outage, else the
    /// first in the queue that is for its grant, else by chance. `roll` is any
    /// random number.
    pub fn take(&mut self, grant: Option<&str>, roll: u64) -> Option<Fault> {
        let for_it = |q: &Queued| q.grant.is_none() || q.grant.as_deref() == grant;
        let fault = match (self.outage, self.queue.iter().position(for_it)) {
            (Some(outage), _) => Some(outage.into()),
            (None, Some(at)) => self.queue.remove(at).map(|queued| queued.fault),
            (None, None) => self.draw(grant, roll),
        }?;
        *self.counts.entry(fault.kind()).or_default() += 1;
        Some(fault)
    }

    fn draw(&mut self, grant: Option<&str>, roll: u64) -> Option<Fault> {
        let grant = grant.unwrap_or_default();
        let (high, low) = (roll >> 32, roll & 0xffff_ffff);
        let faults = &self.now_and_then.faults;
        // 32 bits fit into the 52 of an f64.
        let met = (high as f64) < self.now_and_then.probability * 4_294_967_296.0;
        if self.spared.remove(grant) || !met || faults.is_empty() {
            return None;
        }
        if self.now_and_then.spare_next {
            self.spared.insert(grant.to_owned());
        }
        let at = usize::try_from(low).unwrap_or(0) % faults.len();
        Some(faults[at].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(grant: Option<&str>, fault: Fault) -> Queued {
        Queued {
            grant: grant.map(str::to_owned),
            fault,
        }
    }

    #[test]
    fn the_queue_keeps_its_order_and_waits_for_the_grant() {
        let mut plan = Plan::default();
        plan.queue(queued(Some("b"), Fault::Truncated));
        plan.queue(queued(None, Fault::ResetAfter));
        plan.queue(queued(None, Fault::ResetBefore));
        assert_eq!(plan.take(Some("a"), 0), Some(Fault::ResetAfter));
        assert_eq!(plan.take(Some("b"), 0), Some(Fault::Truncated));
        assert_eq!(plan.take(None, 0), Some(Fault::ResetBefore));
        assert_eq!(plan.take(None, 0), None);
        assert_eq!(plan.counts()["reset-after"], 1);
    }

    #[test]
    fn chance_is_as_likely_as_it_says() {
        let mut plan = Plan::default();
        plan.now_and_then(NowAndThen {
            probability: 0.25,
            faults: vec![Fault::ResetBefore, Fault::ResetAfter],
            spare_next: false,
        });
        let quarter = 0x4000_0000_u64 << 32;
        assert_eq!(plan.take(None, quarter), None);
        assert_eq!(plan.take(None, quarter - 1), Some(Fault::ResetAfter));
        assert_eq!(plan.take(None, 0), Some(Fault::ResetBefore));
    }

    #[test]
    fn a_grant_that_met_a_fault_is_spared_once() {
        let mut plan = Plan::default();
        plan.now_and_then(NowAndThen {
            probability: 1.0,
            faults: vec![Fault::ResetBefore],
            spare_next: true,
        });
        let met: Vec<bool> = (0..4).map(|_| plan.take(Some("a"), 0).is_some()).collect();
        assert_eq!(met, [true, false, true, false]);
        assert!(plan.take(Some("b"), 0).is_some());
        plan.clear();
        assert!(plan.take(Some("b"), 0).is_none());
    }

    #[test]
    fn an_outage_comes_before_all_else_and_ends() {
        let mut plan = Plan::default();
        plan.queue(queued(None, Fault::Truncated));
        plan.set_outage(Some(Outage::Reset));
        for _ in 0..2 {
            assert_eq!(plan.take(None, 0), Some(Fault::ResetBefore));
        }
        plan.set_outage(None);
        assert_eq!(plan.take(None, 0), Some(Fault::Truncated));
    }
}
