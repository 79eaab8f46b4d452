//! Goes through a recording and has the power fail after each step.

use super::facts::Facts;
use super::fate::{AsSynced, AsWritten, Drawn, Fate};
use super::judge::{Found, LEFT, Must};
use super::trace::{Arg, Step};
use super::walk::Walk;
use super::work::Recording;
use std::time::{Duration, Instant};

/// The binary is asked about one state in so many.
const ASKED: usize = 60;
/// More is not told.
const ENOUGH: usize = 12;

/// See the module.
pub(super) struct Replay<'a> {
    pub(super) recording: &'a Recording,
    pub(super) facts: &'a mut Facts,
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
        Drawn::new(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number)
    }

    /// Keeps what is wrong, for a person to look at: no recording is like another.
    fn keep(&self, walk: &Walk, fate: &mut dyn Fate) -> String {
        let kept = tempfile::tempdir().unwrap().keep();
        walk.disk.lay_out(&kept, &LEFT, fate);
        kept.display().to_string()
    }

    pub(super) fn open(&self, walk: &Walk, fate: &mut dyn Fate) -> Result<Found, String> {
        self.facts.judge.lay_out(&walk.disk, fate);
        self.facts.judge.open()
    }

    pub(super) fn judged(
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
pub(super) fn steps(recording: &Recording) -> impl Iterator<Item = (usize, Option<&Step>)> {
    let mut index = 0;
    recording.runs.iter().flat_map(move |run| {
        let first = index;
        index += run.len();
        let numbered = run.iter().enumerate();
        let numbered = numbered.map(move |(n, (_, step))| (first + n, Some(step)));
        numbered.chain([(index, None)])
    })
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
