//! One brake: whether those who fail alike fail together, and who goes on asking.
//!
//! It begins when three fail alike and no exchange that began after the first of them
//! succeeded. Retries are thinned to one chain then; first attempts go on, but where the
//! brake is proven and asking cannot help or does harm. One success begins a round: all who
//! waited have one turn, one at a time, doubling; one that fails halves that.

use super::asking::Asking;
use super::trouble::Trouble;
use crate::mutation::{self, Mutation};
use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many must fail alike for a brake to begin.
pub(super) const ALIKE: usize = 3;
/// So many fresh ones must fail alike besides for it to be proven.
pub const FRESH: u32 = 2;
/// The first wait of a chain.
pub const STEP_BASE: Duration = Duration::from_secs(1);
/// The longest first wait where nothing can be sent: each try is a connection, and most tell
/// the same.
const DOWN_BASE: Duration = Duration::from_secs(2);
/// The longest.
pub const STEP_CAP: Duration = Duration::from_secs(300);
/// The longest first wait where a client is not accepted.
const CLIENT_BASE: Duration = Duration::from_secs(30);
/// The longest wait where a client is not accepted and no token of it lives.
const CLIENT_CAP: Duration = Duration::from_secs(3600);
/// The longest wait of a template's chain: its hosts have little to do with each other.
const TEMPLATE_CAP: Duration = Duration::from_secs(30);
/// No wait of a chain is longer than this part of what the brake has lasted: so what ended is
/// noticed soon after, also where the chain meets some on its way that are in trouble of their own.
const PART: u32 = 8;
/// The same where each turn may spend a refresh token, where a client is not accepted, and for
/// a template.
const SLOW_PART: u32 = 2;
/// The same where nothing can be sent, for so long: each try is a connection.
const DOWN_PART: u32 = 3;
const DOWN_UNTIL: Duration = Duration::from_secs(60);
/// No more failures are remembered.
const REMEMBERED: usize = 16;

/// So many of them must be of other clients than most, where there are others.
const OTHERS: usize = 2;

/// What it takes for a brake to begin.
pub(super) struct Quorum<'a> {
    /// So many fail alike.
    pub(super) alike: usize,
    /// How many grants of other clients than this one are asked there.
    pub(super) others: &'a dyn Fn(u32) -> usize,
    /// The exchange that began last.
    pub(super) latest: u64,
}

/// An exchange that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// Who failed: a grant, or a host where hosts are counted.
    pub(super) who: u32,
    /// Whose grant it is.
    pub(super) client: u32,
    /// The exchange; numbers rise with their beginnings.
    pub(super) flight: u64,
    pub(super) trouble: Trouble,
    pub(super) fresh: bool,
    /// How long its access tokens live.
    pub(super) life: Duration,
    pub(super) told: Option<WallTime>,
}

/// The order in which those who wait are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// In a round those go first that are yet to have their turn in it.
    had_turn: bool,
    /// When it had its last one since a success.
    turn: WallTime,
    class: Class,
    /// Those go last that would not tell whether the brake is over: what failed otherwise
    /// than the brake's, or under a brake of its client's that began before.
    otherwise: bool,
    /// Of a living token.
    ends_at: WallTime,
    /// Then those go first that have failed least, and of these in turn.
    sends: u32,
    asked_at: WallTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    FreshHarmless,
    Harmless,
    Fresh,
    Retry,
    Dead,
}

impl Rank {
    fn of(asking: &Asking, trouble: Option<Trouble>) -> Rank {
        let same = mutation::is(Mutation::ChainAlwaysSame);
        // One that worked last tells best. Where nothing can be sent, any that could be tells.
        let failed = asking.sends > 0;
        let another = match trouble {
            Some(Trouble::Down) => asking.trouble == trouble,
            Some(_) => asking.trouble != trouble,
            None => false,
        };
        let another = failed && another;
        let otherwise = !same && (!asking.is_witness || (another && asking.ends_at.is_none()));
        let Some(ends_at) = asking.ends_at else {
            return Rank {
                had_turn: true,
                turn: WallTime(0),
                class: Class::Dead,
                otherwise,
                ends_at: WallTime(0),
                sends: if same { 0 } else { asking.sends },
                asked_at: if same { WallTime(0) } else { asking.asked_at },
            };
        };
        Rank {
            had_turn: true,
            turn: WallTime(0),
            class: match (asking.harmless, asking.sends) {
                (true, 0) => Class::FreshHarmless,
                (true, _) => Class::Harmless,
                (false, 0) => Class::Fresh,
                (false, _) => Class::Retry,
            },
            otherwise,
            ends_at,
            sends: asking.sends,
            asked_at: asking.asked_at,
        }
    }

