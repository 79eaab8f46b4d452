//! `--faults`: everything that a daemon must survive without a consumer
//! noticing, for the grants that can be kept; and what none can survive, for
//! grants of its own.

use super::providers::{Grant, Provider};
use refreshd::report::GrantReport;
use sandbox::faults::Fault;
use sandbox::{Kind, OldValid, Reuse, Rotates, Rotation};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Its refresh token dies.
pub(super) const DEAD: &str = "doomed-dead";
/// Its answer is lost where an old refresh token may not come back.
pub(super) const REVOKED: &str = "doomed-revoked";
/// Everything dies because an old refresh token came back. No server throws
/// this here: it is what comes of the lost answer.
pub(super) const FAMILY_REVOKED: &str = "family-revoked";

/// Where tokens live shorter, whole seconds weigh so much (`expires_in`,
/// `Retry-After`) that a grant needs a refresh without a fault in between.
const SHORT: Duration = Duration::from_secs(8);

/// How a provider rotates where a lost answer can be had again: another way
/// each. Where the client can ask for itself, the worst is survived too.
pub(super) fn survivable(kind: Kind, lifetime: Duration) -> Rotation {
    let worst = Rotation {
        rotates: Rotates::Always,
        ..Rotation::default()
    };
    match kind {
        Kind::Retently => Rotation {
            old_valid: OldValid::UntilUsed,
            old_valid_max: Some(lifetime * 2),
            ..worst
        },
        Kind::Reteno => Rotation {
            old_valid: OldValid::For(lifetime),
            ..worst
        },
        Kind::Retm => Rotation {
            rotates: Rotates::Never,
            old_valid: OldValid::Forever,
            reuse: Reuse::Error,
            ..worst
        },
        _ => worst,
    }
}

/// The same in words.
pub(super) fn survivable_in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Retently => "the old refresh token is good until the new one is used",
        Kind::Reteno => "the old refresh token is good for an access token's life",
        Kind::Retm => "the refresh token never changes",
        Kind::Blynk => "a refresh token works once; the client can ask anew",
        _ => "nothing to refresh",
    }
}

/// Hands out faults, so that each kind comes soon, and none to a grant that has
/// not come through its last one.
#[derive(Debug)]
pub(super) struct Thrower {
    deck: Vec<Fault>,
    next: usize,
    /// So many generations lie between two faults.
    pace: u64,
    thrown: BTreeMap<String, Thrown>,
}

/// What was thrown at a grant.
#[derive(Clone, Copy, Debug, Default)]
struct Thrown {
    count: usize,
    generation: u64,
}

impl Thrower {
    /// Delays are shares of an access token's life. What `invalid_client` does,
    /// to pause the whole client, is left out: after it a person is needed.
    pub(super) fn new(lifetime: Duration) -> Thrower {
        let ms = |share: u32| u64::try_from((lifetime / share).as_millis()).unwrap_or(u64::MAX);
        let retry_after = (lifetime / 10).as_secs().max(1);
        let unavailable = |performed| Fault::Unavailable {
            retry_after,
            performed,
        };
        let deck = vec![
            Fault::ResetAfter,
            Fault::Slow { ms: ms(25) },
            unavailable(false),
            Fault::Truncated,
            Fault::InternalError { performed: true },
            Fault::ResetBefore,
            Fault::HtmlPage { performed: true },
            Fault::TooMany { retry_after },
            Fault::LoginRedirect { performed: false },
            Fault::Late { ms: ms(8) },
            unavailable(true),
            Fault::InternalError { performed: false },
            Fault::LoginRedirect { performed: true },
            Fault::HtmlPage { performed: false },
        ];
        Thrower {
            deck,
            next: 0,
            pace: if lifetime < SHORT { 2 } else { 1 },
            thrown: BTreeMap::new(),
        }
    }

    /// What the doomed meet at their first refresh.
    pub(super) fn doom(providers: &[Provider]) {
        for provider in providers.iter().filter(|provider| provider.doomed) {
            let server = &provider.servers[0];
            server.queue_fault(Some(DEAD), Fault::DeadRefreshToken);
            server.queue_fault(Some(REVOKED), Fault::ResetAfter);
        }
    }

