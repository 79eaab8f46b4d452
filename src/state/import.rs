//! Token sets from outside: which make a grant, which renew one, which are refused.

use super::commit::{owner, remember};
use super::error::StoreError;
use super::history::{self, Event};
use super::kept;
use super::records::key_of;
use super::writer::Session;
use refreshd_core::enroll::business;
use refreshd_core::grant::candidate::{Kept, highest};
use refreshd_core::grant::import::{Judgement, Owner, Present, judge, judge_authorized};
use refreshd_core::grant::{Grant, GrantState, TokenSet};
use refreshd_core::name;
use refreshd_core::time::WallTime;
use std::collections::BTreeMap;

/// A token set from outside.
#[derive(Clone, Debug)]
pub struct ImportRequest {
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
    /// The state that goes with it; its generation is the store's to set.
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
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A grant that is not configured is whose it was begun for: nobody's authorization
/// takes it over.
fn belongs(grant: &Grant, request: &ImportRequest) -> Result<(), ImportRefusal> {
    if request.state.configured {
        return Ok(());
    }
    if grant.client != request.client {
        return Err(ImportRefusal::OtherClient {
            name: grant.name.clone(),
            have: grant.client.clone(),
            wanted: request.client.clone(),
        });
    }
    let business = |vars: &BTreeMap<String, String>| vars.get(business::VARIABLE).cloned();
    match (business(&grant.vars), business(&request.vars)) {
        (Some(have), Some(wanted)) if have != wanted => Err(ImportRefusal::OtherBusiness {
            name: grant.name.clone(),
            have,
            wanted,
        }),
        _ => Ok(()),
    }
}

pub(super) fn import(s: &Session<'_>, request: ImportRequest) -> Result<Imported, ImportRefusal> {
    s.saw(request.now);
    if !name::is_valid(&request.name) {
        return Err(ImportRefusal::Name(request.name));
    }
    let fingerprint = s.fingerprints.of(request.tokens.identity());
    let known = owner(s, fingerprint)?;
    let whose = match &known {
        None => Owner::Nobody,
        Some(grant) if grant.name == request.name => Owner::Same,
        Some(_) => Owner::Other,
    };
    let grant = s.grant_named(&request.name)?;
    let present = match &grant {
        None => None,
        Some(grant) => Some(present(s, grant, &request)?),
    };
    if let Some(grant) = grant.as_ref().filter(|_| request.authorized) {
        belongs(grant, &request)?;
    }
    let judgement = match request.authorized {
        true => judge_authorized(whose, present.is_some()),
        false => judge(whose, present, request.obtained_at, request.replace),
    };
    let Some(grant) = grant else {
        return match (judgement, known) {
            (Judgement::OtherGrant, Some(other)) => Err(other_grant(request.name, other.name)),
            _ => Ok(Imported::Created(create(s, request)?)),
        };
    };
    match judgement {
        Judgement::Create | Judgement::Reauthorize => {
            Ok(Imported::Reauthorized(reauthorize(s, grant, request)?))
        }
        Judgement::Unchanged => Ok(Imported::Unchanged(grant)),
        Judgement::OtherGrant => {
            let other = known.map_or_else(String::new, |other| other.name);
            Err(other_grant(request.name, other))
        }
        Judgement::OtherClient => Err(ImportRefusal::OtherClient {
            name: grant.name,
            have: grant.client,
            wanted: request.client,
        }),
        Judgement::Older => Err(ImportRefusal::Older {
            name: grant.name,
            obtained: request.obtained_at.unwrap_or(request.now),
            issued: grant.state.issued_at,
        }),
        Judgement::NothingToRefresh => Err(ImportRefusal::NothingToRefresh { name: grant.name }),
    }
}

fn other_grant(name: String, other: String) -> ImportRefusal {
    ImportRefusal::OtherGrant { name, other }
}

/// The grant that it is brought for, as far as that matters.
fn present<'a>(
    s: &Session<'_>,
    grant: &'a Grant,
    request: &ImportRequest,
) -> Result<Present<'a>, StoreError> {
    let has_one = s.tokens(grant)?.is_some_and(|t| t.refresh_token.is_some());
    Ok(Present {
        state: &grant.state,
        same_client: grant.client == request.client,
        gives_up_refresh: has_one && request.tokens.refresh_token.is_none(),
        mends: mends(s, grant, request)?,
    })
}

/// Whether it brings the current token set once more with something else beside
/// it, as an operator may who had given a wrong code, variable or redirect URI.
fn mends(s: &Session<'_>, grant: &Grant, request: &ImportRequest) -> Result<bool, StoreError> {
    let Some(current) = s.tokens(grant)?.filter(|_| request.replace) else {
        return Ok(false);
    };
    let same_set = current.identity() == request.tokens.identity();
    let same_beside = current.code == request.tokens.code
        && grant.vars == request.vars
        && grant.redirect_uri == request.redirect_uri;
    Ok(same_set && !same_beside)
}

fn create(s: &Session<'_>, request: ImportRequest) -> Result<Grant, StoreError> {
    let grant = Grant {
        id: s.new_id()?,
        name: request.name,
        client: request.client,
        vars: request.vars,
        redirect_uri: request.redirect_uri,
        revision: 1,
        state: GrantState {
            generation: 1,
            ..request.state
        },
    };
    s.insert_grant(&grant, request.now)?;
    let kind = ["imported", "authorized"][usize::from(request.authorized)];
    take_in(s, &grant, &request.tokens, request.now, kind)?;
    Ok(grant)
}

fn reauthorize(
    s: &Session<'_>,
    mut grant: Grant,
    request: ImportRequest,
) -> Result<Grant, StoreError> {
    // A slip in the name must not cost a refresh token.
    let replaced = s.tokens(&grant)?;
    if let Some(replaced) = replaced.filter(|old| old.identity() != request.tokens.identity()) {
        kept::keep_replaced(s, &grant, &replaced, request.now)?;
    }
    let kept = kept::candidates(s, &grant.id)?;
    let kept: Vec<Kept> = kept.iter().map(|candidate| candidate.kept()).collect();
    // Nothing that is kept is to be taken for newer, nor to be tried: it may be another account's.
    let generation = highest(grant.state.generation, &kept) + 1;
    grant.client = request.client;
    grant.vars = request.vars;
    grant.redirect_uri = request.redirect_uri;
    grant.revision += 1;
    let kept_refresh_at = request.state.kept_refresh_at.map(|_| generation);
    let chances_from = match kept_refresh_at {
        Some(_) => request.state.chances_from,
        None => generation,
    };
    grant.state = GrantState {
        generation,
        chances_from,
        kept_refresh_at,
        ..request.state
    };
    s.conn
        .prepare_cached("UPDATE grants SET imported_at = ?2 WHERE key = ?1")?
        .execute((key_of(&grant.id), request.now.0))?;
    take_in(s, &grant, &request.tokens, request.now, "reauthorized")?;
    Ok(grant)
}

fn take_in(
    s: &Session<'_>,
    grant: &Grant,
    tokens: &TokenSet,
    at: WallTime,
    kind: &str,
) -> Result<(), StoreError> {
    s.write_grant(grant, Some(tokens))?;
    let fingerprint = s.fingerprints.of(tokens.identity());
    remember(s, fingerprint, grant, grant.state.generation, true)?;
    let event = Event {
        at,
        kind: kind.to_owned(),
        text: String::new(),
    };
    history::record(s, grant, None, &event)
}
