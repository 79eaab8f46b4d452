//! When the tokens of an answer end, by all that is said about it: by the answer itself,
//! by the description, and by the answers before.

use crate::duration::human;
use crate::grant::Policy;
use crate::grant::schedule::{ASSUMED_LIFETIME, clamp};
use crate::grant::state::GrantState;
use crate::provider::answer::{Clocks, Success};
use crate::provider::description::{ExpiresIn, RefreshFrom};
use crate::time::WallTime;
use std::time::Duration;

/// Clocks that differ by less are the same: answers take time, and `Date` and `iat` count
/// whole seconds.
const SAME_CLOCK: Duration = Duration::from_secs(2);
/// A clock that differs by this much is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(30);
/// An end that is earlier by this much than another is worth a word.
const EARLIER: Duration = Duration::from_secs(5);

/// When the request of an answer was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// From here relative lifetimes count: the first send of what was presented.
    pub(super) first: WallTime,
    /// This send.
    pub(super) last: WallTime,
    /// A replay may return an older token with its full `expires_in`.
    pub(super) after_doubt: bool,
    /// It brought another refresh token than there was.
    pub(super) renewed: bool,
}

/// Sets issue and expiry, of the access token and of the refresh token. Returns what is
/// to be told of them.
pub(super) fn date(
    policy: &Policy,
    state: &mut GrantState,
    success: &Success,
    sent: Sent,
) -> Vec<String> {
    let mut reckoning = Reckoning {
        policy,
        success,
        sent,
        skew: skew(success.clocks, sent.last),
        notes: Vec::new(),
    };
    let (end, stated) = reckoning.access_end(state.stated_life);
    state.issued_at = sent.first;
    state.expires_at = sent.first + clamp(end.since(sent.first));
    state.expiry_unknown = false;
    if stated {
        state.stated_life = Some(state.lifetime()).filter(|life| !life.is_zero());
    }
    state.refresh_expires_at = reckoning.refresh_end(state);
    reckoning.notes
}

/// A refresh token that there is not does not end.
pub(super) fn forget_end_of_none(state: &mut GrantState) {
    state.refresh_expires_at = state
        .refresh_expires_at
        .filter(|_| state.presents.is_some());
}

/// How far another clock is ahead of ours, in milliseconds; negative: behind.
type Skew = i64;

/// The provider's clock against ours, by the `Date` of its answer, which was made between
/// our sending and our receiving.
fn skew(clocks: Option<Clocks>, sent: WallTime) -> Skew {
    let theirs = clocks.and_then(|clocks| Some((clocks.theirs?, clocks.ours)));
    theirs.map_or(0, |(theirs, ours)| apart(theirs, sent, ours))
}

/// How far a moment lies outside of a time.
fn apart(moment: WallTime, from: WallTime, to: WallTime) -> Skew {
    if moment < from - SAME_CLOCK {
        moment.0.saturating_sub(from.0)
    } else if moment > to.max(from) + SAME_CLOCK {
        moment.0.saturating_sub(to.max(from).0)
    } else {
        0
    }
}

struct Reckoning<'a> {
    policy: &'a Policy,
    success: &'a Success,
    sent: Sent,
    skew: Skew,
    notes: Vec<String>,
}

