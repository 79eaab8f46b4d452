//! One exchange, from the recorded intent to the commit.

pub mod kept_refresh;
mod life;
pub mod settle;
mod settlement;

use crate::grant::outcome::OutcomeKind;
use crate::grant::replay::{EXCHANGE_LIMIT, harmless_until};
use crate::grant::{Binding, Grant, GrantId, GrantState, Presents, TokenSet};
use crate::mischief::{self, Mischief};
use crate::provider::answer::{self, Outcome};
use crate::provider::description::DescriptionHash;
use crate::provider::{Answer, Description, Ending};
pub use crate::time::Stamp;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use settle::{Rules, Settled, settle};
pub use settlement::{Sent, Settlement, Standing};

/// Tells one flight from every other: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlightId(pub [u8; 16]);

/// What is durable before the first byte of an exchange leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// This flight.
    pub flight: FlightId,
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
        flight: FlightId,
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
    fn reckon(&mut self, now: &Stamp) {
        if mischief::is(Mischief::FlightNotReckoned) {
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
    fn follows(&self, state: &GrantState) -> bool {
        let doubt = state.doubt.as_ref();
        let answers = doubt.is_some_and(|doubt| self.presents.is_token(doubt.presents));
        let renamed = state.renamed_from.is_some_and(|first| {
            first <= self.generation && self.generation < state.generation && answers
        });
        let renamed = renamed && !mischief::is(Mischief::RenamedForgotten);
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

/// What happens to a flight, told to it by the shell.
#[derive(Clone, Debug)]
pub enum Event {
    /// It takes off.
    Begin,
    /// The intent is durable.
    IntentRecorded,
    /// The intent could not be made durable; nothing was sent.
    IntentFailed {
        /// Why, for people.
        text: String,
    },
    /// Nothing was sent after all: at the last look, an answer of an earlier
    /// flight had come, which may have made what was to be presented void.
    Forestalled,
    /// How the exchange ended.
    Ended(Ending),
    /// No answer within [`crate::grant::replay::EXCHANGE_LIMIT`]; it goes on being read.
    Overdue,
    /// The commit is durable and was applied to the grant.
    Committed(Box<Grant>),
    /// The grant had moved on; what the flight brought is kept as a candidate.
    /// While it is still of the flight's generation, the commit is tried again
    /// on its new revision, so the flight's intent must last until then.
    Superseded(Box<Grant>),
    /// The grant and its token set as they are now, asked for by [`Action::Reload`].
    Reloaded(Box<Grant>, Box<TokenSet>),
}

/// What the shell is to do next. It reports back with the event named there.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make the intent durable: [`Event::IntentRecorded`] or [`Event::IntentFailed`].
    RecordIntent(Box<Intent>),
    /// Look whether a late answer of the grant has come since it was decided what
    /// to present: [`Event::Forestalled`]. If not, send the request, with nothing in
    /// between, and wait: [`Event::Ended`] or [`Event::Overdue`].
    Send {
        /// The first byte leaves within this time, by a clock that counts suspend, or
        /// none does: [`Ending::NotSent`]. `None`: as soon as there is a connection.
        within: Option<Duration>,
    },
    /// Read the grant anew: [`Event::Reloaded`].
    Reload,
    /// Commit, and try again until it is durable where an answer is at stake:
    /// [`Event::Committed`] or [`Event::Superseded`].
    Commit(Box<Commit>),
}

/// What to commit, and against which revision.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The revision on which the settlement rests.
    pub base_revision: u64,
    /// The rest.
    pub settled: Settled,
}

/// What a flight wants.
#[derive(Clone, Debug)]
pub enum Step {
    /// Do this and report.
    Do(Box<Action>),
    /// The grant is in doubt by now. Go on reading: only [`Event::Ended`] can follow.
    GoOnReading(Box<Grant>),
    /// The flight is over.
    Done(Verdict),
}

/// What a flight came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing was sent and nothing changed: the intent could not be saved.
    NotStarted {
        /// Why, for people.
        text: String,
    },
    /// Nothing was sent and nothing changed: what was to be presented was not to be
    /// presented any more at the last look. The grant's plan says what is next.
    Withheld,
    /// It was committed.
    Landed {
        /// What it came to.
        kind: OutcomeKind,
        /// A sentence for people.
        text: String,
        /// The grant after the commit.
        grant: Box<Grant>,
    },
    /// The grant had moved on; a token set that came is kept as a candidate.
    Superseded {
        /// The grant as it is.
        grant: Box<Grant>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Preflight,
    Recording,
    Sending,
    /// The doubt is committed (or being committed); the answer may still come.
    Overdue,
    Reloading {
        then_read: bool,
    },
    Committing {
        then_read: bool,
    },
    Over,
}

/// One exchange as a machine. It decides what happens in which order: intent
/// durable before a byte, and one commit at the end, before anything acts on what came.
#[derive(Debug)]
pub struct Flight {
    intent: Intent,
    grant: Grant,
    tokens: TokenSet,
    rules: Rules,
    stage: Stage,
    ending: Option<Ending>,
    outcome: Option<(OutcomeKind, String)>,
}

impl Flight {
    /// A flight that has not begun. `intent` must have been made from `grant`.
    #[must_use]
    pub fn new(intent: Intent, grant: Grant, tokens: TokenSet, rules: Rules) -> Self {
        debug_assert_eq!(
            intent.revision, grant.revision,
            "one-flight-a-grant: an intent starts from the current revision"
        );
        Flight {
            intent,
            grant,
            tokens,
            rules,
            stage: Stage::Preflight,
            ending: None,
            outcome: None,
        }
    }

    /// A flight whose intent was found after a crash: it is in doubt. Where its answer
    /// was kept all the same, that is adopted. Either counts only as long as the grant has
    /// what it started from. Returns the first step.
    #[must_use]
    pub fn recovered(
        intent: Intent,
        answer: Option<Answer>,
        mut grant: Grant,
        tokens: TokenSet,
        rules: Rules,
        now: &Stamp,
    ) -> (Self, Step) {
        let answer = answer.filter(|_| !mischief::is(Mischief::AnswerForgotten));
        let lost = |text| match mischief::is(Mischief::DoubtForgotten) {
            true => Ending::NotSent { text },
            false => Ending::Lost { text },
        };
        let ending = answer.map_or_else(
            || lost("refreshd stopped before the answer was written down".to_owned()),
            Ending::Answered,
        );
        // Of an older generation it brings a candidate, never the grant's next
        // token set: it rests on what it started from.
        if !intent.follows(&grant.state) {
            grant.revision = intent.revision;
            grant.state.generation = intent.generation;
        }
        let mut flight = Flight {
            intent,
            grant,
            tokens,
            rules,
            stage: Stage::Sending,
            ending: Some(ending),
            outcome: None,
        };
        flight.intent.reckon(now);
        let step = flight.commit(now.wall, false);
        (flight, step)
    }

    /// The intent, for messages and for the store.
    #[must_use]
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The grant that the last settlement rests on.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Takes what happened and says what to do next. `now` is by the clock that is
    /// followed at present: it may have been set back since the last call.
    ///
    /// # Panics
    /// When an event comes that the last step did not ask for: a bug in the shell.
    pub fn handle(&mut self, event: Event, now: &Stamp) -> Step {
        self.intent.reckon(now);
        let now = now.wall;
        match (self.stage.clone(), event) {
            (Stage::Preflight, Event::Begin) if mischief::is(Mischief::IntentAfterSend) => {
                self.send(now)
            }
            (Stage::Preflight, Event::Begin) => {
                self.stage = Stage::Recording;
                Step::Do(Box::new(Action::RecordIntent(Box::new(
                    self.intent.clone(),
                ))))
            }
            (Stage::Recording, Event::IntentRecorded) => self.send(now),
            (Stage::Recording, Event::IntentFailed { text }) => {
                self.stage = Stage::Over;
                Step::Done(Verdict::NotStarted { text })
            }
            (Stage::Sending, Event::Forestalled) => {
                self.stage = Stage::Over;
                Step::Done(Verdict::Withheld)
            }
            (Stage::Sending, Event::Overdue) => {
                let text = format!(
                    "no answer within {} s; still listening",
                    EXCHANGE_LIMIT.as_secs()
                );
                self.ending = Some(Ending::Lost { text });
                self.commit(now, true)
            }
            (stage @ (Stage::Sending | Stage::Overdue), Event::Ended(ending)) => {
                self.landed(stage == Stage::Overdue, ending, now)
            }
            (Stage::Reloading { then_read }, Event::Reloaded(grant, tokens)) => {
                // A grant that has moved on gets the answer as a candidate: the old base revision says so.
                if self.intent.follows(&grant.state) {
                    self.grant = *grant;
                    self.tokens = *tokens;
                }
                self.commit(now, then_read)
            }
            (Stage::Committing { then_read }, Event::Committed(grant)) => {
                self.committed(grant, then_read)
            }
            (Stage::Committing { then_read }, Event::Superseded(grant)) => {
                self.superseded(grant, then_read)
            }
            (stage, event) => unreachable!("event {event:?} in stage {stage:?}"),
        }
    }

    /// Writing the intent down may have taken any time: a disk that hangs, a machine
    /// that sleeps. What was harmless then may be ruinous by now.
    fn send(&mut self, now: WallTime) -> Step {
        let (intent, rotation) = (&self.intent, &self.rules.policy.rotation);
        let until = harmless_until(intent.first_sent, rotation, intent.sent.wall);
        // For the first time it is presented whenever that may be.
        let until = until.filter(|_| intent.attempt > 1);
        let looks = !mischief::is(Mischief::WindowNotLookedAtAgain);
        if until.is_some_and(|until| until <= now && looks) {
            self.stage = Stage::Over;
            return Step::Done(Verdict::Withheld);
        }
        self.stage = Stage::Sending;
        let within = until.map(|until| until.since(now));
        Step::Do(Box::new(Action::Send { within }))
    }

    fn landed(&mut self, late: bool, ending: Ending, now: WallTime) -> Step {
        match ending {
            Ending::Answered(answer) if late && !mischief::is(Mischief::LateAnswerDropped) => {
                self.ending = Some(Ending::Answered(answer));
                self.reload(false)
            }
            // The doubt is committed already; nothing came to change it.
            _ if late => {
                self.stage = Stage::Over;
                let (kind, text) = self
                    .outcome
                    .clone()
                    .expect("an overdue flight has settled once");
                Step::Done(Verdict::Landed {
                    kind,
                    text,
                    grant: Box::new(self.grant.clone()),
                })
            }
            other => {
                self.ending = Some(other);
                self.commit(now, false)
            }
        }
    }

    fn commit(&mut self, now: WallTime, then_read: bool) -> Step {
        let ending = self
            .ending
            .clone()
            .expect("a flight is settled once it has ended");
        let mut settled = settle(
            &self.rules,
            &self.grant.state,
            &self.tokens,
            &self.intent,
            ending,
            now,
        );
        // What came belongs to whom it was asked of, wherever the grant was moved meanwhile.
        let bound = self.intent.binding.as_ref();
        let bound = bound.filter(|_| !mischief::is(Mischief::AnswerBoundAnew));
        if let Some(bound) = bound.filter(|_| settled.settlement.tokens.is_some()) {
            settled.settlement.state.binding = Some(bound.clone());
        }
        self.outcome = Some((settled.kind, settled.text.clone()));
        self.stage = Stage::Committing { then_read };
        let commit = Commit {
            base_revision: self.grant.revision,
            settled,
        };
        Step::Do(Box::new(Action::Commit(Box::new(commit))))
    }

    fn reload(&mut self, then_read: bool) -> Step {
        self.stage = Stage::Reloading { then_read };
        Step::Do(Box::new(Action::Reload))
    }

    /// Where only the grant's state has changed (an overdue flight's gateway
    /// gave up, say), what came is still its next token set, or its doubt: it is
    /// settled once more, on what the state is now.
    fn superseded(&mut self, grant: Box<Grant>, then_read: bool) -> Step {
        if self.intent.follows(&grant.state) {
            self.reload(then_read)
        } else if then_read {
            self.stage = Stage::Overdue;
            Step::GoOnReading(grant)
        } else {
            self.stage = Stage::Over;
            Step::Done(Verdict::Superseded { grant })
        }
    }

    fn committed(&mut self, grant: Box<Grant>, then_read: bool) -> Step {
        if then_read {
            self.stage = Stage::Overdue;
            self.grant = (*grant).clone();
            return Step::GoOnReading(grant);
        }
        self.stage = Stage::Over;
        let (kind, text) = self.outcome.take().expect("a committed flight has settled");
        Step::Done(Verdict::Landed { kind, text, grant })
    }
}

#[cfg(test)]
mod tests;
