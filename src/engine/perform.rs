//! The exchanges that the engine has driven: a refresh, and an answer that is read again.

use crate::config::active::{Seat, binding_of};
use crate::exchange::{Deck, Late, Teller, adopt, fly, registration, rules};
use crate::random;
use crate::state::{StoreError, Unread};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::grant::{OfGrant, Verdict};
use refreshd_core::flight::settle::Rules;
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::{Binding, Grant, GrantState, Presents, TokenSet, presentation};
use refreshd_core::provider::request::{self, Registration, RequestError, TokenRequest};

/// What one flight is about.
#[derive(Clone)]
pub struct Assignment {
    /// The grant as the engine knows it.
    pub grant: Grant,
    /// Its client, schedule and variables as the configuration has them.
    pub seat: Seat,
}

/// How a flight ended, for the engine.
#[derive(Debug)]
pub enum Landing {
    /// The flight's own verdict.
    Verdict(Verdict),
    /// There was nothing to do after all.
    Idle,
    /// It could not begin: the grant cannot be read, or its request not be built.
    Grounded {
        /// Why, for people.
        text: String,
    },
}

/// Refreshes a grant, or finds that there is nothing to do.
pub(super) async fn refresh(
    deck: &Deck,
    assignment: Assignment,
    midway: Teller<'_, OfGrant>,
    late: &mut Late,
) -> Landing {
    let Assignment { grant, seat } = assignment;
    late.seen = deck.late_answers.count(&grant.id);
    match begin(deck, &seat, grant).await {
        Ok((exchange, request)) => {
            let verdict = fly(deck, &seat.client, exchange, request, late, midway).await;
            Landing::Verdict(verdict)
        }
        Err(text) => grounded(text),
    }
}

/// The exchange, and the request that it is to send.
async fn begin(
    deck: &Deck,
    seat: &Seat,
    grant: Grant,
) -> Result<(Exchange<OfGrant>, TokenRequest), String> {
    if let Some(lacks) = &seat.client.lacks {
        return Err(lacks.clone());
    }
    let loaded = deck.store.load_known(grant).await;
    let loaded = loaded.map_err(|e| e.to_string())?;
    let (grant, tokens) = loaded.ok_or("the grant is gone from the store")?;
    let tokens = tokens.unwrap_or_else(TokenSet::none);
    let presents = presentation::next(&grant.state, &seat.policy, deck.clock.wall())
        .ok_or("there is nothing to present")?;
    let request = request(&grant.state, seat, presents, &tokens).map_err(|e| e.to_string())?;
    may_leave(&grant, seat, presents, &request)?;
    let intent = intent(deck, seat, &grant, presents);
    let rules = rules(deck, &seat.client, seat.policy.clone());
    Ok((
        Exchange::<OfGrant>::new(intent, grant, tokens, rules),
        request,
    ))
}

/// The request that presents this for a grant.
///
/// # Errors
/// When the description cannot be filled for it.
pub fn request(
    state: &GrantState,
    seat: &Seat,
    presents: Presents,
    tokens: &TokenSet,
) -> Result<TokenRequest, RequestError> {
    let registration = Registration {
        unencoded: state.unencoded,
        ..registration(seat)
    };
    let (description, vars) = (&seat.client.description, &seat.vars);
    match presents {
        Presents::RefreshToken(_) => request::refresh(description, &registration, vars, tokens),
        Presents::ClientCredentials => {
            request::client_credentials(description, &registration, vars)
        }
        // An enrolment's, and made there.
        Presents::Code(_) => Err(RequestError::NothingToPresent),
    }
}

