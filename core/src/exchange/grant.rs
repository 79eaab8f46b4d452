//! An exchange for a grant: a refresh, or a client that asks for itself.

use super::{Exchange, Next, Step, Subject};
use crate::flight::settle::{Rules, Settled, settle};
use crate::flight::{Intent, Stamp};
use crate::grant::outcome::OutcomeKind;
use crate::grant::replay::{EXCHANGE_LIMIT, harmless_until};
use crate::grant::{Grant, TokenSet};
use crate::mutation::{self, Mutation};
use crate::provider::{Answer, Ending};
use crate::time::WallTime;
use std::time::Duration;

/// A grant, as its exchange found it.
#[derive(Clone, Debug)]
pub struct OfGrant {
    grant: Grant,
    tokens: TokenSet,
    rules: Rules,
    /// How its request has ended, as far as is known.
    ending: Option<Ending>,
    outcome: Option<(OutcomeKind, String)>,
}

/// What to commit, and against which revision.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The revision on which the settlement rests.
    pub base_revision: u64,
    /// The rest.
    pub settled: Settled,
}

/// What the store made of a [`Commit`].
#[derive(Clone, Debug)]
pub enum Committed {
    /// It is durable and was applied to the grant.
    Applied(Box<Grant>),
    /// The grant had moved on; what the exchange brought is kept as a candidate.
    /// While it is still of the exchange's generation, the commit is tried again
    /// on its new revision, so the intent must last until then.
    Superseded(Box<Grant>),
}

/// What an exchange for a grant came to.
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

impl Exchange<OfGrant> {
    /// An exchange that has not begun. `intent` must have been made from `grant`.
    #[must_use]
    pub fn new(intent: Intent, grant: Grant, tokens: TokenSet, rules: Rules) -> Self {
        debug_assert_eq!(
            intent.revision, grant.revision,
            "one exchange a grant: an intent starts from the current revision"
        );
        Exchange::begin(intent, OfGrant::new(grant, tokens, rules))
    }

    /// An exchange whose intent was found after a crash. What it brought counts only as
    /// long as the grant has what it started from. Returns the first step.
    #[must_use]
    pub fn recovered(
        intent: Intent,
        answer: Option<Answer>,
        mut grant: Grant,
        tokens: TokenSet,
        rules: Rules,
        now: &Stamp,
    ) -> (Self, Step<OfGrant>) {
        // Of an older generation it brings a candidate, never the grant's next
        // token set: it rests on what it started from.
        if !intent.follows(&grant.state) {
            grant.revision = intent.revision;
            grant.state.generation = intent.generation;
        }
        Exchange::found(intent, OfGrant::new(grant, tokens, rules), answer, now)
    }
}

impl OfGrant {
    fn new(grant: Grant, tokens: TokenSet, rules: Rules) -> Self {
        OfGrant {
            grant,
            tokens,
            rules,
            ending: None,
            outcome: None,
        }
    }

    /// The grant that the last settlement rests on.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    fn commit(&mut self, intent: &Intent, now: WallTime) -> Next<Self> {
        let ending = self
            .ending
            .clone()
            .expect("an exchange is settled once it has ended");
        let mut settled = settle(
            &self.rules,
            &self.grant.state,
            &self.tokens,
            intent,
            ending,
            now,
        );
        // What came belongs to whom it was asked of, wherever the grant was moved meanwhile.
        let bound = intent.binding.as_ref();
        let bound = bound.filter(|_| !mutation::is(Mutation::AnswerBoundAnew));
        if let Some(bound) = bound.filter(|_| settled.settlement.tokens.is_some()) {
            settled.settlement.state.binding = Some(bound.clone());
        }
        self.outcome = Some((settled.kind, settled.text.clone()));
        Next::Commit(Commit {
            base_revision: self.grant.revision,
            settled,
        })
    }

    fn landed(&self, grant: Box<Grant>) -> Next<Self> {
        let outcome = self.outcome.clone();
        let (kind, text) = outcome.expect("what was committed has been settled");
        Next::Done(Verdict::Landed { kind, text, grant })
    }
}

impl Subject for OfGrant {
    type Loaded = (Box<Grant>, Box<TokenSet>);
    type Commit = Commit;
    type Committed = Committed;
    type Known = Box<Grant>;
    type Verdict = Verdict;

    fn not_started(text: String) -> Verdict {
        Verdict::NotStarted { text }
    }

    fn withheld() -> Verdict {
        Verdict::Withheld
    }

    fn may_leave(&self, intent: &Intent, now: WallTime) -> Result<Option<Duration>, Verdict> {
        let rotation = &self.rules.policy.rotation;
        let until = harmless_until(intent.first_sent, rotation, intent.sent.wall);
        // For the first time it is presented whenever that may be.
        let until = until.filter(|_| intent.attempt > 1);
        let looks = !mutation::is(Mutation::WindowNotLookedAtAgain);
        match until {
            Some(until) if until <= now && looks => Err(Verdict::Withheld),
            until => Ok(until.map(|until| until.since(now))),
        }
    }

    fn overdue(&mut self, intent: &Intent, now: WallTime) -> Next<Self> {
        self.ending = Some(Ending::Lost {
            text: format!(
                "no answer within {} s; still listening",
                EXCHANGE_LIMIT.as_secs()
            ),
        });
        self.commit(intent, now)
    }

    fn ended(&mut self, intent: &Intent, ending: Ending, late: bool, now: WallTime) -> Next<Self> {
        match ending {
            Ending::Answered(answer) if late && !mutation::is(Mutation::LateAnswerDropped) => {
                self.ending = Some(Ending::Answered(answer));
                Next::Reload
            }
            // The doubt is committed already; nothing came to change it.
            _ if late => self.landed(Box::new(self.grant.clone())),
            other => {
                self.ending = Some(other);
                self.commit(intent, now)
            }
        }
    }

    fn told(&mut self, _: &Intent, _: Option<Answer>, _: WallTime) -> Next<Self> {
        unreachable!("nothing is asked for a grant")
    }

    fn reloaded(&mut self, intent: &Intent, loaded: Self::Loaded, now: WallTime) -> Next<Self> {
        let (grant, tokens) = loaded;
        // A grant that has moved on gets the answer as a candidate: the old base revision
        // says so.
        if intent.follows(&grant.state) {
            self.grant = *grant;
            self.tokens = *tokens;
        }
        self.commit(intent, now)
    }

    /// Where only the grant's state has changed (an overdue exchange's gateway gave up,
    /// say), what came is still its next token set, or its doubt: it is settled once more,
    /// on what the state is now.
    fn committed(
        &mut self,
        intent: &Intent,
        committed: Committed,
        reads_on: bool,
        _: WallTime,
    ) -> Next<Self> {
        match committed {
            Committed::Applied(grant) if reads_on => {
                self.grant = (*grant).clone();
                Next::GoOnReading(grant)
            }
            Committed::Applied(grant) => self.landed(grant),
            Committed::Superseded(grant) if intent.follows(&grant.state) => Next::Reload,
            Committed::Superseded(grant) if reads_on => Next::GoOnReading(grant),
            Committed::Superseded(grant) => Next::Done(Verdict::Superseded { grant }),
        }
    }
}

#[cfg(test)]
mod tests;
