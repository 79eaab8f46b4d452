//! Goes through a recording and has the power fail after each step.

use super::disk::{Fate, Id, Kept};
use super::facts::{AsWritten, Facts, flight};
use super::judge::{Found, LEFT, Must};
use super::trace::{Arg, Step};
use super::walk::Walk;
use super::work::Recording;
use refreshd_core::flight::FlightId;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// The binary is asked about one state in so many.
const ASKED: usize = 60;
/// More is not told.
const ENOUGH: usize = 12;

/// Nothing is there but what was synced.
struct AsSynced;

impl Fate for AsSynced {
    fn keeps(&mut self, _of: Id, _bytes: usize) -> Kept {
        Kept::Nothing
    }
}

/// What a file or directory loses.
#[derive(Clone, Copy)]
enum Policy {
    Nothing,
    All,
    /// What was written after some moment.
    Later(usize),
    /// Some changes, in any order: so many of four.
    Some(usize),
    /// Pieces of so many bytes.
    Pieces(usize, usize),
}

/// Each file and directory loses something else.
struct Drawn {
    chance: Chance,
    policies: HashMap<Id, Policy>,
}

impl Fate for Drawn {
    fn keeps(&mut self, of: Id, bytes: usize) -> Kept {
        let chance = &mut self.chance;
        let policy = self
            .policies
            .entry(of)
            .or_insert_with(|| Policy::drawn(chance));
        let keep = |yes| if yes { Kept::All } else { Kept::Nothing };
        match policy {
            Policy::Nothing => Kept::All,
            Policy::All => Kept::Nothing,
            Policy::Later(left) => {
                *left = left.saturating_sub(1);
                keep(*left > 0)
            }
            Policy::Some(of_four) => keep(chance.below(4) >= *of_four),
            Policy::Pieces(size, of_four) => {
                let pieces = 0..bytes / *size + 2;
                let which = pieces.map(|_| chance.below(4) >= *of_four).collect();
                Kept::Pieces(*size, which)
            }
        }
    }
}

impl Policy {
    fn drawn(chance: &mut Chance) -> Policy {
        let of_four = 1 + chance.below(3);
        match chance.below(8) {
            0 => Policy::Nothing,
            1 => Policy::All,
            2 | 3 => Policy::Later(chance.below(12)),
            4 | 5 => Policy::Some(of_four),
            6 => Policy::Pieces(512, of_four),
            _ => Policy::Pieces(4096, of_four),
        }
    }
}

/// Splitmix: a number for each of a seed, well apart for seeds that are near.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 16) as usize % limit
    }
}

/// What became of syncs that were taken as if they had not been.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    pub(super) all: usize,
    pub(super) forgotten: usize,
    /// Of records that were relied upon before another sync made up for it.
    pub(super) needed: usize,
    pub(super) missed: usize,
}

/// See the module.
pub(super) struct Replay<'a> {
    recording: &'a Recording,
    facts: &'a mut Facts,
    draws: usize,
    seed: u64,
    prefixes: usize,
    synced_only: usize,
    drawn: usize,
    asked: usize,
    newsy: usize,
    recoveries: usize,
    again: usize,
    took: Duration,
}