    fn ends_at(self) -> Option<WallTime> {
        (self.class != Class::Dead).then_some(self.ends_at)
    }
}

/// How a grant stands to the brake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It failed, and its own back-off runs.
    Failed,
    /// Its first attempt is held until its last moment.
    Held,
    /// It waits for its turn in the chain.
    Waits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    #[default]
    Off,
    On {
        trouble: Trouble,
        /// Fresh ones that failed alike since it began.
        fresh: u32,
        /// The exchange that began last when it did.
        latest: u64,
        proven: bool,
        /// That it is on was told: where one of those who were freed failed, three have
        /// to fail alike first.
        announced: bool,
        chain: Chain,
    },
    /// It is over; those who waited go one at a time, doubling.
    Easing { budget: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chain {
    at: WallTime,
    /// The first wait.
    first: Duration,
    step: Duration,
    /// When the brake began.
    since: WallTime,
    /// The last turn failed otherwise, and told nothing.
    untold: bool,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Three failed alike; `proven`: that suffices for first attempts to be held.
    Began { trouble: Trouble, proven: bool },
    /// It is proven.
    Proven(Trouble),
    /// It is over.
    Ended,
}

/// Whether an exchange may begin, as far as one brake goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// It may.
    Goes,
    /// Not before its last moment.
    Held(WallTime),
    /// It waits for the chain.
    Waits,
}

/// The brake of a host, of a client at a host, of a client, or of a template.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// The latest of each, but for those that a success refuted.
    failures: Vec<Failure>,
    phase: Phase,
    stands: BTreeMap<u32, (Stand, Rank)>,
    waiting: BTreeSet<(Rank, u32)>,
    living: BTreeSet<(WallTime, u32)>,
    /// A round is under way: who waits is asked once before anybody is asked twice.
    in_round: bool,
    /// Those who have had no turn in it yet.
    round: BTreeSet<u32>,
    /// It is for those whose turn in the one before failed.
    is_another: bool,
    /// A turn of the round failed.
    failed: bool,
    /// Another one succeeded after that: who failed has one more turn.
    again: bool,
    /// Exchanges of the chain, or of those who were freed.
    asking: BTreeSet<u64>,
    /// Before this the chain of a host that asks to wait asks nobody.
    told: Option<WallTime>,
    /// Of each trouble, the latest begun exchange that refuted it.
    refuted: [u64; Trouble::ALL.len()],
    /// What failed last may have spent its refresh token.
    spends: bool,
    /// It thins retries only.
    pub(super) never_proven: bool,
}

impl Brake {
    /// A brake that others have proven.
    pub(super) fn proven(trouble: Trouble, life: Duration, now: WallTime) -> Brake {
        let mut brake = Brake::default();
        brake.begin(trouble, true, true, life, 0, now);
        brake
    }