    /// Throws the next fault at each grant that is well again.
    pub(super) fn throw(
        &mut self,
        providers: &[Provider],
        reports: &BTreeMap<String, GrantReport>,
    ) {
        for provider in providers.iter().filter(|p| !p.doomed && p.refreshes()) {
            for grant in &provider.grants {
                let Some(report) = reports.get(&grant.name) else {
                    continue;
                };
                if let Some(fault) = self.pick(provider.kind, grant, report) {
                    let server = provider.server_of(grant);
                    server.queue_fault(Some(&grant.known_as), fault);
                }
            }
        }
    }

    fn pick(&mut self, kind: Kind, grant: &Grant, report: &GrantReport) -> Option<Fault> {
        let thrown = self.thrown.entry(grant.name.clone()).or_default();
        if report.state != "fresh" || report.generation < thrown.generation + self.pace {
            return None;
        }
        thrown.generation = report.generation;
        thrown.count += 1;
        if kind == Kind::Blynk {
            // The client asks anew: here a refresh token may die.
            match thrown.count % 4 {
                1 => return Some(Fault::DeadRefreshToken),
                3 => return Some(Fault::InvalidGrant),
                _ => {}
            }
        }
        let fault = self.deck[self.next % self.deck.len()].clone();
        self.next += 1;
        Some(fault)
    }
}

/// Every kind of fault that comes, by name.
pub(super) fn kinds() -> BTreeSet<&'static str> {
    let thrower = Thrower::new(Duration::from_secs(1));
    let others = ["dead-refresh-token", "invalid-grant", FAMILY_REVOKED];
    let deck = thrower.deck.iter().map(Fault::kind);
    deck.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::super::providers::{Wanted, start};
    use super::*;

    fn fresh(name: &str, generation: u64) -> GrantReport {
        GrantReport {
            state: "fresh".to_owned(),
            generation,
            ..GrantReport::pending(name, "x", None)
        }
    }

    #[tokio::test]
    async fn a_grant_meets_one_fault_at_a_time_and_soon_all_were_met() {
        let wanted = Wanted {
            lifetime: Duration::from_secs(20),
            grants: 1,
            faults: true,
        };
        let providers = start(wanted).await.unwrap();
        let grants = || providers.iter().flat_map(|p| &p.grants);
        let mut thrower = Thrower::new(wanted.lifetime);
        let waiting = |at: usize| providers[at].servers[0].stats().faults_waiting;
        for generation in 1..=4 {
            let reports = grants().map(|g| (g.name.clone(), fresh(&g.name, generation)));
            let reports: BTreeMap<_, _> = reports.collect();
            thrower.throw(&providers, &reports);
            thrower.throw(&providers, &reports);
        }
        // Retently, Reteno, two businesses of RETM, the Organization API; not vcita, not the doomed.
        let each = [0, 1, 2, 3, 4, 5].map(waiting);
        assert_eq!(each, [4, 4, 8, 4, 0, 0]);
        assert!(
            thrower.next >= thrower.deck.len(),
            "four refreshes are enough"
        );

        let mut ill = fresh("retently", 9);
        ill.state = "in-doubt".to_owned();
        thrower.throw(&providers, &BTreeMap::from([("retently".to_owned(), ill)]));
        assert_eq!(waiting(0), 4, "it has not come through the last one");
    }

    #[test]
    fn only_a_refused_client_is_left_out() {
        let kinds = kinds();
        assert_eq!(kinds.len(), 13);
        assert!(!kinds.contains(Fault::InvalidClient.kind()));
    }

    #[test]
    fn each_way_to_rotate_is_another() {
        let life = Duration::from_secs(20);
        let of = |kind| survivable(kind, life);
        assert_eq!(of(Kind::Retm).rotates, Rotates::Never);
        assert_eq!(of(Kind::Retently).old_valid, OldValid::UntilUsed);
        assert_eq!(of(Kind::Reteno).old_valid, OldValid::For(life));
        assert_eq!(of(Kind::Blynk).old_valid, OldValid::For(Duration::ZERO));
    }
}
