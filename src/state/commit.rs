//! How a flight ends.

use super::error::StoreError;
use super::intents;
use super::kept;
use super::ledger::{self, Sealed};
use super::seal::Sealer;
use super::writer::Session;
use crate::random;
use refreshd_core::flight::{ExchangeId, Intent, Settlement, Standing};
use refreshd_core::grant::Grant;
use refreshd_core::ledger::settle::{NotTheNext, Settle, settle};
use refreshd_core::ledger::{Changes, Entry, Event, Facts};
use refreshd_core::secret::{Fingerprint, Fingerprinter};

/// What a flight commits.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The grant as the settlement found it.
    pub base: Grant,
    /// What it came to.
    pub settlement: Settlement,
    /// The row of history.
    pub event: Event,
    /// The flight that it ends; `None` for a change of state alone.
    pub intent: Option<Intent>,
    /// Whether the flight is over with it. One that is overdue is settled, and its answer
    /// still waited for: its intent stays.
    pub ends: bool,
    /// What it brought was kept as it came, and is to go now that its grant takes it.
    pub was_kept: bool,
}

impl Commit {
    fn flight(&self) -> Option<ExchangeId> {
        self.intent.as_ref().map(|intent| intent.flight)
    }
}

/// What became of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The grant as it is now.
    Applied(Grant),
    /// The grant had moved on, and is unchanged. Of another generation: what the
    /// flight brought is a candidate. Of the same: nothing was written, and the
    /// commit is to be made again on the grant's new revision.
    Stale(Grant),
}

/// What of a commit needs no connection, made ready by whoever asks for it: the store's
/// thread has enough to do.
pub(super) struct Prepared {
    identity: Option<Fingerprint>,
    fresh: ExchangeId,
    /// What is to be written if the grant is as the settlement found it, and nobody else
    /// has had the new token.
    expected: Option<Box<(Changes, Sealed)>>,
}

impl Prepared {
    pub(super) fn of(commit: &Commit, sealer: &Sealer, fingerprints: &Fingerprinter) -> Self {
        let tokens = commit.settlement.tokens.as_ref();
        let mut prepared = Prepared {
            identity: tokens.map(|tokens| fingerprints.of(tokens.identity())),
            fresh: ExchangeId(random::bytes()),
            expected: None,
        };
        let command = prepared.command(commit);
        if !command.needs_tokens(&commit.base) {
            let (entry, facts) = (Entry::of(commit.base.clone(), None), prepared.facts());
            let settled = settle(&entry, &facts, &command).ok();
            prepared.expected = settled
                .filter(|(standing, _)| *standing == Standing::Current)
                .map(|(_, changes)| {
                    let sealed = Sealed::of(&changes, sealer);
                    Box::new((changes, sealed))
                });
        }
        prepared
    }

    fn command<'a>(&self, commit: &'a Commit) -> Settle<'a> {
        Settle {
            base_revision: commit.base.revision,
            settlement: &commit.settlement,
            intent: commit.intent.as_ref(),
            event: &commit.event,
            identity: self.identity,
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            owner: None,
            fresh: self.fresh,
        }
    }
}

/// Ends a flight, or changes a state. What fails after something was written is undone
/// with its whole transaction (see [`super::commits`]).
pub(super) fn commit(
    s: &Session<'_>,
    commit: &Commit,
    prepared: &Prepared,
) -> Result<Committed, StoreError> {
    s.saw(commit.event.at);
    let row = ledger::row(s, &commit.base.id)?;
    if let Some((changes, sealed)) = prepared.expected.as_deref()
        && row.is_of(&commit.base)
        && ledger::claim_unowned(s, &commit.base, changes)?
    {
        settle_flight(s, commit)?;
        let grant = ledger::write_sealed(s, &commit.base, row, changes, sealed)?;
        return Ok(Committed::Applied(grant));
    }
    let grant = s.grant(&commit.base.id)?;
    let command = prepared.command(commit);
    let tokens = match command.needs_tokens(&grant) {
        true => s.tokens(&grant)?,
        false => None,
    };
    let facts = Facts {
        owner: ledger::owner_of(s, prepared.identity)?,
        ..prepared.facts()
    };
    let entry = Entry::of(grant, tokens);
    let not_the_next = |error| of(&entry.grant, error);
    let (standing, changes) = settle(&entry, &facts, &command).map_err(not_the_next)?;
    if standing == Standing::Outdated {
        return Ok(Committed::Stale(entry.grant));
    }
    settle_flight(s, commit)?;
    let grant = ledger::write(s, Some(&entry.grant), &changes)?;
    Ok(match standing {
        Standing::Current => Committed::Applied(grant),
        _ => Committed::Stale(grant),
    })
}

fn of(grant: &Grant, error: NotTheNext) -> StoreError {
    StoreError::Generation {
        grant: grant.name.clone(),
        have: error.have,
        wanted: error.wanted,
    }
}

/// The flight's intent goes with what it came to, unless its answer is waited for still.
fn settle_flight(s: &Session<'_>, commit: &Commit) -> Result<(), StoreError> {
    let Some(flight) = commit.flight() else {
        return Ok(());
    };
    if commit.was_kept {
        kept::forget(s, kept::ANSWERS, flight)?;
    }
    match commit.ends {
        true => intents::end(s, flight),
        false => intents::mark_overdue(s, flight),
    }
}

/// Ends a flight that has nothing more to commit, and what was kept of its answer.
pub(super) fn end(s: &Session<'_>, flight: ExchangeId) -> Result<(), StoreError> {
    kept::forget(s, kept::ANSWERS, flight)?;
    intents::end(s, flight)
}
