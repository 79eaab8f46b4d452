//! What goes wrong when, drawn from a seed before anything begins.

use refreshd_core::limits::Route;

/// No exchange takes longer, but for those that get no answer.
const EXCHANGE: i64 = 2_000;

/// How many grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// 5 to 20, of all lives.
    Few,
    /// 200.
    Many,
    /// 5,000, whose tokens live for an hour at least.
    Crowd,
}

/// How a host treats refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It rotates, the old one is over at once, and presenting it again revokes.
    Revoking,
    /// It rotates, and an old one may be presented again for ever.
    Forgiving,
    /// It never rotates.
    Lasting,
    /// The client asks anew.
    Anew,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No connection.
    Down,
    /// No answer for ten minutes; it was not carried out.
    Hang,
    /// It was carried out, and the answer is cut off.
    Cut,
    /// HTTP 500, and nothing was done.
    Failing,
    /// HTTP 429; how long to wait, in seconds, where it says so.
    TooMany(Option<i64>),
    /// HTTP 400 `temporarily_unavailable`.
    Unavailable,
    /// HTTP 401 `invalid_client`.
    Client,
    /// HTTP 400 `invalid_grant`, though the token is good.
    FalseRefusal,
    /// The refresh token is void, for good.
    Void,
}

/// Whom a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Grant(u32),
    Client(u32),
    Host(u32),
    All,
}

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) whom: Whom,
    /// In milliseconds from the beginning.
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) kind: Kind,
}

impl Fault {
    pub(crate) fn is_about(&self, grant: u32, route: Route) -> bool {
        match self.whom {
            Whom::Grant(about) => about == grant,
            Whom::Client(client) => client == route.client,
            Whom::Host(host) => host == route.host,
            Whom::All => true,
        }
    }
}

/// What happens to the daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// It is killed, and starts again after so long.
    Restart(i64),
    /// The configuration is read again.
    Reload,
    /// The machine sleeps for so long.
    Suspend(i64),
    /// The system's wall clock is set, by so much.
    Step(i64),
}

/// One grant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) route: Route,
    /// How old its first token set is at the beginning, in milliseconds.
    pub(crate) age: i64,
}

/// One host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) manner: Manner,
    /// Of its access tokens, in milliseconds.
    pub(crate) life: i64,
}

/// A world, before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) flights: u32,
    pub(crate) hosts: Vec<Host>,
    pub(crate) members: Vec<Member>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) turns: Vec<(i64, Turn)>,
    pub(crate) horizon: i64,
}

/// An even number of 64 bits for these (splitmix64's finish).
pub(crate) fn hash(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut mixed = (state ^ part)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
            .wrapping_add(part.rotate_left(31));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Draws one number after the other.
pub(crate) struct Draw(pub(crate) u64, pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        self.1 += 1;
        let drawn = hash(&[self.0, self.1]) % limit.max(1).unsigned_abs();
        drawn.cast_signed()
    }

    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low)
    }

    fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as i64)).expect("an index")]
    }
}

/// How many places there must be for the exchanges of each host, of at most two seconds each,
/// to take a quarter of the host's share.
fn needed(hosts: &[Host], members: &[Member]) -> u32 {
    let of = |host: u32| {
        members
            .iter()
            .filter(move |member| member.route.host == host)
    };
    let shares = (0..).zip(hosts).map(|(number, host)| {
        let exchanges = of(number).count() as i64 * EXCHANGE;
        u32::try_from(exchanges * 4 / host.life).expect("few") + 1
    });
    let share = shares.max().unwrap_or(1);
    // All places but an eighth.
    share + share / 7 + 1
}

