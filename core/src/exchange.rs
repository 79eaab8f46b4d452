//! One exchange as a machine, whatever it is for. It decides what happens in which order:
//! the intent is durable before a byte leaves, and nothing acts on an answer before it is
//! settled. What is presented, and what an answer means, its [`Subject`] knows.
//!
//! There are two entrances: [`Exchange::begin`], and [`Exchange::found`] for an exchange
//! that a crash has left.

pub mod authorization;
pub mod grant;

use crate::flight::{Intent, Stamp};
use crate::mutation::{self, Mutation};
use crate::provider::request::TokenRequest;
use crate::provider::{Answer, Ending};
use crate::time::WallTime;
use std::fmt::Debug;
use std::time::Duration;

/// What an exchange is for: a grant, or an authorization.
pub trait Subject: Clone + Debug {
    /// What the store has of it, read anew.
    type Loaded: Clone + Debug;
    /// What the exchange commits.
    type Commit: Clone + Debug;
    /// What the store made of that.
    type Committed: Clone + Debug;
    /// What is known of the subject while an overdue answer is still waited for.
    type Known: Clone + Debug;
    /// What the exchange came to.
    type Verdict: Clone + Debug;

    /// The verdict where nothing was sent, since the intent could not be saved.
    fn not_started(text: String) -> Self::Verdict;

    /// The verdict where nothing was sent, since an answer to another exchange has come.
    fn withheld() -> Self::Verdict;

    /// The last look before the request leaves: within which time it must, if any.
    ///
    /// # Errors
    /// When it must not leave any more.
    fn may_leave(&self, intent: &Intent, now: WallTime) -> Result<Option<Duration>, Self::Verdict>;

    /// No answer has come within [`EXCHANGE_LIMIT`](crate::grant::replay::EXCHANGE_LIMIT).
    fn overdue(&mut self, intent: &Intent, now: WallTime) -> Next<Self>;

    /// The request has ended; `late`: after it was overdue.
    fn ended(&mut self, intent: &Intent, ending: Ending, late: bool, now: WallTime) -> Next<Self>;

    /// The answer to what was asked by [`Next::Ask`].
    fn told(&mut self, intent: &Intent, answer: Option<Answer>, now: WallTime) -> Next<Self>;

    /// The subject as it is now, asked for by [`Next::Reload`].
    fn reloaded(&mut self, intent: &Intent, loaded: Self::Loaded, now: WallTime) -> Next<Self>;

    /// What became of a commit; `reads_on`: an overdue answer is still waited for.
    fn committed(
        &mut self,
        intent: &Intent,
        committed: Self::Committed,
        reads_on: bool,
        now: WallTime,
    ) -> Next<Self>;
}

/// What is to be done for a subject.
#[derive(Debug)]
pub enum Next<S: Subject> {
    /// Ask something beside, before the answer is settled.
    Ask(TokenRequest),
    /// Read the subject anew.
    Reload,
    /// Commit this.
    Commit(S::Commit),
    /// Wait for the overdue answer.
    GoOnReading(S::Known),
    /// Nothing more.
    Done(S::Verdict),
}

/// What happens to an exchange, told by the shell.
#[derive(Clone, Debug)]
pub enum Event<S: Subject> {
    /// It begins.
    Begin,
    /// The intent is durable.
    IntentRecorded,
    /// The intent could not be made durable; nothing was sent.
    IntentFailed {
        /// Why, for people.
        text: String,
    },
    /// Nothing was sent after all: at the last look, an answer of an earlier
    /// exchange had come, which may have made void what was to be presented.
    Forestalled,
    /// How the request ended.
    Ended(Ending),
    /// No answer within [`EXCHANGE_LIMIT`](crate::grant::replay::EXCHANGE_LIMIT); it goes
    /// on being read.
    Overdue,
    /// The answer to [`Action::Ask`]; `None`: there is none.
    Told(Option<Answer>),
    /// What became of [`Action::Commit`], durably.
    Committed(S::Committed),
    /// The subject as it is now, asked for by [`Action::Reload`].
    Reloaded(S::Loaded),
}

/// What the shell is to do next. It reports back with the event named there.
#[derive(Clone, Debug)]
pub enum Action<S: Subject> {
    /// Make the intent durable: [`Event::IntentRecorded`] or [`Event::IntentFailed`].
    RecordIntent(Box<Intent>),
    /// Look whether a late answer of the subject has come since it was decided what
    /// to present: [`Event::Forestalled`]. If not, send the request, with nothing in
    /// between, and wait: [`Event::Ended`] or [`Event::Overdue`].
    Send {
        /// The first byte leaves within this time, by a clock that counts suspend, or
        /// none does: [`Ending::NotSent`]. `None`: as soon as there is a connection.
        within: Option<Duration>,
    },
    /// Send this beside; it presents nothing that could be spent: [`Event::Told`].
    Ask(TokenRequest),
    /// Read the subject anew: [`Event::Reloaded`].
    Reload,
    /// Commit, and try again until it is durable where an answer is at stake:
    /// [`Event::Committed`].
    Commit(S::Commit),
}

