//! What limits say: not yet, or what must be done besides.

use super::trouble::{Sign, Trouble};
use crate::time::WallTime;

/// Whom a brake is about. Hosts, clients and templates go by small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All hosts of a URL template with variables.
    Template(u32),
    /// A host and port, as asked.
    Host(u32),
    /// A client at a host.
    ClientAt {
        /// The client.
        client: u32,
        /// The host.
        host: u32,
    },
    /// A client, wherever.
    Client(u32),
}

impl Scope {
    /// Whether an answer shows that this trouble is none of the brake's, or no longer.
    pub(super) fn is_refuted(self, trouble: Trouble, answer: Sign) -> bool {
        let of_template = matches!(self, Scope::Template(_));
        let of_client = matches!(self, Scope::ClientAt { .. } | Scope::Client(_));
        match answer {
            Sign::Success => true,
            // A host that answers at all has nothing to do with those that do not.
            Sign::Answered { .. } if of_template => true,
            // It judges what is asked of it; that answers come through where refresh tokens are
            // rotated is shown by a success alone.
            Sign::Answered { .. } if trouble == Trouble::Lossy => false,
            Sign::Answered { accepted } => !of_client || trouble != Trouble::Client || accepted,
            Sign::Failed {
                trouble: Trouble::Client | Trouble::Wait,
                ..
            } if of_template => true,
            // Whatever it says, it could be sent.
            Sign::Failed { .. } => trouble == Trouble::Down,
        }
    }
}

/// What stands in the way of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// There is no place; the next exchange that ends may free one.
    Full(super::Full),
    /// A brake holds the first attempt until the grant's last moment.
    Held {
        /// Whose brake.
        by: Scope,
        /// Until when.
        until: WallTime,
    },
    /// A brake is on, and one grant at a time is asked.
    Waits {
        /// Whose brake.
        by: Scope,
    },
}

/// What must be done besides; for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A brake began, or is proven: incident.
    Braked {
        /// Whose.
        scope: Scope,
        /// How exchanges fail.
        trouble: Trouble,
        /// Fresh grants failed alike: first attempts may be held.
        proven: bool,
    },
    /// It is over: so is the incident.
    Freed {
        /// Whose.
        scope: Scope,
    },
    /// Many grants of a client were refused within a short time: incident.
    ManyRefused {
        /// The client.
        client: u32,
        /// How many are refused.
        count: usize,
    },
    /// Few of them are refused by now.
    FewRefused {
        /// The client.
        client: u32,
    },
}
