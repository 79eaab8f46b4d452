//! What must hold of a course: by the hosts' truth, and by each grant alone.

use super::course::{Course, Send};
use super::rules;
use super::script::{Fault, Kind, Manner, Script, Turn, Whom};
use super::turns;
use super::world::{World, gap};
use refreshd_core::limits::Trouble;
use std::collections::{BTreeMap, BTreeSet};

/// So long a healthy grant may be dead in company.
const GRACE: i64 = 5_000;
/// A shared fault may cost so much at the most.
const SHARED: i64 = 300_000;

/// What was found.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) broken: Vec<(&'static str, String)>,
    pub(crate) history: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How long healthy grants were dead in all, in milliseconds.
    pub(crate) healthy_dead: i64,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Verdict) {
        for (word, count) in other.counts {
            *self.counts.entry(word).or_default() += count;
        }
        self.healthy_dead += other.healthy_dead;
    }
}

/// Lives through a script, in company and where need be alone.
pub(crate) fn judge(script: &Script, tells: bool) -> Verdict {
    let course = World::new(script, None, tells).run();
    let mut verdict = Verdict {
        counts: course.counts.clone(),
        ..Verdict::default()
    };
    if tells {
        verdict.history.push(format!("{script:#?}"));
        verdict.history.extend(course.history.iter().cloned());
    }
    independence(script, &course, &mut verdict);
    gaps(script, &course, &mut verdict);
    storm(script, &course, &mut verdict);
    needless_loss(script, &course, &mut verdict);
    shared_limit(script, &course, &mut verdict);
    turns::check(script, &course, &mut verdict);
    rules::check(script, &course, &mut verdict);
    verdict
}

fn independence(script: &Script, course: &Course, verdict: &mut Verdict) {
    let turns: i64 = script.turns.iter().map(|(_, turn)| length(*turn)).sum();
    for (grant, member) in (0..).zip(&script.members) {
        let sick = script
            .faults
            .iter()
            .any(|fault| fault.whom == Whom::Grant(grant));
        if sick {
            continue;
        }
        let touching = script
            .faults
            .iter()
            .filter(|fault| fault.is_about(grant, member.route));
        let shared: i64 = touching.clone().map(cost).sum();
        // Whose refresh token is spent has lost it.
        let cuts = |fault: &Fault| fault.kind == Kind::Cut;
        let revoking = script.hosts[member.route.host as usize].manner == Manner::Revoking;
        if revoking && touching.clone().any(cuts) {
            continue;
        }
        // What is refused while it is in doubt stays refused: a person is asked.
        let doubts = |fault: &&Fault| matches!(fault.kind, Kind::Hang | Kind::Cut | Kind::Failing);
        let refuses = |fault: &&Fault| fault.kind == Kind::FalseRefusal;
        if touching.clone().any(|fault| doubts(&fault))
            && touching.clone().any(|fault| refuses(&fault))
        {
            continue;
        }
        let allowed = GRACE + turns + shared;
        let dead = course.dead[grant as usize];
        verdict.healthy_dead += dead;
        if dead <= allowed {
            continue;
        }
        let alone = World::new(script, Some(grant), false).run().dead[grant as usize];
        if dead > alone + allowed {
            verdict.broken.push((
                "independence",
                format!("g{grant} was dead for {dead} ms, {alone} ms alone, {allowed} ms more are allowed"),
            ));
        }
    }
}

/// What a shared fault may cost: its length, and what it costs whom it met at its last
/// moment: the time after which an exchange counts as in doubt, or for which it asked to wait.
fn cost(fault: &Fault) -> i64 {
    let met = match fault.kind {
        Kind::Hang | Kind::TooMany(None) => 30_000,
        Kind::TooMany(Some(wait)) => wait * 1000,
        _ => 0,
    };
    (fault.until - fault.from + met).min(SHARED)
}

/// For how long the daemon does nothing.
fn length(turn: Turn) -> i64 {
    match turn {
        Turn::Restart(down) => down + 3_000,
        Turn::Suspend(length) => length + 1_000,
        Turn::Reload => 0,
        // What is thought to be dead by so much too early waits under a brake. A clock that is set
        // back is not followed.
        Turn::Step(by) => by.max(0),
    }
}

/// When the clock was set: what was to be waited for is over by it, or is not yet.
pub(crate) fn steps(script: &Script) -> impl Iterator<Item = i64> + '_ {
    let steps = script.turns.iter();
    let steps = steps.filter(|(_, turn)| matches!(turn, Turn::Step(_)));
    steps.map(|(at, _)| *at)
}

fn gaps(script: &Script, course: &Course, verdict: &mut Verdict) {
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    for send in &course.sends {
        let host = script.members[send.grant as usize].route.host;
        let gap = gap(script.hosts[host as usize].life);
        if let Some(before) = last.insert(send.grant, send.at)
            && !steps(script).any(|at| before <= at && at <= send.at)
            && send.at - before < gap.min(1_000)
        {
            let text = format!("g{} at {} and {}", send.grant, before, send.at);
            verdict.broken.push(("gap", text));
        }
    }
}

