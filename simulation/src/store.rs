//! The store as it is on disk: every transaction whole or not at all. What a transaction
//! writes is decided by the ledger, as it is for the daemon's.

pub(crate) use refreshd::state::Recovered;
use refreshd_core::fence::Fenced;
use refreshd_core::flight::{ExchangeId, Intent, Settlement, Standing};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::ledger::fallback;
use refreshd_core::ledger::import::{Import, ImportOutcome, import};
use refreshd_core::ledger::restore::{self, Restored};
use refreshd_core::ledger::settle::{NotTheNext, Settle, settle};
use refreshd_core::ledger::{Candidate, Changes, Entry, Event, Facts, Owner, UnreadAnswer, allow};
use refreshd_core::mutation::{self, Mutation};
use refreshd_core::provider::Answer;
use refreshd_core::secret::{Fingerprint, Fingerprinter};
use refreshd_core::time::{Stamp, WallTime};
use std::collections::BTreeMap;

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

#[derive(Clone)]
pub(crate) struct Store {
    /// Commits since the beginning.
    pub(crate) commit_seq: u64,
    /// It is a backup, made then.
    pub(crate) backup_of: Option<WallTime>,
    /// The fence that it remembers.
    pub(crate) fenced: Option<Fenced>,
    prints: Fingerprinter,
    /// Which grant has had a refresh token.
    owners: BTreeMap<Fingerprint, u32>,
    /// Of what is kept, so far.
    numbers: u64,
    pub(crate) rows: Vec<Row>,
    /// The exchanges under way, and whether each is overdue.
    intents: BTreeMap<ExchangeId, (Intent, bool)>,
    /// Answers that are kept as they came.
    kept: BTreeMap<ExchangeId, Answer>,
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
    pub(crate) fn new(prints: Fingerprinter) -> Store {
        Store {
            commit_seq: 0,
            backup_of: None,
            fenced: None,
            prints,
            owners: BTreeMap::new(),
            numbers: 0,
            rows: Vec::new(),
            intents: BTreeMap::new(),
            kept: BTreeMap::new(),
            last_seen: None,
            last_seen_at: 0,
            accepted: None,
            lost_time: false,
            full: false,
        }
    }

    /// Records what is about to be sent.
    pub(crate) fn begin(&mut self, intent: Intent) {
        self.commit_seq += 1;
        self.intents.insert(intent.flight, (intent, false));
    }

    pub(crate) fn has_intent(&self, flight: ExchangeId) -> bool {
        self.intents.contains_key(&flight)
    }

