//! Which request is for which function of the service.

use crate::connections::{self, Answer, Limits, Listener};
use crate::engine::message::{Accept, Refreshed, Wish};
use crate::enroll::{Approve, Begin, Begun, Report};
use crate::exit::{Exit, Failure, internal};
use crate::history::HistoryLine;
use crate::report::status::Status;
use crate::service::answers::KeptInFull;
use crate::service::api::{
    BackupMade, BackupRequest, Done, HistoryQuery, ImportQuery, Imported, KeptRequest, KeyProgress,
    KeyStatus, Operation, Patience, Redirect, StatusQuery, Token, TokenQuery, VerifyRequest,
};
use crate::service::{Service, Verified};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The largest body of an import; the command sends more in several requests.
const IMPORT_CAP: usize = 16 * 1024 * 1024;

/// Serves until `stop` turns; so many connections at once. The socket comes back.
pub(crate) async fn serve<L: Listener>(
    socket: L,
    service: Arc<Service>,
    places: usize,
    stop: watch::Receiver<bool>,
) -> L {
    let limits = Limits {
        name: "the control socket",
        places,
        head: Duration::from_secs(10),
        head_bytes: 64 * 1024,
        life: Duration::from_secs(3600),
        request: Duration::from_secs(5),
    };
    connections::accept(socket, limits, Routes::to(service), stop).await
}

/// The way from a request to the service; clones share it.
#[derive(Clone)]
pub(super) struct Routes(TowerToHyperService<Router>);

impl Answer for Routes {
    async fn answer(&self, request: Request<Body>) -> Response {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Routes {
    pub(super) fn to(service: Arc<Service>) -> Self {
        Routes(TowerToHyperService::new(router(service)))
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/alive", get(alive))
        .route("/v1/status", get(status))
        .route("/v1/grants/{name}/token", get(token))
        .route("/v1/grants/{name}/history", get(history))
        .route("/v1/refresh", post(refresh))
        .route("/v1/import", post(import))
        .route("/v1/reload", post(reload))
        .route("/v1/accept", post(accept))
        .route("/v1/verify", post(verify))
        .route("/v1/revoke", post(revoke))
        .route("/v1/remove", post(remove))
        .route("/v1/answers", get(answers))
        .route("/v1/answers/drop", post(drop_answer))
        .route("/v1/backup", post(backup))
        .route("/v1/key", get(key))
        .route("/v1/key/progress", get(key_progress))
        .route("/v1/key/rotate", post(rotate_key))
        .route("/v1/enroll", get(enrollments).post(begin_enrollment))
        .route("/v1/enroll/{id}", get(enrollment).delete(cancel_enrollment))
        .route("/v1/enroll/{id}/redirect", post(redirected))
        .route("/v1/enroll/{id}/accept", post(accept_enrollment))
        .route("/v1/enroll/{id}/approve", post(approve_enrollment))
        .layer(DefaultBodyLimit::max(IMPORT_CAP))
        .with_state(service)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.exit {
            Exit::NoGrant => StatusCode::NOT_FOUND,
            Exit::TempFail => StatusCode::SERVICE_UNAVAILABLE,
            Exit::Unavailable => StatusCode::BAD_GATEWAY,
            Exit::NoPermission => StatusCode::FORBIDDEN,
            Exit::Usage | Exit::Data | Exit::Config => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}

type Api = State<Arc<Service>>;
type Answered<T> = Result<Json<T>, Failure>;

/// Whoever asked may go away: what has begun is done.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Answered<T> {
    tokio::spawn(work).await.map_err(internal)?.map(Json)
}

/// Commands that wait for long ask it meanwhile.
async fn alive() -> Json<Done> {
    Json(Done::told("refreshd is running"))
}

async fn status(State(service): Api, Query(query): Query<StatusQuery>) -> Answered<Status> {
    service.status(&query).await.map(Json)
}

async fn token(
    State(service): Api,
    Path(name): Path<String>,
    Query(query): Query<TokenQuery>,
) -> Answered<Token> {
    service.token(&name, query).await.map(Json)
}

async fn history(
    State(service): Api,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Answered<Vec<HistoryLine>> {
    service.history(&name, query.limit).await.map(Json)
}

async fn refresh(State(service): Api, Json(wish): Json<Wish>) -> Answered<Refreshed> {
    service.refresh(wish).await.map(Json)
}

async fn import(
    State(service): Api,
    Query(query): Query<ImportQuery>,
    lines: String,
) -> Json<Imported> {
    Json(service.import(&lines, query).await)
}

async fn reload(State(service): Api) -> Answered<Done> {
    service.reload().await.map(Json)
}

async fn accept(State(service): Api, Json(what): Json<Accept>) -> Answered<Done> {
    service.accept(what).await.map(Json)
}

async fn verify(State(service): Api, Json(request): Json<VerifyRequest>) -> Answered<Verified> {
    service.verify(&request).await.map(Json)
}

async fn revoke(State(service): Api, Json(operation): Json<Operation>) -> Answered<Done> {
    to_its_end(async move { service.revoke(&operation).await }).await
}

async fn remove(State(service): Api, Json(operation): Json<Operation>) -> Answered<Done> {
    to_its_end(async move { service.remove(&operation).await }).await
}

async fn answers(
    State(service): Api,
    Query(request): Query<KeptRequest>,
) -> Answered<Vec<KeptInFull>> {
    service.answers(request.grant.as_deref()).await.map(Json)
}

async fn drop_answer(State(service): Api, Json(request): Json<KeptRequest>) -> Answered<Done> {
    let id = request.id.unwrap_or_default();
    service.drop_answer(&id, request.became).await.map(Json)
}

async fn backup(State(service): Api, Json(request): Json<BackupRequest>) -> Answered<BackupMade> {
    to_its_end(async move { service.backup(&request).await }).await
}

async fn key(State(service): Api) -> Answered<KeyStatus> {
    service.key().await.map(Json)
}

async fn key_progress(State(service): Api) -> Json<KeyProgress> {
    Json(service.key_progress())
}

async fn rotate_key(State(service): Api) -> Answered<KeyStatus> {
    to_its_end(async move { service.rotate_key().await }).await
}

async fn begin_enrollment(State(service): Api, Json(what): Json<Begin>) -> Answered<Begun> {
    to_its_end(async move { service.begin_enrollment(what).await }).await
}

async fn enrollments(State(service): Api) -> Answered<Vec<Report>> {
    service.enrollments().await.map(Json)
}

async fn enrollment(
    State(service): Api,
    Path(id): Path<String>,
    Query(patience): Query<Patience>,
) -> Answered<Report> {
    service.enrollment(&id, patience).await.map(Json)
}

async fn redirected(
    State(service): Api,
    Path(id): Path<String>,
    Json(redirect): Json<Redirect>,
) -> Answered<Report> {
    to_its_end(async move { service.redirected(&id, &redirect).await }).await
}

async fn accept_enrollment(State(service): Api, Path(id): Path<String>) -> Answered<Report> {
    to_its_end(async move { service.accept_enrollment(&id).await }).await
}

async fn approve_enrollment(
    State(service): Api,
    Path(id): Path<String>,
    Json(whose): Json<Approve>,
) -> Answered<Report> {
    service.approve_enrollment(&id, whose).await.map(Json)
}

async fn cancel_enrollment(State(service): Api, Path(id): Path<String>) -> Answered<Report> {
    service.cancel_enrollment(&id).await.map(Json)
}
