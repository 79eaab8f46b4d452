//! Serves the control socket.

use crate::connections::{self, Answer, Limits, Listener};
use crate::descriptors::{self, Ration};
use crate::engine::EngineHandle;
use crate::engine::message::{Accept, Look, Message, NotRefreshed, Refreshed, Wish};
use crate::enroll::Enroller;
use crate::enroll::scopes_of;
use crate::exit::{Exit, Failure, internal, no_such_grant, retired};
use crate::history::{self, HistoryLine};
use crate::incidents::Incidents;
use crate::incidents::report::{CLOSED_SHOWN, IncidentReport};
use crate::reload::Reloader;
use crate::report::status::Status;
use crate::report::tell_held;
use crate::service::api::{
    BackupMade, BackupRequest, Done, HistoryQuery, ImportQuery, Imported, KeyProgress, KeyStatus,
    StatusQuery, Token, TokenQuery,
};
use crate::service::import::Importer;
use crate::service::maintenance::Maintenance;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::grant::scopes::Scopes;
use refreshd_core::time::WallTime;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// `status` looks at the outputs for so long at most.
const LOOKS: Duration = Duration::from_secs(3);
/// And waits for the store no longer than this.
const STORE: Duration = Duration::from_secs(1);
/// The largest body of an import; the command sends more in several requests.
const IMPORT_CAP: usize = 16 * 1024 * 1024;
/// The longest that a request waits for a refresh.
const WAIT_CAP: Duration = Duration::from_secs(600);

/// What the handlers need.
#[derive(Clone)]
pub struct Desk {
    /// Where wishes go.
    pub engine: EngineHandle,
    /// Where token sets live; the configuration is the current one.
    pub reloader: Arc<Reloader>,
    /// Backups and keys.
    pub maintenance: Arc<Maintenance>,
    /// Who may use how many file descriptors.
    pub ration: Ration,
    /// What is not healthy.
    pub incidents: Incidents,
    /// Authorizations.
    pub enroller: Enroller,
    /// How many requests may wait for a refresh: the others find a place meanwhile.
    pub waits: Arc<Semaphore>,
}

/// Serves until `stop` turns; so many connections at once. The socket comes back.
pub(crate) async fn serve<L: Listener>(
    socket: L,
    desk: Desk,
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
    connections::accept(socket, limits, Routes::new(desk), stop).await
}

/// What is asked for, and who answers it.
#[derive(Clone)]
struct Routes(TowerToHyperService<Router>);

