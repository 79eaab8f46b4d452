//! What is durable of an exchange before a byte of it leaves, and what it means for its grant.

pub mod kept_refresh;
mod life;
pub mod settle;
mod settlement;

use crate::grant::{Binding, Grant, GrantId, GrantState, Presents};
use crate::mutation::{self, Mutation};
use crate::provider::answer::{self, Outcome};
use crate::provider::description::DescriptionHash;
use crate::provider::{Answer, Description};
pub use crate::time::Stamp;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};

pub use settlement::{Sent, Settlement, Standing};

/// Tells one exchange from every other: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExchangeId(pub [u8; 16]);

impl ExchangeId {
    /// As people have it, in full.
    #[must_use]
    pub fn hex(self) -> String {
        crate::text::hex(&self.0)
    }

    /// As short as people have it.
    #[must_use]
    pub fn short(self) -> String {
        crate::text::hex(&self.0[..4])
    }
}

/// What is durable before the first byte of an exchange leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// This flight.
    pub flight: ExchangeId,
    /// The grant it is for.
    pub grant: GrantId,
    /// The grant's name, for messages.
    pub name: String,
    /// The grant's revision at the start; another one at the commit: stale.
    pub revision: u64,
    /// The generation it starts from.
    pub generation: u64,
    /// The how-many-th presentation of this refresh token.
    pub attempt: u32,
    /// When this refresh token was first presented.
    pub first_sent: WallTime,
    /// This presentation.
    pub sent: Stamp,
    /// What is presented.
    pub presents: Presents,
    /// The description by which the answer will be read.
    pub description: DescriptionHash,
    /// A random number for the next generation's jitter and for back-off.
    pub roll: u64,
    /// To whom the grant was bound: what comes back belongs to them, whoever it is
    /// bound to by then. `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// The longest binding that intents carry: they must fit into a block.
const LONGEST_BINDING: usize = 1024;

impl Intent {
    /// The intent to present this for a grant now. In doubt, the windows of what
    /// is presented go on counting from its first send.
    #[must_use]
    pub fn new(
        flight: ExchangeId,
        grant: &Grant,
        presents: Presents,
        sent: Stamp,
        description: DescriptionHash,
        roll: u64,
    ) -> Intent {
        let doubt = grant.state.doubt.as_ref();
        let doubt = doubt.filter(|doubt| presents.is_token(doubt.presents));
        Intent {
            flight,
            grant: grant.id.clone(),
            name: grant.name.clone(),
            revision: grant.revision,
            generation: grant.state.generation,
            attempt: doubt.map_or(0, |doubt| doubt.presentations) + 1,
            first_sent: doubt.map_or(sent.wall, |doubt| doubt.first_sent),
            sent,
            presents,
            description,
            roll,
            binding: grant.state.binding.clone().filter(Binding::is_short),
        }
    }
}

impl Intent {
    /// Dates the exchange by the clock of now, which may have been set back and
    /// accepted since it was sent. Where nobody knows how long ago that was, its
    /// windows are over, as after any lost time.
    pub(crate) fn reckon(&mut self, now: &Stamp) {
        if mutation::is(Mutation::FlightNotReckoned) {
            return;
        }
        let Some(sent) = self.sent.by_clock_of(now) else {
            return self.undate(now);
        };
        let by = self.sent.wall.since(sent);
        self.sent.wall = sent;
        if !self.is_undated() {
            self.first_sent = self.first_sent - by;
        }
    }

    /// As it is found once a clock was accepted, which said this then: what was on its
    /// way in that boot was recorded by the clock before it.
    #[must_use]
    pub fn by_accepted_clock(mut self, accepted: Option<&Stamp>) -> Intent {
        let sent = &self.sent;
        let counts = |clock: &&Stamp| sent.boot_id == clock.boot_id && sent.boot <= clock.boot;
        if let Some(clock) = accepted.filter(counts) {
            self.reckon(clock);
        }
        self
    }

