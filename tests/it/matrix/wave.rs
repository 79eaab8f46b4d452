//! A wave: as many cases as fit before the first doubt may end, then the time
//! in which all doubts end by themselves, then the judgement.

use super::case::{self, Done, Fault};
use super::path::Point;
use super::place::Place;
use crate::kill::judge::judge_presentations;
use crate::resource::Asker;
use sandbox::Verdict;
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A point, and what is to befall it.
pub(super) type Case = (Point, Fault);

/// Runs cases until time or grants are over. Those that did not fire are told by
/// their grant's missing mark.
pub(super) fn inject(
    place: &mut Place,
    until: Instant,
    mut next: impl FnMut() -> Option<Case>,
) -> Vec<Done> {
    let mut all = Vec::new();
    for grant in place.kind.grants.clone() {
        if Instant::now() > until {
            break;
        }
        let Some((point, fault)) = next() else { break };
        let ran = catch_unwind(AssertUnwindSafe(|| case::run(place, &point, fault, &grant)));
        let missing = match &ran {
            Ok(_) => "the fault did not fire",
            Err(_) => "the case broke off; the panic above says why",
        };
        if place.daemon.is_none() {
            place.start();
        }
        all.push(ran.ok().flatten().unwrap_or_else(|| Done {
            point,
            fault,
            grant,
            generation: 0,
            mark: '!',
            in_doubt: false,
            performed: false,
            wrong: vec![missing.to_owned()],
        }));
    }
    all
}

/// Waits until no grant is in doubt, and judges what became of each.
pub(super) fn settle(place: &Place, all: &mut [Done]) {
    let limit = place.kind.lifetime + Duration::from_secs(60);
    let begun = Instant::now();
    let unsettled = |report: &Value| report["state"] != "fresh" && report["state"] != "refused";
    while begun.elapsed() < limit && place.reports().iter().any(unsettled) {
        std::thread::sleep(Duration::from_secs(1));
    }
    let reports = place.reports();
    let asker = Asker::new();
    for done in all.iter_mut().filter(|done| done.mark != '!') {
        let report = reports.iter().find(|r| r["grant"] == *done.grant).unwrap();
        if report["state"] == "refused" {
            judge_loss(place, done, report);
        } else {
            judge_life(place, done, &asker);
        }
    }
    judge_presentations(&place.kind);
}

/// Only this may be lost: the server rotated, the old refresh token is void, and
/// the answer was not saved. It says so.
fn judge_loss(place: &Place, done: &mut Done, report: &Value) {
    let entries = place.presentations(&done.grant);
    let refused = entries
        .iter()
        .any(|e| matches!(e.verdict, Verdict::Void | Verdict::Reused));
    let allowed = !place.kind.forgives() && done.in_doubt && done.performed && refused;
    done.mark = if allowed { 'L' } else { 'X' };
    if !allowed {
        done.wrong
            .push(format!("lost outside the table: {report:#}\n{entries:?}"));
    }
    let said = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
    if !said(&report["why"]) || !said(&report["last_outcome"]["text"]) {
        done.wrong
            .push(format!("lost, and nothing says why: {report:#}"));
    }
    let incidents = crate::incidents::of_grant(&place.house, &done.grant);
    let named = |kind: &str| incidents.iter().any(|i| i["kind"] == kind);
    if !named("refused") || !(named("in-doubt") || named("suspect")) {
        done.wrong
            .push(format!("lost, and no incident names it: {incidents:#?}"));
    }
    let notice = format!("{}: refused: ", done.grant);
    let notices = place.log().matches(&notice).count();
    if notices != 1 {
        done.wrong
            .push(format!("lost, and the log says so {notices} times"));
    }
}

/// It refreshes again, and what it gets works and is shown.
fn judge_life(place: &Place, done: &mut Done, asker: &Asker) {
    if done.mark == '?' {
        done.mark = if done.performed { 'k' } else { 'n' };
    }
    let before = place.generation(&done.grant);
    if done.in_doubt && before <= done.generation {
        done.wrong.push(format!(
            "the doubt ended without a new generation: {before}"
        ));
    }
    place.wish(&done.grant).wait().unwrap();
    let token = place.token(&done.grant);
    let works = token.is_some_and(|t| asker.status(&place.kind.server.resource_url(), &t) == 200);
    if !works || place.generation(&done.grant) <= before {
        let report = place.house.status(&done.grant);
        done.wrong
            .push(format!("it does not refresh any more: {report:#}"));
    }
}
