//! How an exchange ends for its grant: it is applied, or came too late and is kept.

use super::{Candidate, Changes, Claim, Entry, Event, Facts, Owner, UnreadAnswer};
use crate::flight::{ExchangeId, Intent, Settlement, Standing};
use crate::grant::candidate::Kept;
use crate::grant::{Grant, GrantState};
use crate::secret::Fingerprint;

/// What an exchange came to; or, without an intent, a change of the state alone.
#[derive(Clone, Copy, Debug)]
pub struct Settle<'a> {
    /// The revision of the grant that the settlement rests on.
    pub base_revision: u64,
    /// What is to become of the grant.
    pub settlement: &'a Settlement,
    /// The exchange.
    pub intent: Option<&'a Intent>,
    /// The line of history.
    pub event: &'a Event,
    /// The fingerprint of the new token set's identity.
    pub identity: Option<Fingerprint>,
}

/// A state whose generation is neither the grant's nor the next one, or the next one
/// without its token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("generations only rise, by one: the grant is at {have}, and was to become {wanted}")]
pub struct NotTheNext {
    /// The grant's.
    pub have: u64,
    /// The settlement's.
    pub wanted: u64,
}

impl Settle<'_> {
    /// Whether it can be settled without the grant's current token set; `grant`: as it is.
    #[must_use]
    pub fn needs_tokens(&self, grant: &Grant) -> bool {
        match self.settlement.standing(grant, self.base_revision) {
            Standing::Outdated => false,
            Standing::Current => self.asks_anew(grant) || self.displaced(grant).is_some(),
            Standing::Superseded => grant.state.kept_refresh_at.is_some(),
        }
    }

    fn flight(&self) -> Option<ExchangeId> {
        self.intent.map(|intent| intent.flight)
    }

    /// The client's own asking takes the place of a person's authorization.
    fn asks_anew(&self, grant: &Grant) -> bool {
        self.settlement.state.own && !grant.state.own
    }

    fn displaced(&self, grant: &Grant) -> Option<Kept> {
        let presented = self.intent?.presents;
        self.settlement
            .displaces(&grant.state, presented, self.event.at)
    }
}

/// Ends an exchange: what becomes of it, and what is to be written.
///
/// # Errors
/// [`NotTheNext`]: a mistake of whoever settled it.
pub fn settle(
    entry: &Entry,
    facts: &Facts,
    settle: &Settle<'_>,
) -> Result<(Standing, Changes), NotTheNext> {
    let standing = settle
        .settlement
        .standing(&entry.grant, settle.base_revision);
    let changes = match standing {
        Standing::Current => apply(entry, facts, settle)?,
        Standing::Outdated => Changes::default(),
        Standing::Superseded => come_late(entry, facts, settle),
    };
    Ok((standing, changes))
}

fn apply(entry: &Entry, facts: &Facts, settle: &Settle<'_>) -> Result<Changes, NotTheNext> {
    let (grant, settlement) = (&entry.grant, settle.settlement);
    let (have, wanted) = (grant.state.generation, settlement.state.generation);
    // The next generation needs its token set: the old one is sealed for the old number.
    let fits = wanted == have || (wanted == have + 1 && settlement.tokens.is_some());
    if !fits {
        return Err(NotTheNext { have, wanted });
    }
    let (mut event, mut changes) = (settle.event.clone(), Changes::default());
    if let Some(replaced) = replaced(entry, facts, settle) {
        event.text += " (the refresh token that it takes the place of is kept)";
        changes.keep.push(replaced);
    }
    let mut state = settlement.state.clone();
    // The identity that the grant has already is its own.
    let identity = settle
        .identity
        .filter(|new| grant.state.presents != Some(*new));
    if let Some(identity) = identity {
        let other = claim(&mut changes, grant, facts.owner.as_ref(), identity, wanted);
        event.text += &shared_text(other);
        // Two clients' own tokens may well be the same, and nobody is cut off.
        let tokens = settlement.tokens.as_ref();
        let presented = tokens.is_some_and(|tokens| tokens.refresh_token.is_some());
        state.shared_with = other.filter(|_| presented).map(str::to_owned);
    }
    changes.answer = kept_answer(grant, settle);
    changes.tokens.clone_from(&settlement.tokens);
    changes.grant = Some(next(grant, state));
    changes.event = Some((event, settle.flight()));
    Ok(changes)
}