impl Answer for Routes {
    async fn answer(&self, request: Request<Body>) -> Response {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Routes {
    fn new(desk: Desk) -> Self {
        Routes(TowerToHyperService::new(router(desk)))
    }
}

fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/alive", get(alive))
        .route("/v1/status", get(status))
        .route("/v1/grants/{name}/token", get(token))
        .route("/v1/grants/{name}/incidents", get(incidents))
        .route("/v1/grants/{name}/scopes", get(scopes))
        .route("/v1/grants/{name}/history", get(history_of))
        .route("/v1/refresh", post(refresh))
        .route("/v1/import", post(import))
        .route("/v1/reload", post(reload))
        .route("/v1/accept", post(accept))
        .route("/v1/backup", post(backup))
        .route("/v1/key", get(key))
        .route("/v1/key/progress", get(key_progress))
        .route("/v1/key/rotate", post(rotate_key))
        .merge(super::answers::routes())
        .merge(super::enroll::routes())
        .merge(super::operator::routes())
        .layer(DefaultBodyLimit::max(IMPORT_CAP))
        .with_state(desk)
}

/// Commands that wait for long ask it meanwhile.
async fn alive() -> Json<Done> {
    let message = "refreshd is running".to_owned();
    Json(Done { message })
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

pub(super) fn stopping(_: crate::engine::Stopped) -> Failure {
    Failure::new(Exit::TempFail, "refreshd is stopping")
}

async fn status(
    State(desk): State<Desk>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<Status>, Failure> {
    // What is said of a file is what stands there now.
    desk.reloader.look_at_outputs(LOOKS).await;
    let grants = |reply| Message::Status(query.named(), reply);
    let mut grants = desk.engine.ask(grants).await.map_err(stopping)?;
    let held = tell_held(&desk.reloader.deck.store, &mut grants);
    // A disk that hangs, or a record that is damaged, keeps nobody from the rest.
    if !matches!(tokio::time::timeout(STORE, held).await, Ok(Ok(()))) {
        tracing::warn!("status could not look for authorizations that wait for a person");
    }
    let mut notices = desk.reloader.notices();
    notices.extend(desk.maintenance.notice());
    let max_flights = desk.reloader.config().daemon.max_flights;
    let status = Status {
        running: true,
        pid: Some(std::process::id()),
        descriptors: descriptors::open_now().map(|open| desk.ration.count(open, max_flights)),
        notices,
        incidents: IncidentReport::of(&desk.incidents.open()),
        grants,
        ..Status::default()
    };
    Ok(Json(status.summed_up()))
}

/// Those of a grant that are over.
async fn incidents(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<Vec<IncidentReport>>, Failure> {
    // What has just turned may not be in the store yet.
    desk.incidents.write().await;
    let store = &desk.reloader.deck.store;
    let closed = store.closed_incidents(&name, CLOSED_SHOWN).await;
    Ok(Json(IncidentReport::of(&closed.map_err(internal)?)))
}

async fn history_of(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Vec<HistoryLine>>, Failure> {
    let store = &desk.reloader.deck.store;
    let lines = history::of(store, &name, query.limit).await;
    let lines = lines.map_err(internal)?;
    lines.map(Json).ok_or_else(|| no_such_grant(&name))
}

/// What a grant may do, where that is known.
async fn scopes(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<Option<Scopes>>, Failure> {
    let loaded = desk.reloader.deck.store.load_named(&name).await;
    let config = desk.reloader.config();
    let scopes = loaded
        .map_err(internal)?
        .and_then(|(grant, tokens)| scopes_of(&grant, tokens.as_ref(), &config));
    Ok(Json(scopes))
}

async fn token(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(query): Query<TokenQuery>,
) -> Result<Json<Token>, Failure> {
    let clock = &desk.reloader.deck.clock;
    let begun = Instant::now();
    let left = || query.timeout().saturating_sub(begun.elapsed());
    let mut look = look(&desk, &name).await?;
    if look.suspect {
        // What comes of the exchange is told by the grant's state afterwards.
        let joined = wish_for(&look);
        let _settled = refresh_within(&desk, joined, left()).await;
        look = self::look(&desk, &name).await?;
    }
    if !serves(&look, query, clock.wall()) {
        let wish = wish_for(&look);
        refresh_within(&desk, wish, left())
            .await
            .map_err(|e| not_good_enough(&look, query, clock.wall(), e))?;
        let look = self::look(&desk, &name).await?;
        if !serves(&look, query, clock.wall()) {
            return Err(Failure::new(
                Exit::TempFail,
                format!("{name}: the new access token does not live as long as asked"),
            ));
        }
    }
    let loaded = desk.reloader.deck.store.load(&look.grant.id).await;
    match loaded.map_err(|e| Failure::new(Exit::Internal, e.to_string()))? {
        Some((grant, Some(tokens))) => Ok(Json(Token::new(&grant, &tokens))),
        _ => Err(Failure::new(
            Exit::NoGrant,
            format!("{name} has no token set"),
        )),
    }
}

pub(super) async fn look(desk: &Desk, name: &str) -> Result<Look, Failure> {
    let found = desk
        .engine
        .ask(|reply| Message::Look(name.to_owned(), reply))
        .await
        .map_err(stopping)?;
    match found {
        Some(look) if !look.retired => Ok(look),
        Some(look) => Err(retired(&look.grant)),
        None if desk.reloader.config().grants.contains_key(name) => Err(Failure::new(
            Exit::NoPermission,
            format!(
                "{name} has no token set yet; get one with `refreshd authorize {name}`, or bring one with `refreshd import {name}`"
            ),
        )),
        None => Err(no_such_grant(name)),
    }
}

fn wish_for(look: &Look) -> Wish {
    Wish {
        grant: look.grant.name.clone(),
        urgency: Urgency::Wish,
        generation: Some(look.grant.state.generation),
    }
}

/// Whether the token at hand is what was asked for.
fn serves(look: &Look, query: TokenQuery, now: WallTime) -> bool {
    let state = &look.grant.state;
    state.is_alive(now) && now + query.min_valid() <= state.expires_at
}

/// A refused refresh is a person's matter; anything else may pass.
fn not_good_enough(look: &Look, query: TokenQuery, now: WallTime, failure: Failure) -> Failure {
    let name = &look.grant.name;
    let exit = if failure.exit == Exit::NoPermission {
        Exit::NoPermission
    } else {
        Exit::TempFail
    };
    let message = if look.grant.state.generation == 0 {
        format!("{name} has no token set yet: {}", failure.message)
    } else if look.grant.state.is_alive(now) {
        let min_valid = refreshd_core::duration::human(query.min_valid());
        format!(
            "{name}: the access token lives, but less than {min_valid}: {}",
            failure.message
        )
    } else {
        format!("{name}: the access token is over: {}", failure.message)
    };
    Failure::new(exit, message)
}

async fn refresh(
    State(desk): State<Desk>,
    Json(wish): Json<Wish>,
) -> Result<Json<Refreshed>, Failure> {
    refresh_within(&desk, wish, Duration::from_secs(60))
        .await
        .map(Json)
}

pub(super) async fn refresh_within(
    desk: &Desk,
    wish: Wish,
    timeout: Duration,
) -> Result<Refreshed, Failure> {
    let name = wish.grant.clone();
    let Ok(_wait) = desk.waits.try_acquire() else {
        let text = format!("{name}: too many commands wait for refreshes already; try again");
        return Err(Failure::new(Exit::TempFail, text));
    };
    let asked = desk.engine.ask(|reply| Message::Refresh(wish, reply));
    let answer = tokio::time::timeout(timeout.min(WAIT_CAP), asked)
        .await
        .map_err(|_| {
            Failure::new(
                Exit::TempFail,
                format!("{name}: the refresh has not ended yet; it goes on"),
            )
        })?
        .map_err(stopping)?;
    answer.map_err(|why| match why {
        NotRefreshed::Unknown => no_such_grant(&name),
        NotRefreshed::Later(text) => Failure::new(Exit::TempFail, text),
        NotRefreshed::Unavailable(text) => Failure::new(Exit::Unavailable, text),
        NotRefreshed::NeedsPerson(text) => Failure::new(Exit::NoPermission, text),
    })
}

async fn import(
    State(desk): State<Desk>,
    Query(query): Query<ImportQuery>,
    body: String,
) -> Json<Imported> {
    let deck = &desk.reloader.deck;
    let importer = Importer {
        config: desk.reloader.config(),
        store: deck.store.clone(),
        clock: deck.clock.clone(),
        fingerprinter: deck.fingerprinter.clone(),
        replace: query.replace,
    };
    let (lines, changed) = importer.lines(&body).await;
    for grant in changed {
        desk.engine.tell(Message::Changed(Box::new(grant)));
    }
    desk.reloader.retarget(&desk.engine).await;
    Json(Imported { lines })
}

async fn reload(State(desk): State<Desk>) -> Result<Json<Done>, Failure> {
    desk.reloader
        .reload(&desk.engine)
        .await
        .map(|message| Json(Done { message }))
}

async fn accept(State(desk): State<Desk>, Json(what): Json<Accept>) -> Result<Json<Done>, Failure> {
    let answer = desk
        .engine
        .ask(|reply| Message::Accept(what, reply))
        .await
        .map_err(stopping)?;
    answer
        .map(|message| Json(Done { message }))
        .map_err(|message| Failure::new(Exit::Data, message))
}

async fn backup(
    State(desk): State<Desk>,
    Json(request): Json<BackupRequest>,
) -> Result<Json<BackupMade>, Failure> {
    let config = desk.reloader.config();
    // A copy that has begun is made, whether or not whoever asked goes on waiting.
    let made = tokio::spawn(async move { desk.maintenance.backup(&config, &request).await });
    made.await.map_err(internal)?.map(Json)
}

async fn key(State(desk): State<Desk>) -> Result<Json<KeyStatus>, Failure> {
    let config = desk.reloader.config();
    desk.maintenance.key_status(&config).await.map(Json)
}

async fn key_progress(State(desk): State<Desk>) -> Json<KeyProgress> {
    Json(desk.maintenance.progress())
}

async fn rotate_key(State(desk): State<Desk>) -> Result<Json<KeyStatus>, Failure> {
    let config = desk.reloader.config();
    let rotated = tokio::spawn(async move {
        desk.maintenance.rotate().await?;
        let status = desk.maintenance.key_status(&config).await;
        tokio::spawn(async move { desk.maintenance.settle(&config).await });
        status
    });
    rotated.await.map_err(internal)?.map(Json)
}
