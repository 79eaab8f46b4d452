//! Which of the token sets that are kept beside the current one is tried, and when.

use super::binding::Binding;
use super::state::{Doubt, GrantState};
use crate::mutation::{self, Mutation};
use crate::secret::Fingerprint;
use crate::time::WallTime;

/// A token set that is kept, as far as that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The generation that it follows on.
    pub base_generation: u64,
    /// When it came.
    pub at: WallTime,
    /// Its refresh token was refused.
    pub refused: bool,
    /// An exchange brought it. What an import replaced may be another account's.
    pub by_flight: bool,
    /// To whom its refresh token is bound; `None`: not known.
    pub binding: Option<Binding>,
}

/// What a refused grant tries before a person is asked, in this order: what late
/// answers to its present authorization brought, the newest first. Each goes to whom
/// it is bound: where that is another than the grant by now, its operator is asked.
#[must_use]
pub fn second_chances(kept: &[Kept], state: &GrantState) -> Vec<usize> {
    let ours = |kept: &Kept| {
        kept.base_generation >= state.chances_from || mutation::is(Mutation::ChanceOfAnother)
    };
    let mut untried: Vec<usize> = (0..kept.len())
        .filter(|at| !kept[*at].refused && kept[*at].by_flight && ours(&kept[*at]))
        .collect();
    untried.sort_by_key(|at| (kept[*at].base_generation, kept[*at].at));
    untried.reverse();
    untried
}

/// Whether a second chance may have come by an exchange that was `superseded`: the grant
/// had another generation by then, and stands refused. Its refusal has tried what was
/// kept until then.
#[must_use]
pub fn came_late(superseded: bool, state: &GrantState) -> bool {
    superseded && state.refusal.is_some()
}

/// What an exchange brought that started from this generation or a later one,
/// which only a store that was put back can have: the newest of it.
#[must_use]
pub fn newer(kept: &[Kept], state: &GrantState) -> Option<usize> {
    let mut chances = second_chances(kept, state).into_iter();
    chances.find(|at| kept[*at].base_generation >= state.generation)
}

/// The highest generation that anyone knows of: a store that was put back may have
/// kept what followed on later ones than its own.
#[must_use]
pub fn highest(generation: u64, kept: &[Kept]) -> u64 {
    let brought = kept.iter().map(|kept| kept.base_generation + 1);
    brought.fold(generation, u64::max)
}

impl GrantState {
    /// The state with another refresh token to present in the place of a refused
    /// one, at the next occasion: what was kept. What was kept before a restore is in
    /// doubt, as the current one was.
    #[must_use]
    pub fn trying(&self, presents: Fingerprint, kept: &Kept) -> GrantState {
        let relic = kept.base_generation < self.doubts_before;
        let doubted = relic && !mutation::is(Mutation::RelicTrusted);
        let binding = kept.binding.clone();
        let binding = binding.filter(|_| !mutation::is(Mutation::ChanceElsewhere));
        GrantState {
            presents: Some(presents),
            refusal: None,
            doubt: doubted.then(|| Doubt::of_lost_time(presents, self.last_send)),
            not_before: None,
            refresh_expires_at: None,
            binding: binding.or_else(|| self.binding.clone()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(base_generation: u64, at: i64) -> Kept {
        Kept {
            base_generation,
            at: WallTime(at),
            refused: false,
            by_flight: true,
            binding: None,
        }
    }

    #[test]
    fn the_newest_that_an_exchange_brought_comes_first() {
        let refused = Kept {
            refused: true,
            ..kept(9, 9)
        };
        let replaced = Kept {
            by_flight: false,
            ..kept(8, 8)
        };
        let all = [kept(2, 1), refused, kept(3, 1), replaced, kept(3, 2)];
        let state = |generation, chances_from| GrantState {
            generation,
            chances_from,
            ..GrantState::default()
        };
        assert_eq!(second_chances(&all, &state(3, 0)), [4, 2, 0]);
        assert_eq!(second_chances(&all, &state(3, 3)), [4, 2]);
        assert_eq!(newer(&all, &state(3, 0)), Some(4));
        assert_eq!(newer(&all, &state(4, 0)), None);
    }

    /// The current refresh token was refused, and only then the answer came that held the
    /// next one: it was not tried before the next start.
    #[test]
    fn what_comes_after_the_refusal_is_a_second_chance_too() {
        let mut state = GrantState::default();
        assert!(!came_late(true, &state), "nothing is wrong");
        state.refusal = Some(crate::grant::state::Refusal {
            provisional: false,
            at: WallTime(1),
            times: 1,
            text: String::new(),
            interaction: false,
        });
        assert!(came_late(true, &state));
        assert!(!came_late(false, &state), "it has tried what there was");
    }

    /// A store that was put back does not remember that the grant was moved, and sent
    /// what the new client had brought to the old one.
    #[test]
    fn what_is_bound_to_another_stays_so() {
        let bound = |client: &str| {
            Some(Binding {
                client_id: client.to_owned(),
                origin: "https://as.example:443".to_owned(),
            })
        };
        let elsewhere = Kept {
            binding: bound("new"),
            ..kept(4, 1)
        };
        let state = GrantState {
            generation: 3,
            binding: bound("old"),
            ..GrantState::default()
        };
        let all = [kept(2, 1), elsewhere];
        assert_eq!(newer(&all, &state), Some(1));
        let token = crate::secret::Fingerprint([2; 16]);
        assert_eq!(state.trying(token, &all[1]).binding, bound("new"));
        assert_eq!(state.trying(token, &all[0]).binding, bound("old"));
    }
}
