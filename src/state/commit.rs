//! How a flight ends.

use super::error::StoreError;
use super::history::{self, Event};
use super::journal::SlotRef;
use super::kept;
use super::records::{GRANTS, json, key_of, seal_tokens, signed};
use super::seal::{KeyId, Sealer};
use super::writer::Session;
use crate::random;
use refreshd_core::flight::{FlightId, Intent, Settlement, Standing};
use refreshd_core::grant::candidate::Kept;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::secret::{Fingerprint, Fingerprinter};
use refreshd_core::time::WallTime;
use rusqlite::OptionalExtension;
use std::borrow::Cow;

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

/// What of a commit needs no connection, made ready by whoever asks for it: the
/// store's thread has enough to do.
pub(super) struct Sheet {
    state: String,
    tokens: Option<Vec<u8>>,
    /// Of the new token set, where it is another than before.
    identity: Option<Fingerprint>,
}

impl Sheet {
    pub(super) fn of(commit: &Commit, sealer: &Sealer, fingerprints: &Fingerprinter) -> Self {
        let Settlement { state, tokens, .. } = &commit.settlement;
        let identity = tokens.as_ref().map(|t| fingerprints.of(t.identity()));
        let sealed = tokens.as_ref().map(|tokens| {
            let (owner, generation) = (&commit.base.id.0, state.generation);
            seal_tokens(sealer, GRANTS, owner, generation, tokens)
        });
        Sheet {
            state: json(state),
            tokens: sealed,
            identity: identity.filter(|new| commit.base.state.presents != Some(*new)),
        }
    }
}

/// Where a grant's row stands.
struct Place {
    key: i64,
    revision: u64,
    last_event: Option<i64>,
}

fn place(s: &Session<'_>, id: &GrantId) -> Result<Place, StoreError> {
    let key = key_of(id);
    let found = s
        .conn
        .prepare_cached("SELECT revision, last_event FROM grants WHERE key = ?1 AND id = ?2")?
        .query_row((key, &id.0), |row| {
            Ok(Place {
                key,
                revision: row.get::<_, i64>(0)?.unsigned_abs(),
                last_event: row.get(1)?,
            })
        });
    found
        .optional()?
        .ok_or_else(|| StoreError::NoSuchGrant(id.0.clone()))
}

/// Checks all that it can before it writes anything: it has no savepoint of its own, and
/// what fails after that is undone with its whole transaction (see [`super::commits`]).
pub(super) fn commit(
    s: &Session<'_>,
    commit: &Commit,
    sheet: &Sheet,
) -> Result<Committed, StoreError> {
    s.saw(commit.event.at);
    let place = place(s, &commit.base.id)?;
    let grant = match place.revision == commit.base.revision {
        // Each change of a grant raises its revision: it is as it was.
        true => commit.base.clone(),
        false => s.grant(&commit.base.id)?,
    };
    match commit.settlement.standing(&grant, commit.base.revision) {
        Standing::Current => apply(s, place, grant, commit, sheet).map(Committed::Applied),
        Standing::Outdated => Ok(Committed::Stale(grant)),
        Standing::Superseded => stale(s, grant, commit).map(Committed::Stale),
    }
}

/// The store remembers what it has committed from each slot of the journal.
fn settle(s: &Session<'_>, commit: &Commit) -> Result<(), StoreError> {
    match (commit.flight(), commit.slot) {
        (Some(flight), Some(slot)) => settle_slot(s, flight, slot),
        _ => Ok(()),
    }
}

/// Remembers that a flight is done with in its places, and forgets who was done
/// with there before, unless that one may come back.
pub(super) fn settle_slot(
    s: &Session<'_>,
    flight: FlightId,
    slot: SlotRef,
) -> Result<(), StoreError> {
    let doubtful = slot.is_doubtful();
    for (file, slot) in slot.places() {
        if !doubtful {
            s.conn
                .prepare_cached("DELETE FROM slots WHERE file = ?1 AND slot = ?2")?
                .execute((file, slot))?;
        }
        s.conn
            .prepare_cached("INSERT OR IGNORE INTO slots (file, slot, flight) VALUES (?1, ?2, ?3)")?
            .execute((file, slot, flight.0))?;
    }
    Ok(())
}

