//! What schedule and replay go by.

use crate::provider::Description;
use crate::provider::description::{Fallback, Lifetime, Rotation, Schedule, With};

/// What the schedule goes by, from the description and the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Lead, least age, window; the most special configuration wins.
    pub schedule: Schedule,
    /// What becomes of a presented refresh token.
    pub rotation: Rotation,
    /// Lifetimes that answers do not state.
    pub lifetime: Lifetime,
    /// What is presented.
    pub with: With,
    /// What is presented when that cannot be.
    pub fallback: Option<Fallback>,
}

impl Policy {
    /// From a description and the schedule keys of client and grant laid over it.
    #[must_use]
    pub fn new(description: &Description, schedule: Schedule) -> Self {
        Policy {
            schedule,
            rotation: description.rotation.clone(),
            lifetime: description.lifetime.clone(),
            with: description.refresh.with,
            fallback: description.refresh.fallback,
        }
    }

    /// Whether the client can ask for a token set itself: such a grant begins by
    /// itself and never holds.
    #[must_use]
    pub fn asks_anew(&self) -> bool {
        self.with.asks_anew(self.fallback)
    }
}
