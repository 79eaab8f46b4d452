//! An exchange for an authorization: the code that came is presented, or the provider is
//! asked whether a device code has been approved (RFC 8628). A code that may have been
//! used is not presented again.

mod account;
mod poll;
mod text;

pub use text::spared;

use super::{Exchange, Next, Step, Subject};
use crate::enroll::account::Account;
use crate::enroll::code::{self, Unused};
use crate::enroll::device::pace::Met;
use crate::enroll::{Enrollment, Secrets, Stage, Via};
use crate::flight::settle::{self, Rules};
use crate::flight::{Intent, Stamp};
use crate::grant::replay::EXCHANGE_LIMIT;
use crate::grant::{Binding, Grant, Presents};
use crate::kept::KeptAnswer;
use crate::ledger::authorization::{Turn, Wanted};
use crate::ledger::import::Import;
use crate::mutation::{self, Mutation};
use crate::provider::answer::{self, Outcome, Success, may_hold_token};
use crate::provider::description::With;
use crate::provider::{Answer, Description, Ending};
use crate::time::WallTime;
use std::collections::BTreeMap;
use std::time::Duration;

use account::Identified;
use poll::Polled;

/// What an authorization goes by.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The name of its grant.
    pub name: String,
    /// Its client's name.
    pub client: String,
    /// The client's id at the provider.
    pub client_id: String,
    /// What the client asks for.
    pub scopes: Vec<String>,
    /// Values of the provider's variables.
    pub vars: BTreeMap<String, String>,
    /// To whom what the code brings belongs.
    pub binding: Binding,
    /// The description by which the request was made, schedule and rotation.
    pub rules: Rules,
    /// The grant stands in the configuration.
    pub configured: bool,
}

/// An authorization, as its exchange found it.
#[derive(Clone, Debug)]
pub struct OfAuthorization {
    enrollment: Enrollment,
    secrets: Secrets,
    /// Or why it has none.
    terms: Result<Terms, String>,
    wanted: Wanted,
    /// How often the code was presented in vain.
    tries: u32,
    /// What came, until it is settled.
    answer: Option<KeptAnswer>,
    /// The token set that came, while it is asked whose it is.
    success: Option<(Box<Success>, String)>,
    /// Whose that is could not be learned, though the description says how.
    unlearned: bool,
    /// Another code may have come for it since.
    is_earlier: bool,
    /// What it comes to once that is committed.
    verdict: Option<Verdict>,
}

/// What to commit.
#[derive(Clone, Debug)]
pub enum Commit {
    /// The authorization gets further, or ends.
    Turn(Box<Turn>),
    /// Its token set is its grant's.
    TakeIn(Box<TakeIn>),
}

/// A token set to take in.
#[derive(Clone, Debug)]
pub struct TakeIn {
    /// The authorization.
    pub enrollment: Enrollment,
    /// The token set.
    pub import: Import,
    /// The answer that holds it, where it cannot be taken in.
    pub answer: KeptAnswer,
    /// Who wants it.
    pub wanted: Wanted,
    /// The account, for people; printable.
    pub who: Option<String>,
}

/// What the store made of a [`Commit`].
#[derive(Clone, Debug)]
pub enum Committed {
    /// The authorization is as it was to be, or has been decided otherwise.
    Turned,
    /// The token set is the grant's.
    Current(Box<Grant>),
    /// It waits for an operator, with the reason.
    Held(String),
    /// An operator wanted it, and it is not held any more.
    Gone,
    /// It cannot be taken in, whenever it is tried; nothing was written.
    Refused(String),
}

/// What an exchange for an authorization came to.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing was sent and nothing changed: the intent could not be saved.
    NotStarted {
        /// Why, for people.
        text: String,
    },
    /// The code was not used, and waits.
    Waits {
        /// Until then.
        until: WallTime,
        /// Why, for people.
        text: String,
    },
    /// Nothing is decided about a device code.
    Pending {
        /// What the poll met.
        met: Met,
        /// What is odd about the answer, for people.
        text: Option<String>,
    },
    /// It has ended without a token set of the grant's.
    Ended {
        /// Why, for people.
        text: String,
    },
    /// It has its token set.
    TakenIn {
        /// The grant.
        grant: Box<Grant>,
        /// Whose account it is could not be learned, though the provider's description
        /// says how.
        unlearned: bool,
    },
    /// Nothing had to change.
    Unchanged,
}

