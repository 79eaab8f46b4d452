//! How a flight ends.

use super::disk;
use super::error::StoreError;
use super::history::{self, Event};
use super::journal::SlotRef;
use super::kept;
use super::records::signed;
use super::writer::Session;
use refreshd_core::flight::{FlightId, Intent, Settlement, Standing};
use refreshd_core::grant::{Grant, GrantId, TokenSet};
use refreshd_core::secret::Fingerprint;
use refreshd_core::time::WallTime;
use rusqlite::OptionalExtension;

/// What a flight commits.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The grant.
    pub grant: GrantId,
    /// The revision it started from.
    pub base_revision: u64,
    /// What it came to.
    pub settlement: Settlement,
    /// The row of history.
    pub event: Event,
    /// The flight that it ends; `None` for a change of state alone.
    pub intent: Option<Intent>,
    /// The journal slot that the flight is recorded in. Once this is durable the
    /// slot's record is done with, and the slot may be freed.
    pub slot: Option<SlotRef>,
}

impl Commit {
    fn flight(&self) -> Option<FlightId> {
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

pub(super) fn commit(s: &Session<'_>, commit: Commit) -> Result<Committed, StoreError> {
    s.saw(commit.event.at);
    let grant = s.grant(&commit.grant)?;
    let standing = commit.settlement.standing(&grant, commit.base_revision);
    if standing == Standing::Outdated {
        return Ok(Committed::Stale(grant));
    }
    if let (Some(flight), Some(slot)) = (commit.flight(), commit.slot) {
        settle_slot(s, flight, slot)?;
    }
    match standing {
        Standing::Current => apply(s, grant, commit).map(Committed::Applied),
        Standing::Outdated | Standing::Superseded => stale(s, grant, commit).map(Committed::Stale),
    }
}

fn settle_slot(s: &Session<'_>, flight: FlightId, slot: SlotRef) -> Result<(), StoreError> {
    for (file, slot) in slot.places() {
        s.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO slots (file, slot, flight) VALUES (?1, ?2, ?3)",
            )?
            .execute((file, slot, flight.0))?;
    }
    Ok(())
}

fn apply(s: &Session<'_>, mut grant: Grant, commit: Commit) -> Result<Grant, StoreError> {
    let flight = commit.flight();
    let Settlement {
        state,
        tokens,
        unread,
    } = commit.settlement;
    let rise = state.generation.checked_sub(grant.state.generation);
    // The next generation needs its token set: the old one is sealed for the old number.
    let fits = matches!((rise, &tokens), (Some(0), _) | (Some(1), Some(_)));
    if !fits {
        return Err(StoreError::Generation {
            grant: grant.name,
            have: grant.state.generation,
            wanted: state.generation,
        });
    }
    let base = grant.state.generation;
    let mut event = commit.event;
    if state.own && !grant.state.own {
        event.text += keep_authorization(s, &grant, event.at)?;
    }
    grant.state = state;
    grant.revision += 1;
    s.write_grant(&grant, tokens.as_ref())?;
    if let Some(tokens) = &tokens {
        event.text += &claim(s, &grant, grant.state.generation, tokens)?;
    }
    if let (Some(answer), Some(intent)) = (&unread, &commit.intent) {
        kept::keep_unread(s, intent, base, answer, event.at)?;
    }
    history::record(s, &grant, flight, &event)?;
    Ok(grant)
}

/// A refresh token of a person's authorization that the client's own asking takes
/// the place of: refused, in doubt or over, it is kept all the same.
fn keep_authorization(
    s: &Session<'_>,
    grant: &Grant,
    at: WallTime,
) -> Result<&'static str, StoreError> {
    let Some(old) = s.tokens(grant)?.filter(|old| old.refresh_token.is_some()) else {
        return Ok("");
    };
    kept::keep_replaced(s, grant, &old, at)?;
    Ok(" (the refresh token that it takes the place of is kept)")
}

fn stale(s: &Session<'_>, grant: Grant, commit: Commit) -> Result<Grant, StoreError> {
    let flight = commit.flight();
    let (settlement, mut event) = (commit.settlement, commit.event);
    let kept = kept::keep_candidate(
        s,
        &grant.id,
        flight.unwrap_or_else(|| FlightId(disk::random())),
        &settlement,
        commit.intent.as_ref().map(|intent| &intent.description),
        event.at,
    )?;
    if let Some(tokens) = &settlement.tokens {
        event.text += &claim(s, &grant, settlement.state.generation, tokens)?;
    }
    if kept {
        event.text += " (the grant had moved on; kept as a candidate)";
    }
    if kept || flight.is_some() {
        history::record(s, &grant, flight, &event)?;
    }
    Ok(grant)
}

/// Notes whose identity this is. A token that another grant has had is not
/// refused here: losing it would be worse. The history says so.
fn claim(
    s: &Session<'_>,
    grant: &Grant,
    generation: u64,
    tokens: &TokenSet,
) -> Result<String, StoreError> {
    let fingerprint = s.fingerprints.of(tokens.identity());
    match owner(s, fingerprint)? {
        Some(other) if other.id != grant.id => Ok(format!(
            " (the provider gave it a token that grant {} has had too)",
            other.name
        )),
        _ => {
            remember(s, fingerprint, grant, generation, false)?;
            Ok(String::new())
        }
    }
}

/// The grant that has had this identity.
pub(super) fn owner(
    s: &Session<'_>,
    fingerprint: Fingerprint,
) -> Result<Option<Grant>, StoreError> {
    let id: Option<String> = s
        .conn
        .prepare_cached("SELECT grant_id FROM fingerprints WHERE fp = ?1")?
        .query_row([fingerprint.0], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| s.grant_by("id", &id))
}

/// Remembers an identity of a grant; once a seed, always a seed.
pub(super) fn remember(
    s: &Session<'_>,
    fingerprint: Fingerprint,
    grant: &Grant,
    generation: u64,
    seed: bool,
) -> Result<(), StoreError> {
    s.conn
        .prepare_cached(
            "INSERT INTO fingerprints (fp, grant_id, generation, seed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fp) DO UPDATE SET grant_id = excluded.grant_id,
                 generation = excluded.generation, seed = max(seed, excluded.seed)",
        )?
        .execute((fingerprint.0, &grant.id.0, signed(generation), seed))?;
    Ok(())
}
