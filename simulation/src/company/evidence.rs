//! What a brake rests on: who failed in what way, and what succeeded since, by the hosts'
//! own knowledge of what they were asked.

use super::script::Kind;
use refreshd_core::limits::{Effect, Route, Scope, Trouble};
use std::collections::{BTreeMap, BTreeSet};

/// So many must fail alike.
const ALIKE: usize = 3;

/// An exchange that is over, or in doubt.
#[derive(Clone, Copy, Debug)]
struct Failure {
    number: u64,
    grant: u32,
    route: Route,
    trouble: Trouble,
    /// For an `invalid_client`: the first since the grant last worked.
    first: bool,
}

/// What one process has seen.
#[derive(Default)]
pub(crate) struct Evidence {
    failures: Vec<Failure>,
    /// The latest begun exchange of a client at a host that succeeded.
    succeeded: BTreeMap<(u32, u32), u64>,
    /// Grants for which their client was not accepted since they last worked.
    rejected: BTreeSet<u32>,
    /// It began with what an earlier process left.
    recalls: bool,
}

impl Evidence {
    /// Nothing. `recalls`: there was a process before.
    pub(crate) fn new(recalls: bool) -> Evidence {
        Evidence {
            recalls,
            ..Evidence::default()
        }
    }

    /// An exchange succeeded. Numbers rise with their beginnings.
    pub(crate) fn succeeds(&mut self, number: u64, grant: u32, route: Route) {
        self.rejected.remove(&grant);
        let latest = self
            .succeeded
            .entry((route.host, route.client))
            .or_default();
        *latest = number.max(*latest);
    }

    /// An exchange met this and failed, or got no answer in time.
    pub(crate) fn fails(&mut self, number: u64, grant: u32, route: Route, wrong: Kind) {
        let trouble = match wrong {
            Kind::Down => Trouble::Down,
            Kind::Hang | Kind::Cut | Kind::Failing => Trouble::Lossy,
            Kind::TooMany(_) => Trouble::Wait,
            Kind::Unavailable => Trouble::Sick,
            Kind::Client => Trouble::Client,
            Kind::FalseRefusal | Kind::Void => return,
        };
        let first = trouble != Trouble::Client || self.rejected.insert(grant);
        self.failures.push(Failure {
            number,
            grant,
            route,
            trouble,
            first,
        });
    }

    /// Why a brake has no right to be on, if it has none. `members`: how many grants each
    /// client has at a host.
    pub(crate) fn lacks(
        &self,
        effect: &Effect,
        members: impl Fn(u32, u32) -> usize,
    ) -> Option<String> {
        let Effect::Braked { scope, trouble, .. } = *effect else {
            return None;
        };
        let (host, client) = match scope {
            Scope::Host(host) => (host, None),
            Scope::ClientAt { client, host } => (host, Some(client)),
            Scope::Client(_) | Scope::Template(_) => return None,
        };
        if self.recalls {
            return None;
        }
        let of = |route: Route| route.host == host && client.is_none_or(|c| c == route.client);
        let succeeded = self.succeeded.iter();
        let succeeded = succeeded.filter(|((host, client), _)| {
            of(Route {
                host: *host,
                client: *client,
                template: None,
            })
        });
        let latest = succeeded.map(|(_, number)| *number).max().unwrap_or(0);
        let counts = |failure: &&Failure| {
            let alike = failure.trouble == trouble && failure.first;
            of(failure.route) && alike && failure.number > latest
        };
        let failures = self.failures.iter().filter(counts);
        let alike: BTreeSet<u32> = failures.map(|failure| failure.grant).collect();
        let needed = match (trouble, client) {
            (Trouble::Client, Some(client)) => ALIKE.min(members(client, host)),
            _ => ALIKE,
        };
        (alike.len() < needed).then(|| {
            format!("{scope:?} is braked for {trouble:?}, though {alike:?} alone failed so")
        })
    }
}
