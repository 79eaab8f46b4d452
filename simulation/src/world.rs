//! A machine, its network and its servers: it jumps from one happening to the
//! next. A process lives on it now and then; between any two happenings it may
//! end, and the next one finds the disk alone.

use crate::audit::{Audit, Check, Violation, ensure};
use crate::chaos::Temper;
use crate::consumer::Published;
use crate::engine::Process;
use crate::fate::Fate;
use crate::flight::{brought, form_of};
use crate::restore::Copied;
use crate::rng::Rng;
use crate::server::{Server, TokenId};
use crate::setup::{Config, Errand, Setup, binding};
use crate::store::{Store, Unread};
use crate::transactions::{Ghost, Job};
use refreshd_core::exchange::Event;
use refreshd_core::exchange::grant::OfGrant;
use refreshd_core::flight::settle::{Import, import};
use refreshd_core::grant::schedule::{Never, Plan, plan};
use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
use refreshd_core::provider::answer::read_import;
use refreshd_core::time::{BootTime, Now, WallTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

pub(crate) const BEGINNING: i64 = 1_800_000_000_000;
/// Trouble ends at last, and then every grant that can live must live.
const CALM: i64 = 26 * 3_600_000;

/// How much there is of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) grants: u32,
    pub(crate) generations: u64,
    /// Lifetimes from which a world draws, in seconds.
    pub(crate) lives: &'static [i64],
}

pub(crate) const LIVES: &[i64] = &[4, 20, 300, 600, 3600, 21_600, 172_800];

pub(crate) const CI: Size = Size {
    grants: 5,
    generations: 20,
    lives: LIVES,
};
pub(crate) const FULL: Size = Size {
    grants: 20,
    generations: 200,
    lives: LIVES,
};
/// Years.
pub(crate) const MANY: Size = Size {
    grants: 3000,
    generations: 40,
    lives: &[86_400 * 20, 86_400 * 30],
};

/// What happened in a world.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) sends: u64,
    pub(crate) generations: u64,
    /// Grants that ended refused, as the table allows.
    pub(crate) lost: u64,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) fates: BTreeMap<Fate, u64>,
}

impl Report {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Report) {
        self.sends += other.sends;
        self.generations += other.generations;
        self.lost += other.lost;
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        for (fate, count) in &other.fates {
            *self.fates.entry(*fate).or_default() += count;
        }
    }
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A request comes to its server.
    Received(u64),
    /// Something goes wrong, or a person does something.
    Trouble,
    /// A process starts.
    Start,
    /// The disk has space again.
    Freed,
    /// An operator does something.
    Person(Errand),
    /// A consumer uses the token of a grant.
    Consume(u32),
    /// To the process of that number.
    Inside(u32, Inside),
}

/// What happens inside a process.
#[derive(Debug)]
pub(crate) enum Inside {
    Wake,
    /// A flight learns something.
    Tell(u64, Box<Event<OfGrant>>),
    /// Its exchange ended.
    Ended(u64),
    /// Its exchange takes long.
    Overdue(u64),
    /// It reads its grant anew.
    Load(u64),
    /// The store's thread takes what has queued up.
    Transact,
    /// The store is asked once more.
    Again(Box<Job>),
    /// The store takes the place of what a failed commit left.
    Overwrite,
    /// Whether the store takes commits again.
    Probe,
    Publish(u32),
    /// The daemon looks after clients that are paused.
    Heal,
}

