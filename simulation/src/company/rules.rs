//! What holds of each send, and of each grant whose token ends.

use super::course::{Course, Send};
use super::judge::{Verdict, steps};
use super::script::{Kind, Manner, Script, Turn};
use refreshd_core::limits::Trouble;
use std::collections::BTreeMap;

/// A dead token is replaced within this where nothing is wrong, and its owner told then.
const TOLD_WITHIN: i64 = 10_000;
/// After so long an exchange is in doubt, and no longer under way.
const IN_DOUBT_AFTER: i64 = 30_000;
/// So much later the shell may look.
const SLACK: i64 = 1_000;

/// Checks all of them.
pub(crate) fn check(script: &Script, course: &Course, verdict: &mut Verdict) {
    for text in &course.unfounded {
        verdict.broken.push(("evidence", text.clone()));
    }
    places(script, course, verdict);
    dead_wait(course, verdict);
    refusals(script, course, verdict);
    two_attempts(script, course, verdict);
    told(script, course, verdict);
}

/// A host has all places but an eighth, and what hangs counts at its own host until it is in
/// doubt; where four times the places are read on, a host that hangs gets no more.
fn places(script: &Script, course: &Course, verdict: &mut Verdict) {
    let flights = script.flights;
    let share = match flights {
        1 => 1,
        _ => flights - (flights / 8).max(1),
    };
    for send in &course.sends {
        if send.at_host > share {
            let text = format!(
                "g{} at {}: {} at its host, of {flights}",
                send.grant, send.at, send.at_host
            );
            verdict.broken.push(("host-share", text));
        }
        if send.host_hangs && send.read_on >= flights * 4 {
            let text = format!(
                "g{} at {}: its host hangs, and {} are read on, of {flights}",
                send.grant, send.at, send.read_on
            );
            verdict.broken.push(("read-on", text));
        }
    }
}

/// A dead token has nothing to save in time: under a brake it waits for its turn.
fn dead_wait(course: &Course, verdict: &mut Verdict) {
    let braked = |send: &&Send| {
        send.brake
            .is_some_and(|(trouble, _)| trouble != Trouble::Client)
    };
    let beside = course.sends.iter().filter(braked);
    for send in beside.filter(|send| send.ends_at <= send.at && !send.taken && !send.probe) {
        let text = format!(
            "g{} was dead, and asked at {} beside the chain",
            send.grant, send.at
        );
        verdict.broken.push(("dead-wait", text));
    }
}

/// A refused refresh token that rotates is presented once more, and not again.
fn refusals(script: &Script, course: &Course, verdict: &mut Verdict) {
    let mut refused: BTreeMap<(u32, u64), u32> = BTreeMap::new();
    for send in &course.sends {
        let host = script.members[send.grant as usize].route.host;
        let manner = script.hosts[host as usize].manner;
        if !matches!(manner, Manner::Revoking | Manner::Forgiving) {
            continue;
        }
        let times = refused.entry((send.grant, send.generation)).or_default();
        if *times >= 2 {
            let text = format!("g{} at {}, refused twice before", send.grant, send.at);
            verdict.broken.push(("refused-twice", text));
        }
        *times += u32::from(send.refused);
    }
}

/// Until when no brake can hold a first attempt: one at all meets nothing but what a
/// provider says that it cannot for now, or at hosts where asking loses nothing.
fn held_from(script: &Script) -> i64 {
    let spends = |host: &super::script::Host| host.manner == Manner::Revoking;
    let spends = script.hosts.iter().any(spends);
    let holds = |kind: Kind| match kind {
        Kind::Unavailable => false,
        Kind::Failing => spends,
        _ => true,
    };
    let faults = script.faults.iter().filter(|fault| holds(fault.kind));
    let turns = script.turns.iter();
    let turns = turns.filter(|(_, turn)| !matches!(turn, Turn::Reload));
    let turns = turns.map(|(at, _)| *at);
    let from = faults.map(|fault| fault.from).chain(turns).min();
    from.unwrap_or(i64::MAX).min(script.horizon)
}

/// A grant is asked when it is due, and where that failed once more before its token ends.
fn two_attempts(script: &Script, course: &Course, verdict: &mut Verdict) {
    let until = held_from(script);
    // When the exchange began that brought a generation.
    let mut brought: BTreeMap<(u32, u64), i64> = BTreeMap::new();
    let mut asked: BTreeMap<(u32, u64), Vec<&Send>> = BTreeMap::new();
    for send in &course.sends {
        let of = asked.entry((send.grant, send.generation)).or_default();
        of.push(send);
        if send.succeeded {
            brought.insert((send.grant, send.generation + 1), send.at);
        }
    }
    for ((grant, generation), sends) in asked {
        let first = sends[0];
        // What came of presenting again is dated from the first presentation, and old.
        let issued = first.ends_at - first.life;
        let began = brought.get(&(grant, generation));
        if began.is_some_and(|began| issued < *began) {
            continue;
        }
        // A clock that was set moves its last moment.
        if steps(script).any(|at| at <= first.at) {
            continue;
        }
        let last = first.ends_at - 45_000.min(first.life / 4);
        if last <= until && first.at >= last {
            let text = format!(
                "g{grant} was asked first at {}, its last moment was {last}",
                first.at
            );
            verdict.broken.push(("two-attempts", text));
        }
        let failed = first.ends_at <= until && !first.succeeded;
        if failed && sends.get(1).is_none_or(|send| send.at > first.ends_at) {
            let text = format!(
                "g{grant} was asked at {}, and not again before its end at {}",
                first.at, first.ends_at
            );
            verdict.broken.push(("two-attempts", text));
        }
    }
}

/// Who lacks a living token is looked at, whatever a brake arms and whoever has the places,
/// so that somebody is told.
fn told(script: &Script, course: &Course, verdict: &mut Verdict) {
    let first = script.turns.iter().map(|(at, _)| *at).min();
    let until = first.unwrap_or(i64::MAX).min(script.horizon);
    for (grant, lack) in (0..).zip(&course.lacks) {
        let late = lack.iter().find(|lack| {
            let by = lack.from + TOLD_WITHIN + SLACK;
            // An exchange that was under way by then tells at its end.
            let before = |send: &&Send| send.grant == grant && send.at <= by;
            let last = course.sends.iter().rfind(before);
            let by = last.map_or(by, |send| by.max(send.at + IN_DOUBT_AFTER + SLACK));
            by < until && lack.to > by && lack.told.is_none_or(|told| told > by)
        });
        if let Some(lack) = late {
            let text = format!("g{grant} lacks a token, and nobody was told: {lack:?}");
            verdict.broken.push(("told-of-end", text));
        }
    }
}