impl Script {
    pub(crate) fn draw(seed: u64, size: Size) -> Script {
        let mut draw = Draw(seed, size as u64);
        let count = match size {
            Size::Few => draw.between(5, 21),
            Size::Many => 200,
            Size::Crowd => 5_000,
        };
        let lives: &[i64] = match size {
            Size::Few => &[20, 60, 300, 300, 3600],
            Size::Many => &[60, 300, 3600],
            Size::Crowd => &[3600, 7200],
        };
        let hosts = match draw.below(3) {
            0 => 1,
            1 => draw.between(2, 5),
            _ => count,
        };
        let all_alike = draw.percent(70);
        let first = Script::host(&mut draw, lives);
        let hosts: Vec<Host> = (0..hosts)
            .map(|_| match all_alike {
                true => first,
                false => Script::host(&mut draw, lives),
            })
            .collect();
        let clients = draw.pick(&[1, 1, 2, 3]);
        let members: Vec<Member> = (0..count)
            .map(|grant| {
                let host = grant % hosts.len() as i64;
                let life = hosts[usize::try_from(host).expect("a host")].life;
                let client = grant % clients;
                Member {
                    route: Route {
                        host: u32::try_from(host).expect("few"),
                        client: u32::try_from(client).expect("few"),
                        template: (hosts.len() > 1).then_some(0),
                    },
                    age: draw.below(life / 2),
                }
            })
            .collect();
        let longest = hosts.iter().map(|host| host.life).max().unwrap_or(60_000);
        let horizon = (longest * 4).clamp(600_000, 4 * 3_600_000);
        let faults = Script::faults(&mut draw, &members, &hosts, horizon);
        let turns = (0..draw.pick(&[0, 0, 1, 2]))
            .map(|_| {
                let at = draw.below(horizon * 3 / 4);
                let turn = match draw.below(4) {
                    0 => Turn::Reload,
                    1 => Turn::Suspend(draw.between(1_000, 20_000)),
                    _ => Turn::Restart(draw.between(50, 3_000)),
                };
                (at, turn)
            })
            .collect();
        let flights = draw.pick(&[16, 64]).max(needed(&hosts, &members));
        let mut turns: Vec<(i64, Turn)> = turns;
        if draw.percent(15) {
            let by = draw.pick(&[-3_600_000, -60_000, 2_000, 60_000, 600_000]);
            turns.push((draw.below(horizon * 3 / 4), Turn::Step(by)));
        }
        Script {
            seed,
            flights,
            hosts,
            members,
            faults,
            turns,
            horizon,
        }
    }

    fn host(draw: &mut Draw, lives: &[i64]) -> Host {
        Host {
            manner: draw.pick(&[
                Manner::Revoking,
                Manner::Revoking,
                Manner::Forgiving,
                Manner::Lasting,
                Manner::Anew,
            ]),
            life: draw.pick(lives) * 1000,
        }
    }

    fn faults(draw: &mut Draw, members: &[Member], hosts: &[Host], horizon: i64) -> Vec<Fault> {
        let mut faults = Vec::new();
        for _ in 0..draw.between(1, 4) {
            let from = draw.below(horizon / 2);
            let until = from + draw.pick(&[1_000, 45_000, 60_000, 300_000, horizon]);
            let kind = draw.pick(&[
                Kind::Down,
                Kind::Hang,
                Kind::Cut,
                Kind::Failing,
                Kind::TooMany(Some(60)),
                Kind::TooMany(None),
                Kind::Unavailable,
                Kind::Client,
                Kind::FalseRefusal,
                Kind::Void,
            ]);
            let count = members.len() as i64;
            let some = |draw: &mut Draw, most: i64| -> Vec<Whom> {
                let first = draw.below(count);
                let many = draw.between(1, most.max(2));
                let grants = (first..first + many).map(|grant| grant % count);
                grants
                    .map(|grant| Whom::Grant(u32::try_from(grant).expect("few")))
                    .collect()
            };
            let whom = match draw.below(8) {
                0..=4 => some(draw, (count / 3).min(40)),
                5 => {
                    let host = draw.below(hosts.len() as i64);
                    vec![Whom::Host(u32::try_from(host).expect("few"))]
                }
                6 => vec![Whom::Client(0)],
                _ => vec![Whom::All],
            };
            // What a person alone mends is nobody's but the grant's.
            let own = matches!(kind, Kind::Void);
            for whom in whom {
                let whom = match (own, whom) {
                    (true, Whom::Host(_) | Whom::Client(_) | Whom::All) => Whom::Grant(0),
                    (_, whom) => whom,
                };
                faults.push(Fault {
                    whom,
                    from,
                    until,
                    kind,
                });
            }
        }
        faults
    }
}