impl<'a> Replay<'a> {
    pub(super) fn new(recording: &'a Recording, facts: &'a mut Facts, draws: usize) -> Self {
        let seed = std::env::var("REFRESHD_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
        Replay {
            recording,
            facts,
            draws,
            seed,
            prefixes: 0,
            synced_only: 0,
            drawn: 0,
            asked: 0,
            newsy: 0,
            recoveries: 0,
            again: 0,
            took: Duration::ZERO,
        }
    }

    /// Has the power fail after each step; what was wrong then.
    pub(super) fn run(&mut self) -> Vec<String> {
        let begun = Instant::now();
        let mut walk = Walk::new(self.recording.house.root());
        let mut wrong = Vec::new();
        let mut at = Versions::default();
        let (mut written, mut synced) = (None, None);
        for (index, step) in steps(self.recording) {
            let Some(step) = step else {
                walk.next_process();
                continue;
            };
            walk.step(step);
            let now = Versions::of(&walk);
            let news = self.facts.musts.iter().any(|(from, _)| *from == index);
            if now.changed != at.changed || written.is_none() {
                self.prefixes += 1;
                written = Some(self.open(&walk, &mut AsWritten));
                if self.prefixes.is_multiple_of(ASKED)
                    && let Some(Ok(found)) = &written
                {
                    self.asked += 1;
                    let said = self.facts.judge.asks_the_binary(found);
                    wrong.extend(said.err().map(|e| tell(index, step, "nothing", &e)));
                }
            }
            if now.hardened != at.hardened || synced.is_none() {
                self.synced_only += 1;
                synced = Some(self.open(&walk, &mut AsSynced));
            }
            if now != at || news {
                let mut told = Vec::new();
                let first = self.judged(index, written.as_ref(), true);
                told.extend(first.err().map(|e| (e, self.keep(&walk, &mut AsWritten))));
                let second = self.judged(index, synced.as_ref(), false);
                told.extend(second.err().map(|e| (e, self.keep(&walk, &mut AsSynced))));
                for draw in 0..self.draws {
                    self.drawn += 1;
                    let found = self.open(&walk, &mut self.fate(index, draw));
                    let drawn = self.judged(index, Some(&found), false);
                    let mut fate = self.fate(index, draw);
                    told.extend(drawn.err().map(|e| (e, self.keep(&walk, &mut fate))));
                }
                if news {
                    self.newsy += 1;
                    if self.newsy.is_multiple_of(self.again_one_in()) {
                        told.extend(self.again(&walk, index));
                    }
                }
                let told = told.iter().map(|(e, kept)| tell(index, step, kept, e));
                wrong.extend(told);
            }
            if wrong.len() > ENOUGH {
                break;
            }
            at = now;
        }
        self.took = begun.elapsed();
        wrong
    }

    /// Recoveries are recorded themselves, one in so many.
    fn again_one_in(&self) -> usize {
        if self.draws > 1 { 1 } else { 12 }
    }

    /// The power fails again after each step of the recovery.
    fn again(&mut self, walk: &Walk, index: usize) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        // What it was that is recovered from: all that was written, or a part.
        let mut fate = self.fate(index, usize::MAX);
        match self.recoveries % 2 {
            0 => self.facts.judge.lay_out(&walk.disk, &mut AsWritten),
            _ => self.facts.judge.lay_out(&walk.disk, &mut fate),
        }
        self.recoveries += 1;
        let (mut walk, steps) = match self.facts.judge.records_recovery() {
            Ok(recorded) => recorded,
            Err(e) => return vec![(e, "nothing".to_owned())],
        };
        let mut at = Versions::of(&walk);
        for (_, step) in &steps {
            walk.step(step);
            let now = Versions::of(&walk);
            let fates: [(bool, &mut dyn Fate); 2] = [
                (now.changed != at.changed, &mut AsWritten),
                (now.hardened != at.hardened, &mut AsSynced),
            ];
            for (_, fate) in fates.into_iter().filter(|(is_new, _)| *is_new) {
                self.again += 1;
                let found = self.open(&walk, fate);
                let judged = self.judged(index, Some(&found), false);
                wrong.extend(judged.err().map(|e| (e, self.keep(&walk, fate))));
            }
            at = now;
        }
        wrong
    }

    fn fate(&self, index: usize, draw: usize) -> Drawn {
        let number = index.wrapping_mul(1_000_003).wrapping_add(draw) as u64;
        Drawn {
            chance: Chance(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number),
            policies: HashMap::new(),
        }
    }

    /// Keeps what is wrong, for a person to look at: no recording is like another.
    fn keep(&self, walk: &Walk, fate: &mut dyn Fate) -> String {
        let kept = tempfile::tempdir().unwrap().keep();
        walk.disk.lay_out(&kept, &LEFT, fate);
        kept.display().to_string()
    }

    fn open(&self, walk: &Walk, fate: &mut dyn Fate) -> Result<Found, String> {
        self.facts.judge.lay_out(&walk.disk, fate);
        self.facts.judge.open()
    }

    fn judged(
        &mut self,
        index: usize,
        found: Option<&Result<Found, String>>,
        teaches: bool,
    ) -> Result<(), String> {
        let found = match found.expect("it was opened") {
            Ok(found) => found,
            Err(e) => return Err(e.clone()),
        };
        let musts = self.facts.musts.iter();
        let musts: Vec<Must> = musts
            .take_while(|(from, _)| *from <= index)
            .map(|(_, must)| must.clone())
            .collect();
        self.facts.judge.judge(found, musts.iter(), teaches)
    }

