//! The journal file's layout: a header block, then slots of fixed size, each
//! an intent region and an answer region, aligned to blocks of 4 KiB.
//!
//! A region is: magic (8 bytes), flight (16), generation (8), length of the
//! payload (4), CRC-32 of all the others (4), payload (sealed). Numbers are
//! big-endian. A region that does not check counts as absent.

use refreshd_core::flight::FlightId;
use refreshd_core::mischief::{self, Mischief};

/// What disks write whole, or nearly so.
pub(super) const BLOCK: usize = 4096;
/// The largest body of an answer.
pub(crate) const MAX_BODY: usize = 256 * 1024;
/// Room for an answer: the body, and 12 KiB for its metadata, the intent and the envelope.
pub(super) const ANSWER: usize = MAX_BODY + 3 * BLOCK;
/// One slot.
pub(super) const SLOT: usize = BLOCK + ANSWER;
/// What the file begins with; another layout will have another number.
pub(super) const FILE_MAGIC: &[u8; 8] = b"rfshjn01";

pub(super) const HEADER: usize = 8 + 16 + 8 + 4 + 4;

/// The two regions of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Intent,
    Answer,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Kind::Intent => b"rfshint1",
            Kind::Answer => b"rfshans1",
        }
    }

    /// Its name in the seal's context.
    pub(super) fn column(self) -> &'static str {
        match self {
            Kind::Intent => "intent",
            Kind::Answer => "answer",
        }
    }

    /// Where it begins in its slot.
    pub(super) fn start(self) -> u64 {
        match self {
            Kind::Intent => 0,
            Kind::Answer => BLOCK as u64,
        }
    }

    pub(super) fn size(self) -> usize {
        match self {
            Kind::Intent => BLOCK,
            Kind::Answer => ANSWER,
        }
    }
}

/// A region that checks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) flight: FlightId,
    pub(super) generation: u64,
    pub(super) payload: Vec<u8>,
}

/// Where a slot begins in its file.
pub(super) fn offset(slot: u16) -> u64 {
    (BLOCK + usize::from(slot) * SLOT) as u64
}

/// How many whole slots a file of that size has.
pub(super) fn slots_in(size: u64) -> u16 {
    let slots = size.saturating_sub(BLOCK as u64) / SLOT as u64;
    u16::try_from(slots).unwrap_or(u16::MAX)
}

/// The bytes of a region, to the end of its last block; `None` when it does not fit.
pub(super) fn encode(kind: Kind, region: &Region) -> Option<Vec<u8>> {
    let used = HEADER + region.payload.len();
    if used > kind.size() {
        return None;
    }
    let mut bytes = Vec::with_capacity(used.next_multiple_of(BLOCK));
    bytes.extend(kind.magic());
    bytes.extend(region.flight.0);
    bytes.extend(region.generation.to_be_bytes());
    bytes.extend(u32::try_from(region.payload.len()).ok()?.to_be_bytes());
    let crc = checksum(&bytes, &region.payload);
    bytes.extend(crc.to_be_bytes());
    bytes.extend(&region.payload);
    bytes.resize(used.next_multiple_of(BLOCK), 0);
    Some(bytes)
}

/// How many bytes a region takes, by its first block; `None` when it holds nothing.
pub(super) fn used(kind: Kind, block: &[u8]) -> Option<usize> {
    let length = block.get(32..36)?.first_chunk()?;
    let used = HEADER + usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (block.starts_with(kind.magic()) && used <= kind.size()).then_some(used)
}

/// Reads a region from the bytes where it stands.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Option<Region> {
    let payload = bytes.get(HEADER..used(kind, bytes)?)?;
    let crc = bytes.get(36..HEADER)?.first_chunk()?;
    let whole = checksum(&bytes[..36], payload) == u32::from_be_bytes(*crc);
    if !whole && !mischief::is(Mischief::TornAccepted) {
        return None;
    }
    Some(Region {
        flight: FlightId(*bytes[8..24].first_chunk()?),
        generation: u64::from_be_bytes(*bytes[24..32].first_chunk()?),
        payload: payload.to_vec(),
    })
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region(payload: Vec<u8>) -> Region {
        Region {
            flight: FlightId([9; 16]),
            generation: 4,
            payload,
        }
    }

    #[test]
    fn regions_are_whole_blocks_and_bounded() {
        let bytes = encode(Kind::Intent, &region(vec![1; 100])).unwrap();
        assert_eq!(bytes.len(), BLOCK);
        assert!(encode(Kind::Intent, &region(vec![1; BLOCK])).is_none());
        let largest = encode(Kind::Answer, &region(vec![1; ANSWER - HEADER])).unwrap();
        assert_eq!(largest.len(), ANSWER);
        assert_eq!(decode(Kind::Intent, &vec![0; BLOCK]), None);
        assert_eq!(slots_in(offset(17)), 17);
        assert_eq!(offset(3) % BLOCK as u64, 0);
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(payload in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let written = region(payload);
            let bytes = encode(Kind::Answer, &written).unwrap();
            prop_assert_eq!(decode(Kind::Answer, &bytes), Some(written));
            prop_assert_eq!(decode(Kind::Intent, &bytes), None);
        }

        #[test]
        fn a_changed_byte_makes_it_absent(at in 0_usize..140, flip in 1_u8..) {
            let mut bytes = encode(Kind::Answer, &region(vec![7; 100])).unwrap();
            bytes[at] ^= flip;
            prop_assert_eq!(decode(Kind::Answer, &bytes), None);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            decode(Kind::Intent, &bytes);
            bytes.splice(..0, *b"rfshint1");
            decode(Kind::Intent, &bytes);
        }
    }
}
