//! Loads entries of the ledger and writes its changes. No rule is here: what is written
//! was decided in `core/src/ledger`.

use super::error::StoreError;
use super::history;
use super::kept;
use super::records::{GRANTS, json, key_of, seal_tokens, signed};
use super::seal::{KeyId, Sealer};
use super::writer::Session;
use crate::random;
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::{Grant, GrantId, TokenSet};
use refreshd_core::ledger::{Changes, Claim, Entry, Facts, Owner};
use refreshd_core::secret::Fingerprint;
use rusqlite::OptionalExtension;
use std::borrow::Cow;

/// Where a grant's row stands.
#[derive(Clone, Copy)]
pub(super) struct Row {
    revision: u64,
    generation: u64,
    last_event: Option<i64>,
}

impl Row {
    /// Whether it is that grant's as it was found. In a store that was put back revisions
    /// come a second time, with another generation.
    pub(super) fn is_of(&self, grant: &Grant) -> bool {
        self.revision == grant.revision && self.generation == grant.state.generation
    }
}

pub(super) fn row(s: &Session<'_>, id: &GrantId) -> Result<Row, StoreError> {
    let found = s
        .conn
        .prepare_cached(
            "SELECT revision, generation, last_event FROM grants WHERE key = ?1 AND id = ?2",
        )?
        .query_row((key_of(id), &id.0), |row| {
            Ok(Row {
                revision: row.get::<_, i64>(0)?.unsigned_abs(),
                generation: row.get::<_, i64>(1)?.unsigned_abs(),
                last_event: row.get(2)?,
            })
        });
    found
        .optional()?
        .ok_or_else(|| StoreError::NoSuchGrant(id.0.clone()))
}

/// What is held of a grant; its candidates have their token sets where those matter.
pub(super) fn entry(
    s: &Session<'_>,
    grant: Grant,
    candidates_tokens: bool,
) -> Result<Entry, StoreError> {
    Ok(Entry {
        tokens: s.tokens(&grant)?,
        candidates: kept::candidates_of_entry(s, &grant.id, candidates_tokens)?,
        grant,
    })
}

/// The facts for a command that brings a token of this fingerprint, or none.
pub(super) fn facts(s: &Session<'_>, brings: Option<Fingerprint>) -> Result<Facts, StoreError> {
    Ok(Facts {
        owner: owner_of(s, brings)?,
        fresh: ExchangeId(random::bytes()),
    })
}

/// The grant that has had this token.
pub(super) fn owner_of(
    s: &Session<'_>,
    fingerprint: Option<Fingerprint>,
) -> Result<Option<Owner>, StoreError> {
    let Some(fingerprint) = fingerprint else {
        return Ok(None);
    };
    let owner = s
        .conn
        .prepare_cached(
            "SELECT g.id, g.name FROM fingerprints f JOIN grants g ON g.key = f.grant_key
             WHERE f.fp = ?1",
        )?
        .query_row([fingerprint.0], |row| {
            Ok(Owner {
                id: GrantId(row.get(0)?),
                name: row.get(1)?,
            })
        });
    Ok(owner.optional()?)
}

/// What of the changes needs no connection.
pub(super) struct Sealed {
    state: Option<String>,
    tokens: Option<Vec<u8>>,
}

impl Sealed {
    pub(super) fn of(changes: &Changes, sealer: &Sealer) -> Sealed {
        let seal = |(grant, tokens): (&Grant, &TokenSet)| {
            seal_tokens(sealer, GRANTS, &grant.id.0, grant.state.generation, tokens)
        };
        let grant = changes.grant.as_ref();
        Sealed {
            state: grant.map(|grant| json(&grant.state)),
            tokens: grant.zip(changes.tokens.as_ref()).map(seal),
        }
    }
}

/// Writes changes; the grant as it is then. `before`: the grant that they rest on, `None`
/// for a new one.
pub(super) fn write(
    s: &Session<'_>,
    before: Option<&Grant>,
    changes: &Changes,
) -> Result<Grant, StoreError> {
    let sealed = Sealed::of(changes, s.sealer);
    let Some(before) = before else {
        let grant = changes.grant.clone().expect("a new grant is written");
        let at = changes.event.as_ref().map(|(event, _)| event.at);
        s.insert_grant(&grant, at.unwrap_or_default())?;
        claim(s, &grant, changes.claim)?;
        let row = row(s, &grant.id)?;
        return write_sealed(s, &grant, row, changes, &sealed);
    };
    let row = row(s, &before.id)?;
    claim(s, before, changes.claim)?;
    write_sealed(s, before, row, changes, &sealed)
}

