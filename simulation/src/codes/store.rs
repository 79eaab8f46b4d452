//! The store of authorizations and their grants. The ledger decides what is written; a
//! transaction is whole or not at all.

use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage};
use refreshd_core::exchange::authorization::{Commit, Committed, TakeIn};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::{GrantId, Presents};
use refreshd_core::ledger::authorization::{
    Admission, Received, Row, Turn, admit, forget_answer, receive,
};
use refreshd_core::ledger::{Candidate, Changes, Entry, Facts, Owner};
use refreshd_core::provider::Answer;
use refreshd_core::secret::{Fingerprint, Fingerprinter, Secret};
use refreshd_core::time::WallTime;
use std::collections::BTreeMap;

#[derive(Clone)]
pub(crate) struct Store {
    prints: Fingerprinter,
    numbers: u64,
    pub(crate) commit_seq: u64,
    /// By name.
    pub(crate) grants: BTreeMap<String, Entry>,
    owners: BTreeMap<Fingerprint, String>,
    pub(crate) authorizations: BTreeMap<EnrollmentId, Row>,
    codes: BTreeMap<EnrollmentId, Fingerprint>,
    pub(crate) intents: BTreeMap<ExchangeId, Intent>,
    pub(crate) kept: BTreeMap<ExchangeId, Answer>,
    /// It was put back, and nobody has accepted that.
    pub(crate) fenced: bool,
}

impl Store {
    pub(crate) fn new(prints: Fingerprinter) -> Store {
        Store {
            prints,
            numbers: 0,
            commit_seq: 0,
            grants: BTreeMap::new(),
            owners: BTreeMap::new(),
            authorizations: BTreeMap::new(),
            codes: BTreeMap::new(),
            intents: BTreeMap::new(),
            kept: BTreeMap::new(),
            fenced: false,
        }
    }

    pub(crate) fn begin_authorization(&mut self, row: Row) {
        self.commit_seq += 1;
        let id = row.0.id;
        if let Some(code) = &row.1.code {
            self.codes.insert(id, self.prints.of(code));
        }
        self.authorizations.insert(id, row);
    }

    /// A code comes. What is to be presented, if anything.
    pub(crate) fn receive(
        &mut self,
        id: EnrollmentId,
        code: &str,
        now: WallTime,
    ) -> Option<EnrollmentId> {
        let (code, print) = (Secret::new(code), self.prints.of(&Secret::new(code)));
        if let Some(known) = self.of_code(print) {
            let again = Received::Again(Box::new(self.authorizations[&known].0.clone()));
            return again.to_present().map(|it| it.id);
        }
        let known = self.authorizations.get(&id)?.clone();
        let (before, learned) = (self.codes.get(&id).copied(), known.0.clone());
        let with = Secrets::default();
        let (received, row) = receive(known, before, learned, (code, print), with, now);
        if let Some(row) = row {
            self.commit_seq += 1;
            self.authorizations.insert(id, row);
            self.codes.insert(id, print);
        }
        received.to_present().map(|it| it.id)
    }

    fn of_code(&self, print: Fingerprint) -> Option<EnrollmentId> {
        let mut codes = self.codes.iter();
        codes.find(|(_, code)| **code == print).map(|(id, _)| *id)
    }

    /// The authorization of an exchange, whose code may not be its last one.
    pub(crate) fn of_intent(&self, intent: &Intent) -> Option<&Row> {
        let Presents::Code(print) = intent.presents else {
            return None;
        };
        let mut rows = self.authorizations.values();
        let last = self.of_code(print).map(|id| &self.authorizations[&id]);
        last.or_else(|| rows.find(|(it, _)| it.code.spent.contains(&print)))
    }

    pub(crate) fn begin(&mut self, intent: Intent) {
        self.commit_seq += 1;
        self.intents.insert(intent.flight, intent);
    }

    pub(crate) fn end(&mut self, flight: ExchangeId) {
        self.commit_seq += 1;
        self.intents.remove(&flight);
        self.kept.remove(&flight);
    }

    pub(crate) fn keep(&mut self, flight: ExchangeId, answer: Answer) {
        self.commit_seq += 1;
        self.kept.insert(flight, answer);
    }

    /// What an exchange commits; `ends`: it is over with that.
    pub(crate) fn commit(&mut self, commit: &Commit, ends: Option<ExchangeId>) -> Committed {
        let before = self.clone();
        if let Some(flight) = ends {
            self.end(flight);
        }
        self.commit_seq += 1;
        match commit {
            Commit::Turn(turn) => {
                self.turn((**turn).clone());
                Committed::Turned
            }
            Commit::TakeIn(it) => match self.take_in((**it).clone()) {
                Ok(committed) => committed,
                Err(text) => {
                    *self = before;
                    Committed::Refused(text)
                }
            },
        }
    }

