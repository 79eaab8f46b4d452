//! What an operator asks of a grant by hand: to try it, to revoke it, to take it away.

use super::server::{Desk, look, refresh_within, stopping};
use crate::config::active::seat_of;
use crate::config::grant_places;
use crate::engine::ending::{Ended, Revoking};
use crate::engine::message::{Message, Wish};
use crate::engine::perform::registration;
use crate::exit::{Exit, Failure, internal};
use crate::service::api::{Done, Operation, VerifyRequest};
use crate::service::verify::{Verdict, Verified, verify};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::grant::revocation::{Told, read};
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::provider::Ending;
use refreshd_core::provider::request::revocation;
use std::time::Duration;

/// An exchange that is under way gives back its place before.
const FLIGHT_WAIT: Duration = Duration::from_secs(45);
/// How long outputs may take to be withdrawn while somebody waits.
const WITHDRAWAL: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/verify", post(try_token))
        .route("/v1/revoke", post(revoke))
        .route("/v1/remove", post(remove))
}

async fn try_token(
    State(desk): State<Desk>,
    Json(request): Json<VerifyRequest>,
) -> Result<Json<Verified>, Failure> {
    let (name, deck) = (&request.grant, &desk.reloader.deck);
    let look = look(&desk, name).await?;
    let seat = seat_of(&look.grant, &desk.reloader.config());
    let seat = seat.ok_or_else(|| internal(format!("{name} has lost its client")))?;
    let loaded = deck.store.load(&look.grant.id).await.map_err(internal)?;
    let (grant, tokens) = loaded.ok_or_else(|| crate::exit::no_such_grant(name))?;
    let mut verified = verify(deck, &seat, &grant, tokens.as_ref()).await?;
    if verified.verdict == Verdict::Refused && request.refresh {
        let wish = Wish {
            grant: name.clone(),
            urgency: Urgency::Rejected,
            generation: Some(verified.generation),
        };
        let refreshed = refresh_within(&desk, wish, 2 * EXCHANGE_LIMIT).await;
        let refreshed = refreshed.map_err(|e| {
            let text = format!(
                "{name}: {}, and it was not replaced: {}",
                verified.text, e.message
            );
            Failure::new(e.exit, text)
        })?;
        verified.verdict = Verdict::Works;
        verified.text = format!(
            "{}; it was replaced: generation {} until {}",
            verified.text, refreshed.generation, refreshed.expires_at
        );
        verified.generation = refreshed.generation;
    }
    Ok(Json(verified))
}

async fn revoke(
    State(desk): State<Desk>,
    Json(operation): Json<Operation>,
) -> Result<Json<Done>, Failure> {
    if !operation.confirmed {
        let found = begin(&desk, &operation.grant, false).await?;
        let (name, seat) = (&found.grant.name, &found.seat);
        let provider = &seat.client.description.name;
        let message = format!("revoke {name} at {provider}? consumers will lose their access");
        return Ok(Json(Done { message }));
    }
    // It goes to its end, whether or not whoever asked goes on waiting.
    let carried = tokio::spawn(async move { carry_out(&desk, &operation.grant).await });
    carried.await.map_err(internal)?.map(Json)
}

