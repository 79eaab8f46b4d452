//! The token endpoint (RFC 6749 §3.2, §5, §6), with the fault that the plan has for it.

mod answers;
mod beside;
mod client_auth;
mod disturb;
mod flows;
mod params;

pub(crate) use answers::answer_body;
pub(crate) use beside::{device, revoke};
pub(crate) use disturb::{disturb, not_found};

use crate::Flow;
use crate::faults::Fault;
use crate::log::Presentation;
use crate::rotation::Ended;
use crate::server::{Shared, World};
use crate::tokens::Owned;
use crate::wire::Fate;
use answers::Outcome;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::Response;
use flows::Exchange;
use params::Params;
use std::sync::Arc;
use std::time::Duration;

/// A token request as it arrived.
struct Request {
    headers: HeaderMap,
    params: Params,
    /// The business whose host was asked.
    business_id: Option<String>,
    arrived_ms: u64,
}

/// What a token request is about.
struct Subject {
    flow: Option<Flow>,
    grant: Option<String>,
    owned: Option<Owned>,
}

pub(crate) async fn token(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(fate): ConnectInfo<Fate>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        params: Params::read(&headers, query.as_deref(), &body),
        business_id: business_of(&headers),
        arrived_ms: shared.now_ms(),
        headers,
    };
    // In a task of its own: a client that goes away stops no exchange, here as elsewhere.
    let handling = tokio::spawn(handle(shared, fate, request));
    handling.await.expect("a handler does not panic")
}

async fn handle(shared: Arc<Shared>, fate: Fate, request: Request) -> Response {
    let fault = draw_fault(&shared, &request);
    if let Some(Fault::Slow { ms }) = fault {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let response = exchange(&shared, &request, fault.as_ref());
    match fault {
        None => response,
        Some(fault) => disturb(fault, response, &fate, &shared.options).await,
    }
}

fn draw_fault(shared: &Shared, request: &Request) -> Option<Fault> {
    let mut world = shared.world();
    world.token_requests += 1;
    let subject = Subject::of(request, &world, shared);
    let grant = subject.grant.as_deref();
    let roll = getrandom::u64().expect("the system has random numbers");
    let fault = world.faults.take(grant, roll);
    let ended = match fault {
        Some(Fault::DeadRefreshToken) => Ended::RefreshKilled,
        Some(Fault::FamilyRevoked) => Ended::Reuse,
        _ => return fault,
    };
    // What dies with a code is the code: the grant that it would begin is not there yet.
    match (subject.flow, request.params.value("code"), grant) {
        (Some(Flow::AuthorizationCode), Some(code), _) => world.codes.spend(code),
        (Some(Flow::DeviceCode), ..) => {
            let code = request.params.value("device_code");
            world.devices.spend(code.unwrap_or_default());
        }
        (_, _, Some(grant)) => drop(world.registry.end(grant, ended)),
        _ => {}
    }
    fault
}

/// Performs the exchange, or only notes that it was asked for, and writes the log.
fn exchange(shared: &Shared, request: &Request, fault: Option<&Fault>) -> Response {
    let mut world = shared.world();
    let now_ms = shared.now_ms();
    let subject = Subject::of(request, &world, shared);
    let standing = subject.owned.as_ref().map(|owned| {
        if let Some(stats) = world.registry.stats_of(&owned.grant) {
            stats.presentations += 1;
        }
        world.registry.standing(owned, now_ms)
    });
    let outcome = if fault.is_some_and(|fault| !fault.performs()) {
        Outcome::unseen()
    } else if shared.options.kind.has_business_hosts() && request.business_id.is_none() {
        Outcome::not_found("not a host of a business")
    } else {
        let exchange = Exchange {
            shared,
            request,
            now_ms,
        };
        exchange.perform(&mut world, &subject)
    };
    world.log.add(Presentation {
        at_ms: request.arrived_ms,
        gap_ms: None,
        flow: subject.flow,
        grant: subject.grant,
        token_set: subject.owned.as_ref().map(|owned| owned.set),
        refresh: subject.owned.map(|owned| owned.ordinal),
        newest: standing.as_ref().map(|standing| standing.newest),
        access_left_ms: standing.and_then(|standing| standing.access_left_ms),
        verdict: outcome.verdict,
        why: outcome.why,
        fault: fault.map(|fault| fault.kind().to_owned()),
    });
    outcome.response
}

impl Subject {
    fn of(request: &Request, world: &World, shared: &Shared) -> Subject {
        let params = &request.params;
        let flow = params.value("grant_type").and_then(Flow::named);
        let presented = params.value("refresh_token");
        let owned = presented.and_then(|text| world.registry.refresh_owner(text));
        let grant = match flow {
            Some(Flow::AuthorizationCode) => {
                let code = params.value("code");
                let code = code.and_then(|code| world.codes.find(code));
                code.map(|code| code.grant.clone())
            }
            Some(Flow::DeviceCode) => {
                let code = params.value("device_code");
                code.and_then(|code| world.devices.account(code))
            }
            Some(Flow::ClientCredentials) => Some(shared.options.client_id.clone()),
            _ => owned.as_ref().map(|owned| owned.grant.clone()),
        };
        Subject { flow, grant, owned }
    }
}

/// `shop-17` of `shop-17.localhost:8080`.
fn business_of(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?.to_ascii_lowercase();
    let name = host.split(':').next()?;
    let label = name.strip_suffix(".localhost")?;
    (!label.is_empty() && !label.contains('.')).then(|| label.to_owned())
}