    pub(crate) fn turn(&mut self, turn: Turn) {
        let id = turn.to.id;
        if let Some(row) = turn.of(self.authorizations.get(&id).cloned()) {
            self.authorizations.insert(id, row);
        }
    }

    fn take_in(&mut self, it: TakeIn) -> Result<Committed, String> {
        let (id, name) = (it.enrollment.id, it.import.name.clone());
        let stage = self.authorizations.get(&id).map(|(known, _)| known.stage);
        let entry = self.grants.get(&name).cloned();
        let told = ("id", it.who.as_deref());
        match admit(
            entry.as_ref(),
            (it.enrollment, stage),
            it.import,
            it.wanted,
            told,
        ) {
            Admission::Gone => Ok(Committed::Gone),
            Admission::Held(held) => {
                let text = held.text.clone();
                self.turn(Turn::to(*held, Some(it.answer)));
                Ok(Committed::Held(text))
            }
            Admission::Admitted(admitted) => {
                let identity = self.prints.of(admitted.import.tokens.identity());
                let facts = self.facts(identity);
                let grant = GrantId(name.clone());
                let taken = admitted.take_in(entry.as_ref(), &facts, identity, grant);
                let (_, changes, done) = taken.map_err(|e| e.to_string())?;
                self.write(&name, entry, changes);
                self.turn(Turn::to(done, None));
                let known = self.authorizations[&id].clone();
                if let Some(row) = forget_answer(known, it.answer.flight) {
                    self.authorizations.insert(id, row);
                }
                Ok(Committed::Current(Box::new(
                    self.grants[&name].grant.clone(),
                )))
            }
        }
    }

    fn write(&mut self, name: &str, entry: Option<Entry>, changes: Changes) {
        let grant = changes.grant.or(entry.as_ref().map(|e| e.grant.clone()));
        let mut new = Entry::of(grant.expect("there is a grant"), None);
        if let Some(entry) = entry {
            new.tokens = entry.tokens;
            let stays = |kept: &Candidate| !changes.forget.contains(&kept.flight);
            new.candidates = entry.candidates.into_iter().filter(stays).collect();
        }
        new.tokens = changes.tokens.or(new.tokens);
        new.candidates.extend(changes.keep);
        if let Some(claim) = changes.claim {
            self.owners.insert(claim.fingerprint, name.to_owned());
        }
        self.grants.insert(name.to_owned(), new);
    }

    fn facts(&mut self, brings: Fingerprint) -> Facts {
        self.numbers += 1;
        let mut fresh = [0xff; 16];
        fresh[..8].copy_from_slice(&self.numbers.to_be_bytes());
        let owner = self.owners.get(&brings).map(|name| Owner {
            id: self.grants[name].grant.id.clone(),
            name: name.clone(),
        });
        let fresh = ExchangeId(fresh);
        Facts { owner, fresh }
    }

    /// Ends what waited for too long.
    pub(crate) fn tidy(&mut self, now: WallTime) {
        let late = |it: &Enrollment| it.stage == Stage::Open && it.expires_at <= now;
        let rows = self.authorizations.values();
        let late: Vec<Enrollment> = rows
            .filter(|(it, _)| late(it))
            .map(|(it, _)| it.clone())
            .collect();
        for it in late {
            self.commit_seq += 1;
            let stage = Stage::Expired;
            self.turn(Turn::to(Enrollment { stage, ..it }, None));
        }
    }

    /// Whether a refresh token is somewhere: a grant's, beside it, or in an answer that is
    /// kept.
    pub(crate) fn holds(&self, token: &str) -> bool {
        let is = |secret: &Option<Secret>| secret.as_ref().is_some_and(|it| it.expose() == token);
        let in_answer = |answer: &Answer| String::from_utf8_lossy(&answer.body).contains(token);
        let mut grants = self.grants.values();
        let mut rows = self.authorizations.values();
        grants.any(|entry| {
            let tokens = entry
                .candidates
                .iter()
                .filter_map(|kept| kept.tokens.as_ref());
            let mut tokens = tokens.chain(&entry.tokens);
            tokens.any(|tokens| is(&tokens.refresh_token))
        }) || rows.any(|(_, secrets)| secrets.answers.iter().any(|kept| in_answer(&kept.answer)))
            || self.kept.values().any(in_answer)
    }
}
