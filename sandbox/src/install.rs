//! RETM's install link: a business lets a client in, and the code is pushed to
//! the client's success endpoint, not carried by a browser.

use crate::enrollment::Auto;
use crate::pages::{self, Form, escaped, field};
use crate::pushes::NewPush;
use crate::resource::outage;
use crate::server::Shared;
use crate::visits::{Outcome, Visit};
use crate::wire::Fate;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What an install link carries.
struct Link {
    visit: Visit,
    /// Everything beside the client.
    data: Map<String, Value>,
}

pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let mut link = match Link::read(&shared, Method::GET, &uri, query.as_deref()) {
        Ok(link) => link,
        Err(why) => return pages::refusal(why),
    };
    let enrollment = shared.world().enrollment.clone();
    match enrollment.auto {
        Auto::Allow => install(&shared, link, enrollment.business_id).await,
        Auto::Deny => deny(&shared, link, enrollment.business_id),
        Auto::Off => {
            link.visit.outcome = Outcome::Shown;
            let client_id = link.visit.client_id.clone().unwrap_or_default();
            shared.visited(link.visit);
            let path_and_query = uri.path_and_query().map(|whole| whole.as_str());
            let form = Form {
                title: "Install this app?",
                asks: &format!("{client_id} wants to be installed"),
                action: path_and_query.unwrap_or(uri.path()),
                hidden: Vec::new(),
                texts: vec![("business_id", "Business", &enrollment.business_id)],
            };
            form.page()
        }
    }
}

pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
    uri: Uri,
    body: Bytes,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let link = match Link::read(&shared, Method::POST, &uri, query.as_deref()) {
        Ok(link) => link,
        Err(why) => return pages::refusal(why),
    };
    let fields = pages::fields(&body);
    let business_id = field(&fields, "business_id").map(str::to_owned);
    let business_id = business_id.unwrap_or_else(|| shared.world().enrollment.business_id.clone());
    match field(&fields, "decision") {
        Some("deny") => deny(&shared, link, business_id),
        _ => install(&shared, link, business_id).await,
    }
}

impl Link {
    /// The link as it was followed; or why there is none.
    fn read(
        shared: &Shared,
        method: Method,
        uri: &Uri,
        query: Option<&str>,
    ) -> Result<Link, &'static str> {
        let fields = pages::fields(query.unwrap_or_default().as_bytes());
        let client_id = field(&fields, "client_id").map(str::to_owned);
        let beside = fields.into_iter().filter(|(name, _)| name != "client_id");
        let data: Map<_, _> = beside.map(|(n, v)| (n, Value::String(v))).collect();
        let mut visit = Visit {
            at_ms: shared.now_ms(),
            method: method.to_string(),
            path: uri.path().to_owned(),
            has_state: !data.is_empty(),
            client_id,
            ..Visit::default()
        };
        if visit.client_id.as_ref() != Some(&shared.options.client_id) {
            let why = "the client is not known";
            visit.why = Some(why.to_owned());
            shared.visited(visit);
            return Err(why);
        }
        Ok(Link { visit, data })
    }
}

/// Pushes a code; the page says what came of it.
async fn install(shared: &Arc<Shared>, link: Link, business_id: String) -> Response {
    let mut visit = link.visit;
    (visit.outcome, visit.account) = (Outcome::Allowed, Some(business_id.clone()));
    shared.visited(visit);
    let new = NewPush {
        business_id: Some(business_id),
        data: Some(Value::Object(link.data)),
        ..NewPush::default()
    };
    let pushes = shared.push_now(&new).await.unwrap_or_default();
    match pushes.first() {
        Some(push) if push.accepted => {
            let body = format!("<p id=\"answer\">{}</p>", escaped(&push.body));
            pages::page(StatusCode::OK, "Installed", &body)
        }
        Some(push) => {
            let said = match (push.status, &push.problem) {
                (Some(status), _) => format!("it answered {status} after {} ms", push.took_ms),
                (None, problem) => problem.clone().unwrap_or_default(),
            };
            failed(&format!("The app did not take the code: {said}"))
        }
        None => failed("The app has no success endpoint (success_url)"),
    }
}

fn deny(shared: &Shared, link: Link, business_id: String) -> Response {
    let mut visit = link.visit;
    (visit.outcome, visit.account) = (Outcome::Denied, Some(business_id));
    shared.visited(visit);
    let body = "<p>The app is told nothing.</p>";
    pages::page(StatusCode::OK, "Not installed", body)
}

fn failed(why: &str) -> Response {
    let body = format!("<p id=\"why\">{}</p>", escaped(why));
    pages::page(StatusCode::BAD_GATEWAY, "Not installed", &body)
}
