//! Answers that come after their flight was given up as overdue. Whoever is about
//! to present the same grant's refresh token looks here last of all: what is in
//! hand may be its successor.

use refreshd_core::grant::GrantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The late answers of this process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<HashMap<GrantId, Arrived>>>);

#[derive(Debug, Default)]
struct Arrived {
    ever: u64,
    in_hand: u32,
}

/// A late answer that has not been settled, until this is dropped.
#[derive(Debug)]
pub struct InHand {
    arrivals: Arrivals,
    grant: GrantId,
}

impl Arrivals {
    /// A late answer of that grant has come.
    #[must_use]
    pub fn came(&self, grant: &GrantId) -> InHand {
        let mut all = self.all();
        let arrived = all.entry(grant.clone()).or_default();
        arrived.ever += 1;
        arrived.in_hand += 1;
        InHand {
            arrivals: self.clone(),
            grant: grant.clone(),
        }
    }

    /// Whether one is being written down, or settled.
    #[must_use]
    pub fn are_in_hand(&self, grant: &GrantId) -> bool {
        self.all().get(grant).is_some_and(|it| it.in_hand > 0)
    }

    /// How many have come so far: what was decided before the last of them is void.
    #[must_use]
    pub fn count(&self, grant: &GrantId) -> u64 {
        self.all().get(grant).map_or(0, |it| it.ever)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<GrantId, Arrived>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(arrived) = self.arrivals.all().get_mut(&self.grant) {
            arrived.in_hand -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_hand_until_it_is_settled_and_counts_for_ever() {
        let arrivals = Arrivals::default();
        let (grant, other) = (GrantId("a".to_owned()), GrantId("b".to_owned()));
        let first = arrivals.came(&grant);
        let second = arrivals.clone().came(&grant);
        drop(first);
        assert!(arrivals.are_in_hand(&grant) && !arrivals.are_in_hand(&other));
        drop(second);
        assert!(!arrivals.are_in_hand(&grant));
        assert_eq!((arrivals.count(&grant), arrivals.count(&other)), (2, 0));
    }
}