/// The grant's token set, where another takes the place of a refresh token that was not
/// exchanged for it: refused, in doubt or over, it is kept all the same.
fn replaced(entry: &Entry, facts: &Facts, settle: &Settle<'_>) -> Option<Candidate> {
    let (grant, at) = (&entry.grant, settle.event.at);
    let tokens = entry.tokens.as_ref()?;
    let whole = Candidate::replaced(grant, tokens, facts.fresh, at);
    if let Some(kept) = settle.displaced(grant) {
        let description = settle.intent.map(|intent| intent.description.clone());
        return Some(Candidate {
            base_generation: kept.base_generation,
            refused: kept.refused,
            description: description.filter(|_| !kept.refused),
            ..whole
        });
    }
    (settle.asks_anew(grant) && tokens.refresh_token.is_some()).then_some(whole)
}

/// The grant has another generation by now: what the exchange brought is a candidate.
fn come_late(entry: &Entry, facts: &Facts, settle: &Settle<'_>) -> Changes {
    let (grant, settlement) = (&entry.grant, settle.settlement);
    let (mut event, mut changes) = (settle.event.clone(), Changes::default());
    let owner = facts.owner.as_ref();
    let mut tokens = settlement.tokens.as_ref();
    if tokens.is_some() && owner.is_some_and(|owner| owner.is(grant)) {
        // A record that came back, or a replay: it has been exchanged since, or is
        // current, or waits to be tried already. To try it (again) would be wrong.
        tokens = None;
        event.text += " (the grant has had this token set before)";
    }
    let brings = tokens.is_some() || settlement.unread.is_some();
    if brings {
        changes.keep.push(Candidate {
            flight: settle.flight().unwrap_or(facts.fresh),
            base_generation: settlement.base_generation(),
            tokens: tokens.cloned(),
            answer: settlement.unread.clone(),
            description: settle.intent.map(|intent| intent.description.clone()),
            refused: false,
            binding: settlement.state.binding.clone(),
            at: event.at,
        });
    }
    if let Some(identity) = settle.identity.filter(|_| tokens.is_some()) {
        let generation = settlement.state.generation;
        let other = claim(&mut changes, grant, owner, identity, generation);
        event.text += &shared_text(other);
    }
    if brings {
        event.text += " (the grant had moved on; kept as a candidate)";
    }
    let mut state = None;
    if let Some((changed, tokens)) = heed_kept(entry, settle) {
        event.text += match tokens {
            Some(_) => " (it brought the next refresh token, which the grant goes on with)",
            None => " (it presented the refresh token that the grant has kept)",
        };
        (state, changes.tokens) = (Some(changed), tokens);
    }
    let before = state.as_ref().unwrap_or(&grant.state);
    if let Some(overtaken) = settlement.overtakes(before) {
        if overtaken.access_dead && !before.access_dead {
            event.text += " (it may have ended the access token that an earlier request brought)";
        }
        state = Some(overtaken);
    }
    changes.grant = state.map(|state| next(grant, state));
    if brings || settle.intent.is_some() {
        changes.event = Some((event, settle.flight()));
    }
    changes
}

/// An authorization that kept the refresh token came between: what the exchange did to it.
fn heed_kept(
    entry: &Entry,
    settle: &Settle<'_>,
) -> Option<(GrantState, Option<crate::grant::TokenSet>)> {
    let state = &entry.grant.state;
    state.kept_refresh_at?;
    let (presents, tokens) = (settle.intent?.presents, entry.tokens.as_ref()?);
    (settle.settlement).concerns_kept(presents, (state, tokens))
}

fn kept_answer(grant: &Grant, settle: &Settle<'_>) -> Option<UnreadAnswer> {
    let (answer, intent) = (settle.settlement.unread.as_ref()?, settle.intent?);
    Some(UnreadAnswer {
        intent: intent.clone(),
        generation: grant.state.generation,
        answer: answer.clone(),
        at: settle.event.at,
    })
}

fn next(grant: &Grant, state: GrantState) -> Grant {
    Grant {
        revision: grant.revision + 1,
        state,
        ..grant.clone()
    }
}

/// Claims a token for the grant. One that another grant has had is not refused here:
/// losing it would be worse. Returns that grant's name.
fn claim<'a>(
    changes: &mut Changes,
    grant: &Grant,
    owner: Option<&'a Owner>,
    fingerprint: Fingerprint,
    generation: u64,
) -> Option<&'a str> {
    match owner.filter(|owner| !owner.is(grant)) {
        Some(other) => Some(&other.name),
        None => {
            changes.claim = Some(Claim {
                fingerprint,
                generation,
                seed: false,
            });
            None
        }
    }
}

fn shared_text(other: Option<&str>) -> String {
    other.map_or_else(String::new, |other| {
        format!(" (the provider gave it a token that grant {other} has had too)")
    })
}