    /// Whether it knows nothing of which it has to keep count.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Off && self.failures.is_empty() && self.stands.is_empty()
    }

    pub(super) fn trouble(&self) -> Option<(Trouble, bool)> {
        match self.phase {
            Phase::On {
                trouble, proven, ..
            } => Some((trouble, proven)),
            _ => None,
        }
    }

    /// Whether this exchange may begin.
    pub(super) fn pass(&self, asking: &Asking, now: WallTime) -> Pass {
        let (trouble, proven) = match self.phase {
            Phase::Off => return Pass::Goes,
            Phase::Easing { .. } if asking.passes(now) => return Pass::Goes,
            Phase::Easing { .. } => return Pass::Waits,
            Phase::On {
                trouble, proven, ..
            } => (trouble, proven),
        };
        let spends = asking.spends || mutation::is(Mutation::HarmlessHeld);
        let holds = proven
            && match trouble {
                Trouble::Down | Trouble::Wait | Trouble::Client => true,
                Trouble::Lossy => spends,
                Trouble::Sick => mutation::is(Mutation::HarmlessHeld),
            };
        let Some(last) = asking.last_moment() else {
            // A dead token has nothing to save in time.
            let passes = mutation::is(Mutation::DeadHaveFirstAttempts) && asking.sends < 2;
            return if passes { Pass::Goes } else { Pass::Waits };
        };
        match holds {
            true if asking.sends == 0 && now < last => Pass::Held(last),
            true => Pass::Waits,
            false if mutation::is(Mutation::OneAttemptOnly) && asking.sends > 0 => Pass::Waits,
            false if asking.passes(now) => Pass::Goes,
            false => Pass::Waits,
        }
    }

    /// Takes a grant in that may not go.
    pub(super) fn wait(&mut self, grant: u32, pass: Pass, asking: &Asking, now: WallTime) {
        self.leave(grant);
        let trouble = self.trouble().map(|(trouble, _)| trouble);
        let rank = self.rank(grant, asking, trouble);
        let stand = match pass {
            // Where it is no refresh token that a try may cost, the chain does not wait for last
            // moments: who worked last tells best whether it is over.
            Pass::Held(_) if trouble == Some(Trouble::Lossy) => Stand::Held,
            _ => Stand::Waits,
        };
        self.stands.insert(grant, (stand, rank));
        if stand == Stand::Waits {
            self.line_up(grant, rank);
        }
        self.hasten(now);
    }

    fn rank(&self, grant: u32, asking: &Asking, trouble: Option<Trouble>) -> Rank {
        // One that was not asked since its token set was issued had none either.
        let is_first = self.in_round && asking.sends == 0;
        let forgets = mutation::is(Mutation::TurnsForgotten);
        let had_turn = !is_first && !self.round.contains(&grant) && !forgets;
        let keeps = had_turn || (self.is_another && !is_first);
        let turn = match keeps && self.in_round {
            true => asking.asked_at,
            false => WallTime(0),
        };
        Rank {
            had_turn,
            turn,
            ..Rank::of(asking, trouble)
        }
    }

    fn line_up(&mut self, grant: u32, rank: Rank) {
        self.waiting.insert((rank, grant));
        if let Some(ends_at) = rank.ends_at() {
            self.living.insert((ends_at, grant));
        }
    }

    /// A round begins: those who were held, or are in their own back-off, stand in line too,
    /// and each has one turn before any has a second.
    fn begin_round(&mut self) {
        self.round.extend(self.stands.keys());
        self.order_anew(false);
        self.line_up_all();
        (self.in_round, self.is_another) = (true, false);
        (self.failed, self.again) = (false, false);
    }

    /// Nobody had a turn since a success; `had_turn`: nobody is yet to have one.
    fn order_anew(&mut self, had_turn: bool) {
        let anew = |rank: Rank| Rank {
            had_turn,
            turn: WallTime(0),
            ..rank
        };
        for (_, rank) in self.stands.values_mut() {
            *rank = anew(*rank);
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting.map(|(rank, grant)| (anew(rank), grant)).collect();
    }

    /// Those who were held, or are in their own back-off, stand in line too.
    fn line_up_all(&mut self) {
        for (stand, _) in self.stands.values_mut() {
            *stand = Stand::Waits;
        }
        let all: Vec<(u32, Rank)> = (self.stands.iter())
            .map(|(grant, (_, rank))| (*grant, *rank))
            .collect();
        for (grant, rank) in all {
            self.line_up(grant, rank);
        }
    }

    /// Whether somebody waits who has had no turn in the round.
    fn has_round(&self) -> bool {
        let first = self.waiting.first();
        self.in_round && first.is_some_and(|(rank, _)| !rank.had_turn)
    }

    /// It waits no longer, and is not freed either.
    pub(super) fn leave(&mut self, grant: u32) {
        if let Some((_, rank)) = self.stands.remove(&grant) {
            self.waiting.remove(&(rank, grant));
            if let Some(ends_at) = rank.ends_at() {
                self.living.remove(&(ends_at, grant));
            }
        }
        self.rest();
    }

    /// It waits no longer, for its own back-off holds it, until others are freed.
    pub(super) fn step_back(&mut self, grant: u32) {
        let Some((_, rank)) = self.stands.get(&grant).copied() else {
            return;
        };
        self.leave(grant);
        if matches!(self.phase, Phase::On { .. }) {
            self.stands.insert(grant, (Stand::Failed, rank));
        }
    }

    /// Whether it stands in line.
    pub(super) fn has(&self, grant: u32) -> bool {
        self.stands
            .get(&grant)
            .is_some_and(|(stand, _)| *stand == Stand::Waits)
    }

    /// No wait of the chain is longer than a quarter of what is left of the soonest living
    /// token that waits, unless that is shorter than the least.
    fn bound(&self, now: WallTime) -> Duration {
        let least = match self.phase {
            Phase::On {
                trouble: Trouble::Down,
                chain,
                ..
            } => chain.first,
            _ => STEP_BASE,
        };
        let living = self.living.range((now, u32::MAX)..).next();
        living.map_or(Duration::MAX, |(ends_at, _)| {
            (ends_at.since(now) / 4).max(least)
        })
    }

    fn hasten(&mut self, now: WallTime) {
        let (bound, told) = (self.bound(now), self.told);
        if let Phase::On { chain, trouble, .. } = &mut self.phase
            && bound != Duration::MAX
        {
            chain.at = chain.at.min(now + bound);
            if *trouble == Trouble::Wait {
                chain.at = chain.at.max(told.unwrap_or(chain.at));
            }
        }
    }

    /// When the next of those who wait may be asked; `None`: not before something ends.
    pub(super) fn next_at(&self) -> Option<WallTime> {
        if self.waiting.is_empty() {
            return None;
        }
        match self.phase {
            Phase::On { chain, .. } => self.asking.is_empty().then_some(chain.at),
            _ => self.has_turn(WallTime(0)).then_some(WallTime(0)),
        }
    }

    /// Who is asked next, and after whom where there is no place for it.
    pub(super) fn line(&self) -> impl Iterator<Item = u32> {
        self.waiting.iter().map(|(_, grant)| *grant)
    }

    /// Whether it was freed: its own back-off does not count. That another host of a template
    /// works frees nobody.
    pub(super) fn frees(&self, grant: u32) -> bool {
        let is_on = matches!(self.phase, Phase::On { .. });
        !self.never_proven && (!is_on || self.round.contains(&grant))
    }

    /// Whether the chain, or the end of the brake, lets one more begin now.
    pub(super) fn has_turn(&self, now: WallTime) -> bool {
        match self.phase {
            Phase::Off => true,
            Phase::On { chain, .. } => self.asking.is_empty() && chain.at <= now,
            Phase::Easing { budget } => self.asking.len() < budget as usize,
        }
    }

    /// An exchange starts. One that waited, or does not pass by itself, has its turn.
    pub(super) fn started(
        &mut self,
        flight: u64,
        grant: u32,
        asking: &Asking,
        taken: bool,
        now: WallTime,
    ) {
        self.round.remove(&grant);
        let turn = taken && self.phase != Phase::Off;
        if turn || self.pass(asking, now) != Pass::Goes {
            self.asking.insert(flight);
        }
    }

    /// A turn brought no success.
    pub(super) fn in_vain(&mut self, flight: u64, met: Option<Trouble>, now: WallTime) {
        if self.asking.remove(&flight) {
            if !self.tells_nothing(met, now) {
                self.lengthen(now);
            }
            self.rest();
        }
    }

    /// An exchange of the chain ended without telling anything.
    pub(super) fn forget(&mut self, flight: u64) {
        self.asking.remove(&flight);
        self.rest();
    }

    /// An exchange has brought no answer for so long that others go on without it.
    pub(super) fn slow(&mut self, flight: u64, now: WallTime) {
        if !self.asking.remove(&flight) {
            return;
        }
        match &mut self.phase {
            Phase::Easing { budget } => *budget = (*budget / 2).max(1),
            _ => self.lengthen(now),
        }
        self.rest();
    }

    /// The chain's next wait is longer.
    fn lengthen(&mut self, now: WallTime) {
        let (bound, dead) = (self.bound(now), self.living.is_empty());
        let (told, thins) = (self.told, self.never_proven);
        let (round, spends) = (self.has_round(), self.spends);
        let Phase::On { trouble, chain, .. } = &mut self.phase else {
            return;
        };
        let cap = match (thins, *trouble == Trouble::Client && dead) {
            (true, _) => TEMPLATE_CAP,
            (false, true) => CLIENT_CAP,
            (false, false) => STEP_CAP,
        };
        // Each has one turn before the waits become longer.
        if round && !spends {
            chain.step = chain.first;
            chain.at = now + chain.step.min(bound);
            return;
        }
        let lasted = now.since(chain.since);
        let part = match *trouble {
            _ if spends || thins => SLOW_PART,
            Trouble::Client => SLOW_PART,
            Trouble::Down if lasted < DOWN_UNTIL => DOWN_PART,
            _ => PART,
        };
        let lasted = (lasted / part).max(chain.first);
        chain.step = (chain.step * 2).min(cap).min(lasted);
        chain.at = now + chain.step.min(bound);
        if *trouble == Trouble::Wait {
            chain.at = chain.at.max(told.unwrap_or(chain.at));
        }
    }

    /// An exchange brought an answer that is no failure of the brake's: of those who were freed,
    /// one more may go at a time.
    pub(super) fn passed(&mut self, flight: u64) {
        if let Phase::Easing { budget } = &mut self.phase
            && self.asking.remove(&flight)
        {
            *budget = budget.saturating_add(1);
            self.again |= self.failed;
        }
    }

    /// An exchange succeeded, or brought an answer that refutes these troubles.
    pub(super) fn refute(
        &mut self,
        flight: u64,
        refuted: impl Fn(Trouble) -> bool,
        threshold: usize,
    ) -> Option<Turn> {
        for trouble in Trouble::ALL.into_iter().filter(|trouble| refuted(*trouble)) {
            let latest = &mut self.refuted[trouble as usize];
            *latest = flight.max(*latest);
        }
        let by_end = mutation::is(Mutation::EvidenceByEnd);
        let stands = |f: &Failure| !refuted(f.trouble) || (f.flight > flight && !by_end);
        self.failures.retain(stands);
        let over = match self.phase {
            Phase::On { trouble, .. } => {
                let least = match trouble {
                    Trouble::Client => threshold,
                    _ => ALIKE,
                };
                refuted(trouble) && self.alike(trouble) < least
            }
            Phase::Easing { .. } | Phase::Off => false,
        };
        let ended = over.then(|| self.end());
        self.rest();
        ended
    }

    /// It is over: all who wait are freed, those in their own back-off too. Where some have had
    /// no turn since the last time, it is theirs first.
    pub(super) fn end(&mut self) -> Turn {
        self.asking.clear();
        self.told = None;
        self.phase = Phase::Easing { budget: 1 };
        match self.has_round() {
            true => self.again = true,
            false => self.begin_round(),
        }
        Turn::Ended
    }

    /// Where nobody waits and nobody is asked, an end is complete.
    fn rest(&mut self) {
        let on = matches!(self.phase, Phase::On { .. });
        let easing = matches!(self.phase, Phase::Easing { .. });
        let complete = easing && self.waiting.is_empty() && self.asking.is_empty();
        let through = self.in_round && !self.has_round();
        if through && self.again && !(complete && self.stands.is_empty()) {
            self.begin_another();
        } else if through && (on || complete) {
            self.end_round();
        }
        if complete && self.waiting.is_empty() {
            self.phase = Phase::Off;
        }
    }

    /// Whose turn failed before that of another succeeded has one more, in the same order.
    fn begin_another(&mut self) {
        self.is_another = true;
        (self.failed, self.again) = (false, false);
        let on = matches!(self.phase, Phase::On { .. });
        let stays = |stand: Stand| on && stand == Stand::Held;
        let all = self.stands.iter().filter(|(_, (stand, _))| !stays(*stand));
        let all: Vec<(u32, Rank)> = all.map(|(grant, (_, rank))| (*grant, *rank)).collect();
        for (grant, rank) in all {
            self.waiting.remove(&(rank, grant));
            let rank = Rank {
                had_turn: false,
                ..rank
            };
            self.stands.insert(grant, (Stand::Waits, rank));
            self.round.insert(grant);
            self.line_up(grant, rank);
        }
    }

    fn end_round(&mut self) {
        (self.in_round, self.round) = (false, BTreeSet::new());
        (self.failed, self.again) = (false, false);
        self.order_anew(true);
    }

    /// An exchange failed. `grant` and `asking`: whose, as it is now.
    pub(super) fn fail(
        &mut self,
        failure: Failure,
        grant: u32,
        asking: &Asking,
        quorum: &Quorum,
        now: WallTime,
    ) -> Option<Turn> {
        let of_chain = self.asking.remove(&failure.flight);
        self.failed |= of_chain;
        if self.refuted[failure.trouble as usize] < failure.flight
            || mutation::is(Mutation::EvidenceByEnd)
        {
            self.remember(failure);
        }
        if failure.trouble == Trouble::Wait {
            self.told = failure.told;
        }
        // Its own back-off holds it, but the end of the brake frees it. One that was asked
        // again meanwhile stands in line already.
        if !self.never_proven && !self.has(grant) {
            let rank = self.rank(grant, asking, Some(failure.trouble));
            self.stands.insert(grant, (Stand::Failed, rank));
        }
        self.spends = failure.trouble == Trouble::Lossy && asking.spends;
        let turn = self.weigh(failure, quorum, of_chain, now);
        if of_chain && turn.is_none() && !self.tells_nothing(Some(failure.trouble), now) {
            self.lengthen(now);
        }
        self.rest();
        turn
    }

    /// A turn that failed otherwise tells nothing of whether the brake is over: another has the
    /// next soon. That is so once; then it may be a second trouble of all.
    fn tells_nothing(&mut self, met: Option<Trouble>, now: WallTime) -> bool {
        let Phase::On { trouble, chain, .. } = &mut self.phase else {
            return false;
        };
        let otherwise = met != Some(*trouble);
        if std::mem::replace(&mut chain.untold, otherwise) || !otherwise {
            return false;
        }
        chain.at = now + chain.first.min(chain.step);
        true
    }

    fn remember(&mut self, failure: Failure) {
        self.failures.retain(|f| f.who != failure.who);
        if self.failures.len() >= REMEMBERED {
            self.failures.remove(0);
        }
        self.failures.push(failure);
    }

    fn weigh(
        &mut self,
        failure: Failure,
        quorum: &Quorum,
        of_chain: bool,
        now: WallTime,
    ) -> Option<Turn> {
        let Failure { trouble, life, .. } = failure;
        let begins = self.is_quorum(trouble, quorum);
        let provable = !self.never_proven;
        // Where nothing can be sent, the first three suffice. Elsewhere it may have taken more of
        // them, so that they were of several clients.
        let proves = match trouble {
            Trouble::Down => true,
            Trouble::Wait => false,
            _ => self.fresh_alike(trouble) >= quorum.alike + FRESH as usize,
        };
        let proves = begins && provable && proves;
        let began = Turn::Began {
            trouble,
            proven: proves,
        };
        match &mut self.phase {
            // What is lost by asking is not lost for each of them.
            Phase::Easing { .. } if of_chain && self.spends && provable => {
                self.begin(trouble, proves, begins, life, quorum.latest, now);
                begins.then_some(began)
            }
            Phase::Easing { .. } if begins => {
                self.begin(trouble, proves, true, life, quorum.latest, now);
                Some(began)
            }
            // One of those who were freed failed: it may be that grant's own trouble.
            Phase::Easing { budget } if of_chain => {
                *budget = (*budget / 2).max(1);
                None
            }
            Phase::Off if begins => {
                self.begin(trouble, proves, true, life, quorum.latest, now);
                Some(began)
            }
            Phase::On {
                trouble: other,
                proven,
                ..
            } if *other != trouble => {
                if !begins || *proven {
                    return None;
                }
                self.begin(trouble, proves, true, life, quorum.latest, now);
                Some(began)
            }
            Phase::On {
                fresh,
                latest,
                proven,
                announced,
                ..
            } => {
                // Those under way meanwhile met the same moment; where asking costs nothing, two
                // later ones are to tell.
                let later = trouble != Trouble::Wait || failure.flight > *latest;
                *fresh += u32::from(failure.fresh && later);
                let news = begins && provable && !*proven && (proves || *fresh >= FRESH);
                let is_first = begins && !std::mem::replace(announced, *announced || begins);
                *proven |= news;
                match (news, is_first) {
                    (true, _) => Some(Turn::Proven(trouble)),
                    (false, true) => Some(began),
                    (false, false) => None,
                }
            }
            _ => None,
        }
    }

    fn begin(
        &mut self,
        trouble: Trouble,
        proven: bool,
        announced: bool,
        life: Duration,
        latest: u64,
        now: WallTime,
    ) {
        let shortest = self.failures.iter().map(|f| f.life).min().unwrap_or(life);
        let step = match trouble {
            Trouble::Client => (shortest / 4).clamp(STEP_BASE, CLIENT_BASE),
            Trouble::Down => (shortest / 10).clamp(STEP_BASE, DOWN_BASE),
            _ => STEP_BASE,
        };
        let at = now + step.min(self.bound(now));
        let at = match trouble {
            Trouble::Wait => at.max(self.told.unwrap_or(at)),
            _ => at,
        };
        self.asking.clear();
        self.phase = Phase::On {
            trouble,
            fresh: match trouble {
                Trouble::Wait => 0,
                _ => u32::try_from(self.fresh_alike(trouble).saturating_sub(ALIKE)).unwrap_or(0),
            },
            latest,
            proven,
            announced,
            chain: Chain {
                at,
                step,
                first: step,
                since: now,
                untold: false,
            },
        };
    }

    /// Whether so many failed alike that it is no single grant's affair, nor one client's
    /// where others are asked there too.
    fn is_quorum(&self, trouble: Trouble, quorum: &Quorum) -> bool {
        if self.alike(trouble) < quorum.alike {
            return false;
        }
        let mut by_client: BTreeMap<u32, usize> = BTreeMap::new();
        for failure in self.failures.iter().filter(|f| f.trouble == trouble) {
            *by_client.entry(failure.client).or_default() += 1;
        }
        let most = by_client.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(client, _)| *client);
        let others: usize = by_client
            .iter()
            .filter(|(client, _)| Some(**client) != most)
            .map(|(_, count)| count)
            .sum();
        others >= most.map_or(0, |most| (quorum.others)(most).min(OTHERS))
    }

    fn alike(&self, trouble: Trouble) -> usize {
        self.failures
            .iter()
            .filter(|f| f.trouble == trouble)
            .count()
    }

    fn fresh_alike(&self, trouble: Trouble) -> usize {
        let alike = self.failures.iter().filter(|f| f.trouble == trouble);
        alike.filter(|failure| failure.fresh).count()
    }

    /// Who it was that failed is gone.
    pub(super) fn depart(&mut self, who: u32) {
        self.failures.retain(|f| f.who != who);
        self.round.remove(&who);
        self.leave(who);
    }

    /// What was wrong may be mended: the next one is asked at once.
    pub(super) fn try_now(&mut self, now: WallTime) {
        if let Phase::On { chain, .. } = &mut self.phase {
            (chain.at, chain.step) = (now, chain.first);
        }
        // Who is in back-off may be the one.
        self.begin_round();
    }

    /// A clock was set back by so much, and that has been accepted.
    pub(super) fn bring_back(&mut self, by: Duration) {
        if let Phase::On { chain, .. } = &mut self.phase {
            (chain.at, chain.since) = (chain.at - by, chain.since - by);
        }
        self.told = self.told.map(|told| told - by);
        for failure in &mut self.failures {
            failure.told = failure.told.map(|told| told - by);
        }
        let moved = |rank: Rank| Rank {
            ends_at: match rank.class {
                Class::Dead => rank.ends_at,
                _ => rank.ends_at - by,
            },
            asked_at: rank.asked_at - by,
            turn: match rank.turn {
                WallTime(0) => rank.turn,
                turn => turn - by,
            },
            ..rank
        };
        for (_, rank) in self.stands.values_mut() {
            *rank = moved(*rank);
        }
        self.waiting = self
            .waiting
            .iter()
            .map(|(rank, grant)| (moved(*rank), *grant))
            .collect();
        self.living = self
            .living
            .iter()
            .map(|(at, grant)| (*at - by, *grant))
            .collect();
    }

    /// Since when it is on.
    pub(super) fn since(&self) -> Option<WallTime> {
        match self.phase {
            Phase::On { chain, .. } => Some(chain.since),
            _ => None,
        }
    }

    /// When the next one is asked, as far as is known: for people.
    pub(super) fn chain_at(&self) -> Option<WallTime> {
        match self.phase {
            Phase::On { chain, .. } => Some(chain.at),
            _ => None,
        }
    }
}
