//! Reading the journal at the start: what was under way when the last process ended.

use super::region::{self, BLOCK, Kind, Region};
use super::{JournalError, Recovered, Settled, SlotRef, files};
use crate::state::disk;
use crate::state::records::split_answer;
use crate::state::seal::{Context, Sealer};
use refreshd_core::flight::{Answer, FlightId, Intent};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Collects flights over all files; one that stands in two slots (its file was
/// given up in between) counts once, and its answer wins.
pub(super) struct Recovery<'a> {
    dir: &'a Path,
    sealer: &'a Sealer,
    settled: &'a Settled<'a>,
    found: BTreeMap<FlightId, Recovered>,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(dir: &'a Path, sealer: &'a Sealer, settled: &'a Settled<'a>) -> Self {
        Recovery {
            dir,
            sealer,
            settled,
            found: BTreeMap::new(),
        }
    }

    /// Reads one file; the number of its slots.
    pub(super) fn read(&mut self, number: u32, file: &File) -> Result<u16, JournalError> {
        let io = |source| JournalError::io(self.dir, number, &source);
        let slots = region::slots_in(file.metadata().map_err(io)?.len());
        for slot in 0..slots {
            for kind in [Kind::Answer, Kind::Intent] {
                let Some(region) = read_region(file, slot, kind).map_err(io)? else {
                    continue;
                };
                if !(self.settled)((number, slot), region.flight) {
                    self.take(kind, SlotRef::new(number, slot), &region)?;
                }
            }
        }
        Ok(slots)
    }

    pub(super) fn finish(self) -> Vec<Recovered> {
        self.found.into_values().collect()
    }

    fn take(&mut self, kind: Kind, slot: SlotRef, region: &Region) -> Result<(), JournalError> {
        let unreadable = || JournalError::Unreadable {
            path: files::path(self.dir, slot.file()),
            slot: slot.slot(),
        };
        let context = Context {
            purpose: "journal",
            owner: &disk::hex(&region.flight.0),
            column: kind.column(),
            generation: region.generation,
        };
        let bytes = self
            .sealer
            .open(&context, &region.payload)
            .map_err(|_| unreadable())?;
        let (intent, answer) = match kind {
            Kind::Intent => (serde_json::from_slice(&bytes).ok(), None),
            Kind::Answer => split_answer::<(Intent, Answer)>(&bytes)
                .map(|((intent, mut answer), body)| {
                    answer.body = body;
                    (intent, answer)
                })
                .unzip(),
        };
        let intent: Intent = intent.ok_or_else(unreadable)?;
        match self.found.get_mut(&region.flight) {
            None => {
                let recovered = Recovered {
                    slot,
                    intent,
                    answer,
                };
                self.found.insert(region.flight, recovered);
            }
            Some(known) => {
                if known.answer.is_none() && answer.is_some() {
                    known.answer = answer;
                    known.slot = slot.after(known.slot);
                } else {
                    known.slot = known.slot.after(slot);
                }
            }
        }
        Ok(())
    }
}

fn read_region(file: &File, slot: u16, kind: Kind) -> io::Result<Option<Region>> {
    let start = region::offset(slot)
        + match kind {
            Kind::Intent => 0,
            Kind::Answer => BLOCK as u64,
        };
    let mut bytes = vec![0; BLOCK];
    file.read_exact_at(&mut bytes, start)?;
    let Some(used) = region::used(kind, &bytes) else {
        return Ok(None);
    };
    if used > BLOCK {
        bytes.resize(used, 0);
        file.read_exact_at(&mut bytes, start)?;
    }
    Ok(region::decode(kind, &bytes))
}
