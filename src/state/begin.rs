//! Grants that begin by themselves: the client asks for their first token set.

use super::error::StoreError;
use super::history::{self, Event};
use super::writer::Session;
use refreshd_core::grant::{Grant, GrantState};
use refreshd_core::time::WallTime;
use std::collections::BTreeMap;

pub(super) fn begin(
    s: &Session<'_>,
    name: String,
    client: String,
    state: GrantState,
    at: WallTime,
) -> Result<Grant, StoreError> {
    s.saw(at);
    if let Some(known) = s.grant_named(&name)? {
        return Ok(known);
    }
    let grant = Grant {
        id: s.new_id()?,
        name,
        client,
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision: 1,
        state: GrantState {
            generation: 0,
            ..state
        },
    };
    s.insert_grant(&grant, at)?;
    let event = Event {
        at,
        kind: "configured".to_owned(),
        text: String::new(),
    };
    history::record(s, &grant, None, &event)?;
    Ok(grant)
}