    /// As it is found beside a store that was put back: of an exchange in another boot
    /// nobody knows how long ago it was, since the store that is gone may have noticed
    /// that time was lost.
    #[must_use]
    pub fn in_restored_store(mut self, now: &Stamp) -> Intent {
        let same_boot = self.sent.boot_id == now.boot_id && !now.boot_id.is_empty();
        if !same_boot {
            self.undate(now);
        }
        self
    }

    fn undate(&mut self, now: &Stamp) {
        self.sent.wall = self.sent.wall.min(now.wall);
        self.first_sent = WallTime(0);
    }

    /// Whether nobody knows how long ago this refresh token was first presented.
    #[must_use]
    pub fn is_undated(&self) -> bool {
        self.first_sent <= WallTime(0)
    }
}

impl Binding {
    fn is_short(&self) -> bool {
        self.client_id.len() + self.origin.len() <= LONGEST_BINDING
    }
}

impl Intent {
    /// Which of the answers that are kept since they could not be read is looked at
    /// once more by the description of now, by its place. One that can be read now, first;
    /// of these that of the last presentation, whichever came last: where each brought
    /// another refresh token, it has the one that the provider goes on with.
    #[must_use]
    pub fn newest_unread<'a>(
        kept: impl Iterator<Item = (&'a Intent, &'a Answer)>,
        state: &GrantState,
        description: &Description,
        hash: &DescriptionHash,
    ) -> Option<usize> {
        let doubted = |intent: &Intent| {
            let doubt = state.doubt.as_ref();
            doubt.is_some_and(|doubt| intent.presents.is_token(doubt.presents))
        };
        let reads = |kept| matches!(answer::read(description, kept), Outcome::Success(_));
        kept.enumerate()
            .map(|(at, (intent, kept))| (at, intent, reads(kept)))
            .filter(|(_, intent, reads)| {
                intent.brings_next(state) && (*reads || intent.description != *hash)
            })
            .max_by_key(|(at, intent, reads)| (*reads, doubted(intent), intent.attempt, *at))
            .map(|(at, _, _)| at)
    }

    /// Whether an answer of this intent was kept beside that of `read`, which could be
    /// read at last; the grant was in that state `before`. A request may have been
    /// overtaken on its way: then this one has the refresh token that the provider goes
    /// on with, so it is kept to be tried.
    #[must_use]
    pub fn is_beside(&self, read: &Intent, before: &GrantState) -> bool {
        self.flight != read.flight
            && self.brings_next(before)
            && self.description != read.description
    }

    /// Whether an answer of this intent, kept since it could not be read, still holds
    /// the grant's next token set, bound to whom the grant is bound.
    fn brings_next(&self, state: &GrantState) -> bool {
        state.doubt.is_some() && self.generation >= state.chances_from && self.follows(state)
    }

    /// Whether what comes of it takes the place of what the grant has. A restore gives
    /// another generation to a token set that stays what it was, and in doubt: an answer
    /// to its refresh token is still the next one.
    pub(crate) fn follows(&self, state: &GrantState) -> bool {
        let doubt = state.doubt.as_ref();
        let answers = doubt.is_some_and(|doubt| self.presents.is_token(doubt.presents));
        let renamed = state.renamed_from.is_some_and(|first| {
            first <= self.generation && self.generation < state.generation && answers
        });
        let renamed = renamed && !mutation::is(Mutation::RenamedForgotten);
        self.generation == state.generation || renamed
    }

    /// The intent by which its kept answer is read once more. Clocks were set and
    /// accepted since, perhaps: when it was sent, the grant's doubt knows, whose times
    /// are moved along.
    #[must_use]
    pub fn again(self, state: &GrantState, description: DescriptionHash) -> Intent {
        let mut again = Intent {
            description,
            ..self
        };
        if let Some(doubt) = &state.doubt {
            let dated = again.attempt == 1 && doubt.first_sent > WallTime(0);
            let sent = if dated {
                doubt.first_sent
            } else {
                doubt.last_sent
            };
            again.sent.wall = again.sent.wall.min(sent);
            again.first_sent = again.first_sent.min(doubt.first_sent);
        }
        again
    }
}
