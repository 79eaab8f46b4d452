//! Which keys the records in the journal were sealed with, by their first
//! blocks alone. A record whose checksum would fail counts all the same: a key
//! that is kept for too long does no harm.

use super::medium::{Directory, MediumFile};
use super::region::{self, BLOCK, Kind};
use super::{Settled, files};
use crate::state::seal::KeyId;
use refreshd_core::flight::FlightId;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The records of flights that are not settled, by their keys.
pub(in crate::state) fn keys_in(
    dir: &Path,
    settled: &Settled<'_>,
) -> io::Result<BTreeMap<KeyId, u64>> {
    let mut keys = BTreeMap::new();
    let medium = Directory::to_look_at(dir);
    for number in files::numbers(dir)? {
        let Some(file) = files::open(&medium, number)? else {
            continue;
        };
        for slot in 0..region::slots_in(file.size()?) {
            for (kind, after) in [(Kind::Intent, 0), (Kind::Answer, BLOCK as u64)] {
                let mut block = [0; BLOCK];
                file.read_exact_at(&mut block, region::offset(slot) + after)?;
                let record = region::used(kind, &block).and_then(|_| sealed(&block));
                if let Some((flight, key)) = record
                    && !settled((number, slot), flight)
                {
                    *keys.entry(key).or_default() += 1;
                }
            }
        }
    }
    Ok(keys)
}

fn sealed(block: &[u8; BLOCK]) -> Option<(FlightId, KeyId)> {
    let flight = FlightId(*block[8..].first_chunk()?);
    Some((flight, KeyId::of(&block[region::HEADER..])?))
}
