//! What is kept of providers' answers, over the control socket.

use super::server::Desk;
use crate::engine::message::Message;
use crate::exit::{Failure, internal};
use crate::service::answers::{self, KeptInFull};
use crate::service::api::{Done, KeptRequest};
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/answers", get(list))
        .route("/v1/answers/drop", post(drop_one))
}

/// In full: whoever may use the socket owns the state.
async fn list(
    State(desk): State<Desk>,
    Query(request): Query<KeptRequest>,
) -> Result<Json<Vec<KeptInFull>>, Failure> {
    let store = &desk.reloader.deck.store;
    let all = answers::all(store, request.grant.as_deref()).await;
    all.map(Json).map_err(internal)
}

async fn drop_one(
    State(desk): State<Desk>,
    Json(request): Json<KeptRequest>,
) -> Result<Json<Done>, Failure> {
    let id = request.id.unwrap_or_default();
    let deck = &desk.reloader.deck;
    let (store, now) = (&deck.store, deck.clock.wall());
    let forgotten = answers::forget(store, &id, request.became, now).await;
    if let Some(grant) = forgotten.map_err(internal)? {
        desk.engine.tell(Message::Changed(Box::new(grant)));
    }
    Ok(Json(Done {
        message: format!("{id}: dropped"),
    }))
}
