//! Token sets from outside: which make a grant, which renew one, which are refused.

use super::judgement::{self, Judgement, Present, Whose};
use super::{Candidate, Changes, Claim, Entry, Event, Facts};
use crate::enroll::business;
use crate::grant::candidate::highest;
use crate::grant::{Grant, GrantId, GrantState, TokenSet};
use crate::name;
use crate::secret::Fingerprint;
use crate::time::WallTime;
use std::collections::BTreeMap;

/// A token set from outside.
#[derive(Clone, Debug)]
pub struct Import {
    /// The grant's name.
    pub name: String,
    /// Its client.
    pub client: String,
    /// Values of the provider's variables.
    pub vars: BTreeMap<String, String>,
    /// The redirect URI it was begun with, where it differs from the client's.
    pub redirect_uri: Option<String>,
    /// The token set.
    pub tokens: TokenSet,
    /// The state that goes with it; its generation is set here.
    pub state: GrantState,
    /// When the token set was obtained, where that is known.
    pub obtained_at: Option<WallTime>,
    /// Now.
    pub now: WallTime,
    /// Take it even if it is older or of another client.
    pub replace: bool,
    /// A person has just authorized it: it is the newest there is.
    pub authorized: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// A new grant.
    Created,
    /// Another authorization of the grant; doubt and refusal are over.
    Reauthorized,
    /// The grant has had that token set already.
    Unchanged,
}

/// Why a token set is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    /// Not a name.
    #[error("{0:?} cannot name a grant; {rule}", rule = name::RULE)]
    Name(String),
    /// One refresh token belongs to one grant.
    #[error(
        "this token belongs to the grant {other} already; two grants that refresh one token would cut each other off: use {other}, or authorize again for {name}"
    )]
    OtherGrant {
        /// The name it was to have.
        name: String,
        /// The grant that has it.
        other: String,
    },
    /// The grant is another client's.
    #[error(
        "the grant {name} belongs to client {have}, not {wanted}; give it another name, or pass --replace"
    )]
    OtherClient {
        /// The grant.
        name: String,
        /// Its client.
        have: String,
        /// The client of the import.
        wanted: String,
    },
    /// What is there is newer.
    #[error(
        "this token set was obtained at {}, and the one that {name} has was issued at {}; if it is right all the same, pass --replace", obtained.rfc3339(), issued.rfc3339()
    )]
    Older {
        /// The grant.
        name: String,
        /// When the import was obtained.
        obtained: WallTime,
        /// When the current one was issued.
        issued: WallTime,
    },
    /// It would leave the grant with nothing to refresh.
    #[error(
        "this response has no refresh_token, and {name} has one, which would be given up; if that is meant, pass --replace"
    )]
    NothingToRefresh {
        /// The grant.
        name: String,
    },
    /// The grant is another business's.
    #[error(
        "the grant {name} belongs to business {have}, not {wanted}: authorize the other one under another name"
    )]
    OtherBusiness {
        /// The grant.
        name: String,
        /// Its business.
        have: String,
        /// The business of the import.
        wanted: String,
    },
}

/// Takes a token set in, as the next one of the grant that has its name, or as a new grant
/// with that `id`. `identity`: the fingerprint of the token set's identity.
///
/// # Errors
/// Why it is not taken in.
pub fn import(
    entry: Option<&Entry>,
    facts: &Facts,
    import: &Import,
    identity: Fingerprint,
    id: GrantId,
) -> Result<(ImportOutcome, Changes), NotImported> {
    if !name::is_valid(&import.name) {
        return Err(NotImported::Name(import.name.clone()));
    }
    if let Some(entry) = entry.filter(|_| import.authorized) {
        belongs(&entry.grant, import)?;
    }
    let name = || import.name.clone();
    match (judge(entry, facts, import), entry) {
        (Judgement::OtherGrant, _) => {
            let owner = facts.owner.as_ref();
            let other = owner.map_or_else(String::new, |owner| owner.name.clone());
            Err(NotImported::OtherGrant {
                name: name(),
                other,
            })
        }
        (_, None) => Ok((ImportOutcome::Created, create(import, identity, id))),
        (Judgement::Create | Judgement::Reauthorize, Some(entry)) => {
            let changes = reauthorize(entry, facts, import, identity);
            Ok((ImportOutcome::Reauthorized, changes))
        }
        (Judgement::Unchanged, Some(_)) => Ok((ImportOutcome::Unchanged, Changes::default())),
        (Judgement::OtherClient, Some(entry)) => Err(NotImported::OtherClient {
            name: name(),
            have: entry.grant.client.clone(),
            wanted: import.client.clone(),
        }),
        (Judgement::Older, Some(entry)) => Err(NotImported::Older {
            name: name(),
            obtained: import.obtained_at.unwrap_or(import.now),
            issued: entry.grant.state.issued_at,
        }),
        (Judgement::NothingToRefresh, Some(_)) => {
            Err(NotImported::NothingToRefresh { name: name() })
        }
    }
}