/// The same, for changes that are sealed, and whose claim is made.
pub(super) fn write_sealed(
    s: &Session<'_>,
    before: &Grant,
    row: Row,
    changes: &Changes,
    sealed: &Sealed,
) -> Result<Grant, StoreError> {
    let grant = changes.grant.as_ref().unwrap_or(before);
    for candidate in &changes.keep {
        kept::keep_candidate(s, &grant.id, candidate)?;
    }
    for flight in &changes.forget {
        kept::forget(s, "candidates", *flight)?;
    }
    if let Some(answer) = &changes.answer {
        kept::keep_unread(s, answer)?;
    }
    let event = match &changes.event {
        Some((event, flight)) => {
            let event = history::append(s, grant, *flight, event, row.last_event)?;
            Some(event)
        }
        None => row.last_event,
    };
    let key = key_of(&grant.id);
    if changes.grant.is_some() {
        update(s, grant, (key, event), changes, sealed)?;
    } else if event != row.last_event {
        s.conn
            .prepare_cached("UPDATE grants SET last_event = ?2 WHERE key = ?1")?
            .execute((key, event))?;
    }
    Ok(grant.clone())
}

fn update(
    s: &Session<'_>,
    grant: &Grant,
    (key, event): (i64, Option<i64>),
    changes: &Changes,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let tokens = match (&sealed.tokens, &changes.tokens) {
        // A new key came between sealing and now, and its walk may have passed this row.
        (Some(sealed), Some(tokens)) if KeyId::of(sealed) != Some(s.sealer.key_id()) => {
            let generation = grant.state.generation;
            Some(Cow::Owned(s.seal_tokens(
                GRANTS,
                &grant.id.0,
                generation,
                tokens,
            )))
        }
        (sealed, _) => sealed.as_ref().map(Cow::Borrowed),
    };
    let base = grant.revision - u64::from(grant.revision > 1);
    let written = s
        .conn
        .prepare_cached(
            "UPDATE grants SET client = ?3, vars = ?4, redirect_uri = ?5, revision = ?6,
             generation = ?7, state = ?8, tokens = coalesce(?9, tokens), last_event = ?10
             WHERE key = ?1 AND revision = ?2",
        )?
        .execute((
            key,
            signed(base),
            &grant.client,
            json(&grant.vars),
            &grant.redirect_uri,
            signed(grant.revision),
            signed(grant.state.generation),
            &sealed.state,
            tokens.as_ref().map(|sealed| sealed.as_slice()),
            event,
        ))?;
    match written {
        1 => Ok(()),
        _ => Err(StoreError::NoSuchGrant(grant.id.0.clone())),
    }
}

/// Makes the claim of changes, if nobody has had the token. Whether nothing stands
/// against it.
pub(super) fn claim_unowned(
    s: &Session<'_>,
    grant: &Grant,
    changes: &Changes,
) -> Result<bool, StoreError> {
    let Some(claim) = changes.claim else {
        return Ok(true);
    };
    let mut insert = s.conn.prepare_cached(
        "INSERT OR IGNORE INTO fingerprints (fp, grant_key, generation, seed)
         VALUES (?1, ?2, ?3, ?4)",
    )?;
    let row = (
        claim.fingerprint.0,
        key_of(&grant.id),
        signed(claim.generation),
        claim.seed,
    );
    Ok(insert.execute(row)? > 0)
}

/// Remembers a token of a grant; once a seed, always a seed.
fn claim(s: &Session<'_>, grant: &Grant, claim: Option<Claim>) -> Result<(), StoreError> {
    let Some(claim) = claim else {
        return Ok(());
    };
    s.conn
        .prepare_cached(
            "INSERT INTO fingerprints (fp, grant_key, generation, seed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fp) DO UPDATE SET grant_key = excluded.grant_key,
                 generation = excluded.generation, seed = max(seed, excluded.seed)",
        )?
        .execute((
            claim.fingerprint.0,
            key_of(&grant.id),
            signed(claim.generation),
            claim.seed,
        ))?;
    Ok(())
}