/// Reads an answer once more that could not be read by an earlier description.
/// Nothing is sent.
pub async fn read_again(deck: &Deck, assignment: Assignment) -> Landing {
    let client = &assignment.seat.client;
    let kept = async {
        let loaded = deck.store.load(&assignment.grant.id).await?;
        let unread = deck.store.unread(&assignment.grant.id).await?;
        Ok::<_, StoreError>(loaded.zip(Some(unread)))
    };
    let ((grant, tokens), unread) = match kept.await {
        Ok(Some(kept)) => kept,
        Ok(None) => return Landing::Idle,
        Err(e) => return grounded(e.to_string()),
    };
    let answers = unread.iter().map(|kept| (&kept.intent, &kept.answer));
    let (description, hash) = (&client.description, &client.hash);
    let newest = Intent::newest_unread(answers, &grant.state, description, hash);
    let Some(newest) = newest else {
        return Landing::Idle;
    };
    let newest = &unread[newest];
    let flight = newest.flight;
    let now = deck.clock.stamp();
    let mut intent = newest
        .intent
        .clone()
        .again(&grant.state, client.hash.clone());
    if deck.store.fence().is_some() {
        intent = intent.in_restored_store(&now);
    }
    let rules = rules(deck, client, assignment.seat.policy.clone());
    let tokens = tokens.unwrap_or_else(TokenSet::none);
    let answer = Some(newest.answer.clone());
    let (read, before) = (intent.clone(), grant.state.clone());
    let found = Exchange::<OfGrant>::recovered(intent, answer, grant, tokens, rules.clone(), &now);
    let verdict = adopt(deck, None, found, None, &|_| ()).await;
    if let Verdict::Landed {
        kind: OutcomeKind::Success,
        ..
    } = &verdict
    {
        for other in unread
            .iter()
            .filter(|other| other.intent.is_beside(&read, &before))
        {
            read_beside(deck, other, &read, &before, &rules).await;
        }
    }
    if !matches!(
        &verdict,
        Verdict::Landed {
            kind: OutcomeKind::Unread,
            ..
        }
    ) && let Err(e) = deck.store.forget_unread(flight).await
    {
        tracing::warn!("an answer that has been read stays in the store: {e}");
    }
    Landing::Verdict(verdict)
}

/// Reads an answer that was kept beside the one that is the grant's token set by now:
/// what it brought is a candidate.
async fn read_beside(
    deck: &Deck,
    other: &Unread,
    read: &Intent,
    before: &GrantState,
    rules: &Rules,
) {
    let now = deck.clock.stamp();
    let mut intent = (other.intent.clone()).again(before, read.description.clone());
    if deck.store.fence().is_some() {
        intent = intent.in_restored_store(&now);
    }
    let (grant, tokens) = match deck.store.load(&intent.grant).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return,
        Err(e) => return tracing::warn!("an answer that is kept could not be read: {e}"),
    };
    let (answer, tokens) = (
        Some(other.answer.clone()),
        tokens.unwrap_or_else(TokenSet::none),
    );
    let found = Exchange::<OfGrant>::recovered(intent, answer, grant, tokens, rules.clone(), &now);
    let _candidate = adopt(deck, None, found, None, &|_| ()).await;
    if let Err(e) = deck.store.forget_unread(other.flight).await {
        tracing::warn!("an answer that has been read stays in the store: {e}");
    }
}

/// The last look before a refresh token leaves: it goes to nobody but the client
/// and origin that it is bound to, whatever was reloaded or imported meanwhile.
fn may_leave(
    grant: &Grant,
    seat: &Seat,
    presents: Presents,
    request: &TokenRequest,
) -> Result<(), String> {
    if grant.state.pause.is_some() {
        return Err("it is paused".to_owned());
    }
    let to = match presents {
        Presents::RefreshToken(_) => Binding {
            client_id: seat.client.client_id.clone(),
            origin: request.origin(),
        },
        Presents::ClientCredentials | Presents::Code(_) => binding_of(seat)?,
    };
    match &grant.state.binding {
        Some(bound) if *bound != to => Err(format!(
            "its refresh token belongs to client {} at {}",
            bound.client_id, bound.origin
        )),
        _ => Ok(()),
    }
}

fn grounded(text: String) -> Landing {
    Landing::Grounded { text }
}

fn intent(deck: &Deck, seat: &Seat, grant: &Grant, presents: Presents) -> Intent {
    Intent::new(
        ExchangeId(random::bytes()),
        grant,
        presents,
        deck.clock.stamp(),
        seat.client.hash.clone(),
        u64::from_le_bytes(random::bytes()),
    )
}