fn judge(entry: Option<&Entry>, facts: &Facts, import: &Import) -> Judgement {
    let whose = match &facts.owner {
        None => Whose::Nobody,
        Some(owner) if owner.name == import.name => Whose::Same,
        Some(_) => Whose::Other,
    };
    match import.authorized {
        true => judgement::judge_authorized(whose, entry.is_some()),
        false => {
            let present = entry.map(|entry| present(entry, import));
            judgement::judge(whose, present, import.obtained_at, import.replace)
        }
    }
}

/// A grant that is not configured is whose it was begun for: nobody's authorization
/// takes it over.
fn belongs(grant: &Grant, import: &Import) -> Result<(), NotImported> {
    if import.state.configured {
        return Ok(());
    }
    if grant.client != import.client {
        return Err(NotImported::OtherClient {
            name: grant.name.clone(),
            have: grant.client.clone(),
            wanted: import.client.clone(),
        });
    }
    let business = |vars: &BTreeMap<String, String>| vars.get(business::VARIABLE).cloned();
    match (business(&grant.vars), business(&import.vars)) {
        (Some(have), Some(wanted)) if have != wanted => Err(NotImported::OtherBusiness {
            name: grant.name.clone(),
            have,
            wanted,
        }),
        _ => Ok(()),
    }
}

/// The grant that it is brought for, as far as that matters.
fn present<'a>(entry: &'a Entry, import: &Import) -> Present<'a> {
    let tokens = entry.tokens.as_ref();
    let has_one = tokens.is_some_and(|tokens| tokens.refresh_token.is_some());
    Present {
        state: &entry.grant.state,
        same_client: entry.grant.client == import.client,
        gives_up_refresh: has_one && import.tokens.refresh_token.is_none(),
        mends: mends(entry, import),
    }
}

/// Whether it brings the current token set once more with something else beside it, as an
/// operator may who had given a wrong code, variable or redirect URI.
fn mends(entry: &Entry, import: &Import) -> bool {
    let Some(current) = entry.tokens.as_ref().filter(|_| import.replace) else {
        return false;
    };
    let same_set = current.identity() == import.tokens.identity();
    let same_beside = current.code == import.tokens.code
        && entry.grant.vars == import.vars
        && entry.grant.redirect_uri == import.redirect_uri;
    same_set && !same_beside
}

fn create(import: &Import, identity: Fingerprint, id: GrantId) -> Changes {
    let state = GrantState {
        generation: 1,
        ..import.state.clone()
    };
    let kind = ["imported", "authorized"][usize::from(import.authorized)];
    take_in(import, identity, id, 1, state, kind)
}

fn reauthorize(entry: &Entry, facts: &Facts, import: &Import, identity: Fingerprint) -> Changes {
    let grant = &entry.grant;
    // A slip in the name must not cost a refresh token.
    let replaced = entry.tokens.as_ref();
    let replaced = replaced.filter(|old| old.identity() != import.tokens.identity());
    let keep: Vec<Candidate> = replaced
        .map(|old| Candidate::replaced(grant, old, facts.fresh, import.now))
        .into_iter()
        .collect();
    // Nothing that is kept is to be taken for newer, nor to be tried: it may be another account's.
    let kept: Vec<_> = (entry.candidates.iter().chain(&keep))
        .map(Candidate::kept)
        .collect();
    let generation = highest(grant.state.generation, &kept) + 1;
    let kept_refresh_at = import.state.kept_refresh_at.map(|_| generation);
    let chances_from = match kept_refresh_at {
        Some(_) => import.state.chances_from,
        None => generation,
    };
    let state = GrantState {
        generation,
        chances_from,
        kept_refresh_at,
        ..import.state.clone()
    };
    let (id, revision) = (grant.id.clone(), grant.revision + 1);
    let changes = take_in(import, identity, id, revision, state, "reauthorized");
    Changes { keep, ..changes }
}

fn take_in(
    import: &Import,
    identity: Fingerprint,
    id: GrantId,
    revision: u64,
    state: GrantState,
    kind: &str,
) -> Changes {
    let event = Event {
        at: import.now,
        kind: kind.to_owned(),
        text: String::new(),
    };
    Changes {
        claim: Some(Claim {
            fingerprint: identity,
            generation: state.generation,
            seed: true,
        }),
        grant: Some(Grant {
            id,
            name: import.name.clone(),
            client: import.client.clone(),
            vars: import.vars.clone(),
            redirect_uri: import.redirect_uri.clone(),
            revision,
            state,
        }),
        tokens: Some(import.tokens.clone()),
        event: Some((event, None)),
        ..Changes::default()
    }
}
