//! What a recording shows beside the disk: from which step on what must be there.

use super::disk::{Disk, Id, Ticket};
use super::fate::AsWritten;
use super::judge::{Judge, Must};
use super::trace::Step;
use super::walk::{FOLLOWED, Seen, Walk};
use super::work::Recording;
use refreshd::config::KeySource;
use refreshd::state::Sealer;
use refreshd::state::seal::Context;
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::grant::Presents;
use refreshd_core::secret::Secret;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

const BLOCK: usize = 4096;
/// Magic, flight, generation, length, checksum.
const HEADER: usize = 8 + 16 + 8 + 4 + 4;

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
    /// Answers that are written and not durable yet.
    answers: HashMap<Ticket, FlightId>,
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
            } if path.starts_with("state") && path.to_string_lossy().contains("journal-") => {
                if bytes.starts_with(b"rfshint1") {
                    self.intents.push((step, intent(&bytes, disk)));
                }
                let late = bytes.get(BLOCK..).unwrap_or_default();
                for region in [&*bytes, late] {
                    if region.starts_with(b"rfshans1") {
                        self.answers.insert(ticket, flight(region));
                    }
                }
            }
            Seen::Synced(tickets) => {
                let durable = tickets.iter().filter_map(|t| self.answers.remove(t));
                let durable = durable.map(|flight| (step, Must::Adopt(flight)));
                let before = self.musts.len();
                self.musts.extend(durable);
                *self.counts.entry("answers").or_default() += self.musts.len() - before;
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

/// The flight of a region of the journal.
pub(super) fn flight(region: &[u8]) -> FlightId {
    FlightId(region[8..24].try_into().unwrap())
}

/// Opens an intent with the key that the daemon had at that time.
fn intent(bytes: &[u8], disk: &Disk) -> Intent {
    let id = disk.find("key/key".as_ref()).expect("there is a key");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), disk.content(id, &mut AsWritten)).unwrap();
    let sealer = Sealer::load(&KeySource::File(file.path().to_owned()), true).unwrap();
    let FlightId(id) = flight(bytes);
    let owner: String = id.iter().map(|b| format!("{b:02x}")).collect();
    let context = Context {
        purpose: "journal",
        owner: &owner,
        column: "intent",
        generation: u64::from_be_bytes(bytes[24..32].try_into().unwrap()),
    };
    let length = u32::from_be_bytes(bytes[32..36].try_into().unwrap()) as usize;
    let plain = sealer.open(&context, &bytes[HEADER..HEADER + length]);
    let intent: Intent = serde_json::from_slice(&plain.unwrap()).unwrap();
    assert!(matches!(intent.presents, Presents::RefreshToken(_)));
    intent
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
