//! Scripts that dwell on few kinds of trouble: what a fault on purpose takes that is rare
//! where everything may happen.

use super::script::{Draw, Fault, Host, Kind, Manner, Member, Script, Size, Whom};
use refreshd_core::limits::Route;

/// What a script dwells on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dwelling {
    /// Hosts and grants that get no answer, and few places.
    Hangs,
    /// Many that get none for half a minute, where others are answered.
    Late,
    /// A host that cannot for now, and grants for which it never can.
    Sick,
    /// A host that nothing can be sent to.
    Down,
    /// Grants that are refused, where others work.
    Refused,
    /// Grants for which their client is not accepted, where others work.
    Rejected,
    /// Hosts of one template, some of which nothing can be sent to.
    Apart,
    /// Hosts that give no answer, as many as there are places.
    Starved,
}

impl Dwelling {
    pub(crate) const ALL: [Dwelling; 8] = [
        Dwelling::Hangs,
        Dwelling::Late,
        Dwelling::Sick,
        Dwelling::Down,
        Dwelling::Refused,
        Dwelling::Rejected,
        Dwelling::Apart,
        Dwelling::Starved,
    ];
}

impl Script {
    /// A world of few grants that dwells on this.
    pub(crate) fn dwelling(seed: u64, on: Dwelling) -> Script {
        let mut draw = Draw(seed, 1_000 * (1 + on as u64));
        let mut script = Script::draw(seed, Size::Few);
        let count = match on {
            Dwelling::Starved => draw.between(18, 21),
            _ => draw.between(10, 21),
        };
        let hosts = match on {
            Dwelling::Hangs => draw.pick(&[1, 2]),
            Dwelling::Apart | Dwelling::Starved => count,
            _ => 1,
        };
        let host = Host {
            manner: draw.pick(match on {
                Dwelling::Refused => &[Manner::Revoking, Manner::Forgiving],
                Dwelling::Sick | Dwelling::Hangs => {
                    &[Manner::Forgiving, Manner::Lasting, Manner::Anew]
                }
                _ => &[
                    Manner::Revoking,
                    Manner::Forgiving,
                    Manner::Lasting,
                    Manner::Anew,
                ],
            }),
            life: match on {
                Dwelling::Starved => 20_000,
                _ => draw.pick(&[20_000, 60_000, 300_000]),
            },
        };
        script.hosts = vec![host; usize::try_from(hosts).expect("few")];
        script.members = (0..count)
            .map(|grant| Member {
                route: Route {
                    host: u32::try_from(grant % hosts).expect("few"),
                    client: 0,
                    template: (hosts > 1).then_some(0),
                },
                age: draw.below(host.life / 2),
            })
            .collect();
        script.flights = match on {
            Dwelling::Hangs => draw.pick(&[2, 4]),
            Dwelling::Starved => 8,
            _ => 64,
        };
        script.horizon = 1_800_000;
        script.turns.clear();
        script.faults = faults(&mut draw, on, u32::try_from(count).expect("few"), &host);
        script
    }
}

fn faults(draw: &mut Draw, on: Dwelling, count: u32, host: &Host) -> Vec<Fault> {
    let fault = |whom, from, length, kind| Fault {
        whom,
        from,
        until: from + length,
        kind,
    };
    let grants = |grants: std::ops::Range<u32>, from, length, kind| {
        grants.map(move |grant| fault(Whom::Grant(grant), from, length, kind))
    };
    let (ever, from) = (2_000_000, draw.below(host.life));
    // The lower ones: who goes by number goes by them.
    let some = u32::try_from(draw.between(3, i64::from(count / 2))).expect("few");
    match on {
        Dwelling::Hangs => vec![fault(Whom::Host(0), from, ever, Kind::Hang)],
        Dwelling::Late => grants(0..some, from, ever, Kind::Hang).collect(),
        Dwelling::Sick => {
            let kind = draw.pick(&[Kind::Unavailable, Kind::Failing]);
            let shared = draw.pick(&[host.life / 2, host.life, host.life * 2]);
            let mut faults: Vec<Fault> = grants(0..some, from, ever, kind).collect();
            faults.push(fault(Whom::Host(0), from, shared, kind));
            faults
        }
        Dwelling::Down => {
            let shared = draw.pick(&[host.life / 2, host.life, host.life * 2]);
            let mut faults: Vec<Fault> = grants(0..some, from, ever, Kind::Down).collect();
            faults.push(fault(Whom::Host(0), from, shared, Kind::Down));
            faults
        }
        Dwelling::Refused => grants(0..some, from, ever, Kind::FalseRefusal).collect(),
        Dwelling::Rejected => grants(0..some, from, ever, Kind::Client).collect(),
        Dwelling::Starved => grants(0..9, from, ever, Kind::Hang).collect(),
        Dwelling::Apart => grants(0..some, from, ever, Kind::Down).collect(),
    }
}