impl Exchange<OfAuthorization> {
    /// An exchange that has not begun. `tries`: how often the code was presented in vain.
    #[must_use]
    pub fn new(
        intent: Intent,
        (enrollment, secrets): (Enrollment, Secrets),
        terms: Terms,
        tries: u32,
    ) -> Self {
        let subject = OfAuthorization::new(enrollment, secrets, Ok(terms));
        Exchange::begin(intent, OfAuthorization { tries, ..subject })
    }

    /// An exchange whose intent was found after a crash. Returns the first step.
    #[must_use]
    pub fn recovered(
        intent: Intent,
        answer: Option<Answer>,
        (enrollment, secrets): (Enrollment, Secrets),
        terms: Result<Terms, String>,
        now: &Stamp,
    ) -> (Self, Step<OfAuthorization>) {
        let spent = &enrollment.code.spent;
        let is_earlier = matches!(intent.presents, Presents::Code(code) if spent.contains(&code));
        let subject = OfAuthorization {
            is_earlier,
            ..OfAuthorization::new(enrollment, secrets, terms)
        };
        Exchange::found(intent, subject, answer, now)
    }

    /// An answer that is held is read once more, since an operator wants it.
    #[must_use]
    pub fn accepted(
        intent: Intent,
        answer: Answer,
        (enrollment, secrets): (Enrollment, Secrets),
        terms: Terms,
        now: &Stamp,
    ) -> (Self, Step<OfAuthorization>) {
        let subject = OfAuthorization {
            wanted: Wanted::ByOperator,
            ..OfAuthorization::new(enrollment, secrets, Ok(terms))
        };
        Exchange::found(intent, subject, Some(answer), now)
    }
}

impl OfAuthorization {
    fn new(enrollment: Enrollment, secrets: Secrets, terms: Result<Terms, String>) -> Self {
        OfAuthorization {
            enrollment,
            secrets,
            terms,
            wanted: Wanted::ByExchange,
            tries: 0,
            answer: None,
            success: None,
            unlearned: false,
            is_earlier: false,
            verdict: None,
        }
    }

    /// The authorization.
    #[must_use]
    pub fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    fn is_polled(&self) -> bool {
        self.enrollment.via == Via::Device
    }

    fn description(&self) -> Option<&Description> {
        self.terms
            .as_ref()
            .ok()
            .map(|terms| &*terms.rules.description)
    }

    /// The code is as good as before.
    fn unused(&mut self, unused: &Unused, why: &str, now: WallTime) -> Next<Self> {
        if self.is_earlier {
            return Next::Done(self.verdict.clone().unwrap_or(Verdict::Unchanged));
        }
        let description = self.description();
        let (turn, until) = spared(
            &self.enrollment,
            (unused, why),
            self.tries,
            description,
            now,
        );
        let text = turn.to.text.clone();
        self.verdict = Some(match until {
            Some(until) => Verdict::Waits { until, text },
            None => Verdict::Ended { text },
        });
        Next::Commit(Commit::Turn(Box::new(turn)))
    }

    fn pending(met: Met) -> Next<Self> {
        Next::Done(Verdict::Pending { met, text: None })
    }

    fn end(&mut self, stage: Stage, text: String, keeps: bool, now: WallTime) -> Next<Self> {
        let answer = self.answer.clone().filter(|_| keeps);
        let to = Enrollment {
            stage: self.enrollment.stage_after(stage, now),
            text: text.clone(),
            ..self.enrollment.clone()
        };
        self.verdict = Some(Verdict::Ended { text });
        let turn = match self.is_earlier {
            true => Turn::end_of_earlier(to, answer),
            false => Turn::end(to, answer),
        };
        Next::Commit(Commit::Turn(Box::new(turn)))
    }

    /// Keeps an answer that changes nothing of the authorization.
    fn keep_beside(&mut self, text: String, verdict: Verdict) -> Next<Self> {
        self.verdict = Some(verdict);
        let to = Enrollment {
            text,
            ..self.enrollment.clone()
        };
        Next::Commit(Commit::Turn(Box::new(Turn {
            from: &[Stage::Open],
            to,
            answer: self.answer.clone(),
        })))
    }

    /// Whether an answer brought something, or may have.
    fn may_have_brought(&self, answer: &Answer) -> bool {
        match self.description() {
            Some(description) => matches!(
                answer::read(description, answer),
                Outcome::Success(_) | Outcome::Unread { .. }
            ),
            None => (200..300).contains(&answer.status) || may_hold_token(answer),
        }
    }

