//! One grant, its provider, its disk and its time; what happens next, and what
//! must hold.

mod answers;
mod shell;

use crate::disk::Disk;
use crate::fate::Fate;
use crate::provider::Provider;
use crate::rng::Rng;
use refreshd_core::flight::{Event, Flight, FlightId, Intent, Stamp};
use refreshd_core::grant::replay::spacing;
use refreshd_core::grant::schedule::{Never, Plan, Policy, gap, plan};
use refreshd_core::grant::settle::{Ending, Import, Rules, import};
use refreshd_core::grant::state::Binding;
use refreshd_core::grant::{Grant, GrantId, GrantState, Presents, presentation};
use refreshd_core::provider::answer::read_import;
use refreshd_core::provider::description::{DescriptionHash, Schedule};
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::{BootTime, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FLIGHTS: u32 = 60;
const BEGINNING: WallTime = WallTime(1_800_000_000_000);

/// What a world does wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mischief {
    None,
    /// A restart drops doubts and what would lead to them.
    ForgetDoubt,
    /// Flights start without asking the plan.
    IgnorePlan,
    /// The intent is said to be durable, and is not.
    ForgetIntent,
    /// A restart finds intents, but not their answers.
    ForgetAnswer,
    /// The answer is said to be durable, and is not.
    ReadBeforeRecord,
    IgnoreRetryAfter,
    /// A commit does not look at the revision it rests on.
    CommitStale,
    /// A replay's lifetime counts from the replay.
    CountFromReplay,
    /// A token in doubt is presented though the client could ask anew.
    PresentAllTheSame,
}

/// An invariant that did not hold.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// What happened in a world.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) generations: u64,
    pub(crate) refused: u64,
    /// Presentations that could cost the family, in the last chance.
    pub(crate) gambles: u64,
    /// Flights that took off while an overdue one was still being read.
    pub(crate) overlaps: u64,
    pub(crate) stale: u64,
    /// Exchanges in which the client asked for itself.
    pub(crate) anew: u64,
    /// Presentations of a token in doubt.
    pub(crate) replays: u64,
    pub(crate) fates: BTreeMap<Fate, u64>,
}

/// Why the performing of a flight broke off.
enum Stop {
    Died,
    Violation(Violation),
}

fn ensure(
    holds: bool,
    invariant: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), Stop> {
    if holds {
        return Ok(());
    }
    let detail = detail();
    Err(Stop::Violation(Violation { invariant, detail }))
}

/// An overdue flight that is still being read.
struct Aloft {
    flight: Flight,
    arrives: WallTime,
    ending: Ending,
}

