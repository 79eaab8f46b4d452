//! Authorizations over the control socket.

use super::server::Desk;
use crate::enroll::{Approve, Begin, Begun, Report, Word, parse_id};
use crate::exit::{Exit, Failure};
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use refreshd_core::enroll::EnrollmentId;
use refreshd_core::enroll::{callback, paste};
use refreshd_core::secret::Secret;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest that a request waits for an enrolment to turn.
const WAIT_CAP: Duration = Duration::from_secs(60);

/// Body of `POST /v1/enroll/ID/redirect`: what the browser was sent back with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Redirect {
    /// The query; or, by hand, whatever the person has of it.
    pub query: Secret,
    /// A person pasted it.
    #[serde(default)]
    pub by_hand: bool,
}

/// Query of `GET /v1/enroll/ID`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Patience {
    /// How long to wait for it to turn, in milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/enroll", get(list).post(begin))
        .route("/v1/enroll/{id}", get(wait).delete(cancel))
        .route("/v1/enroll/{id}/redirect", post(redirect))
        .route("/v1/enroll/{id}/accept", post(accept))
        .route("/v1/enroll/{id}/approve", post(approve))
}

async fn begin(State(desk): State<Desk>, Json(what): Json<Begin>) -> Result<Json<Begun>, Failure> {
    to_its_end(async move { desk.enroller.begin(what).await }).await
}

async fn list(State(desk): State<Desk>) -> Result<Json<Vec<Report>>, Failure> {
    desk.enroller.list().await.map(Json)
}

async fn wait(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(patience): Query<Patience>,
) -> Result<Json<Report>, Failure> {
    let wait = Duration::from_millis(patience.wait_ms).min(WAIT_CAP);
    desk.enroller.wait(read_id(&id)?, wait).await.map(Json)
}

async fn redirect(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(redirect): Json<Redirect>,
) -> Result<Json<Report>, Failure> {
    let text = redirect.query.expose();
    let data = |why: String| Failure::new(Exit::Data, why);
    let query = match redirect.by_hand {
        true => paste::read(text, None).map_err(|e| data(e.to_string()))?,
        false => redirect.query.clone(),
    };
    let word = Word {
        callback: callback::read(query.expose()).map_err(|e| data(e.to_string()))?,
        expected: Some(read_id(&id)?),
        by_hand: redirect.by_hand,
    };
    to_its_end(async move { desk.enroller.receive(word).await }).await
}

async fn accept(State(desk): State<Desk>, Path(id): Path<String>) -> Result<Json<Report>, Failure> {
    let id = read_id(&id)?;
    to_its_end(async move { desk.enroller.accept(id).await }).await
}

async fn approve(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Json(whose): Json<Approve>,
) -> Result<Json<Report>, Failure> {
    desk.enroller.approve(read_id(&id)?, whose).await.map(Json)
}

async fn cancel(State(desk): State<Desk>, Path(id): Path<String>) -> Result<Json<Report>, Failure> {
    desk.enroller.cancel(read_id(&id)?).await.map(Json)
}

/// Whoever asked may go away: what has begun is done.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<Json<T>, Failure> {
    let done = tokio::spawn(work).await;
    done.map_err(|e| Failure::new(Exit::Internal, e.to_string()))?
        .map(Json)
}

fn read_id(text: &str) -> Result<EnrollmentId, Failure> {
    parse_id(text).ok_or_else(|| {
        let text =
            "an authorization's id has 32 hexadecimal digits; see `refreshd authorize --list`";
        Failure::new(Exit::Usage, text)
    })
}
