//! `/admin`: grants, codes, faults, counts and the log, for those who test over
//! HTTP. The crate's documentation lists the calls.

use crate::codes::Origin;
use crate::faults::{NowAndThen, Outage, Queued};
use crate::log::Presentation;
use crate::rotation::Ended;
use crate::server::Shared;
use crate::stats::Stats;
use crate::{Enrollment, NewPush, Push, Visit};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// `POST /admin/grants`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// Its name; without one it is numbered.
    #[serde(default)]
    pub name: Option<String>,
    /// Where its code was sent; [`DEFAULT_REDIRECT_URI`](crate::DEFAULT_REDIRECT_URI) unless said.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// Its business; where each has a host, the grant's name unless said.
    #[serde(default)]
    pub business_id: Option<String>,
}

/// `POST /admin/codes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCode {
    /// The grant that its exchange begins.
    pub grant: String,
    /// Where it is sent.
    pub redirect_uri: String,
    /// Who granted it, where each business has a host.
    #[serde(default)]
    pub business_id: Option<String>,
}

/// `POST /admin/faults`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFaults {
    /// Forget first what is to come.
    #[serde(default)]
    pub clear: bool,
    /// One for each of the next token requests.
    #[serde(default)]
    pub queue: Vec<Queued>,
    /// What comes now and then from here on.
    #[serde(default)]
    pub now_and_then: Option<NowAndThen>,
}

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/grants", post(make_grant))
        .route("/grants/{name}", get(origin).delete(withdraw_grant))
        .route("/grants/{name}/reuse", post(revoke_family))
        .route("/codes", post(make_code))
        .route("/faults", post(set_faults))
        .route("/outage", put(begin_outage).delete(end_outage))
        .route("/stats", get(stats))
        .route("/presentations", get(presentations))
        .route(
            "/enrollment",
            get(enrollment)
                .patch(change_enrollment)
                .delete(usual_enrollment),
        )
        .route("/visits", get(visits))
        .route("/pushes", get(pushes).post(push))
}

async fn make_grant(
    State(shared): State<Arc<Shared>>,
    Json(new): Json<NewGrant>,
) -> (StatusCode, Json<serde_json::Value>) {
    let free_name = || shared.world().registry.free_name();
    let name = new.name.clone().unwrap_or_else(free_name);
    let begun = shared.begin_grant(&name, &new);
    (StatusCode::CREATED, Json(begun.answer))
}

async fn origin(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<Origin>, StatusCode> {
    let origin = shared.world().registry.newest_origin(&name);
    origin.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn withdraw_grant(shared: State<Arc<Shared>>, name: Path<String>) -> StatusCode {
    end(&shared, &name, Ended::Withdrawn)
}

async fn revoke_family(shared: State<Arc<Shared>>, name: Path<String>) -> StatusCode {
    end(&shared, &name, Ended::Reuse)
}

fn end(shared: &Shared, name: &str, why: Ended) -> StatusCode {
    if shared.world().registry.end(name, why) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn make_code(
    State(shared): State<Arc<Shared>>,
    Json(new): Json<NewCode>,
) -> (StatusCode, Json<Origin>) {
    let business_id = new.business_id.as_deref();
    let origin = shared.make_code(&new.grant, &new.redirect_uri, business_id);
    (StatusCode::CREATED, Json(origin))
}

async fn begin_outage(State(shared): State<Arc<Shared>>, Json(outage): Json<Outage>) -> StatusCode {
    shared.world().faults.set_outage(Some(outage));
    StatusCode::NO_CONTENT
}

async fn end_outage(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.world().faults.set_outage(None);
    StatusCode::NO_CONTENT
}

async fn set_faults(State(shared): State<Arc<Shared>>, Json(new): Json<NewFaults>) -> StatusCode {
    let mut world = shared.world();
    if new.clear {
        world.faults.clear();
    }
    for queued in new.queue {
        world.faults.queue(queued);
    }
    if let Some(now_and_then) = new.now_and_then {
        world.faults.now_and_then(now_and_then);
    }
    StatusCode::NO_CONTENT
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Stats> {
    Json(shared.stats())
}

async fn presentations(State(shared): State<Arc<Shared>>) -> Json<Vec<Presentation>> {
    Json(shared.world().log.entries())
}

async fn enrollment(State(shared): State<Arc<Shared>>) -> Json<Enrollment> {
    Json(shared.world().enrollment.clone())
}

async fn change_enrollment(
    State(shared): State<Arc<Shared>>,
    Json(changes): Json<Map<String, Value>>,
) -> Result<Json<Enrollment>, (StatusCode, String)> {
    let mut world = shared.world();
    let changed = world.enrollment.with(changes);
    world.enrollment = changed.map_err(|problem| (StatusCode::BAD_REQUEST, problem.to_string()))?;
    Ok(Json(world.enrollment.clone()))
}

async fn usual_enrollment(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.world().enrollment = shared.options.enrollment.clone();
    StatusCode::NO_CONTENT
}

async fn visits(State(shared): State<Arc<Shared>>) -> Json<Vec<Visit>> {
    Json(shared.world().visits.clone())
}

async fn pushes(State(shared): State<Arc<Shared>>) -> Json<Vec<Push>> {
    Json(shared.world().pushes.clone())
}

async fn push(
    State(shared): State<Arc<Shared>>,
    Json(new): Json<NewPush>,
) -> Result<Json<Vec<Push>>, (StatusCode, &'static str)> {
    let pushed = shared.push_now(&new).await;
    let nowhere = (StatusCode::BAD_REQUEST, "there is no success_url");
    pushed.map(Json).ok_or(nowhere)
}
