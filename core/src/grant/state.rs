//! A grant and the part of it that is no secret: what the schedule, the queue
//! and `status` go by. It survives restarts; every flight ends by committing one.

use super::binding::Binding;
use crate::grant::outcome::{AUTHORIZED, OutcomeKind};
use crate::mutation::{self, Mutation};
use crate::secret::Fingerprint;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A grant's identity in the store, never used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub String);

/// A grant as the store knows it, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Identity; a grant removed and made again gets another.
    pub id: GrantId,
    /// Name, unique.
    pub name: String,
    /// The client it belongs to.
    pub client: String,
    /// Values of the provider's variables.
    pub vars: BTreeMap<String, String>,
    /// The redirect URI the grant was begun with, where it differs from the client's.
    pub redirect_uri: Option<String>,
    /// Rises with every commit; a flight that started from an older one is stale.
    pub revision: u64,
    /// The rest.
    pub state: GrantState,
}

/// What is known of a grant's current token set and of its renewal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrantState {
    /// Number of the current token set; 0 while there is none.
    pub generation: u64,
    /// When its request was sent: from here expiry counts.
    pub issued_at: WallTime,
    /// When the access token ends.
    pub expires_at: WallTime,
    /// The expiry is a guess (an import that did not say): due now, but delivered.
    #[serde(skip_serializing_if = "is_default")]
    pub expiry_unknown: bool,
    /// How long an access token lives, as this grant's answers last stated it.
    #[serde(skip_serializing_if = "is_default")]
    pub stated_life: Option<Duration>,
    /// When the refresh token ends, where that is known.
    #[serde(skip_serializing_if = "is_default")]
    pub refresh_expires_at: Option<WallTime>,
    /// When a person last authorized.
    pub login_at: WallTime,
    /// Fingerprint of what will be presented next; `None`: nothing to refresh.
    #[serde(skip_serializing_if = "is_default")]
    pub presents: Option<Fingerprint>,
    /// Fingerprint of the access token, to notice that the same one came again.
    #[serde(skip_serializing_if = "is_default")]
    pub access: Option<Fingerprint>,
    /// A random number drawn once a generation; the jitter comes from it.
    pub roll: u64,
    /// A shorter lead than the rule's, learned from the provider.
    #[serde(skip_serializing_if = "is_default")]
    pub learned_lead: Option<Duration>,
    /// When a request was last sent.
    #[serde(skip_serializing_if = "is_default")]
    pub last_send: Option<WallTime>,
    /// Sends since the provider's window began, where one is configured.
    #[serde(skip_serializing_if = "is_default")]
    pub sends_in_window: u32,
    /// When that window began.
    #[serde(skip_serializing_if = "is_default")]
    pub window_from: Option<WallTime>,
    /// Not to be sent before: back-off or `Retry-After`.
    #[serde(skip_serializing_if = "is_default")]
    pub not_before: Option<WallTime>,
    /// Until then the provider asked to wait (`Retry-After`); the rest of that is back-off.
    #[serde(skip_serializing_if = "is_default")]
    pub asked_until: Option<WallTime>,
    /// Automatic tries in a row that brought no new token set.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: u32,
    /// A flight's answer never came: the refresh token may have been rotated.
    #[serde(skip_serializing_if = "is_default")]
    pub doubt: Option<Doubt>,
    /// The provider refused the refresh token for good.
    #[serde(skip_serializing_if = "is_default")]
    pub refusal: Option<Refusal>,
    /// Not refreshed until an operator says so.
    #[serde(skip_serializing_if = "is_default")]
    pub pause: Option<Pause>,
    /// An operator asked the provider to revoke it: it is not refreshed again.
    #[serde(skip_serializing_if = "is_default")]
    pub revoked: Option<Revoked>,
    /// A consumer or the verify URL found the access token dead before its expiry.
    #[serde(skip_serializing_if = "is_default")]
    pub access_dead: bool,
    /// What exchanges brought that began at an earlier generation is not tried: it is
    /// another authorization's, or bound to a client or origin that was left.
    #[serde(skip_serializing_if = "is_default")]
    pub chances_from: u64,
    /// What exchanges brought that began at an earlier generation was kept when the
    /// store was put back: the time that is lost may have presented it already.
    #[serde(skip_serializing_if = "is_default")]
    pub doubts_before: u64,
    /// The generation that the token set had before a restore gave it another: exchanges
    /// that began at that one may still bring what follows it.
    #[serde(skip_serializing_if = "is_default")]
    pub renamed_from: Option<u64>,
    /// The client was not accepted with form-encoded credentials (RFC 6749 §2.3.1), which some
    /// servers do not decode: they go as they are, by turns, until one way is accepted.
    #[serde(skip_serializing_if = "is_default")]
    pub unencoded: bool,
    /// What the last flight came to.
    #[serde(skip_serializing_if = "is_default")]
    pub last_outcome: Option<LastOutcome>,
    /// To whom the refresh token is bound.
    #[serde(skip_serializing_if = "is_default")]
    pub binding: Option<Binding>,
    /// The grant stood in the configuration: taken out of it, it retires. One
    /// that was only imported stays active as long as its client is configured.
    #[serde(skip_serializing_if = "is_default")]
    pub configured: bool,
    /// The client can ask for a token set itself (as the configuration says): no
    /// refusal and no doubt needs a person.
    #[serde(skip_serializing_if = "is_default")]
    pub asks_anew: bool,
    /// The token set came of the client's asking for itself, at once or over
    /// refreshes: no person's authorization is in it.
    #[serde(skip_serializing_if = "is_default")]
    pub own: bool,
    /// Whose account it is, where the provider tells: another one's authorization does
    /// not take its place by itself.
    #[serde(skip_serializing_if = "is_default")]
    pub account: Option<Fingerprint>,
    /// The generation at which an authorization brought no refresh token, and the one from
    /// before was kept: exchanges that began before it concern it still.
    #[serde(skip_serializing_if = "is_default")]
    pub kept_refresh_at: Option<u64>,
    /// Another grant has had the refresh token that this token set brought: whichever
    /// refreshes cuts the other off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<String>,
}

