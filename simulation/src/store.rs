//! The store as it is on disk: every transaction whole or not at all. It goes by
//! the same rule as `src/state/commit.rs`, which is the core's.

use crate::server::TokenId;
use refreshd::state::SlotRef;
use refreshd_core::fence::{self, Fenced};
use refreshd_core::flight::{Answer, FlightId, Intent, Settlement, Standing};
use refreshd_core::grant::candidate::{self, Kept};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::mischief::{self, Mischief};
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::{Stamp, WallTime};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) kept: Kept,
    pub(crate) tokens: TokenSet,
}

/// An answer that could not be read.
#[derive(Clone)]
pub(crate) struct Unread {
    pub(crate) intent: Intent,
    pub(crate) answer: Answer,
    /// When it was first kept, by the physical clock.
    pub(crate) since: i64,
}

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) grant: Grant,
    pub(crate) tokens: TokenSet,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) unread: Vec<Unread>,
}

#[derive(Clone, Default)]
pub(crate) struct Store {
    /// Commits since the beginning.
    pub(crate) commit_seq: u64,
    /// It is a backup, made then.
    pub(crate) backup_of: Option<WallTime>,
    /// The fence that it remembers.
    pub(crate) fenced: Option<Fenced>,
    /// Which grant has had a refresh token.
    owners: BTreeMap<TokenId, u32>,
    pub(crate) rows: Vec<Row>,
    /// The flights that are done with, by their places in the journal.
    slots: BTreeSet<((u32, u16), FlightId)>,
    pub(crate) last_seen: Option<Stamp>,
    /// When that was, by the physical clock.
    pub(crate) last_seen_at: i64,
    /// The last clock that was accepted, as it was then.
    pub(crate) accepted: Option<Stamp>,
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
        self.commit_seq += 1;
        for row in &mut self.rows {
            if let Some(state) = row.grant.state.after_lost_time() {
                row.grant.state = state;
                row.grant.revision += 1;
            }
        }
    }

    /// Commits a flight, at that time by the clock that is trusted and by the physical
    /// one; how it stood.
    pub(crate) fn commit(
        &mut self,
        index: u32,
        slot: Option<SlotRef>,
        base_revision: u64,
        settlement: &Settlement,
        intent: &Intent,
        (at, physical): (WallTime, i64),
    ) -> Standing {
        let flight = intent.flight;
        let row = &mut self.rows[index as usize];
        let standing = settlement.standing(&row.grant, base_revision);
        if standing == Standing::Outdated {
            return standing;
        }
        self.commit_seq += 1;
        if let Some(slot) = slot {
            self.remember_slot(flight, slot);
        }
        let is_new = settlement
            .tokens
            .as_ref()
            .is_some_and(|t| self.is_new(index, t));
        let row = &mut self.rows[index as usize];
        if standing == Standing::Current {
            if let Some(kept) = settlement.displaces(&row.grant.state, intent.presents, at) {
                let tokens = row.tokens.clone();
                row.candidates.push(Candidate { kept, tokens });
            }
            row.grant.state = settlement.state.clone();
            row.grant.revision += 1;
            if let Some(tokens) = &settlement.tokens {
                row.tokens = tokens.clone();
            }
            if let Some(answer) = &settlement.unread {
                let ours = |kept: &&Unread| kept.intent.flight == flight;
                let since = row.unread.iter().find(ours).map(|kept| kept.since);
                row.unread.retain(|kept| kept.intent.flight != flight);
                row.unread.push(Unread {
                    intent: intent.clone(),
                    answer: answer.clone(),
                    since: since.unwrap_or(physical),
                });
            }
        } else if let Some(tokens) = &settlement.tokens
            && !mischief::is(Mischief::CandidateDropped)
            && is_new
        {
            let kept = Kept {
                base_generation: settlement.base_generation(),
                at,
                refused: false,
                by_flight: true,
                binding: settlement.state.binding.clone(),
            };
            let tokens = tokens.clone();
            row.candidates.push(Candidate { kept, tokens });
        }
        if let Some(tokens) = &settlement.tokens {
            self.remember(index, tokens);
        }
        if standing == Standing::Superseded {
            let grant = &mut self.rows[index as usize].grant;
            if let Some(state) = settlement.overtakes(&grant.state) {
                grant.state = state;
                grant.revision += 1;
            }
        }
        standing
    }

    /// A flight is done with at that place; whether the store took that.
    pub(crate) fn settle(&mut self, flight: FlightId, slot: SlotRef) -> bool {
        if self.full {
            return false;
        }
        self.commit_seq += 1;
        self.remember_slot(flight, slot);
        true
    }

    fn remember_slot(&mut self, flight: FlightId, slot: SlotRef) {
        for place in slot.places() {
            self.slots
                .retain(|(p, _)| slot.is_doubtful() || *p != place);
            self.slots.insert((place, flight));
        }
    }

    /// Whether the grant has not had that refresh token before.
    fn is_new(&self, index: u32, tokens: &TokenSet) -> bool {
        let token = tokens.refresh_token.as_ref();
        token.is_some_and(|token| self.owner(TokenId::of(token.expose())) != Some(index))
    }

    /// Changes a state outside a flight; whether the grant was still of that revision.
    pub(crate) fn update(&mut self, index: u32, base_revision: u64, state: GrantState) -> bool {
        let row = &mut self.rows[index as usize];
        let is_current = row.grant.revision == base_revision;
        if is_current {
            row.grant.state = state;
            row.grant.revision += 1;
            self.commit_seq += 1;
        }
        is_current
    }

    /// Another authorization takes the place of what there is.
    pub(crate) fn reauthorize(&mut self, index: u32, state: GrantState, tokens: TokenSet) {
        self.commit_seq += 1;
        self.remember(index, &tokens);
        let row = &mut self.rows[index as usize];
        let kept: Vec<Kept> = row.candidates.iter().map(|c| c.kept.clone()).collect();
        let generation = candidate::highest(row.grant.state.generation, &kept) + 1;
        row.grant.revision += 1;
        row.grant.state = GrantState {
            generation,
            chances_from: generation,
            ..state
        };
        row.tokens = tokens;
    }

    /// Notes whose refresh token this is; that of another stays his.
    pub(crate) fn remember(&mut self, index: u32, tokens: &TokenSet) {
        if let Some(token) = &tokens.refresh_token {
            let token = TokenId::of(token.expose());
            self.owners.entry(token).or_insert(index);
        }
    }

    /// Which grant has had it.
    pub(crate) fn owner(&self, token: TokenId) -> Option<u32> {
        self.owners.get(&token).copied()
    }

    /// An answer that could be read at last is not kept any more.
    pub(crate) fn forget_unread(&mut self, index: u32, flight: FlightId) {
        let row = &mut self.rows[index as usize];
        row.unread.retain(|kept| kept.intent.flight != flight);
    }

    /// Puts the newest refresh token of a late answer in the place of a refused
    /// one, as `src/state/second_chance.rs` does.
    pub(crate) fn take_second_chance(&mut self, index: u32, prints: &Fingerprinter) -> bool {
        let row = &mut self.rows[index as usize];
        if row.grant.state.refusal.is_none() {
            return false;
        }
        let kept: Vec<Kept> = row.candidates.iter().map(|c| c.kept.clone()).collect();
        let mut tried = Vec::new();
        for chance in candidate::second_chances(&kept, &row.grant.state) {
            tried.push(chance);
            let token = row.candidates[chance].tokens.refresh_token.clone();
            let Some(token) = token.filter(|t| Some(t) != row.tokens.refresh_token.as_ref()) else {
                continue;
            };
            row.grant.state = row.grant.state.trying(prints.of(&token), &kept[chance]);
            row.grant.revision += 1;
            row.tokens.refresh_token = Some(token);
            self.commit_seq += 1;
            break;
        }
        let changed = row.grant.state.refusal.is_none();
        let mut number = 0..;
        row.candidates
            .retain(|_| number.next().is_none_or(|at| !tried.contains(&at)));
        changed
    }

    /// Goes on from a store that was put back, as `src/state/restore.rs` does.
    pub(crate) fn accept_restore(
        &mut self,
        published: &BTreeMap<GrantId, u64>,
        stamp: u64,
        prints: &Fingerprinter,
    ) {
        self.fenced = None;
        self.backup_of = None;
        self.commit_seq = self.commit_seq.max(stamp) + 1;
        for row in &mut self.rows {
            let kept: Vec<Kept> = row.candidates.iter().map(|c| c.kept.clone()).collect();
            let newest = candidate::newer(&kept, &row.grant.state);
            let token = |at: usize| Some((at, row.candidates[at].tokens.refresh_token.clone()?));
            let found = newest.and_then(token);
            if let Some((at, token)) =
                found.filter(|(_, t)| Some(t) != row.tokens.refresh_token.as_ref())
            {
                row.grant.state = row.grant.state.trying(prints.of(&token), &kept[at]);
                row.tokens.refresh_token = Some(token);
                row.candidates.remove(at);
            }
            let published = published.get(&row.grant.id).copied().unwrap_or(0);
            let rotates = row.grant.state.presents.is_some();
            row.grant.state = fence::accepted(&row.grant.state, published, &kept, rotates);
            row.grant.revision += 1;
        }
    }
}