    pub(crate) fn intents(&self) -> usize {
        self.intents.len()
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

    /// What may be over counts as over.
    pub(crate) fn allow_for_lost_time(&mut self, at: WallTime) {
        if !std::mem::take(&mut self.lost_time) {
            return;
        }
        self.commit_seq += 1;
        let event = event(at);
        for index in 0..self.rows.len() {
            let entry = Entry::of(self.rows[index].grant.clone(), None);
            if let Some(changes) = allow(&entry, &event, GrantState::after_lost_time) {
                self.write(index, changes, 0);
            }
        }
    }

    /// Commits a flight, at that time by the clock that is trusted and by the physical
    /// one; how it stood.
    pub(crate) fn commit(
        &mut self,
        index: u32,
        ends: bool,
        base_revision: u64,
        settlement: &Settlement,
        intent: &Intent,
        (at, physical): (WallTime, i64),
    ) -> Result<Standing, NotTheNext> {
        let tokens = settlement.tokens.as_ref();
        let identity = tokens.map(|tokens| self.prints.of(tokens.identity()));
        let command = Settle {
            base_revision,
            settlement,
            intent: Some(intent),
            event: &event(at),
            identity,
        };
        let row = &self.rows[index as usize];
        let entry = Entry::of(row.grant.clone(), Some(row.tokens.clone()));
        let facts = self.facts(identity);
        let (standing, mut changes) = settle(&entry, &facts, &command)?;
        if standing == Standing::Superseded {
            falsify(&mut changes);
        }
        if standing == Standing::Outdated {
            return Ok(standing);
        }
        self.commit_seq += 1;
        if ends && !mutation::is(Mutation::IntentLeft) {
            self.end(intent.flight);
        } else if let Some((_, overdue)) = self.intents.get_mut(&intent.flight) {
            *overdue = true;
        }
        self.write(index as usize, changes, physical);
        Ok(standing)
    }

    /// The contract of a transaction: all of it, or nothing. `physical`: now.
    fn write(&mut self, index: usize, changes: Changes, physical: i64) {
        let row = &mut self.rows[index];
        if let Some(grant) = changes.grant {
            assert_eq!(grant.revision, row.grant.revision + 1, "it was checked");
            row.grant = grant;
        }
        if let Some(tokens) = changes.tokens {
            row.tokens = tokens;
        }
        let stays = |kept: &Candidate| !changes.forget.contains(&kept.flight);
        row.candidates.retain(stays);
        row.candidates.extend(changes.keep);
        if let Some(UnreadAnswer { intent, answer, .. }) = changes.answer {
            let ours = |kept: &&Unread| kept.intent.flight == intent.flight;
            let since = row.unread.iter().find(ours).map(|kept| kept.since);
            row.unread
                .retain(|kept| kept.intent.flight != intent.flight);
            row.unread.push(Unread {
                intent,
                answer,
                since: since.unwrap_or(physical),
            });
        }
        if let Some(claim) = changes.claim {
            let index = u32::try_from(index).expect("a few");
            self.owners.insert(claim.fingerprint, index);
        }
    }

    fn facts(&mut self, brings: Option<Fingerprint>) -> Facts {
        self.numbers += 1;
        let mut fresh = [0xff; 16];
        fresh[..8].copy_from_slice(&self.numbers.to_be_bytes());
        let owner = brings.and_then(|print| self.owners.get(&print));
        let owner = owner.map(|owner| &self.rows[*owner as usize].grant);
        Facts {
            owner: owner.map(|grant| Owner {
                id: grant.id.clone(),
                name: grant.name.clone(),
            }),
            fresh: ExchangeId(fresh),
        }
    }

    /// A flight is over.
    pub(crate) fn end(&mut self, flight: ExchangeId) {
        self.commit_seq += 1;
        self.intents.remove(&flight);
        self.kept.remove(&flight);
    }

    /// Keeps what a flight brought as it came.
    pub(crate) fn keep(&mut self, flight: ExchangeId, answer: Answer) {
        self.commit_seq += 1;
        self.kept.insert(flight, answer);
    }

    /// What is under way, with what was kept of it.
    pub(crate) fn recovered(&self) -> Vec<Recovered> {
        let found = self.intents.values().map(|(intent, _)| Recovered {
            intent: intent.clone(),
            answer: self.kept.get(&intent.flight).cloned(),
        });
        found.collect()
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

    /// Imports a token set for a grant; whether it was taken in.
    pub(crate) fn import(
        &mut self,
        index: u32,
        state: GrantState,
        tokens: &TokenSet,
        replace: bool,
        now: WallTime,
    ) -> bool {
        let row = &self.rows[index as usize];
        let entry = row.entry();
        let request = Import {
            name: entry.grant.name.clone(),
            client: entry.grant.client.clone(),
            vars: BTreeMap::new(),
            redirect_uri: None,
            tokens: tokens.clone(),
            obtained_at: Some(state.issued_at),
            state,
            now,
            replace,
            authorized: false,
        };
        let identity = self.prints.of(tokens.identity());
        let mut facts = self.facts(Some(identity));
        let mut request = request;
        let ours = facts.owner.as_ref().map(|owner| owner.id == entry.grant.id);
        match ours {
            Some(false) if mutation::is(Mutation::TwinTaken) => facts.owner = None,
            Some(true) if mutation::is(Mutation::SeedTakenAgain) => {
                (facts.owner, request.obtained_at) = (None, None);
            }
            _ => {}
        }
        let id = entry.grant.id.clone();
        let Ok((outcome, changes)) = import(Some(&entry), &facts, &request, identity, id) else {
            return false;
        };
        if outcome == ImportOutcome::Unchanged {
            return false;
        }
        self.commit_seq += 1;
        self.write(index as usize, changes, 0);
        true
    }

    /// A grant and its first token set are there from the beginning.
    pub(crate) fn add(&mut self, grant: Grant, tokens: TokenSet) {
        let index = u32::try_from(self.rows.len()).expect("a few");
        self.owners.insert(self.prints.of(tokens.identity()), index);
        self.rows.push(Row {
            grant,
            tokens,
            candidates: Vec::new(),
            unread: Vec::new(),
        });
    }

    /// An answer that could be read at last is not kept any more.
    pub(crate) fn forget_unread(&mut self, index: u32, flight: ExchangeId) {
        self.commit_seq += 1;
        let row = &mut self.rows[index as usize];
        row.unread.retain(|kept| kept.intent.flight != flight);
    }

    /// Puts the newest refresh token of a late answer in the place of a refused one.
    pub(crate) fn take_second_chance(&mut self, index: u32, at: WallTime) -> bool {
        let entry = self.rows[index as usize].entry();
        let (facts, revision) = (self.facts(None), entry.grant.revision);
        let Some(changes) = fallback::take(&entry, &facts, revision, &self.prints, at) else {
            return false;
        };
        let changed = changes.grant.is_some();
        self.commit_seq += 1;
        self.write(index as usize, changes, 0);
        changed
    }

    /// Goes on from a store that was put back.
    pub(crate) fn accept_restore(
        &mut self,
        published: &BTreeMap<GrantId, u64>,
        stamp: u64,
        at: WallTime,
    ) {
        self.fenced = None;
        self.backup_of = None;
        self.commit_seq = self.commit_seq.max(stamp) + 1;
        for index in 0..self.rows.len() {
            let entry = self.rows[index].entry();
            let published = published.get(&entry.grant.id).copied().unwrap_or(0);
            let may_be_rotated = entry.grant.state.presents.is_some();
            let restored = Restored {
                published: match mutation::is(Mutation::RestoreBelowPublished) {
                    true => 0,
                    false => published,
                },
                may_be_rotated: may_be_rotated && !mutation::is(Mutation::RestoreUndoubted),
                at,
            };
            let facts = self.facts(None);
            let changes = restore::accept(&entry, &facts, restored, &self.prints);
            self.write(index, changes, 0);
        }
    }
}

impl Row {
    fn entry(&self) -> Entry {
        Entry {
            grant: self.grant.clone(),
            tokens: Some(self.tokens.clone()),
            candidates: self.candidates.clone(),
        }
    }
}

/// What came too late is written wrongly, on purpose.
fn falsify(changes: &mut Changes) {
    if mutation::is(Mutation::CandidateDropped) {
        changes.keep.clear();
    }
    if mutation::is(Mutation::SupersededForgotten) {
        changes.grant = None;
    }
}

/// History is not looked at here.
fn event(at: WallTime) -> Event {
    Event {
        at,
        kind: String::new(),
        text: String::new(),
    }
}
