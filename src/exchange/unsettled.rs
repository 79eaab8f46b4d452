//! Answers in memory alone: what the store has not taken at a stop is rescued.

use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::provider::Answer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Answers that are in memory alone until they are settled; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Unsettled(Arc<Mutex<BTreeMap<ExchangeId, (Intent, Answer)>>>);

impl Unsettled {
    /// An answer has come.
    pub fn put(&self, intent: &Intent, answer: &Answer) {
        self.lock()
            .insert(intent.flight, (intent.clone(), answer.clone()));
    }

    /// What it said is durable.
    pub(crate) fn settled(&self, flight: ExchangeId) {
        self.lock().remove(&flight);
    }

    /// All that are not settled.
    #[must_use]
    pub fn all(&self) -> Vec<(Intent, Answer)> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExchangeId, (Intent, Answer)>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}
