use super::*;
use proptest::prelude::*;

const LANES: u32 = 3;
const CLIENTS: u32 = 4;
const GRANTS: u32 = 24;

/// Grant g is in lane g % 3, in client g % 4.
fn of(grant: u32) -> (u32, u32) {
    (grant % LANES, grant % CLIENTS)
}

#[derive(Clone, Debug)]
enum Op {
    Start(u32),
    End(usize, OutcomeKind, u64),
    Late(u32, OutcomeKind),
    Advance(u64),
}

fn kind() -> impl Strategy<Value = OutcomeKind> {
    prop_oneof![
        3 => Just(OutcomeKind::Success),
        1 => Just(OutcomeKind::NotSent),
        3 => Just(OutcomeKind::Lost),
        1 => Just(OutcomeKind::Unread),
        1 => prop::option::of(0_u64..200_000).prop_map(|secs| OutcomeKind::AskedToWait {
            retry_after: secs.map(Duration::from_secs),
        }),
        4 => Just(OutcomeKind::InvalidGrant),
        1 => Just(OutcomeKind::ExpectedRefusal),
        1 => Just(OutcomeKind::InvalidClient),
        1 => Just(OutcomeKind::TooEarly),
        1 => Just(OutcomeKind::Refused),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..GRANTS).prop_map(Op::Start),
        6 => (any::<usize>(), kind(), any::<u64>()).prop_map(|(n, kind, roll)| Op::End(n, kind, roll)),
        1 => (0..GRANTS, kind()).prop_map(|(grant, kind)| Op::Late(grant, kind)),
        3 => (0_u64..1_000_000).prop_map(Op::Advance),
    ]
}

fn check(limits: &Limits, flying: &[u32], caps: Caps) -> Result<(), TestCaseError> {
    prop_assert_eq!(limits.flights() as usize, flying.len());
    prop_assert!(limits.flights() <= caps.flights);
    for lane in 0..LANES {
        let in_lane = flying.iter().filter(|grant| of(**grant).0 == lane).count();
        prop_assert!(caps.lane.is_none_or(|cap| in_lane <= cap as usize));
    }
    Ok(())
}

proptest! {
    #[test]
    fn never_above_caps_and_always_another_probe(
        flights in 1_u32..8,
        lane in prop::option::of(1_u32..4),
        ops in prop::collection::vec(op(), 0..400),
    ) {
        let caps = Caps { flights, lane };
        let mut limits = Limits::new(caps);
        for grant in 0..GRANTS {
            let (lane, client) = of(grant);
            limits.enter(lane, client);
        }
        let (mut flying, mut now) = (Vec::new(), NOW);
        // Lanes in which a probe is under way.
        let mut probing = std::collections::BTreeMap::new();
        for op in ops {
            match op {
                Op::Start(grant) => {
                    let (lane, client) = of(grant);
                    if flying.contains(&grant) || limits.may_start(lane, client, grant, now).is_err() {
                        continue;
                    }
                    if limits.probe_preference(lane) {
                        prop_assert_eq!(probing.insert(lane, grant), None, "two probes in a lane");
                    }
                    limits.started(lane, client, grant);
                    flying.push(grant);
                }
                Op::End(nth, kind, roll) if !flying.is_empty() => {
                    let grant = flying.swap_remove(nth % flying.len());
                    let (lane, client) = of(grant);
                    let _ = limits.ended(lane, client, grant, kind, now, roll);
                    probing.retain(|_, probe| *probe != grant);
                }
                Op::Late(grant, kind) if !flying.contains(&grant) => {
                    let (lane, client) = of(grant);
                    let _ = limits.observed(lane, client, grant, kind, now, 7);
                }
                Op::Advance(ms) => now = now + Duration::from_millis(ms),
                Op::End(..) | Op::Late(..) => {}
            }
            probing.retain(|lane, _| limits.probe_preference(*lane));
            check(&limits, &flying, caps)?;
        }
        for grant in flying {
            let (lane, client) = of(grant);
            let _ = limits.ended(lane, client, grant, OutcomeKind::Lost, now, u64::MAX);
        }
        // A day later at the latest, every lane and every client may try again.
        now = now + Duration::from_secs(24 * 3600);
        for lane in 0..LANES {
            prop_assert_eq!(limits.lane_may_start(lane, now), Ok(()));
        }
        for client in 0..CLIENTS {
            let mut grants = (0..GRANTS).filter(|grant| of(*grant).1 == client);
            prop_assert!(grants.any(|grant| limits.may_start(of(grant).0, client, grant, now).is_ok()));
        }
    }

    /// Whoever comes again when told to is let through in the end: no `until` is
    /// in the past, and following them leads to a start.
    #[test]
    fn waiting_as_told_leads_to_a_start(
        ends in prop::collection::vec((0..GRANTS, kind(), any::<u64>()), 0..60),
        grant in 0..GRANTS,
    ) {
        let mut limits = Limits::new(Caps { flights: 4, lane: None });
        for grant in 0..GRANTS {
            limits.enter(of(grant).0, of(grant).1);
        }
        for (grant, kind, roll) in ends {
            let _ = limits.observed(of(grant).0, of(grant).1, grant, kind, NOW, roll);
        }
        let mut now = NOW;
        for _ in 0..10 {
            match limits.may_start(of(grant).0, of(grant).1, grant, now) {
                Ok(()) => return Ok(()),
                Err(Blocked { why: Why::Refused, .. }) => return Ok(()), // They take turns.
                Err(blocked) => {
                    let until = blocked.until.expect("nothing is under way");
                    prop_assert!(until > now);
                    now = until;
                }
            }
        }
        prop_assert!(false, "grant {} never starts", grant);
    }
}
