//! What the server counted.

use crate::faults::Outage;
use crate::rotation::Ended;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that `GET /admin/stats` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Milliseconds since the server began.
    pub now_ms: u64,
    /// By grant.
    pub grants: BTreeMap<String, GrantStats>,
    /// Faults that came, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults that wait for a request.
    pub faults_waiting: usize,
    /// The outage that lasts.
    pub outage: Option<Outage>,
    /// Requests to the token endpoint.
    pub token_requests: u64,
    /// Requests to the resource, of all grants and of nobody.
    pub resource: ResourceStats,
}

/// What happened to one grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStats {
    /// How often the grant was begun: token sets, each with refresh tokens of its own.
    pub token_sets: u64,
    /// Codes exchanged.
    pub code_exchanges: u64,
    /// Device codes exchanged.
    #[serde(default)]
    pub device_exchanges: u64,
    /// Token sets asked for with client credentials.
    pub client_credentials: u64,
    /// Access tokens issued, the first one included.
    pub issued: u64,
    /// How often the refresh token rotated: for each token set, the ordinal of the newest, from 0.
    pub rotations: u64,
    /// Refresh tokens presented, those that met a fault included.
    pub presentations: u64,
    /// Presentations that brought an earlier answer again.
    pub replays: u64,
    /// Presentations of a refresh token that was superseded and void.
    pub reuses: u64,
    /// Presentations refused for any reason, reuse included.
    pub refusals: u64,
    /// Why the family ended, that of the newest token set.
    pub ended: Option<Ended>,
    /// Requests to the resource with this grant's access tokens.
    pub resource: ResourceStats,
}

/// Requests to the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceStats {
    /// Answered 200.
    pub ok: u64,
    /// Answered 401.
    pub unauthorized: u64,
}

impl ResourceStats {
    pub(crate) fn count(&mut self, taken: bool) {
        if taken {
            self.ok += 1;
        } else {
            self.unauthorized += 1;
        }
    }
}