/// An exchange that is under way is waited for: what it brings is to be revoked as well.
async fn begin(desk: &Desk, name: &str, meant: bool) -> Result<Box<Revoking>, Failure> {
    let deadline = tokio::time::Instant::now() + FLIGHT_WAIT;
    loop {
        let message = |reply| Message::BeginRevocation(name.to_owned(), meant, reply);
        match desk.engine.ask(message).await.map_err(stopping)?? {
            Some(begun) => return Ok(begun),
            None if tokio::time::Instant::now() > deadline => return Err(under_way(name)),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn under_way(name: &str) -> Failure {
    let text = format!("{name}: an exchange is under way; nothing was done, try again");
    Failure::new(Exit::TempFail, text)
}

async fn carry_out(desk: &Desk, name: &str) -> Result<Done, Failure> {
    let revoking = *begin(desk, name, true).await?;
    let told = send(desk, &revoking).await;
    let provider = revoking.seat.client.description.name.clone();
    let late = match revoking.overdue {
        true => {
            "; an exchange that began before may still bring another refresh token: revoke it again in ten minutes"
        }
        false => "",
    };
    let before = revoking.before.is_some();
    let result = match &told {
        Told::Revoked => Ok(Done {
            message: format!(
                "{name}: revoked, as {provider} has confirmed; it is not refreshed any more, and its outputs follow when_dead{late}"
            ),
        }),
        Told::Unknown { text } => Err(Failure::new(
            Exit::TempFail,
            format!(
                "{name}: whether {provider} has revoked it is not known: {text}; it is not refreshed any more. Run `refreshd revoke {name}` again until that is confirmed{late}"
            ),
        )),
        Told::NotRevoked { text, passing } => {
            let exit = if *passing {
                Exit::Unavailable
            } else {
                Exit::NoPermission
            };
            let stays = match before {
                true => "it stays as it was",
                false => "it is refreshed and published as before",
            };
            Err(Failure::new(
                exit,
                format!("{name}: not revoked at {provider}: {text}; {stays}"),
            ))
        }
    };
    let ended = Box::new(Ended { revoking, told });
    let message = |reply| Message::EndRevocation(ended, reply);
    let written = desk.engine.ask(message).await.map_err(stopping)?;
    match (result, written) {
        (Ok(_), Err(failure)) => Err(failure),
        (result, _) => result,
    }
}

async fn send(desk: &Desk, revoking: &Revoking) -> Told {
    let deck = &desk.reloader.deck;
    let seat = &revoking.seat;
    let description = &seat.client.description;
    let not_sent = |text: String| Told::NotRevoked {
        text,
        passing: true,
    };
    let tokens = match deck.store.load(&revoking.grant.id).await {
        Ok(Some((_, Some(tokens)))) => tokens,
        Ok(_) => return not_sent("it has no token set".to_owned()),
        Err(e) => return not_sent(e.to_string()),
    };
    let request = match revocation(description, &registration(seat), &seat.vars, &tokens) {
        Ok(Some(request)) => request,
        Ok(None) => return not_sent("no revocation endpoint is known".to_owned()),
        Err(e) => return not_sent(format!("revoke.url: {e}")),
    };
    let exchange = (deck.http).exchange(&seat.client, request, || deck.clock.wall());
    let ending = tokio::time::timeout(EXCHANGE_LIMIT, exchange).await;
    let ending = ending.unwrap_or_else(|_| Ending::Lost {
        text: format!("no answer within {} s", EXCHANGE_LIMIT.as_secs()),
    });
    read(description, &ending)
}

async fn remove(
    State(desk): State<Desk>,
    Json(operation): Json<Operation>,
) -> Result<Json<Done>, Failure> {
    let name = operation.grant.clone();
    if desk.reloader.config().grants.contains_key(&name) {
        return Err(still_configured(&desk, &name));
    }
    let removed = tokio::spawn(async move { take_away(&desk, &operation).await });
    removed.await.map_err(internal)?.map(Json)
}

/// Which line to take out first.
fn still_configured(desk: &Desk, name: &str) -> Failure {
    let places = grant_places(desk.reloader.sources(), name);
    let text = match places.is_empty() {
        true => format!(
            "{name} is in the configuration that is in force, and in no file any more; run `refreshd reload`, then this again"
        ),
        false => format!(
            "{name} is in the configuration: take it out of {}, run `refreshd reload`, then this again",
            places.join(" and ")
        ),
    };
    Failure::new(Exit::Data, text)
}

async fn take_away(desk: &Desk, operation: &Operation) -> Result<Done, Failure> {
    let name = &operation.grant;
    let deadline = tokio::time::Instant::now() + FLIGHT_WAIT;
    loop {
        let message = |reply| Message::Remove(name.clone(), operation.confirmed, reply);
        match desk.engine.ask(message).await.map_err(stopping)?? {
            true => break,
            false if tokio::time::Instant::now() > deadline => return Err(under_way(name)),
            false => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    if !operation.confirmed {
        let message = format!(
            "remove {name}? its tokens and its history are deleted and its outputs withdrawn; the authorization itself is not revoked"
        );
        return Ok(Done { message });
    }
    desk.reloader.retarget(&desk.engine).await;
    let left = desk.reloader.withdrawn(name, WITHDRAWAL).await;
    if left.is_empty() {
        let message = format!("{name}: removed, and nothing of it is published any more");
        return Ok(Done { message });
    }
    Err(Failure::new(
        Exit::CannotCreate,
        format!(
            "{name}: removed from the state; not withdrawn yet, which is tried until it works: {}",
            left.join("; ")
        ),
    ))
}
