//! The authorization page (RFC 6749 §3.1, §4.1): checks, a consent form, and
//! the redirect with a code or an error.

mod asking;
mod redirect;

use crate::codes::Asked;
use crate::enrollment::{Auto, Enrollment, SecondCode};
use crate::pages::{self, Form, field};
use crate::resource::outage;
use crate::server::Shared;
use crate::visits::{Outcome, Visit};
use crate::wire::Fate;
use asking::{Asking, Problem};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use redirect::Redirect;
use std::sync::Arc;
use std::time::Duration;

/// How long after its redirect a server with [`SecondCode::After`] calls by itself.
const AFTER: Duration = Duration::from_millis(500);

/// What somebody decided.
enum Decision {
    Allow { account: String },
    Deny { account: String },
    Ask,
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
    let fields = pages::fields(query.unwrap_or_default().as_bytes());
    let enrollment = shared.world().enrollment.clone();
    let account = field(&fields, "login_hint").unwrap_or(&enrollment.account);
    let account = account.to_owned();
    let decision = match enrollment.auto {
        Auto::Off => Decision::Ask,
        Auto::Allow => Decision::Allow { account },
        Auto::Deny => Decision::Deny { account },
    };
    let visit = visit(&shared, Method::GET, &uri, &fields);
    answer(&shared, visit, Asking(fields), decision, &enrollment).await
}

pub(crate) async fn decide(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    uri: Uri,
    body: Bytes,
) -> Response {
    if let Some(out) = outage(&shared, &fate).await {
        return out;
    }
    let fields = pages::fields(&body);
    let enrollment = shared.world().enrollment.clone();
    let visit = visit(&shared, Method::POST, &uri, &fields);
    let account = field(&fields, "account").unwrap_or(&enrollment.account);
    let account = account.to_owned();
    let decision = match field(&fields, "decision") {
        Some("allow") => Decision::Allow { account },
        Some("deny") => Decision::Deny { account },
        _ => return refuse(&shared, visit, "the form has no decision"),
    };
    answer(&shared, visit, Asking(fields), decision, &enrollment).await
}

async fn answer(
    shared: &Arc<Shared>,
    mut visit: Visit,
    asking: Asking,
    decision: Decision,
    enrollment: &Enrollment,
) -> Response {
    let problem = asking.check(&shared.options).err();
    if let Some(Problem::Page(why)) = problem {
        return refuse(shared, visit, &why);
    }
    let redirect = Redirect::to(shared, &asking, enrollment);
    if let Some(Problem::Redirect { error, why }) = problem {
        visit.outcome = Outcome::ErrorRedirect;
        visit.why = Some(why.clone());
        shared.visited(visit);
        return redirect.error(error, &why);
    }
    match decision {
        Decision::Ask => {
            visit.outcome = Outcome::Shown;
            shared.visited(visit.clone());
            form(&visit, &asking, enrollment)
        }
        Decision::Deny { account } => {
            (visit.outcome, visit.account) = (Outcome::Denied, Some(account));
            shared.visited(visit);
            redirect.denial(enrollment)
        }
        Decision::Allow { account } => {
            (visit.outcome, visit.account) = (Outcome::Allowed, Some(account.clone()));
            shared.visited(visit);
            allow(shared, &asking, &account, &redirect, enrollment).await
        }
    }
}

async fn allow(
    shared: &Arc<Shared>,
    asking: &Asking,
    account: &str,
    redirect: &Redirect,
    enrollment: &Enrollment,
) -> Response {
    let asked = Asked {
        challenge: asking.challenge(&shared.options),
        scope: asking.value("scope").map(str::to_owned),
        nonce: asking.value("nonce").map(str::to_owned),
    };
    let redirect_uri = asking.value("redirect_uri").unwrap_or_default();
    let code = || {
        let asked = asked.clone();
        let origin = shared.make_code_for(account, redirect_uri, None, asked);
        origin.code
    };
    match enrollment.second_code {
        SecondCode::Never => redirect.codes(&[code()]),
        SecondCode::Beside => redirect.codes(&[code(), code()]),
        SecondCode::Before => {
            // Whether anybody listens is for the client's side to show.
            let _ = shared.http().get(redirect.url(&[code()])).send().await;
            redirect.codes(&[code()])
        }
        SecondCode::After => {
            let (second, shared) = (redirect.url(&[code()]), shared.clone());
            tokio::spawn(async move {
                tokio::time::sleep(AFTER).await;
                let _ = shared.http().get(second).send().await;
            });
            redirect.codes(&[code()])
        }
    }
}

fn form(visit: &Visit, asking: &Asking, enrollment: &Enrollment) -> Response {
    let client_id = visit.client_id.as_deref().unwrap_or_default();
    let scope = visit.scope.as_deref().unwrap_or("everything");
    let account = asking.value("login_hint").unwrap_or(&enrollment.account);
    let form = Form {
        title: "Allow access?",
        asks: &format!("{client_id} wants access to: {scope}"),
        action: &visit.path,
        hidden: asking.carried().collect(),
        texts: vec![("account", "Account", account)],
    };
    form.page()
}

fn refuse(shared: &Shared, mut visit: Visit, why: &str) -> Response {
    visit.why = Some(why.to_owned());
    shared.visited(visit);
    pages::refusal(why)
}

fn visit(shared: &Shared, method: Method, uri: &Uri, fields: &[(String, String)]) -> Visit {
    let said = |name| field(fields, name).map(str::to_owned);
    let challenged = said("code_challenge").is_some();
    Visit {
        at_ms: shared.now_ms(),
        method: method.to_string(),
        path: uri.path().to_owned(),
        client_id: said("client_id"),
        redirect_uri: said("redirect_uri"),
        has_state: said("state").is_some(),
        scope: said("scope"),
        challenge_method: said("code_challenge_method").filter(|_| challenged),
        ..Visit::default()
    }
}
