//! Token sets from outside are taken in.

use super::error::StoreError;
use super::ledger;
use super::store::Store;
use super::writer::{Kind, Session};
use refreshd_core::grant::Grant;
pub use refreshd_core::ledger::import::Import as ImportRequest;
use refreshd_core::ledger::import::{self, ImportOutcome, NotImported};
use refreshd_core::ledger::{Changes, Entry};

/// What an import came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// A new grant.
    Created(Grant),
    /// Another authorization of an old grant; doubt and refusal are over.
    Reauthorized(Grant),
    /// This grant has had that token set already.
    Unchanged(Grant),
}

impl Imported {
    /// The grant as it is now.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        match self {
            Imported::Created(grant)
            | Imported::Reauthorized(grant)
            | Imported::Unchanged(grant) => grant,
        }
    }
}

/// Why a token set was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefusal {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] NotImported),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Takes in a token set from outside: a new grant, or another authorization
    /// of an old one.
    ///
    /// # Errors
    /// When it belongs to another grant or client, is older than what is there,
    /// or did not become durable.
    pub async fn import(&self, request: ImportRequest) -> Result<Imported, ImportRefusal> {
        self.run(Kind::Write, move |s| import(s, &request)).await
    }
}

fn import(s: &Session<'_>, request: &ImportRequest) -> Result<Imported, ImportRefusal> {
    s.saw(request.now);
    let entry = entry(s, &request.name)?;
    let identity = s.fingerprints.of(request.tokens.identity());
    let facts = ledger::facts(s, Some(identity))?;
    let id = s.new_id()?;
    let (outcome, changes) = import::import(entry.as_ref(), &facts, request, identity, id)?;
    Ok(write(s, entry.as_ref(), outcome, &changes)?)
}

/// What is held of the grant of that name.
pub(super) fn entry(s: &Session<'_>, name: &str) -> Result<Option<Entry>, StoreError> {
    let grant = s.grant_named(name)?;
    grant
        .map(|grant| ledger::entry(s, grant, false))
        .transpose()
}

/// Writes what an import came to.
pub(super) fn write(
    s: &Session<'_>,
    entry: Option<&Entry>,
    outcome: ImportOutcome,
    changes: &Changes,
) -> Result<Imported, StoreError> {
    let before = entry.map(|entry| &entry.grant);
    Ok(match (outcome, before) {
        (ImportOutcome::Unchanged, Some(grant)) => Imported::Unchanged(grant.clone()),
        (ImportOutcome::Reauthorized, _) => {
            Imported::Reauthorized(ledger::write(s, before, changes)?)
        }
        _ => Imported::Created(ledger::write(s, before, changes)?),
    })
}