/// What an exchange wants.
#[derive(Clone, Debug)]
pub enum Step<S: Subject> {
    /// Do this and report.
    Do(Box<Action<S>>),
    /// The doubt is committed. Go on reading: only [`Event::Ended`] can follow.
    GoOnReading(S::Known),
    /// The exchange is over.
    Done(S::Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Recording,
    Sending,
    /// The doubt is committed (or being committed); the answer may still come.
    Overdue,
    Asking,
    Reloading {
        reads_on: bool,
    },
    Committing {
        reads_on: bool,
    },
    Over,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange<S: Subject> {
    intent: Intent,
    subject: S,
    stage: Stage,
}

impl<S: Subject> Exchange<S> {
    /// An exchange that has not begun: [`Event::Begin`] is next.
    #[must_use]
    pub fn begin(intent: Intent, subject: S) -> Self {
        Exchange {
            intent,
            subject,
            stage: Stage::New,
        }
    }

    /// An exchange that a crash has left. Where its answer was kept, that is settled;
    /// else it is in doubt. Returns the first step.
    #[must_use]
    pub fn found(
        intent: Intent,
        subject: S,
        answer: Option<Answer>,
        now: &Stamp,
    ) -> (Self, Step<S>) {
        let answer = answer.filter(|_| !mutation::is(Mutation::AnswerForgotten));
        let text = || "refreshd stopped before the answer was written down".to_owned();
        let ending = match answer {
            Some(answer) => Ending::Answered(answer),
            None if mutation::is(Mutation::DoubtForgotten) => Ending::NotSent { text: text() },
            None => Ending::Lost { text: text() },
        };
        let mut exchange = Exchange {
            intent,
            subject,
            stage: Stage::Sending,
        };
        let step = exchange.handle(Event::Ended(ending), now);
        (exchange, step)
    }

    /// The intent.
    #[must_use]
    pub fn intent(&self) -> &Intent {
        &self.intent
    }

    /// What it is for.
    #[must_use]
    pub fn subject(&self) -> &S {
        &self.subject
    }

    /// Takes what happened and says what to do next. `now` is by the clock that is
    /// followed at present: it may have been set back since the last call.
    ///
    /// # Panics
    /// When an event comes that the last step did not ask for: a bug in the shell.
    pub fn handle(&mut self, event: Event<S>, now: &Stamp) -> Step<S> {
        self.intent.reckon(now);
        let now = now.wall;
        let (intent, subject) = (&self.intent, &mut self.subject);
        match (self.stage, event) {
            (Stage::New, Event::Begin) if mutation::is(Mutation::IntentAfterSend) => self.send(now),
            (Stage::New, Event::Begin) => {
                self.stage = Stage::Recording;
                let intent = Box::new(self.intent.clone());
                Step::Do(Box::new(Action::RecordIntent(intent)))
            }
            (Stage::Recording, Event::IntentRecorded) => self.send(now),
            (Stage::Recording, Event::IntentFailed { text }) => self.done(S::not_started(text)),
            (Stage::Sending, Event::Forestalled) => self.done(S::withheld()),
            (Stage::Sending, Event::Overdue) => {
                let next = subject.overdue(intent, now);
                self.follow(next, true)
            }
            (stage @ (Stage::Sending | Stage::Overdue), Event::Ended(ending)) => {
                let late = stage == Stage::Overdue;
                let next = subject.ended(intent, ending, late, now);
                self.follow(next, false)
            }
            (Stage::Asking, Event::Told(answer)) => {
                let next = subject.told(intent, answer, now);
                self.follow(next, false)
            }
            (Stage::Reloading { reads_on }, Event::Reloaded(loaded)) => {
                let next = subject.reloaded(intent, loaded, now);
                self.follow(next, reads_on)
            }
            (Stage::Committing { reads_on }, Event::Committed(committed)) => {
                let next = subject.committed(intent, committed, reads_on, now);
                self.follow(next, reads_on)
            }
            (stage, event) => unreachable!("event {event:?} in stage {stage:?}"),
        }
    }

    /// Writing the intent down may have taken any time: a disk that hangs, a machine
    /// that sleeps. What was harmless then may be ruinous by now.
    fn send(&mut self, now: WallTime) -> Step<S> {
        match self.subject.may_leave(&self.intent, now) {
            Ok(within) => {
                self.stage = Stage::Sending;
                Step::Do(Box::new(Action::Send { within }))
            }
            Err(verdict) => self.done(verdict),
        }
    }

    fn done(&mut self, verdict: S::Verdict) -> Step<S> {
        self.stage = Stage::Over;
        Step::Done(verdict)
    }

    fn follow(&mut self, next: Next<S>, reads_on: bool) -> Step<S> {
        let (stage, action) = match next {
            Next::Ask(request) => (Stage::Asking, Action::Ask(request)),
            Next::Reload => (Stage::Reloading { reads_on }, Action::Reload),
            Next::Commit(commit) => (Stage::Committing { reads_on }, Action::Commit(commit)),
            Next::GoOnReading(known) => {
                self.stage = Stage::Overdue;
                return Step::GoOnReading(known);
            }
            Next::Done(verdict) => return self.done(verdict),
        };
        self.stage = stage;
        Step::Do(Box::new(action))
    }
}
