//! Answers that come after their exchange was overdue. The next exchange of the same
//! grant looks here before its request leaves: a pending answer may hold the successor of
//! the refresh token that it is about to present.

use refreshd_core::grant::GrantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The late answers of this process; clones share them.
#[derive(Clone, Debug, Default)]
pub struct LateAnswers(Arc<Mutex<HashMap<GrantId, Arrived>>>);

#[derive(Debug, Default)]
struct Arrived {
    ever: u64,
    pending: u32,
}

/// A late answer that has not been settled, until this is dropped.
#[derive(Debug)]
pub struct PendingAnswer {
    late_answers: LateAnswers,
    grant: GrantId,
}

impl LateAnswers {
    /// A late answer of that grant has come.
    #[must_use]
    pub fn came(&self, grant: &GrantId) -> PendingAnswer {
        let mut all = self.all();
        let arrived = all.entry(grant.clone()).or_default();
        arrived.ever += 1;
        arrived.pending += 1;
        PendingAnswer {
            late_answers: self.clone(),
            grant: grant.clone(),
        }
    }

    /// Whether one is being written down, or settled.
    #[must_use]
    pub fn are_pending(&self, grant: &GrantId) -> bool {
        self.all().get(grant).is_some_and(|it| it.pending > 0)
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

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        if let Some(arrived) = self.late_answers.all().get_mut(&self.grant) {
            arrived.pending -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_pending_until_it_is_settled_and_counts_for_ever() {
        let late_answers = LateAnswers::default();
        let (grant, other) = (GrantId("a".to_owned()), GrantId("b".to_owned()));
        let first = late_answers.came(&grant);
        let second = late_answers.clone().came(&grant);
        drop(first);
        assert!(late_answers.are_pending(&grant) && !late_answers.are_pending(&other));
        drop(second);
        assert!(!late_answers.are_pending(&grant));
        assert_eq!(
            (late_answers.count(&grant), late_answers.count(&other)),
            (2, 0)
        );
    }
}