fn apply(
    s: &Session<'_>,
    place: Place,
    mut grant: Grant,
    commit: &Commit,
    sheet: &Sheet,
) -> Result<Grant, StoreError> {
    let flight = commit.flight();
    let Settlement {
        state,
        tokens,
        unread,
        sent: _,
    } = &commit.settlement;
    let generation = state.generation;
    let rise = generation.checked_sub(grant.state.generation);
    // The next generation needs its token set: the old one is sealed for the old number.
    let fits = matches!((rise, &sheet.tokens), (Some(0), _) | (Some(1), Some(_)));
    if !fits {
        return Err(StoreError::Generation {
            grant: grant.name,
            have: grant.state.generation,
            wanted: generation,
        });
    }
    settle(s, commit)?;
    let base = grant.state.generation;
    let mut event = commit.event.clone();
    if state.own && !grant.state.own {
        event.text += keep_authorization(s, &grant, event.at)?;
    }
    let presented = commit.intent.as_ref().map(|intent| intent.presents);
    let displaces = |presented| {
        let settlement = &commit.settlement;
        settlement.displaces(&grant.state, presented, event.at)
    };
    if let Some(displaced) = presented.and_then(displaces) {
        event.text += keep_displaced(s, &grant, commit, &displaced)?;
    }
    grant.state = state.clone();
    grant.revision += 1;
    let mut state_now = Cow::Borrowed(&sheet.state);
    if let Some(identity) = sheet.identity {
        let other = claim(s, &grant, generation, identity)?;
        event.text += &shared_text(other.as_deref());
        // Two clients' own tokens may well be the same, and nobody is cut off.
        let presented = tokens.as_ref().is_some_and(|t| t.refresh_token.is_some());
        let shared_with = other.filter(|_| presented);
        if grant.state.shared_with != shared_with {
            grant.state.shared_with = shared_with;
            state_now = Cow::Owned(json(&grant.state));
        }
    }
    if let (Some(answer), Some(intent)) = (unread, &commit.intent) {
        kept::keep_unread(s, intent, base, answer, event.at)?;
    }
    let last_event = history::append(s, &grant, flight, &event, place.last_event)?;
    let sealed = match (&sheet.tokens, tokens) {
        // A new key came between sealing and now, and its walk may have passed this row.
        (Some(sealed), Some(tokens)) if KeyId::of(sealed) != Some(s.sealer.key_id()) => Some(
            Cow::Owned(s.seal_tokens(GRANTS, &grant.id.0, generation, tokens)),
        ),
        (sealed, _) => sealed.as_ref().map(Cow::Borrowed),
    };
    s.conn
        .prepare_cached(
            "UPDATE grants SET revision = ?2, generation = ?3, state = ?4,
             tokens = coalesce(?5, tokens), last_event = ?6 WHERE key = ?1",
        )?
        .execute((
            place.key,
            signed(grant.revision),
            signed(generation),
            state_now.as_str(),
            sealed.as_ref().map(|sealed| sealed.as_slice()),
            last_event,
        ))?;
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

/// The refresh token of a second chance, where an answer to another takes its place.
fn keep_displaced(
    s: &Session<'_>,
    grant: &Grant,
    commit: &Commit,
    displaced: &Kept,
) -> Result<&'static str, StoreError> {
    let description = commit.intent.as_ref().map(|intent| &intent.description);
    match s.tokens(grant)? {
        Some(old) => kept::keep_displaced(s, grant, &old, displaced, description)?,
        None => return Ok(""),
    }
    Ok(" (the refresh token that it takes the place of is kept)")
}

