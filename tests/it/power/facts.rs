//! What a recording shows beside the disk: from which step on what must be there.

use super::disk::{Disk, Id, Ticket};
use super::fate::AsWritten;
use super::judge::{Judge, Must};
use super::trace::Step;
use super::walk::{FOLLOWED, Seen, Walk};
use super::work::Recording;
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::secret::Secret;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

/// See the module.
pub(super) struct Facts {
    /// By step, rising.
    pub(super) musts: Vec<(usize, Must)>,
    pub(super) judge: Judge,
    /// How many steps there are.
    pub(super) steps: usize,
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Default)]
struct Reading {
    musts: Vec<(usize, Must)>,
    intents: Vec<(usize, Intent)>,
    open: BTreeSet<ExchangeId>,
    seen: BTreeSet<(ExchangeId, String)>,
    /// Settlements that are written and not durable yet.
    settling: HashMap<Ticket, Vec<(ExchangeId, String)>>,
    /// Those that are, with what the flights came to.
    settled: Vec<(usize, ExchangeId, String)>,
    presented: Vec<(usize, String)>,
    counts: BTreeMap<&'static str, usize>,
}

impl Facts {
    /// Reads a recording, and checks that it is complete.
    pub(super) fn of(recording: &Recording) -> Facts {
        let mut walk = Walk::new(recording.house.root());
        let mut reading = Reading::default();
        let mut promised = recording.promised.iter().peekable();
        let mut steps = 0;
        for run in &recording.runs {
            for (at, step) in run {
                while let Some((_, must)) = promised.next_if(|(when, _)| when < at) {
                    reading.musts.push((steps, must.clone()));
                }
                if let Some(seen) = walk.step(step) {
                    reading.see(steps, seen, &walk.disk);
                }
                count(step, &mut reading.counts);
                steps += 1;
            }
            walk.next_process();
        }
        compare(&walk.disk, recording.house.root());
        let mut judge = Judge::new(&recording.house.config());
        judge.lay_out(&walk.disk, &mut AsWritten);
        let end = judge.open().expect("the end of the recording is good");
        judge.outcomes = end.settled.clone();
        for (step, token) in &reading.presented {
            let print = end.fingerprinter.of(&Secret::new(token.clone()));
            let flights = reading.intents.iter().filter(|(i, _)| i < step);
            let flight = flights.rev().find(|(_, i)| i.presents.is_token(print));
            let (_, intent) = flight.expect("an intent was written before it was presented");
            reading.musts.push((*step, Must::Know(intent.flight)));
        }
        for (step, flight, kind) in &reading.settled {
            // One that was overdue settles twice.
            let last = judge.outcomes.get(flight).and_then(|words| words.first());
            if last == Some(kind) {
                reading.musts.push((*step, Must::Adopt(*flight)));
                *reading.counts.entry("settlements").or_default() += 1;
            }
        }
        reading.musts.sort_by_key(|(step, _)| *step);
        reading.counts.insert("syncs", walk.syncs());
        reading
            .counts
            .insert("presentations", reading.presented.len());
        reading.counts.insert("intents", reading.intents.len());
        Facts {
            musts: reading.musts,
            judge,
            steps,
            counts: reading.counts,
        }
    }

    /// How much of what there is.
    pub(super) fn figures(&self) -> BTreeMap<&'static str, usize> {
        self.counts.clone()
    }
}

fn count(step: &Step, counts: &mut BTreeMap<&'static str, usize>) {
    if let Step::Enter(_, call) = step {
        let kind = match &*call.name {
            name if name.contains("write") => "writes",
            name if name.contains("rename") => "renames",
            _ => return,
        };
        *counts.entry(kind).or_default() += 1;
    }
}