/// What is as it always begins is not written down: most grants have little to tell.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Doubt {
    /// About a refresh token that may have been presented, nobody knows when: in
    /// the time that a restore has lost.
    #[must_use]
    pub fn of_lost_time(presents: Fingerprint, last_send: Option<WallTime>) -> Doubt {
        let long_ago = WallTime(0);
        Doubt {
            first_sent: long_ago,
            last_sent: last_send.unwrap_or(long_ago),
            presents,
            // An answer may be a replay's, its lifetime told as if it were new.
            presentations: 1,
            unread: false,
            relic: true,
        }
    }

    /// Whether time may have been lost since that send, so that nobody knows how long
    /// ago it was.
    #[must_use]
    pub fn is_undated(&self, sent: WallTime) -> bool {
        self.first_sent <= WallTime(0) && sent <= self.last_sent
    }
}

/// An exchange whose answer is not known. It lasts until a success or another
/// authorization; while the token stands refused, it is at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// When this refresh token was first presented; its windows count from here.
    pub first_sent: WallTime,
    /// When it was last presented.
    pub last_sent: WallTime,
    /// What was presented.
    pub presents: Fingerprint,
    /// How many times.
    pub presentations: u32,
    /// An answer came that could not be read and may hold a newer refresh token; its
    /// bytes are kept.
    #[serde(default)]
    pub unread: bool,
    /// A restore brought it back: in the time that is lost, what followed it may have
    /// been used as well.
    #[serde(default, skip_serializing_if = "is_default")]
    pub relic: bool,
}

/// A definite refusal: the refresh token is kept, sealed, and not presented by accident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When it was first refused.
    pub at: WallTime,
    /// How many times it has been refused.
    pub times: u32,
    /// The provider's code and words, printable.
    pub text: String,
    /// The provider wants a person to do something; the refresh token itself may be good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interaction: bool,
    /// The refresh token was neither in doubt nor past its life: the refusal may not have
    /// been meant, and the token is presented once more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub provisional: bool,
}

/// Why a grant waits for its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Pause {
    /// The configuration now sends the refresh token to another client or origin.
    BindingChanged {
        /// Where it is bound to.
        from: Binding,
        /// Where the configuration would send it.
        to: Binding,
    },
}

/// An operator's wish that the provider end an authorization (RFC 7009). The
/// tokens are kept, sealed; another authorization begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When it was last asked for.
    pub at: WallTime,
    /// What came of it.
    pub how: Revocation,
}

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Revocation {
    /// It is being asked for, or was when the process ended.
    Asked,
    /// The answer was lost: the tokens may be void.
    Unknown,
    /// The provider has confirmed it.
    Confirmed,
}

/// What the last flight came to, for `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOutcome {
    /// When.
    pub at: WallTime,
    /// One word, as in metrics: `success`, `in-doubt`, `refused`, …
    pub kind: String,
    /// A sentence for a person, printable; of a success, what is odd about it: mostly empty.
    pub text: String,
    /// The HTTP status, where there was an answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Option<u16>,
}

/// In one word, how a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// No token set has come yet.
    Pending,
    /// A living access token, and nothing is wrong.
    Fresh,
    /// A living access token; the last tries to replace it failed.
    Retrying,
    /// The outcome of an exchange is not known.
    InDoubt,
    /// The access token may be dead before its expiry.
    Suspect,
    /// The access token is over; trying to replace it.
    Expired,
    /// The refresh token was refused or is over: a person must authorize again.
    Refused,
    /// Waits for its operator.
    Paused,
    /// Its operator had it revoked.
    Revoked,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Pending => "pending",
            Status::Fresh => "fresh",
            Status::Retrying => "retrying",
            Status::InDoubt => "in-doubt",
            Status::Suspect => "suspect",
            Status::Expired => "expired",
            Status::Refused => "refused",
            Status::Paused => "paused",
            Status::Revoked => "revoked",
        })
    }
}

impl LastOutcome {
    /// Whether the text tells what went wrong, and not what is odd about what came.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.kind != OutcomeKind::Success.word() && self.kind != AUTHORIZED
    }
}

