//! `/admin`: grants, faults, counts and the log, for those who test over HTTP.

use crate::faults::{NowAndThen, Queued};
use crate::log::Presentation;
use crate::rotation::Ended;
use crate::server::Shared;
use crate::stats::Stats;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
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
        .route("/grants/{name}", delete(withdraw_grant))
        .route("/faults", post(set_faults))
        .route("/stats", get(stats))
        .route("/presentations", get(presentations))
}

async fn make_grant(
    State(shared): State<Arc<Shared>>,
    Json(new): Json<NewGrant>,
) -> (StatusCode, Json<serde_json::Value>) {
    let free_name = || shared.world().registry.free_name();
    let name = new.name.unwrap_or_else(free_name);
    (StatusCode::CREATED, Json(shared.make_grant(&name)))
}

async fn withdraw_grant(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    if shared.world().registry.end(&name, Ended::Withdrawn) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
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
