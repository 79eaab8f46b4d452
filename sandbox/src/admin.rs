//! `/admin`: grants, codes, faults, counts and the log, for those who test over
//! HTTP. The crate's documentation lists the calls.

use crate::codes::Origin;
use crate::faults::{NowAndThen, Outage, Queued};
use crate::log::Presentation;
use crate::rotation::Ended;
use crate::server::Shared;
use crate::stats::Stats;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
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