/// The sends to each host, from one success to the next.
fn fruitless<'c>(script: &Script, course: &'c Course, host: u32) -> Vec<Vec<&'c Send>> {
    let mut runs = vec![Vec::new()];
    let to = |send: &&Send| script.members[send.grant as usize].route.host == host;
    for send in course.sends.iter().filter(to) {
        match send.succeeded {
            true => runs.push(Vec::new()),
            false => runs.last_mut().expect("one").push(send),
        }
    }
    runs
}

/// While a host gives no success, each grant is asked twice a life but for the chain.
fn storm(script: &Script, course: &Course, verdict: &mut Verdict) {
    for host in 0..u32::try_from(script.hosts.len()).expect("few") {
        let members = script
            .members
            .iter()
            .filter(|member| member.route.host == host)
            .count();
        if members < 3 {
            continue;
        }
        for run in fruitless(script, course, host) {
            let mut asked: BTreeMap<(u32, u64), u32> = BTreeMap::new();
            // A client of one or two grants has no chain but their own back-off.
            let braked = |send: &&&Send| {
                send.brake
                    .is_some_and(|(trouble, _)| trouble != Trouble::Client)
            };
            for send in run.iter().filter(braked).filter(|send| !send.taken) {
                *asked.entry((send.grant, send.generation)).or_default() += 1;
            }
            if let Some(((grant, _), times)) = asked.iter().find(|(_, times)| **times > 2) {
                let text = format!(
                    "host {host} gave no success, and g{grant} was asked {times} times under a brake"
                );
                verdict.broken.push(("storm", text));
            }
            // A first attempt that no brake holds needs no turn.
            let turns = |send: &&&Send| {
                send.taken && (send.tries > 0 || send.brake.is_some_and(|(_, proven)| proven))
            };
            // Where several clients are asked there, each may have a chain of its own, and
            // where one brake ends while another is on, two may follow closely.
            let mut chains: BTreeMap<u32, Vec<&Send>> = BTreeMap::new();
            for send in run.iter().filter(turns) {
                let client = script.members[send.grant as usize].route.client;
                chains.entry(client).or_default().push(send);
            }
            for pair in chains.values().flat_map(|chain| chain.windows(3)) {
                // Where a success freed all, they go one at a time.
                let both = pair
                    .iter()
                    .all(|send| send.brake.is_some_and(|(t, _)| t != Trouble::Client));
                if both && pair[2].at - pair[0].at < 900 {
                    let text = format!(
                        "the chain of host {host} asks at {} and {}",
                        pair[0].at, pair[2].at
                    );
                    verdict.broken.push(("storm", text));
                }
            }
        }
    }
}

/// While a brake is proven at a revoking host, the chain alone spends refresh tokens.
fn needless_loss(script: &Script, course: &Course, verdict: &mut Verdict) {
    let hosts = (0..).zip(&script.hosts);
    for (host, _) in hosts.filter(|(_, host)| host.manner == Manner::Revoking) {
        for run in fruitless(script, course, host) {
            let proven = |send: &&&Send| send.brake == Some((Trouble::Lossy, true));
            let needless = run
                .iter()
                .filter(proven)
                .filter(|send| send.spent && !send.taken);
            let needless = needless.count();
            if needless > 0 {
                let text =
                    format!("{needless} refresh tokens were spent at host {host} beside the chain");
                verdict.broken.push(("needless-loss", text));
            }
            // Those under way when it was proven are not known yet.
            let spent: BTreeSet<u32> = run
                .iter()
                .filter(|s| s.spent && !s.taken)
                .map(|s| s.grant)
                .collect();
            let first = run.iter().find(|send| send.spent).map_or(0, |send| send.at);
            let known = run
                .iter()
                .filter(|s| s.spent && !s.taken && s.at > first + 40_000);
            if spent.len() > 5 && known.count() > 5 {
                let text = format!(
                    "{} refresh tokens were spent at host {host} for the proof",
                    spent.len()
                );
                verdict.broken.push(("needless-loss", text));
            }
        }
    }
}

/// Who was told to wait is not asked before that.
fn shared_limit(script: &Script, course: &Course, verdict: &mut Verdict) {
    let mut told: BTreeMap<u32, i64> = BTreeMap::new();
    for send in &course.sends {
        if let Some(until) = told.remove(&send.grant)
            && !steps(script).any(|at| at <= send.at)
            && send.at < until
        {
            let text = format!(
                "g{} at {}, though told to wait until {until}",
                send.grant, send.at
            );
            verdict.broken.push(("shared-limit", text));
        }
        if let Some(wait) = send.told {
            told.insert(send.grant, send.at + wait * 1000);
        }
    }
}
