//! Whose turn it is once a brake is over.

use super::course::{Course, Send};
use super::judge::Verdict;
use super::script::{Kind, Manner, Script};
use super::world::gap;
use refreshd_core::limits::Trouble;
use std::collections::{BTreeMap, BTreeSet};

/// After a success that ends a host's brake each who waits is asked once before anybody has
/// a second turn. Hosts of one client are looked at that belong to no template: no other
/// brake gives turns there.
pub(crate) fn check(script: &Script, course: &Course, verdict: &mut Verdict) {
    let mut looked_at = 0;
    for (freed, host) in &course.freed {
        let here = script.members.iter().map(|member| member.route);
        let here = here.filter(|route| route.host == *host);
        let clients: BTreeSet<u32> = here.clone().map(|route| route.client).collect();
        if clients.len() > 1 || here.clone().any(|route| route.template.is_some()) {
            continue;
        }
        let waiting = waiting(script, course, *host, *freed);
        looked_at += u64::from(waiting.len() > 1);
        if let Some(text) = second_turn(script, course, (*freed, *host), waiting) {
            verdict.broken.push(("in-turn", text));
        }
    }
    *verdict.counts.entry("rounds").or_default() += looked_at;
}

/// Who waits at a host by then: who failed and may be asked again, but for the brake.
fn waiting(script: &Script, course: &Course, host: u32, by: i64) -> BTreeSet<u32> {
    let mut last: BTreeMap<u32, &Send> = BTreeMap::new();
    let sends = course.sends.iter().take_while(|send| send.at <= by);
    for send in sends.filter(|send| host_of(script, send) == host) {
        last.insert(send.grant, send);
    }
    let state = script.hosts[host as usize];
    let fails = |kind: Option<Kind>| match kind {
        Some(Kind::Down | Kind::Unavailable) => true,
        // What is in doubt where reuse revokes waits for its last moment.
        Some(Kind::Cut | Kind::Failing) => state.manner != Manner::Revoking,
        _ => false,
    };
    let waits = |(_, send): &(&u32, &&Send)| {
        let known = send.done.is_some_and(|done| done < by);
        known && fails(send.wrong) && send.at + gap(state.life) < by
    };
    let all = last.iter().filter(waits);
    all.map(|(grant, _)| *grant).collect()
}

/// Who has a second turn while another still waits for the first.
fn second_turn(
    script: &Script,
    course: &Course,
    (freed, host): (i64, u32),
    mut waiting: BTreeSet<u32>,
) -> Option<String> {
    // A new process, or new secrets, begin anew; so does a sleeper.
    let turns = script.turns.iter().map(|(at, _)| *at);
    let until = turns.filter(|at| *at > freed).min().unwrap_or(i64::MAX);
    let mut had: BTreeSet<(u32, u64)> = BTreeSet::new();
    let later = course.sends.iter().filter(|send| send.at >= freed);
    for send in later.take_while(|send| send.at < until) {
        if host_of(script, send) != host {
            continue;
        }
        waiting.remove(&send.grant);
        let other = waiting.first()?;
        // A client's brake gives turns of its own, and at its end too.
        if send.brake.is_some_and(|(t, _)| t == Trouble::Client) {
            return None;
        }
        if send.taken && !had.insert((send.grant, send.generation)) {
            return Some(format!(
                "host {host} was freed at {freed}; g{} has a second turn at {}, and g{other} has had none",
                send.grant, send.at
            ));
        }
    }
    None
}

fn host_of(script: &Script, send: &Send) -> u32 {
    script.members[send.grant as usize].route.host
}