#[derive(Debug)]
struct Scheduled {
    at: i64,
    sequence: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// One request and what comes of it, apart from the process that sent it.
pub(crate) struct Exchange {
    pub(crate) index: u32,
    pub(crate) fate: Fate,
    /// `None`: the client asks for itself.
    pub(crate) token: Option<TokenId>,
    pub(crate) base: GrantState,
    pub(crate) sent: WallTime,
    /// The family's newest refresh token when it took off, and whether it was ours.
    pub(crate) newest: TokenId,
    pub(crate) had: bool,
    pub(crate) setup: Setup,
    /// How long the answer takes back, and the process that waits for it.
    pub(crate) back: i64,
    pub(crate) incarnation: u32,
    pub(crate) reply: Option<(u16, String)>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) size: Size,
    pub(crate) temper: Temper,
    /// Milliseconds since the world began, by no clock of the machine's.
    pub(crate) now: i64,
    events: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    /// How far the wall clock is off.
    pub(crate) wall_offset: i64,
    pub(crate) boot_at: i64,
    pub(crate) boots: u32,
    pub(crate) asleep_until: i64,
    /// For so long the disk hangs over the next intent, and until when it hangs.
    pub(crate) hangs_for: i64,
    pub(crate) hangs_until: i64,
    pub(crate) store: Store,
    /// So many transactions of the store are yet to fail.
    pub(crate) failing_commits: u32,
    /// The process ends in the middle of the next.
    pub(crate) dies_committing: bool,
    /// What the last that failed may have left.
    pub(crate) ghost: Option<Ghost>,
    pub(crate) servers: Vec<Server>,
    pub(crate) exchanges: BTreeMap<u64, Exchange>,
    pub(crate) flights: u64,
    pub(crate) process: Option<Process>,
    pub(crate) incarnation: u32,
    /// The configuration as it is on disk.
    pub(crate) config: Config,
    /// What readers find.
    pub(crate) published: Vec<Option<Published>>,
    /// The stamp beside the store, and when it was written.
    pub(crate) stamp_seq: u64,
    stamped_at: i64,
    pub(crate) copied: Option<Copied>,
    /// Which generation somebody last wished to have replaced.
    pub(crate) named: BTreeMap<u32, u64>,
    /// The first token set of each grant's last authorization.
    pub(crate) seeds: BTreeMap<u32, TokenSet>,
    pub(crate) calm: bool,
    happened: u64,
    pub(crate) audit: Audit,
    pub(crate) report: Report,
    /// What happened, for a seed that is looked into.
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, size: Size, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let scale = rng.pick(size.lives) * 1000;
        let servers: Vec<Server> = (0..=rng.below(3))
            .map(|_| Server::new(&mut rng, scale))
            .collect();
        let temper = Temper::draw(&mut rng, scale);
        let config = Config {
            clients: vec![Setup::default(); servers.len()],
            ..Config::default()
        };
        let prints = servers[0].rules(0).fingerprinter.clone();
        let mut world = World {
            temper,
            size,
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            wall_offset: rng.millis(-86_400_000, 86_400_000),
            boot_at: -rng.millis(1, 1_000_000_000),
            boots: 1,
            asleep_until: 0,
            hangs_for: 0,
            hangs_until: 0,
            store: Store::new(prints),
            failing_commits: 0,
            dies_committing: false,
            ghost: None,
            servers,
            exchanges: BTreeMap::new(),
            flights: 0,
            process: None,
            incarnation: 0,
            config,
            published: vec![None; size.grants as usize],
            stamp_seq: 0,
            stamped_at: 0,
            copied: None,
            named: BTreeMap::new(),
            seeds: BTreeMap::new(),
            calm: false,
            happened: 0,
            audit: Audit::new(size.grants as usize),
            report: Report::default(),
            trace: traced.then(Vec::new),
            rng,
        };
        for index in 0..size.grants {
            world.add_grant(index);
        }
        world.schedule(1, Happening::Start);
        let first = world.temper.pause(&mut world.rng);
        world.schedule(first, Happening::Trouble);
        world
    }

    fn add_grant(&mut self, index: u32) {
        let (state, tokens) = self.authorize(index);
        let grant = Grant {
            id: GrantId(index.to_string()),
            name: format!("grant-{index}"),
            client: "client".to_owned(),
            vars: BTreeMap::new(),
            redirect_uri: None,
            revision: 1,
            state: GrantState {
                generation: 1,
                ..state
            },
        };
        let stored = self.audit.stored(index, 1, true);
        stored.expect("the first generation");
        self.audit.durable(&tokens);
        self.store.add(grant, tokens);
    }

    /// A person authorizes: the state and token set to import.
    pub(crate) fn authorize(&mut self, index: u32) -> (GrantState, TokenSet) {
        let (now, wall, roll) = (self.now, self.wall(), self.rng.roll());
        let home = self.config.clients[self.lane(index) as usize].home;
        let server = self.server_mut(index);
        let body = server.authorize(index, now);
        let body = serde_json::from_str(&body).expect("JSON");
        let rules = server.rules(server.form);
        let import_it = Import {
            success: read_import(&rules.description, &body).expect("a token response"),
            obtained_at: Some(wall),
            code: None,
            binding: binding(home),
            roll,
        };
        let (mut state, tokens) = import(rules, import_it, wall);
        state.asks_anew = rules.policy.asks_anew();
        state.configured = true;
        let family = (index, server.latest_family(index));
        self.audit.may_go(family, home);
        self.seeds.insert(index, tokens.clone());
        (state, tokens)
    }

    pub(crate) fn lane(&self, index: u32) -> u32 {
        index % u32::try_from(self.servers.len()).expect("a few")
    }

    pub(crate) fn lanes(&self) -> u32 {
        u32::try_from(self.servers.len()).expect("a few")
    }

    /// The authorization that the grant's refresh token in the store belongs to.
    pub(crate) fn family_of(&self, index: u32) -> (u32, usize) {
        let token = &self.store.rows[index as usize].tokens.refresh_token;
        let token = token.as_ref().expect("a grant keeps its refresh token");
        (index, TokenId::of(token.expose()).family)
    }

    pub(crate) fn server(&self, index: u32) -> &Server {
        &self.servers[self.lane(index) as usize]
    }

    pub(crate) fn server_mut(&mut self, index: u32) -> &mut Server {
        let lane = self.lane(index) as usize;
        &mut self.servers[lane]
    }

    /// What the machine's wall clock shows.
    pub(crate) fn wall(&self) -> WallTime {
        WallTime(BEGINNING + self.now + self.wall_offset)
    }

    pub(crate) fn reading(&self) -> Now {
        Now {
            wall: self.wall(),
            boot: BootTime(self.now - self.boot_at),
        }
    }

    pub(crate) fn schedule(&mut self, wait: i64, what: Happening) {
        self.sequence += 1;
        self.events.push(Reverse(Scheduled {
            at: self.now.saturating_add(wait.max(0)),
            sequence: self.sequence,
            what,
        }));
    }

    /// Something happens in the process of now, if it lives to see it.
    pub(crate) fn inside(&mut self, wait: i64, what: Inside) {
        let incarnation = self.incarnation;
        self.schedule(wait, Happening::Inside(incarnation, what));
    }

    pub(crate) fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        let Some(mut trace) = self.trace.take() else {
            return;
        };
        trace.push(format!("{:>12} {}", self.now, what(self)));
        self.trace = Some(trace);
    }

    /// Lives to the end; what broke, and the history if it is traced.
    pub(crate) fn run(mut self) -> (Result<Report, Violation>, Vec<String>) {
        let result = self.live();
        let trace = self.trace.take().unwrap_or_default();
        (result.map(|()| self.report), trace)
    }

    fn live(&mut self) -> Check {
        let wanted = u64::from(self.size.grants) * self.size.generations;
        let enough = |world: &Self| {
            world.report.generations >= wanted
                || world.report.sends >= 3 * wanted
                || world.happened > 400 * (wanted + 200)
        };
        while !enough(self) && self.is_hopeful() {
            self.next()?;
        }
        self.note(|_| "--- calm".to_owned());
        self.calm = true;
        self.store.full = false;
        self.failing_commits = 0;
        self.dies_committing = false;
        self.schedule(1, Happening::Person(Errand::PutRight));
        let end = self.now + CALM.max(3 * self.longest_life());
        while self.is_dying() && self.now < end {
            self.next()?;
        }
        self.close()
    }

    fn longest_life(&self) -> i64 {
        self.servers.iter().map(|s| s.facts.life).max().unwrap_or(0)
    }

    /// Whether any grant will be refreshed again.
    fn is_hopeful(&self) -> bool {
        (0..self.size.grants).any(|index| !self.is_refused(index))
    }

    fn is_refused(&self, index: u32) -> bool {
        let state = &self.store.rows[index as usize].grant.state;
        let policy = &*self.server(index).policy;
        plan(state, policy, self.wall()) == Plan::Never(Never::Refused)
    }

    /// Whether an answer is kept that may hold the grant's next token set, and none of
    /// these could be read by a description that has been in force for the grant since:
    /// only a person can read it then, or let it go.
    fn waits_for_a_person(&self, index: u32) -> bool {
        let row = &self.store.rows[index as usize];
        let (state, policy) = (&row.grant.state, &*self.server(index).policy);
        let readable = |kept: &Unread| {
            let form = form_of(&kept.answer);
            brought(&kept.answer).is_some() && self.audit.was_described(index, form, kept.since)
        };
        let next = |kept: &&Unread| {
            let doubt = state.doubt.as_ref();
            doubt.is_some_and(|doubt| kept.intent.presents.is_token(doubt.presents))
        };
        plan(state, policy, self.wall()) == Plan::Never(Never::AnswerKept)
            && !row.unread.iter().filter(next).any(readable)
    }

    /// Whether a grant is neither alive nor refused, or something is under way.
    fn is_dying(&mut self) -> bool {
        let Some(now) = self.trusted() else {
            return true;
        };
        let idle = self.process.as_ref().is_some_and(Process::is_idle);
        // What is refused in a store that was put back may have a second chance.
        let fenced = (self.process.as_ref()).is_some_and(|p| p.scheduler.fenced().is_some());
        !idle
            || fenced
            || (0..self.size.grants).any(|index| {
                let state = &self.store.rows[index as usize].grant.state;
                let retired = self.process.as_ref().is_some_and(|p| p.is_retired(index));
                let waits = self.is_refused(index) || self.waits_for_a_person(index);
                !is_kept(state, now) && !waits && !retired
            })
    }

    fn next(&mut self) -> Check {
        let Some(Reverse(event)) = self.events.pop() else {
            return ensure(false, "never-stuck", || {
                "nothing will ever happen".to_owned()
            });
        };
        self.happened += 1;
        let most = 1000 * (u64::from(self.size.grants) * self.size.generations + 1000);
        ensure(self.happened < most, "never-stuck", || {
            format!("{most} things happened, the last is {:?}", event.what)
        })?;
        self.now = self.now.max(event.at);
        match event.what {
            Happening::Received(flight) => self.received(flight),
            Happening::Trouble => self.trouble(),
            Happening::Freed => {
                self.store.full = false;
                Ok(())
            }
            Happening::Start | Happening::Person(_) if self.now < self.asleep_until => {
                self.schedule(self.asleep_until - self.now, event.what);
                Ok(())
            }
            Happening::Start => self.start(),
            Happening::Person(errand) => {
                self.do_errand(errand)?;
                self.tick()
            }
            Happening::Consume(_) if self.now < self.asleep_until => Ok(()),
            Happening::Consume(index) => {
                self.consume(index)?;
                self.tick()
            }
            Happening::Inside(incarnation, _) if incarnation != self.incarnation => Ok(()),
            Happening::Inside(incarnation, what) if self.now < self.asleep_until => {
                let wait = self.asleep_until - self.now;
                self.schedule(wait, Happening::Inside(incarnation, what));
                Ok(())
            }
            Happening::Inside(..) if self.dies_here() => self.end_process(),
            Happening::Inside(_, what) => {
                self.happen(what)?;
                self.write_stamp();
                self.tick()
            }
        }
    }

    /// At most once a second, and never back.
    fn write_stamp(&mut self) {
        let due = self.now >= self.stamped_at + 1000 && !self.store.full;
        if due && self.store.commit_seq > self.stamp_seq && self.process.is_some() {
            self.stamp_seq = self.store.commit_seq;
            self.stamped_at = self.now;
        }
    }

    pub(crate) fn dies_here(&mut self) -> bool {
        // Where much happens at once, a process that died as readily would get nothing done.
        let crowd = u64::from(self.size.grants / 20).max(1);
        !self.calm && self.process.is_some() && self.rng.below(100_000 * crowd) < self.temper.deaths
    }

    /// The process ends, or the whole machine does.
    pub(crate) fn end_process(&mut self) -> Check {
        self.settle_ghost()?;
        let power = self.rng.percent(40);
        self.note(|_| {
            format!(
                "the process ends{}",
                if power { ", the power too" } else { "" }
            )
        });
        self.report.count(if power {
            "power lost"
        } else {
            "process killed"
        });
        self.note_descriptions();
        self.audit.nothing_is_described();
        self.process = None;
        self.incarnation += 1;
        self.audit.promptly.clear();
        let mut down = self.rng.millis(50, 30_000);
        if self.rng.percent(5) {
            let life = self.longest_life();
            down += self.rng.millis(0, life.min(7 * 86_400_000));
        }
        if power {
            if self.rng.percent(50) {
                self.published.fill(None);
                self.audit.outputs_gone();
            }
            self.boots += 1;
            self.boot_at = self.now + down;
        }
        self.schedule(down, Happening::Start);
        Ok(())
    }

    /// What must hold at the end of the day.
    fn close(&mut self) -> Check {
        self.note_descriptions();
        for index in 0..self.size.grants {
            self.close_grant(index)?;
        }
        Ok(())
    }

    fn close_grant(&mut self, index: u32) -> Check {
        let refused = self.is_refused(index);
        let row = &self.store.rows[index as usize];
        let state = row.grant.state.clone();
        let retired = self.process.as_ref().is_some_and(|p| p.is_retired(index));
        let now = self.trusted().unwrap_or(self.wall());
        ensure(
            refused || retired || self.waits_for_a_person(index) || is_kept(&state, now),
            "recovers",
            || {
                let process = self.process.as_ref();
                let seen = process.map(|p| {
                    let writes = !p.scheduler.is_unwritable();
                    (
                        writes,
                        p.aloft.len(),
                        p.scheduler.fenced(),
                        p.scheduler.limits(),
                    )
                });
                format!(
                    "grant {index} is dead at {now:?}, and nothing is in the way, {state:?}, {seen:?}"
                )
            },
        )?;
        self.check_loss(index)?;
        self.report.lost += u64::from(refused);
        Ok(())
    }

    /// No grant is lost unless the provider rotated, the bytes never came, and
    /// the old token is void.
    pub(crate) fn check_loss(&mut self, index: u32) -> Check {
        if !self.is_refused(index) {
            return Ok(());
        }
        let row = &self.store.rows[index as usize];
        let state = row.grant.state.clone();
        let server = self.server(index);
        if self.family_of(index).1 != server.latest_family(index) && self.audit.was_put_back {
            // What was authorized since is lost with what followed the backup.
            return Ok(());
        }
        let (facts, family) = (server.facts, server.latest(index));
        let newest = TokenId {
            grant: index,
            family: server.latest_family(index),
            number: family.current,
        };
        let (dead, excused) = (family.dead, family.excused);
        let (had, forgives) = (self.audit.is_durable(newest), server.forgives());
        // A backup holds what was; the provider may have moved on by more than one step.
        let forgives = forgives && !self.audit.was_put_back;
        ensure(!facts.anew, "anew-never-lost", || format!("{state:?}"))?;
        ensure(excused || !forgives || dead, "forgiven-never-lost", || {
            format!("{state:?}")
        })?;
        ensure(
            excused || facts.rotates,
            "never-rotating-never-lost",
            || format!("{state:?}"),
        )?;
        ensure(excused || (!dead && !had), "no-loss", || {
            format!(
                "grant {index} is refused; {newest:?} ours: {had}, family dead: {dead}, {state:?}"
            )
        })
    }
}

/// Alive; or, where a life is shorter than the exchanges of others may take that
/// have the only places, over while it waits its turn.
fn is_kept(state: &GrantState, now: WallTime) -> bool {
    let seconds = std::time::Duration::from_secs;
    let turn = if state.lifetime() < seconds(120) {
        300
    } else {
        0
    };
    !state.access_dead && now < state.expires_at + seconds(turn)
}
