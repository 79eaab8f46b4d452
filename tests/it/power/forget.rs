//! Syncs that are taken as if they had not been: what relied upon them must be
//! found to be missing.

use super::facts::{intents_in, settled_in};
use super::fate::AsSynced;
use super::judge::Must;
use super::replay::{Replay, steps};
use super::trace::Step;
use super::walk::Walk;
use refreshd_core::flight::ExchangeId;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What became of syncs that were taken as if they had not been.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    pub(super) all: usize,
    pub(super) forgotten: usize,
    /// Of records that were relied upon before another sync made up for it.
    pub(super) needed: usize,
    pub(super) missed: usize,
}

impl Replay<'_> {
    /// Takes syncs as if they had not been, one in so many of each kind and those that an
    /// import relies upon, each by itself until the next one of that file has made up for it.
    pub(super) fn forget(&mut self, one_in: usize) -> BTreeMap<&'static str, Forgotten> {
        let all: Vec<_> = steps(self.recording).collect();
        let mut walk = Walk::new(self.recording.house.root());
        let mut tally: BTreeMap<&'static str, Forgotten> = BTreeMap::new();
        let mut records = Records::default();
        let of_imports = self.syncs_of_imports(&all);
        for (place, (_, step)) in all.iter().enumerate() {
            let Some(step) = step else {
                walk.next_process();
                continue;
            };
            if let Some((kind, flights)) = kind_of_sync(step, &mut records)
                && succeeds(&all[place..])
            {
                let tally = tally.entry(kind).or_default();
                if tally.all.is_multiple_of(one_in) || of_imports.contains(&place) {
                    let (needed, missed) = self.misses(walk.clone(), &flights, &all[place..]);
                    tally.forgotten += 1;
                    tally.needed += usize::from(needed);
                    tally.missed += usize::from(missed);
                }
                tally.all += 1;
            }
            walk.step(step);
        }
        tally
    }

    /// The last sync of the log before each promise that a grant is there: how many others
    /// there are varies, and an import's must not be among those that are left out.
    fn syncs_of_imports(&self, all: &[(usize, Option<&Step>)]) -> HashSet<usize> {
        let of_log = |place: &usize| {
            let step = all[*place].1;
            let kind = step.and_then(|step| kind_of_sync(step, &mut Records::default()));
            kind.is_some_and(|(kind, _)| kind == "log") && succeeds(&all[*place..])
        };
        let promises = self.facts.musts.iter();
        let promises = promises.filter(|(_, must)| matches!(must, Must::Reach(_, 1)));
        let before = |step: usize| all.partition_point(|(index, _)| *index < step);
        promises
            .filter_map(|(step, _)| (0..before(*step)).rev().find(of_log))
            .collect()
    }

    /// Whether a flight came to something that its settlement alone knows.
    fn brought(&self, flight: ExchangeId) -> bool {
        let words = self.facts.judge.outcomes.get(&flight);
        words.is_some_and(|words| words.iter().any(|word| word != "in-doubt"))
    }

    /// Whether the records of these flights were needed after a sync that has not
    /// been, and whether anything was found to be wrong.
    fn misses(
        &mut self,
        mut walk: Walk,
        flights: &[ExchangeId],
        rest: &[(usize, Option<&Step>)],
    ) -> (bool, bool) {
        walk.forget = Some(walk.syncs());
        let place = |step: &Step| match step {
            Step::Enter(tid, call) if call.name.contains("sync") => {
                Some((*tid, call.args[0].place.clone()))
            }
            _ => None,
        };
        let of = rest[0].1.and_then(place).map(|(_, of)| of);
        let (mut needed, mut makes_up) = (false, None);
        for (number, (index, step)) in rest.iter().enumerate() {
            let Some(step) = step else { break };
            walk.step(step);
            match (place(step), step) {
                (Some((tid, to)), _) if number > 0 && Some(&to) == of.as_ref() => {
                    makes_up = makes_up.or(Some(tid));
                }
                (_, Step::Leave(tid, 0)) if makes_up == Some(*tid) => break,
                _ => {}
            }
            let news: Vec<_> = self.facts.musts.iter().filter(|m| m.0 == *index).collect();
            needed |= news.iter().any(|(_, must)| match must {
                Must::Know(flight) => flights.contains(flight),
                // To a doubt a start comes by itself.
                Must::Adopt(flight) => flights.contains(flight) && self.brought(*flight),
                _ => false,
            });
            if !news.is_empty() {
                let found = self.open(&walk, &mut AsSynced);
                if self.judged(*index, Some(&found), false).is_err() {
                    return (needed, true);
                }
            }
        }
        (needed, false)
    }
}

/// What was written to the log since its last sync: intents, or settlements.
#[derive(Default)]
struct Records {
    /// Every flight whose intent was seen.
    open: BTreeSet<ExchangeId>,
    seen: BTreeSet<(ExchangeId, String)>,
    begun: Vec<ExchangeId>,
    settled: Vec<ExchangeId>,
}

/// What is synced by a call that is one, and the flights that it is about.
fn kind_of_sync(step: &Step, records: &mut Records) -> Option<(&'static str, Vec<ExchangeId>)> {
    let Step::Enter(_, call) = step else {
        return None;
    };
    let place = call.args.first().and_then(|arg| arg.place.as_deref());
    let name = place?.file_name()?.to_str()?;
    if call.name == "pwrite64" && name == "refreshd.db-wal" {
        let bytes = &call.args[1].bytes;
        for intent in intents_in(bytes) {
            if records.open.insert(intent.flight) {
                records.begun.push(intent.flight);
            }
        }
        for it in settled_in(bytes, &records.open) {
            if records.seen.insert(it.clone()) {
                records.settled.push(it.0);
            }
        }
        return None;
    }
    if !call.name.contains("sync") {
        return None;
    }
    let nothing = |kind| Some((kind, Vec::new()));
    match name {
        "refreshd.db" => nothing("database"),
        "refreshd.db-wal" => {
            let begun = std::mem::take(&mut records.begun);
            let settled = std::mem::take(&mut records.settled);
            match (begun.is_empty(), settled.is_empty()) {
                (false, _) => Some(("intent", [begun, settled].concat())),
                (true, false) => Some(("settlement", settled)),
                (true, true) => nothing("log"),
            }
        }
        "state" | "key" => nothing("names"),
        _ => None,
    }
}

/// Whether the first of these steps is a call that succeeds.
fn succeeds(steps: &[(usize, Option<&Step>)]) -> bool {
    let Some(Step::Enter(tid, _)) = steps[0].1 else {
        return false;
    };
    steps
        .iter()
        .find_map(|(_, step)| match step {
            Some(Step::Leave(other, value)) if other == tid => Some(*value == 0),
            _ => None,
        })
        .unwrap_or(false)
}