    fn answered(&mut self, intent: &Intent, answer: Answer, now: WallTime) -> Next<Self> {
        self.answer = Some(KeptAnswer {
            flight: intent.flight,
            answer: answer.clone(),
        });
        let by_exchange = self.wanted == Wanted::ByExchange;
        if by_exchange && matches!(self.enrollment.stage, Stage::Done | Stage::Held) {
            // Another answer has decided; what this one brought is kept.
            return match self.may_have_brought(&answer) {
                true => self.keep_beside(String::new(), Verdict::Unchanged),
                false => Next::Done(Verdict::Unchanged),
            };
        }
        let terms = match &self.terms {
            Ok(terms) => terms,
            Err(_) if self.is_polled() && poll::is_pending(&answer) => {
                return Self::pending(Met::Pending);
            }
            Err(text) => {
                let text = text.clone();
                let keeps = self.may_have_brought(&answer);
                let stage = if keeps { Stage::Held } else { Stage::Refused };
                return self.end(stage, text, keeps, now);
            }
        };
        let description = &terms.rules.description;
        if self.is_polled() && by_exchange {
            match poll::polled(description, &answer, &terms.name) {
                Polled::Nothing(met) => return Self::pending(met),
                Polled::Odd(text, retry_after) => {
                    let met = Met::Nothing(retry_after);
                    let told = Some(text.clone());
                    return self.keep_beside(text, Verdict::Pending { met, text: told });
                }
                Polled::Over(stage, text) => return self.end(stage, text, false, now),
                Polled::Brought => {}
            }
        } else if let Some((unused, why)) =
            code::unused(description, &answer).filter(|_| by_exchange)
        {
            return self.unused(&unused, &why, now);
        }
        self.read(intent, &answer, now)
    }

    /// The answer decides.
    fn read(&mut self, intent: &Intent, answer: &Answer, now: WallTime) -> Next<Self> {
        let terms = self.terms.as_ref().expect("they were looked at");
        let client = terms.client.clone();
        match answer::read(&terms.rules.description, answer) {
            Outcome::Success(success) => self.identify(intent, success, now),
            Outcome::Lost { text, .. } => {
                self.end(Stage::InDoubt, text::in_doubt(&text), false, now)
            }
            Outcome::Unread { text, may_hold, .. } => {
                let (id, flight) = (self.enrollment.id, intent.flight);
                let (stage, text) = text::unread(id, flight, &text, may_hold);
                self.end(stage, text, true, now)
            }
            outcome => {
                let text = text::refused(outcome, &client);
                self.end(Stage::Refused, text, false, now)
            }
        }
    }

    fn identify(&mut self, intent: &Intent, success: Box<Success>, now: WallTime) -> Next<Self> {
        // An operator knows whose it is; its access token may be over by now.
        if self.wanted == Wanted::ByOperator {
            return self.take_in(intent, *success, None, false, now);
        }
        let terms = self.terms.as_ref().expect("they were looked at");
        match account::identify(terms, &success, self.secrets.nonce.as_ref()) {
            Identified::As(account) => self.take_in(intent, *success, account, false, now),
            Identified::Asks(request) => {
                self.success = Some((success, request.url.to_string()));
                Next::Ask(*request)
            }
            Identified::Unasked => self.take_in(intent, *success, None, true, now),
            Identified::NotOurs(why) => {
                let text = format!(
                    "{why}: the answer is not ours, and is not used; it is kept (`refreshd answers show {}`). Authorize again",
                    intent.flight.short()
                );
                self.end(Stage::Refused, text, true, now)
            }
        }
    }

