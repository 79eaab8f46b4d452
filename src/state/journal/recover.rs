//! Reading the journal at the start: what was under way when the last process ended.

use super::medium::{Medium, MediumFile};
use super::region::{self, BLOCK, Kind, Region};
use super::{JournalError, Recovered, Seal, Settled, SlotRef, files};
use crate::state::disk;
use crate::state::records::split_answer;
use crate::state::seal::Context;
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::mischief::{self, Mischief};
use refreshd_core::provider::Answer;
use std::collections::BTreeMap;
use std::io;

/// Collects flights over all files; one that stands in two slots (its file was
/// given up in between) counts once, and its answer wins.
pub(super) struct Recovery<'a, M, S> {
    medium: &'a M,
    sealer: &'a S,
    settled: &'a Settled<'a>,
    found: BTreeMap<FlightId, Recovered>,
}

impl<'a, M: Medium, S: Seal> Recovery<'a, M, S> {
    pub(super) fn new(medium: &'a M, sealer: &'a S, settled: &'a Settled<'a>) -> Self {
        Recovery {
            medium,
            sealer,
            settled,
            found: BTreeMap::new(),
        }
    }

    /// Reads one file; the number of its slots.
    pub(super) fn read(&mut self, number: u32, file: &M::File) -> Result<u16, JournalError> {
        let io = |source| JournalError::io(self.medium, number, &source);
        let slots = region::slots_in(file.size().map_err(io)?);
        for slot in 0..slots {
            for kind in [Kind::Answer, Kind::Intent] {
                let Some(region) = read_region(file, slot, kind).map_err(io)? else {
                    continue;
                };
                let known = (self.settled)((number, slot), region.flight);
                if known && !mischief::is(Mischief::SettledIgnored) {
                    continue;
                }
                // It was read through a page cache that may hold what a failed sync
                // never wrote.
                self.take(kind, SlotRef::new(number, slot).doubted(), &region)?;
            }
        }
        Ok(slots)
    }

    pub(super) fn finish(self) -> Vec<Recovered> {
        self.found.into_values().collect()
    }

    fn take(&mut self, kind: Kind, slot: SlotRef, region: &Region) -> Result<(), JournalError> {
        let unreadable = || JournalError::Unreadable {
            path: self.medium.path(&files::name(slot.file())),
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
            .ok_or_else(unreadable)?;
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

/// The flights whose whole intent, and whole answer, stand in a slot. For tests:
/// what is durable can be told apart from what is only said to be.
///
/// # Errors
/// When the file cannot be read.
pub fn flights_in(
    file: &impl MediumFile,
    slot: u16,
) -> io::Result<(Option<FlightId>, Option<FlightId>)> {
    let flight = |region: Region| region.flight;
    let intent = read_region(file, slot, Kind::Intent)?.map(flight);
    let answer = read_region(file, slot, Kind::Answer)?.map(flight);
    Ok((intent, answer))
}

fn read_region(file: &impl MediumFile, slot: u16, kind: Kind) -> io::Result<Option<Region>> {
    let start = region::offset(slot) + kind.start();
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
