//! A grant that begins by itself: its client asks for the first token set.

use super::{Changes, Event};
use crate::grant::{Grant, GrantId, GrantState};
use crate::time::WallTime;
use std::collections::BTreeMap;

/// A grant without a token set.
#[must_use]
pub fn begin(id: GrantId, name: &str, client: &str, state: GrantState, at: WallTime) -> Changes {
    let state = GrantState {
        generation: 0,
        ..state
    };
    let event = Event {
        at,
        kind: "configured".to_owned(),
        text: String::new(),
    };
    Changes {
        grant: Some(Grant {
            id,
            name: name.to_owned(),
            client: client.to_owned(),
            vars: BTreeMap::new(),
            redirect_uri: None,
            revision: 1,
            state,
        }),
        event: Some((event, None)),
        ..Changes::default()
    }
}