fn stale(s: &Session<'_>, mut grant: Grant, commit: &Commit) -> Result<Grant, StoreError> {
    settle(s, commit)?;
    let flight = commit.flight();
    let (mut settlement, mut event) = (commit.settlement.clone(), commit.event.clone());
    if let Some(tokens) = &settlement.tokens {
        let known = owner(s, s.fingerprints.of(tokens.identity()))?;
        if known.is_some_and(|owner| owner.id == grant.id) {
            // A record that came back, or a replay: it has been exchanged since, or is
            // current, or waits to be tried already. To try it (again) would be wrong.
            settlement.tokens = None;
            event.text += " (the grant has had this token set before)";
        }
    }
    let kept = kept::keep_candidate(
        s,
        &grant.id,
        flight.unwrap_or_else(|| FlightId(random::bytes())),
        &settlement,
        commit.intent.as_ref().map(|intent| &intent.description),
        event.at,
    )?;
    if let Some(tokens) = &settlement.tokens {
        let identity = s.fingerprints.of(tokens.identity());
        let other = claim(s, &grant, settlement.state.generation, identity)?;
        event.text += &shared_text(other.as_deref());
    }
    if kept {
        event.text += " (the grant had moved on; kept as a candidate)";
    }
    if let Some(text) = heed_kept(s, &mut grant, commit)? {
        event.text += text;
    }
    if let Some(state) = commit.settlement.overtakes(&grant.state) {
        if state.access_dead && !grant.state.access_dead {
            event.text += " (it may have ended the access token that an earlier request brought)";
        }
        grant.state = state;
        grant.revision += 1;
        s.write_grant(&grant, None)?;
    }
    if kept || flight.is_some() {
        history::record(s, &grant, flight, &event)?;
    }
    Ok(grant)
}

/// An authorization that kept the refresh token came between: what the exchange did to it.
fn heed_kept(
    s: &Session<'_>,
    grant: &mut Grant,
    commit: &Commit,
) -> Result<Option<&'static str>, StoreError> {
    let Some(intent) = commit
        .intent
        .as_ref()
        .filter(|_| grant.state.kept_refresh_at.is_some())
    else {
        return Ok(None);
    };
    let Some(tokens) = s.tokens(grant)? else {
        return Ok(None);
    };
    let concerned = (commit.settlement).concerns_kept(intent.presents, (&grant.state, &tokens));
    let Some((state, tokens)) = concerned else {
        return Ok(None);
    };
    grant.state = state;
    grant.revision += 1;
    s.write_grant(grant, tokens.as_ref())?;
    Ok(Some(match tokens {
        Some(_) => " (it brought the next refresh token, which the grant goes on with)",
        None => " (it presented the refresh token that the grant has kept)",
    }))
}

/// Notes whose identity this is. A token that another grant has had is not
/// refused here: losing it would be worse. Returns that grant's name.
fn claim(
    s: &Session<'_>,
    grant: &Grant,
    generation: u64,
    identity: Fingerprint,
) -> Result<Option<String>, StoreError> {
    let mut insert = s.conn.prepare_cached(
        "INSERT OR IGNORE INTO fingerprints (fp, grant_key, generation, seed) VALUES (?1, ?2, ?3, 0)",
    )?;
    let is_new = insert.execute((identity.0, key_of(&grant.id), signed(generation)))? > 0;
    if is_new {
        return Ok(None);
    }
    match owner(s, identity)? {
        Some(other) if other.id != grant.id => Ok(Some(other.name)),
        _ => {
            remember(s, identity, grant, generation, false)?;
            Ok(None)
        }
    }
}

fn shared_text(other: Option<&str>) -> String {
    other.map_or_else(String::new, |other| {
        format!(" (the provider gave it a token that grant {other} has had too)")
    })
}

/// The grant that has had this identity.
pub(super) fn owner(
    s: &Session<'_>,
    fingerprint: Fingerprint,
) -> Result<Option<Grant>, StoreError> {
    let id: Option<String> = s
        .conn
        .prepare_cached(
            "SELECT g.id FROM fingerprints f JOIN grants g ON g.key = f.grant_key WHERE f.fp = ?1",
        )?
        .query_row([fingerprint.0], |row| row.get(0))
        .optional()?;
    id.map_or(Ok(None), |id| s.find_grant(&GrantId(id)))
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
            "INSERT INTO fingerprints (fp, grant_key, generation, seed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fp) DO UPDATE SET grant_key = excluded.grant_key,
                 generation = excluded.generation, seed = max(seed, excluded.seed)",
        )?
        .execute((fingerprint.0, key_of(&grant.id), signed(generation), seed))?;
    Ok(())
}
