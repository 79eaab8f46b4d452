//! What is written to the journal: an intent or an answer, sealed.

use super::region::{self, Kind};
use super::{JournalError, SlotRef};
use crate::state::disk;
use crate::state::records::{answer_bytes, secret_json};
use crate::state::seal::{Context, OVERHEAD, Sealer};
use refreshd_core::flight::{FlightId, Intent};
use refreshd_core::provider::Answer;
use zeroize::Zeroizing;

/// The most bytes of an answer's body that are recorded.
pub const MAX_BODY: usize = region::MAX_BODY;

/// About how long an intent is as JSON.
const INTENT: usize = 1024;

/// The most bytes of one header value that are recorded.
const MAX_HEADER: usize = 1024;

/// What makes records unreadable to others, and bound to their place: the
/// [`Sealer`]; in the simulation, which is not about ciphers, something quicker.
pub trait Seal {
    /// Seals bytes for their place.
    fn seal(&self, context: &Context<'_>, plain: &[u8]) -> Vec<u8>;
    /// Opens them there; `None` when they were changed, moved, or sealed otherwise.
    fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>>;
}

impl Seal for Sealer {
    fn seal(&self, context: &Context<'_>, plain: &[u8]) -> Vec<u8> {
        Sealer::seal(self, context, plain)
    }

    fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        Sealer::open(self, context, sealed).ok()
    }
}

/// One region to be written.
pub struct Record {
    pub(super) kind: Kind,
    /// The slot the flight has; `None`: a free one.
    pub(super) slot: Option<SlotRef>,
    pub(super) flight: FlightId,
    pub(super) generation: u64,
    pub(super) sealed: Vec<u8>,
}

impl Record {
    /// An intent, for a free slot.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`].
    pub fn intent(sealer: &impl Seal, intent: &Intent) -> Result<Record, JournalError> {
        Record::new(
            sealer,
            Kind::Intent,
            None,
            intent,
            &secret_json(intent, INTENT),
        )
    }

    /// An answer, for the slot of its intent; or, after the doubt was committed,
    /// for one of its own. It repeats the intent, so that it can be adopted alone.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`].
    pub fn answer(
        sealer: &impl Seal,
        slot: Option<SlotRef>,
        intent: &Intent,
        answer: &Answer,
    ) -> Result<Record, JournalError> {
        let answer = &bounded(answer);
        let bytes = answer_bytes(&(intent, answer), &answer.body);
        Record::new(sealer, Kind::Answer, slot, intent, &bytes)
    }

    fn new(
        sealer: &impl Seal,
        kind: Kind,
        slot: Option<SlotRef>,
        intent: &Intent,
        plain: &[u8],
    ) -> Result<Record, JournalError> {
        if plain.len() + OVERHEAD + 64 > kind.size() {
            return Err(JournalError::TooLarge(plain.len()));
        }
        let context = Context {
            purpose: "journal",
            owner: &disk::hex(&intent.flight.0),
            column: kind.column(),
            generation: intent.generation,
        };
        Ok(Record {
            kind,
            slot,
            flight: intent.flight,
            generation: intent.generation,
            sealed: sealer.seal(&context, plain),
        })
    }
}

/// The answer as far as a slot holds it. What is cut off is said to be missing.
fn bounded(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if answer.body.len() > MAX_BODY {
        answer.body.truncate(MAX_BODY);
        answer.complete = false;
    }
    for (_, value) in &mut answer.headers {
        let cut = (0..=MAX_HEADER)
            .rev()
            .find(|at| value.is_char_boundary(*at));
        value.truncate(cut.unwrap_or(0));
    }
    answer
}