impl GrantState {
    /// How long the current access token lives in all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.expires_at.since(self.issued_at)
    }

    /// Whether the access token has not ended, as far as is known.
    #[must_use]
    pub fn is_alive(&self, now: WallTime) -> bool {
        self.generation > 0
            && now < self.expires_at
            && !self.access_dead
            && !self.revocation_was_sent()
    }

    /// Whether consumers are to lose its access token, since the provider was asked
    /// to revoke it and did not refuse.
    #[must_use]
    pub fn revocation_was_sent(&self) -> bool {
        (self.revoked).is_some_and(|revoked| revoked.how != Revocation::Asked)
    }

    /// The state for a clock that was set back by so much, which has been accepted:
    /// all its times, taken by the old one, are moved along, so that ages and waits
    /// stay what they were.
    #[must_use]
    pub fn brought_back(&self, by: Duration) -> GrantState {
        if mutation::is(Mutation::ClockNotBroughtBack) {
            return self.clone();
        }
        let moved = |at: Option<WallTime>| at.map(|at| at - by);
        let mut state = self.clone();
        state.issued_at = self.issued_at - by;
        state.expires_at = self.expires_at - by;
        state.refresh_expires_at = moved(self.refresh_expires_at);
        state.login_at = self.login_at - by;
        state.last_send = moved(self.last_send);
        state.window_from = moved(self.window_from);
        state.not_before = moved(self.not_before);
        state.asked_until = moved(self.asked_until);
        if let Some(revoked) = &mut state.revoked {
            revoked.at = revoked.at - by;
        }
        if let Some(last) = &mut state.last_outcome {
            last.at = last.at - by;
        }
        if let Some(refusal) = &mut state.refusal {
            refusal.at = refusal.at - by;
        }
        if let Some(doubt) = &mut state.doubt {
            doubt.last_sent = doubt.last_sent - by;
            doubt.first_sent = doubt.first_sent - by;
        }
        state
    }

    /// The state after a time of which nobody knows how long it was: windows that
    /// may be over are over, and the access token is delivered, but replaced soon.
    /// `None` where that changes nothing.
    #[must_use]
    pub fn after_lost_time(&self) -> Option<GrantState> {
        let mut state = self.clone();
        state.expiry_unknown |= self.generation > 0 && (self.presents.is_some() || self.asks_anew);
        if let Some(doubt) = &mut state.doubt {
            doubt.first_sent = WallTime(0);
        }
        (state != *self).then_some(state)
    }

    /// In one word, how the grant is.
    #[must_use]
    pub fn status(&self, now: WallTime) -> Status {
        if self.generation == 0 {
            Status::Pending
        } else if self.revoked.is_some() {
            Status::Revoked
        } else if self.pause.is_some() {
            Status::Paused
        } else if !self.asks_anew
            && (self.refusal.is_some() || (self.presents.is_none() && !self.is_alive(now)))
        {
            Status::Refused
        } else if self.access_dead {
            Status::Suspect
        } else if self.doubt.is_some() && !self.asks_anew {
            Status::InDoubt
        } else if !self.is_alive(now) {
            Status::Expired
        } else if self.failures > 0 {
            Status::Retrying
        } else {
            Status::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_lost_time_no_window_is_open() {
        let at = WallTime::from_secs(1000);
        let doubt = Doubt {
            first_sent: at,
            last_sent: at,
            presents: Fingerprint([1; 16]),
            presentations: 1,
            unread: false,
            relic: false,
        };
        let state = GrantState {
            generation: 1,
            presents: Some(doubt.presents),
            doubt: Some(doubt),
            ..GrantState::default()
        };
        let after = state.after_lost_time().expect("it changes");
        assert!(after.expiry_unknown);
        let doubt = after.doubt.as_ref().expect("it lasts");
        assert_eq!((doubt.first_sent, doubt.last_sent), (WallTime(0), at));
        assert_eq!(after.after_lost_time(), None);
        assert_eq!(GrantState::default().after_lost_time(), None);
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_ages_and_waits_as_they_were() {
        let (before, by) = (WallTime::from_secs(900_000), Duration::from_secs(3600));
        let state = GrantState {
            generation: 2,
            issued_at: before - Duration::from_secs(60),
            expires_at: before + Duration::from_secs(600),
            last_send: Some(before - Duration::from_secs(60)),
            not_before: Some(before + Duration::from_secs(300)),
            last_outcome: Some(LastOutcome {
                status: None,
                at: before,
                kind: "not-sent".to_owned(),
                text: String::new(),
            }),
            ..GrantState::default()
        };
        let (back, now) = (state.brought_back(by), before - by);
        assert_eq!(back.lifetime(), state.lifetime());
        assert_eq!(now.since(back.issued_at), before.since(state.issued_at));
        assert_eq!(back.expires_at.since(now), state.expires_at.since(before));
        let wait = |state: &GrantState, now| state.not_before.map(|at| at.since(now));
        assert_eq!(wait(&back, now), wait(&state, before));
        assert_eq!(back.last_outcome.map(|last| last.at), Some(now));
    }
}