impl Reckoning<'_> {
    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// When the access token ends, and whether the answer says so.
    fn access_end(&mut self, last_stated: Option<Duration>) -> (WallTime, bool) {
        let told = self.told();
        let relative = self.relative();
        let absolute = self.absolute();
        let claimed = self.claimed();
        if self.sent.after_doubt {
            // A moment is better than a count that a replay repeats.
            let moment = [absolute, claimed].into_iter().flatten().min();
            let stated = moment.or(relative);
            let end = stated.or(told);
            return (
                end.unwrap_or_else(|| self.assumed(last_stated)),
                stated.is_some(),
            );
        }
        let mut end = relative.or(absolute);
        if let (Some(relative), Some(absolute)) = (relative, absolute) {
            end = Some(self.earlier(relative, absolute, "expires_at"));
        }
        let stated = end.is_some();
        match (end.or(told), claimed) {
            (Some(end), Some(exp)) => {
                let earlier = self.earlier(end, exp, "the access token's own exp");
                (earlier, stated || earlier == exp)
            }
            (Some(end), None) => (end, stated),
            (None, Some(exp)) if exp > self.sent.first => (exp, true),
            (None, Some(_)) => {
                self.note("the access token's own exp has passed already, which is not believed of a new token");
                (self.assumed(last_stated), false)
            }
            (None, None) => (self.assumed(last_stated), false),
        }
    }

    /// By `expires_in`. Zero says that nothing is known; of a replay it means that nothing
    /// is left.
    fn relative(&self) -> Option<WallTime> {
        let counts = |secs: &i64| *secs != 0 || self.sent.after_doubt;
        let secs = self.success.expires_in.filter(counts)?;
        let life = clamp(Duration::from_secs(u64::try_from(secs).unwrap_or(0)));
        let end = self.sent.first + life;
        let created = self.success.created_at;
        let created = created.filter(|_| self.policy.lifetime.from_created_at);
        Some(created.map_or(end, |created| end.min(created + life)))
    }

    /// By `expires_at`, on our clock.
    fn absolute(&mut self) -> Option<WallTime> {
        let at = self.success.expires_at?;
        Some(self.on_our_clock(at, self.skew))
    }

    /// By the `exp` of an access token that is a JWT, on our clock. It is of the clock that
    /// signed it: `iat` tells how that one goes, where it is the moment of issue.
    fn claimed(&mut self) -> Option<WallTime> {
        if self.policy.lifetime.expires_in == ExpiresIn::Unused {
            return None;
        }
        let exp = self.success.jwt_exp?;
        let skew = self.skew_of_signer(exp).unwrap_or(self.skew);
        Some(self.on_our_clock(exp, skew))
    }

    /// An `iat` in the future was written by a clock that is ahead. One in the past may be
    /// that of an older token, unless the token lives from there as long as `expires_in` says.
    fn skew_of_signer(&self, exp: WallTime) -> Option<Skew> {
        let iat = self.success.jwt_iat?;
        let received = self
            .success
            .clocks
            .map_or(self.sent.last, |clocks| clocks.ours);
        let skew = apart(iat, self.sent.last, received);
        let life = exp.since(iat);
        let stated = self
            .success
            .expires_in
            .and_then(|secs| u64::try_from(secs).ok());
        let agrees = stated.map(Duration::from_secs).is_some_and(|stated| {
            stated.abs_diff(life) <= SAME_CLOCK.max(stated / 50) && !self.sent.after_doubt
        });
        (skew > 0 || (skew < 0 && agrees)).then_some(skew)
    }

    fn on_our_clock(&mut self, at: WallTime, skew: Skew) -> WallTime {
        let off = Duration::from_millis(skew.unsigned_abs());
        if off >= WORTH_A_WORD {
            let way = if skew > 0 { "ahead of" } else { "behind" };
            let note = format!(
                "the provider's clock is {} {way} this machine's",
                human(off)
            );
            if !self.notes.contains(&note) {
                self.note(note);
            }
        }
        WallTime(at.0.saturating_sub(skew))
    }

    /// The earlier of two ends. One that has passed already, where the other has not, tells
    /// of a clock that is wrong and ends nothing.
    fn earlier(&mut self, end: WallTime, other: WallTime, what: &str) -> WallTime {
        if other >= end {
            return end;
        }
        let apart = end.since(other);
        if other <= self.sent.first {
            self.note(format!(
                "{what} has passed already, though the access token is new: it is not believed; is a clock wrong?"
            ));
            return end;
        }
        if apart > EARLIER {
            self.note(format!(
                "{what} comes {} before the end that is stated otherwise; the earlier counts",
                human(apart)
            ));
        }
        other
    }

    /// By the description.
    fn told(&self) -> Option<WallTime> {
        self.policy
            .lifetime
            .access
            .map(|life| self.sent.first + life)
    }

    /// What is left where nobody says it now.
    fn assumed(&mut self, last_stated: Option<Duration>) -> WallTime {
        match last_stated {
            Some(life) => {
                self.note(format!(
                    "the answer does not say how long the access token lives; {} is taken, as last stated",
                    human(life)
                ));
                self.sent.first + life
            }
            None => {
                self.note(format!(
                    "nobody says how long the access token lives; {} is assumed (write [lifetime] access into the provider's file)",
                    human(ASSUMED_LIFETIME)
                ));
                self.sent.first + ASSUMED_LIFETIME
            }
        }
    }

    /// When the refresh token ends, where the answer or the description tells. The one that
    /// there was ends when it was to end, if the answer says nothing else.
    fn refresh_end(&self, state: &GrantState) -> Option<WallTime> {
        let success = self.success;
        let relative = success
            .refresh_expires_in
            .map(|life| self.sent.first + clamp(life));
        let moment = success
            .refresh_expires_at
            .map(|at| WallTime(at.0.saturating_sub(self.skew)));
        let lifetime = &self.policy.lifetime;
        let described = lifetime.refresh.map(|life| match lifetime.refresh_from {
            RefreshFrom::Issue => self.sent.first + life,
            RefreshFrom::Login => state.login_at + life,
        });
        let with_access = lifetime.refresh_with_access;
        let kept = state.refresh_expires_at.filter(|_| !self.sent.renewed);
        moment
            .or(relative)
            .or(described)
            .or(with_access.then_some(state.expires_at))
            .or(kept)
    }
}
