//! The store as it is on disk: every transaction whole or not at all. It goes by
//! the same rule as `src/state/commit.rs`, which is the core's.

use crate::server::TokenId;
use refreshd::state::SlotRef;
use refreshd_core::flight::{FlightId, Settlement, Standing};
use refreshd_core::grant::{Grant, GrantState, TokenSet};
use refreshd_core::mischief::{self, Mischief};
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::Stamp;
use std::collections::BTreeSet;

pub(crate) struct Candidate {
    pub(crate) base_generation: u64,
    pub(crate) tokens: TokenSet,
}

impl Row {
    /// Whether the grant has not had it before; noted by this.
    fn is_new(&mut self, tokens: &TokenSet) -> bool {
        let token = tokens.refresh_token.as_ref();
        token.is_some_and(|token| self.had.insert(TokenId::of(token.expose())))
    }
}

pub(crate) struct Row {
    /// Every refresh token it has had.
    pub(crate) had: BTreeSet<TokenId>,
    pub(crate) grant: Grant,
    pub(crate) tokens: TokenSet,
    pub(crate) candidates: Vec<Candidate>,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) rows: Vec<Row>,
    /// The flights that are done with, by their places in the journal.
    slots: BTreeSet<((u32, u16), FlightId)>,
    pub(crate) last_seen: Option<Stamp>,
    /// When that was, by the physical clock.
    pub(crate) last_seen_at: i64,
    /// Time was lost, and has not been allowed for.
    pub(crate) lost_time: bool,
    /// Commits fail.
    pub(crate) full: bool,
}

impl Store {
    pub(crate) fn settled(&self, place: (u32, u16), flight: FlightId) -> bool {
        self.slots.contains(&(place, flight))
    }

    pub(crate) fn keep_slots_of(&mut self, files: &[u32]) {
        self.slots.retain(|((file, _), _)| files.contains(file));
    }

    pub(crate) fn saw(&mut self, seen: Stamp, physical: i64) {
        if self
            .last_seen
            .as_ref()
            .is_none_or(|last| last.wall < seen.wall)
        {
            self.last_seen = Some(seen);
            self.last_seen_at = physical;
        }
    }

    /// What may be over counts as over, as `src/state/seen.rs` has it.
    pub(crate) fn allow_for_lost_time(&mut self) {
        if !std::mem::take(&mut self.lost_time) {
            return;
        }
        for row in &mut self.rows {
            if let Some(state) = row.grant.state.after_lost_time() {
                row.grant.state = state;
                row.grant.revision += 1;
            }
        }
    }

    /// Commits a flight; how it stood.
    pub(crate) fn commit(
        &mut self,
        index: u32,
        flight: FlightId,
        slot: Option<SlotRef>,
        base_revision: u64,
        settlement: &Settlement,
    ) -> Standing {
        let row = &mut self.rows[index as usize];
        let standing = settlement.standing(&row.grant, base_revision);
        if standing == Standing::Outdated {
            return standing;
        }
        if let Some(slot) = slot {
            self.settle(flight, slot);
        }
        let row = &mut self.rows[index as usize];
        if standing == Standing::Current {
            row.grant.state = settlement.state.clone();
            row.grant.revision += 1;
            if let Some(tokens) = &settlement.tokens {
                row.is_new(tokens);
                row.tokens = tokens.clone();
            }
        } else if let Some(tokens) = &settlement.tokens
            && !mischief::is(Mischief::CandidateDropped)
            && row.is_new(tokens)
        {
            row.candidates.push(Candidate {
                base_generation: settlement.base_generation(),
                tokens: tokens.clone(),
            });
        }
        standing
    }

    /// A flight is done with at that place; whether the store took that.
    pub(crate) fn settle(&mut self, flight: FlightId, slot: SlotRef) -> bool {
        if self.full {
            return false;
        }
        for place in slot.places() {
            self.slots
                .retain(|(p, _)| slot.is_doubtful() || *p != place);
            self.slots.insert((place, flight));
        }
        true
    }

    /// Changes a state outside a flight; whether the grant was still of that revision.
    pub(crate) fn update(&mut self, index: u32, base_revision: u64, state: GrantState) -> bool {
        let row = &mut self.rows[index as usize];
        let is_current = row.grant.revision == base_revision;
        if is_current {
            row.grant.state = state;
            row.grant.revision += 1;
        }
        is_current
    }

    /// Another authorization takes the place of what there is.
    pub(crate) fn reauthorize(&mut self, index: u32, state: GrantState, tokens: TokenSet) {
        let row = &mut self.rows[index as usize];
        row.grant.revision += 1;
        row.grant.state = GrantState {
            generation: row.grant.state.generation + 1,
            ..state
        };
        row.is_new(&tokens);
        row.tokens = tokens;
    }

    /// Puts the newest refresh token of a late answer in the place of a refused
    /// one, as `src/state/second_chance.rs` does.
    pub(crate) fn take_second_chance(&mut self, index: u32, prints: &Fingerprinter) -> bool {
        let row = &mut self.rows[index as usize];
        if row.grant.state.refusal.is_none() {
            return false;
        }
        row.candidates.sort_by_key(|c| c.base_generation);
        while let Some(candidate) = row.candidates.pop() {
            let token = candidate.tokens.refresh_token.clone();
            let Some(token) = token.filter(|t| Some(t) != row.tokens.refresh_token.as_ref()) else {
                continue;
            };
            row.grant.state = row.grant.state.trying(prints.of(&token));
            row.grant.revision += 1;
            row.tokens.refresh_token = Some(token);
            return true;
        }
        false
    }
}
