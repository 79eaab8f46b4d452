//! One fixture for each thing that real servers do.

mod outcomes;
mod random;
mod successes;
mod wrapped;

use super::*;
pub(in crate::provider::answer) use random::map as object;
use serde_json::{Map, Value, json};

const RECEIVED: WallTime = WallTime(1_795_000_000_000);

fn description(errors: Value) -> Description {
    serde_json::from_value(json!({
        "name": "test",
        "token": { "url": "https://as.example/token" },
        "errors": errors,
    }))
    .expect("a description")
}

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Answer {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.to_vec(),
        complete: true,
        received: RECEIVED,
    }
}

/// Reads a body that came with a status and without headers.
fn outcome(status: u16, body: &str) -> Outcome {
    read(
        &description(json!({})),
        &answer(status, &[], body.as_bytes()),
    )
}

fn success_of(body: &str) -> Success {
    match outcome(200, body) {
        Outcome::Success(success) => *success,
        other => panic!("{body}: {other:?}"),
    }
}

/// A success with these members besides an access token.
fn success(members: Value) -> Success {
    let mut all = json!({ "access_token": "at" });
    for (name, value) in members.as_object().expect("an object") {
        all[name] = value.clone();
    }
    success_of(&all.to_string())
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success(_) => "success",
        Outcome::Unread { .. } => "unread",
        Outcome::AskedToWait { .. } => "asked to wait",
        Outcome::InvalidGrant { .. } => "invalid grant",
        Outcome::InvalidClient { .. } => "invalid client",
        Outcome::InteractionRequired { .. } => "interaction required",
        Outcome::TooEarly { .. } => "too early",
        Outcome::Unavailable { .. } => "unavailable",
        Outcome::Refused { .. } => "refused",
        Outcome::Lost { .. } => "lost",
    }
}

fn text(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Success(_) => "",
        Outcome::Unread { text, .. }
        | Outcome::AskedToWait { text, .. }
        | Outcome::InvalidGrant { text }
        | Outcome::InvalidClient { text }
        | Outcome::InteractionRequired { text }
        | Outcome::TooEarly { text }
        | Outcome::Refused { text }
        | Outcome::Unavailable { text, .. }
        | Outcome::Lost { text, .. } => text,
    }
}