pub(crate) struct World {
    rng: Rng,
    now: WallTime,
    provider: Provider,
    rules: Rules,
    disk: Disk,
    mischief: Mischief,
    report: Report,
    /// Whether another flight may start while an overdue one is being read.
    overlapping: bool,
    aloft: Vec<Aloft>,
    /// What the flight in hand will get after its limit.
    late: Option<(WallTime, Ending)>,
    /// The state the flight in hand started from, and the refresh token it presents.
    base: GrantState,
    presenting: Option<u64>,
    last_sent: Option<WallTime>,
    /// How often each refresh token was presented where it could cost the family.
    gambled: BTreeMap<u64, u32>,
    asked_until: Option<WallTime>,
    /// Flights whose answer the journal did not take.
    unrecorded: BTreeSet<FlightId>,
    /// The family was revoked when the answer that could have prevented it was
    /// not ours yet, or came just as the request left.
    beyond_help: bool,
    flights: u32,
    /// What happened, for a seed that is looked into.
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, mischief: Mischief) -> Self {
        let mut rng = Rng::new(seed);
        let now = BEGINNING;
        let provider = Provider::new(&mut rng, now);
        let description = provider.description();
        let rules = Rules {
            policy: Policy::new(&description, Schedule::default()),
            description,
            fingerprinter: Fingerprinter::new([7; 32]),
        };
        let first = Import {
            success: read_import(&rules.description, &provider.first()).expect("a token response"),
            obtained_at: Some(now),
            code: None,
            binding: Binding {
                client_id: "client".to_owned(),
                origin: "https://as.example".to_owned(),
            },
            roll: rng.roll(),
        };
        let (mut state, tokens) = import(&rules, first, now);
        state.generation = 1;
        let grant = Grant {
            id: GrantId("grant".to_owned()),
            name: "grant".to_owned(),
            client: "client".to_owned(),
            vars: BTreeMap::new(),
            redirect_uri: None,
            revision: 1,
            state: state.clone(),
        };
        World {
            overlapping: rng.percent(50),
            rng,
            now,
            provider,
            rules,
            disk: Disk {
                grant,
                tokens,
                slots: Vec::new(),
                candidates: Vec::new(),
                durable: BTreeSet::from([0]),
            },
            mischief,
            report: Report::default(),
            aloft: Vec::new(),
            late: None,
            base: state,
            presenting: None,
            last_sent: None,
            gambled: BTreeMap::new(),
            asked_until: None,
            unrecorded: BTreeSet::new(),
            beyond_help: false,
            flights: 0,
            trace: None,
        }
    }

    /// The history of a seed, up to its violation.
    pub(crate) fn history(seed: u64) -> String {
        let mut world = World::new(seed, Mischief::None);
        world.trace = Some(Vec::new());
        while world.flights < FLIGHTS {
            match world.turn() {
                Ok(true) => {}
                Err(Stop::Died) if world.restart().is_ok() => {}
                _ => break,
            }
        }
        let trace = world.trace.unwrap_or_default();
        trace[trace.len().saturating_sub(40)..].join("\n")
    }

    fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        let Some(mut trace) = self.trace.take() else {
            return;
        };
        trace.push(format!("{} {}", self.now.0 - BEGINNING.0, what(self)));
        self.trace = Some(trace);
    }

    /// Sixty flights, or fewer if the grant is refused before.
    pub(crate) fn run(mut self) -> Result<Report, Violation> {
        while self.flights < FLIGHTS {
            match self.turn() {
                Ok(true) => {}
                Ok(false) => break,
                Err(Stop::Violation(violation)) => return Err(violation),
                Err(Stop::Died) => self.restart()?,
            }
        }
        match self.close() {
            Err(Stop::Violation(violation)) => Err(violation),
            _ => Ok(self.report),
        }
    }

    /// Jumps to what comes next: an answer that is overdue, or the next flight.
    /// False when nothing will ever come.
    fn turn(&mut self) -> Result<bool, Stop> {
        let arrives = self.aloft.iter().map(|aloft| aloft.arrives).min();
        let due = match self.plan() {
            Plan::At { .. } if self.mischief == Mischief::IgnorePlan => self.now,
            Plan::At { at, .. } => at.max(self.now),
            Plan::Never(why) => {
                ensure(why == Never::Refused, "plan", || format!("never: {why:?}"))?;
                let Some(arrives) = arrives else {
                    return Ok(false);
                };
                arrives
            }
        };
        if let Some(arrives) = arrives.filter(|at| *at <= due || !self.overlapping) {
            self.now = self.now.max(arrives);
            self.deliver()?;
            return Ok(true);
        }
        self.now = due + self.rng.millis(0, 50);
        if self.rng.percent(1) {
            self.now = self.now + self.sleep();
        }
        // What was due may have changed, as after a suspend.
        let ready = matches!(self.plan(), Plan::At { at, .. } if at <= self.now);
        if ready || self.mischief == Mischief::IgnorePlan {
            self.fly()?;
        }
        Ok(true)
    }

    fn plan(&self) -> Plan {
        plan(&self.disk.grant.state, &self.rules.policy, self.now)
    }

    /// Up to two lifetimes.
    fn sleep(&mut self) -> Duration {
        let life = u64::try_from(self.provider.life.as_millis()).expect("some days");
        self.rng.millis(0, 2 * life)
    }

    fn fly(&mut self) -> Result<(), Stop> {
        self.flights += 1;
        self.report.overlaps += u64::from(!self.aloft.is_empty());
        let state = self.disk.grant.state.clone();
        self.check_pause(&state)?;
        let open = self.disk.slots.len();
        ensure(open == 0, "landed-is-free", || {
            format!("{open} slots are held")
        })?;
        self.report.replays += u64::from(state.doubt.is_some());
        let intent = self.intent(&state);
        let token = intent.presents != Presents::ClientCredentials;
        self.presenting = token.then(|| self.disk.presents());
        self.report.anew += u64::from(!token);
        self.base = state;
        let grant = self.disk.grant.clone();
        let mut flight = Flight::new(intent, grant, self.disk.tokens.clone(), self.rules.clone());
        let step = flight.handle(Event::Begin, self.now);
        self.perform(flight, step)
    }

    /// The least time since the last send, and until the provider's own word.
    fn check_pause(&self, state: &GrantState) -> Result<(), Stop> {
        let least = if state.doubt.is_some() && !self.provider.anew {
            spacing(state, &self.rules.policy.rotation)
        } else {
            gap(state.lifetime())
        };
        let now = self.now;
        let last = self.last_sent;
        ensure(last.is_none_or(|last| now >= last + least), "gap", || {
            format!("a send at {now:?}, {least:?} after {last:?} at the least, {state:?}")
        })?;
        let asked = self.asked_until;
        ensure(
            asked.is_none_or(|until| now >= until),
            "retry-after",
            || format!("a send at {now:?}, asked to wait until {asked:?}"),
        )
    }

    fn intent(&mut self, state: &GrantState) -> Intent {
        let presents = presentation::next(state, &self.rules.policy, self.now);
        let presents = match (presents, state.presents) {
            (_, Some(token)) if self.mischief == Mischief::PresentAllTheSame => {
                Presents::RefreshToken(token)
            }
            (presents, _) => presents.expect("there is something to present"),
        };
        let doubt = state.doubt.as_ref();
        let doubt = doubt.filter(|d| presents.is_token(d.presents));
        let doubt = doubt.filter(|_| self.mischief != Mischief::CountFromReplay);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&self.flights.to_be_bytes());
        Intent {
            flight: FlightId(id),
            grant: self.disk.grant.id.clone(),
            name: self.disk.grant.name.clone(),
            revision: self.disk.grant.revision,
            generation: state.generation,
            attempt: doubt.map_or(0, |doubt| doubt.presentations) + 1,
            first_sent: doubt.map_or(self.now, |doubt| doubt.first_sent),
            sent: Stamp {
                wall: self.now,
                boot: BootTime(self.now.0),
                boot_id: "boot".to_owned(),
            },
            presents,
            description: DescriptionHash("hash".to_owned()),
            roll: self.rng.roll(),
        }
    }

    /// A new process: nothing but the disk is left. It may end again on the way.
    fn restart(&mut self) -> Result<(), Violation> {
        loop {
            self.aloft.clear();
            self.late = None;
            self.now = self.now + self.rng.millis(100, 60_000);
            if self.rng.percent(5) {
                self.now = self.now + self.sleep();
            }
            match self.recover() {
                Ok(()) => return Ok(()),
                Err(Stop::Violation(violation)) => return Err(violation),
                Err(Stop::Died) => {}
            }
        }
    }

    fn recover(&mut self) -> Result<(), Stop> {
        if self.mischief == Mischief::ForgetDoubt {
            self.disk.grant.state.doubt = None;
            self.disk.slots.retain(|slot| slot.answer.is_some());
        }
        let flights: Vec<FlightId> = self.disk.slots.iter().map(|s| s.intent.flight).collect();
        for id in flights {
            let slot = self.disk.slot(id).expect("it was there");
            let forget = self.mischief == Mischief::ForgetAnswer;
            let (intent, answer) = (slot.intent.clone(), slot.answer.clone().filter(|_| !forget));
            let (grant, tokens) = (self.disk.grant.clone(), self.disk.tokens.clone());
            let (rules, now) = (self.rules.clone(), self.now);
            let (flight, step) = Flight::recovered(intent, answer, grant, tokens, rules, now);
            self.perform(flight, step)?;
        }
        Ok(())
    }

    /// What must hold at the end of the day.
    fn close(&mut self) -> Result<(), Stop> {
        let refused = self.plan() == Plan::Never(Never::Refused);
        ensure(!refused || !self.provider.anew, "anew-never-lost", || {
            format!("{:?}", self.disk.grant.state)
        })?;
        self.report.refused = u64::from(refused);
        let current = self.provider.current;
        let had = self.disk.durable.contains(&current);
        ensure(!refused || !had || self.beyond_help, "no-loss", || {
            format!(
                "refused, though rt-{current} was ours, {:?}",
                self.disk.grant.state
            )
        })?;
        ensure(
            !refused || !self.provider.forgives(),
            "forgiven-never-lost",
            || format!("{:?}", self.disk.grant.state),
        )?;
        let keeps = self.provider.rotates || self.provider.anew || self.disk.presents() == 0;
        ensure(keeps, "never-rotating-never-lost", || {
            format!("{:?}", self.disk.grant.state)
        })
    }
}