    fn take_in(
        &mut self,
        intent: &Intent,
        success: Success,
        account: Option<Account>,
        unlearned: bool,
        now: WallTime,
    ) -> Next<Self> {
        let terms = self.terms.as_ref().expect("they were looked at");
        let rules = &terms.rules;
        let description = &rules.description;
        // Where nobody knows when it was sent, nobody knows how old it is.
        let obtained_at = (!intent.is_undated()).then_some(intent.sent.wall);
        let code = self.secrets.code.clone();
        let brought = settle::Import {
            success,
            obtained_at,
            code: code.filter(|_| description.refresh_wants_code()),
            binding: intent.binding.clone().unwrap_or(terms.binding.clone()),
            roll: intent.roll,
        };
        let (mut state, tokens) = settle::import(rules, brought, now);
        state.configured = terms.configured;
        let identity = account.as_ref().map(Account::identity);
        let identity = identity.map(|identity| rules.fingerprinter.of(&identity));
        state.account = identity.or(self.enrollment.account);
        let lacks_refresh_token = tokens.refresh_token.is_none()
            && rules.policy.with == With::RefreshToken
            && !rules.policy.asks_anew();
        let text = match lacks_refresh_token {
            true => text::no_refresh_token(terms, state.expires_at),
            false => String::new(),
        };
        self.enrollment.text = text;
        self.enrollment.grant = Some(terms.name.clone());
        let import = Import {
            name: terms.name.clone(),
            client: terms.client.clone(),
            vars: self.enrollment.vars.clone(),
            redirect_uri: self.enrollment.redirect_uri.clone(),
            tokens,
            state,
            obtained_at,
            now,
            replace: false,
            authorized: true,
        };
        self.unlearned = unlearned;
        Next::Commit(Commit::TakeIn(Box::new(TakeIn {
            enrollment: self.enrollment.clone(),
            import,
            answer: self.answer.clone().expect("it holds the token set"),
            wanted: self.wanted,
            who: account.map(|account| crate::text::printable(&account.subject)),
        })))
    }
}

impl Subject for OfAuthorization {
    type Loaded = ();
    type Commit = Commit;
    type Committed = Committed;
    type Known = ();
    type Verdict = Verdict;

    fn not_started(text: String) -> Verdict {
        Verdict::NotStarted { text }
    }

    fn withheld() -> Verdict {
        Verdict::Unchanged
    }

    /// A code is presented once; it is good until the provider says otherwise.
    fn may_leave(&self, _: &Intent, _: WallTime) -> Result<Option<Duration>, Verdict> {
        Ok(None)
    }

    fn overdue(&mut self, _: &Intent, now: WallTime) -> Next<Self> {
        match self.is_polled() {
            // The device code is as good as before.
            true => Next::GoOnReading(()),
            false => {
                let text = format!(
                    "no answer within {} s; still listening",
                    EXCHANGE_LIMIT.as_secs()
                );
                let next = self.end(Stage::InDoubt, text::in_doubt(&text), false, now);
                self.is_earlier = true;
                next
            }
        }
    }

    fn ended(&mut self, intent: &Intent, ending: Ending, late: bool, now: WallTime) -> Next<Self> {
        let polled = self.is_polled();
        match ending {
            Ending::Answered(answer) if mutation::is(Mutation::LateAnswerDropped) && late => {
                drop(answer);
                Next::Done(Verdict::Unchanged)
            }
            Ending::Answered(answer) => self.answered(intent, answer, now),
            _ if polled => Self::pending(Met::Nothing(None)),
            // The doubt is committed.
            _ if late => Next::Done(self.verdict.clone().unwrap_or(Verdict::Unchanged)),
            _ if self.enrollment.stage.is_over() || self.is_earlier => {
                Next::Done(Verdict::Unchanged)
            }
            Ending::NotSent { text } => self.unused(&Unused::NotSent, &text, now),
            Ending::Lost { text } => self.end(Stage::InDoubt, text::in_doubt(&text), false, now),
        }
    }

    fn told(&mut self, intent: &Intent, answer: Option<Answer>, now: WallTime) -> Next<Self> {
        let (success, url) = self.success.take().expect("it was asked whose it is");
        let terms = self.terms.as_ref().expect("they were looked at");
        let account = answer.and_then(|answer| account::told(terms, &url, &answer));
        let unlearned = account.is_none();
        self.take_in(intent, *success, account, unlearned, now)
    }

    fn reloaded(&mut self, _: &Intent, (): (), _: WallTime) -> Next<Self> {
        unreachable!("an authorization is not read anew")
    }

    fn committed(
        &mut self,
        _: &Intent,
        committed: Committed,
        reads_on: bool,
        now: WallTime,
    ) -> Next<Self> {
        match committed {
            Committed::Turned if reads_on => Next::GoOnReading(()),
            Committed::Turned => Next::Done(self.verdict.clone().unwrap_or(Verdict::Unchanged)),
            Committed::Current(grant) => Next::Done(Verdict::TakenIn {
                grant,
                unlearned: self.unlearned,
            }),
            Committed::Held(text) => Next::Done(Verdict::Ended { text }),
            Committed::Gone => Next::Done(Verdict::Unchanged),
            Committed::Refused(text) => self.end(Stage::Held, text, true, now),
        }
    }
}

#[cfg(test)]
mod tests;