impl Reading {
    fn see(&mut self, step: usize, seen: Seen, disk: &Disk) {
        match seen {
            Seen::Write {
                path,
                bytes,
                ticket,
                ..
            } if path.ends_with("refreshd.db-wal") => {
                for intent in intents_in(&bytes) {
                    let known = |(_, known): &(usize, Intent)| known.flight == intent.flight;
                    if !self.intents.iter().any(known) {
                        self.open.insert(intent.flight);
                        self.intents.push((step, intent));
                    }
                }
                let mut settled = settled_in(&bytes, &self.open);
                // Its page is written again with each row beside it.
                settled.retain(|it| self.seen.insert(it.clone()));
                self.settling.insert(ticket, settled);
            }
            Seen::Synced(tickets) => {
                for (flight, kind) in tickets
                    .iter()
                    .filter_map(|ticket| self.settling.remove(ticket))
                    .flatten()
                {
                    self.settled.push((step, flight, kind));
                }
            }
            Seen::Sent(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if let Some((_, rest)) = text.split_once("&refresh_token=") {
                    let end = rest.find('&').unwrap_or(rest.len());
                    self.presented.push((step, rest[..end].to_owned()));
                }
            }
            Seen::Renaming { file, to } => self.published(step, file, &to, disk),
            Seen::Write { .. } => {}
        }
    }

    fn published(&mut self, step: usize, file: Id, to: &Path, disk: &Disk) {
        let name = to.strip_prefix("tokens").ok().and_then(Path::to_str);
        let name = name.and_then(|name| name.strip_suffix(".json"));
        let Some(name) = name.filter(|name| !name.contains('.')) else {
            return;
        };
        let content = disk.content(file, &mut AsWritten);
        let value: Value = serde_json::from_slice(&content).expect("what is published is whole");
        let generation = value["generation"].as_u64().unwrap();
        *self.counts.entry("published").or_default() += 1;
        let must = Must::Reach(name.to_owned(), generation);
        self.musts.push((step, must));
    }
}

/// The intents that stand in bytes of the log: a row's text, whole in its page.
pub(super) fn intents_in(bytes: &[u8]) -> Vec<Intent> {
    let mut found: Vec<Intent> = Vec::new();
    let begins = b"{\"flight\":[";
    let mut rest = bytes;
    while let Some(at) = find(rest, begins) {
        let mut texts = serde_json::Deserializer::from_slice(&rest[at..]).into_iter();
        if let Some(Ok(intent)) = texts.next() {
            found.push(intent);
        }
        rest = &rest[at + begins.len()..];
    }
    found
}

/// What stands in bytes of the log of flights that are under way: a row of history, in
/// which a flight's number follows on the word for what it came to and a generation.
pub(super) fn settled_in(bytes: &[u8], open: &BTreeSet<ExchangeId>) -> Vec<(ExchangeId, String)> {
    let mut found = Vec::new();
    for flight in open {
        let mut from = 0;
        while let Some(at) = find(&bytes[from..], &flight.0) {
            let before = &bytes[(from + at).saturating_sub(24)..from + at];
            let word = KINDS.iter().find(|kind| {
                let place = find(before, kind.as_bytes());
                place.is_some_and(|place| before.len() - place - kind.len() <= 2)
            });
            found.extend(word.map(|word| (*flight, (*word).to_owned())));
            from += at + 16;
        }
    }
    found
}

/// The words of history for what exchanges come to here.
const KINDS: [&str; 4] = ["success", "unanswered", "in-doubt", "not-sent"];

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Had anything been written unseen, the files would differ from what was followed.
pub(super) fn compare(disk: &Disk, root: &Path) {
    let mut files = Vec::new();
    for top in FOLLOWED.map(|top| root.join(top)) {
        let mut dirs: Vec<_> = top.exists().then_some(top).into_iter().collect();
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let below = path.strip_prefix(root).unwrap().to_owned();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let id = disk.find(&below);
                let id = id.unwrap_or_else(|| panic!("{} was made unseen", below.display()));
                let same = fs::read(&path).unwrap() == disk.content(id, &mut AsWritten);
                assert!(same, "{} was written unseen", below.display());
                files.push(below);
            }
        }
    }
    assert!(files.len() > 4, "{files:?}");
}