    /// Takes syncs as if they had not been, one in so many of each kind, each by
    /// itself until the next one of that file has made up for it.
    pub(super) fn forget(&mut self, one_in: usize) -> BTreeMap<&'static str, Forgotten> {
        let all: Vec<_> = steps(self.recording).collect();
        let mut walk = Walk::new(self.recording.house.root());
        let mut tally: BTreeMap<&'static str, Forgotten> = BTreeMap::new();
        let mut records = HashMap::new();
        for (place, (_, step)) in all.iter().enumerate() {
            let Some(step) = step else {
                walk.next_process();
                continue;
            };
            if let Some((kind, flights)) = kind_of_sync(step, &mut records)
                && succeeds(&all[place..])
            {
                let tally = tally.entry(kind).or_default();
                if tally.all.is_multiple_of(one_in) {
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

    /// Whether the records of these flights were needed after a sync that has not
    /// been, and whether anything was found to be wrong.
    fn misses(
        &mut self,
        mut walk: Walk,
        flights: &[FlightId],
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
                Must::Know(flight) | Must::Adopt(flight) => flights.contains(flight),
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

    /// Prints what was run.
    pub(super) fn tell(&self) {
        println!("REFRESHD_TEST_SEED={}", self.seed);
        println!("figure power_steps {}", self.facts.steps);
        println!("figure power_prefixes {}", self.prefixes);
        println!("figure power_only_synced {}", self.synced_only);
        println!("figure power_drawn {}", self.drawn);
        println!("figure power_recoveries {}", self.recoveries);
        println!("figure power_in_recoveries {}", self.again);
        println!("figure power_asked_binary {}", self.asked);
        println!("figure power_seconds {}", self.took.as_secs());
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Versions {
    changed: u64,
    hardened: u64,
}

impl Versions {
    fn of(walk: &Walk) -> Self {
        Versions {
            changed: walk.disk.changed,
            hardened: walk.disk.hardened,
        }
    }
}

/// All steps with their numbers; `None` where a process ends.
fn steps(recording: &Recording) -> impl Iterator<Item = (usize, Option<&Step>)> {
    let mut index = 0;
    recording.runs.iter().flat_map(move |run| {
        let first = index;
        index += run.len();
        let numbered = run.iter().enumerate();
        let numbered = numbered.map(move |(n, (_, step))| (first + n, Some(step)));
        numbered.chain([(index, None)])
    })
}

/// Records of the journal that a thread has written since its last sync.
type Records = HashMap<u32, (&'static str, Vec<FlightId>)>;

/// What is synced by a call that is one, and the flights whose records that are.
fn kind_of_sync(step: &Step, records: &mut Records) -> Option<(&'static str, Vec<FlightId>)> {
    let Step::Enter(tid, call) = step else {
        return None;
    };
    if call.name == "pwrite64" {
        let bytes = &call.args[1].bytes;
        let kinds = [("intent", b"rfshint1"), ("answer", b"rfshans1")];
        for (kind, _) in kinds.iter().filter(|(_, magic)| bytes.starts_with(*magic)) {
            let known = records.entry(*tid).or_insert((kind, Vec::new()));
            known.1.push(flight(bytes));
        }
        return None;
    }
    let place = call.args.first().and_then(|arg| arg.place.as_deref());
    let name = place.filter(|_| call.name.contains("sync"))?.file_name()?;
    let kind = match name.to_str()? {
        "refreshd.db" => "database",
        "refreshd.db-wal" => "log",
        "state" | "key" => "names",
        name if name.starts_with("journal-") => {
            return Some(records.remove(tid).unwrap_or(("journal", Vec::new())));
        }
        _ => return None,
    };
    Some((kind, Vec::new()))
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

fn tell(index: usize, step: &Step, kept: &str, wrong: &str) -> String {
    let step = match step {
        Step::Enter(tid, call) => {
            let first = call.args.first();
            let place = first.and_then(|arg: &Arg| arg.place.clone());
            format!("thread {tid} calls {} of {place:?}", call.name)
        }
        Step::Leave(tid, value) => format!("thread {tid} gets {value}"),
    };
    format!("step {index} ({step}): {wrong}; kept in {kept}")
}
