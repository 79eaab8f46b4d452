//! When a grant is due. Every rule is a bound on one moment; the latest lower
//! bound wins, so no order of events can make a hot loop.

use super::policy::Policy;
use super::presentation::{self, Presents};
use super::replay;
use super::state::{GrantState, Refusal};
use crate::backoff::{Backoff, share};
use crate::duration::CENTURY;
use crate::grant::outcome::OutcomeKind;
use crate::mutation::{self, Mutation};
use crate::provider::description::{RefreshFrom, Rotates, Schedule, With};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A new token set is left alone for this long, whatever its lifetime.
pub const SETTLE: Duration = Duration::from_secs(2);
/// The lifetime that is assumed when neither answer, description nor JWT tells.
pub const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);
/// The longest wait between two tries.
pub const RETRY_CAP: Duration = Duration::from_secs(300);
/// The first wait after a failure, before it grows.
pub const RETRY_BASE: Duration = Duration::from_secs(1);
/// After a failure.
const RETRY: Backoff = Backoff::new(RETRY_BASE, RETRY_CAP);
/// The longest wait between two tries once the access token has just died.
const RETRY_JUST_DEAD: Duration = Duration::from_secs(60);
/// It has just died for so long.
const JUST_DEAD: Duration = Duration::from_secs(600);
/// A token set is refreshed so long after its issue at the latest.
pub const AT_MOST: Duration = Duration::from_secs(30 * 86_400);
/// How long to wait after an error that trying again is not likely to mend.
pub const SLOW_RETRY: Duration = Duration::from_secs(900);

/// What a grant waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is refreshed at this moment, which may have passed.
    At {
        /// When.
        at: WallTime,
        /// Which rule set the moment.
        why: Why,
    },
    /// It is not refreshed by itself.
    Never(Never),
}

/// The rule that set the moment, for `status` and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no token set yet, and the client can ask for one itself.
    First,
    /// Ahead of the access token's expiry.
    Lead,
    /// Ahead of the refresh token's own end.
    RefreshLife,
    /// The token set is as old as it may become, though its access token lives longer.
    AtMost,
    /// The access token's expiry is not known, or it is dead already.
    Overdue,
    /// The provider refuses younger tokens.
    MinAge,
    /// At least so long after the last send.
    Gap,
    /// Back-off after failures.
    NotBefore,
    /// The provider asked to wait, by 429 or `Retry-After`.
    AskedToWait,
    /// As many as the provider allows in a time have been sent.
    Window,
    /// In doubt, within the time in which presenting again is harmless.
    Doubt,
    /// In doubt: presenting again could revoke everything, so the living token is used up first.
    Hold,
    /// A refused refresh token that does not rotate is tried again now and then.
    RefusedRetry,
    /// The refresh token's life is over, and it has been tried since.
    RefreshOver,
}

/// Why a grant is not refreshed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {
    /// There is no token set yet.
    Pending,
    /// There is nothing to present: a person authorizes again before it ends.
    NothingToRefresh,
    /// The provider refused the refresh token.
    Refused,
    /// An answer is kept that may hold the refresh token which takes the place of the
    /// present one, and presenting that could revoke both.
    AnswerKept,
    /// An operator must confirm something first.
    Paused,
    /// An operator had it revoked.
    Revoked,
}

/// How long before expiry a token of this lifetime is refreshed.
#[must_use]
pub fn lead(lifetime: Duration, schedule: &Schedule, learned: Option<Duration>) -> Duration {
    let rule = match schedule.lead {
        Some(lead) => lead.min(lifetime * 9 / 10),
        None => (lifetime / 10)
            .max(Duration::from_secs(300))
            .min(lifetime / 2),
    };
    learned.map_or(rule, |learned| learned.min(rule))
}

/// The last moment comes so long before the access token ends.
const LAST_MOMENT: Duration = Duration::from_secs(45);

/// The last moment at which asking can still come in time: 45 seconds before the access
/// token ends, or a quarter of its life, if that is shorter.
#[must_use]
pub fn last_moment(state: &GrantState) -> WallTime {
    last_moment_of(state.expires_at, state.lifetime())
}

/// The last moment of an access token that ends then and lives so long in all.
#[must_use]
pub fn last_moment_of(ends_at: WallTime, life: Duration) -> WallTime {
    ends_at - LAST_MOMENT.min(life / 4)
}

/// The least time between two automatic sends for a grant.
#[must_use]
pub fn gap(lifetime: Duration) -> Duration {
    if mutation::is(Mutation::GapDropped) {
        return Duration::ZERO;
    }
    (lifetime / 4)
        .min(Duration::from_secs(30))
        .max(Duration::from_secs(1))
}

/// How long to wait after the `failures`-th failure in a row: exponential with
/// full jitter, and short enough that several tries fit into what remains of the
/// access token's life (`remaining` is zero when it is dead). One that has just died is
/// waited for by somebody: at most a minute, for the first ten (`dead_for`).
#[must_use]
pub fn retry_after(failures: u32, remaining: Duration, dead_for: Duration, roll: u64) -> Duration {
    let cap = match (remaining.is_zero(), dead_for < JUST_DEAD) {
        (true, true) => RETRY_JUST_DEAD,
        (true, false) => RETRY_CAP,
        (false, _) => RETRY_CAP.min(remaining / 4),
    };
    RETRY.capped(cap).full(failures, roll).max(RETRY_BASE)
}

/// When a grant is refreshed next, and by which rule.
#[must_use]
pub fn plan(state: &GrantState, policy: &Policy, now: WallTime) -> Plan {
    if state.generation == 0 && !policy.asks_anew() {
        return Plan::Never(Never::Pending);
    }
    if state.revoked.is_some() {
        return Plan::Never(Never::Revoked);
    }
    if state.pause.is_some() {
        return Plan::Never(Never::Paused);
    }
    let (at, why) = match (presentation::next(state, policy, now), &state.refusal) {
        (None, _) => return Plan::Never(Never::NothingToRefresh),
        (Some(Presents::ClientCredentials | Presents::Code(_)), _) => wanted(state, policy),
        (Some(Presents::RefreshToken(_)), Some(refusal)) => {
            if policy.rotation.rotates != Rotates::Never && !refusal.interaction {
                return Plan::Never(Never::Refused);
            }
            let last = state.last_send.unwrap_or(refusal.at);
            (last + seldom(tries(state, refusal)), Why::RefusedRetry)
        }
        (Some(Presents::RefreshToken(_)), None) => match &state.doubt {
            Some(doubt) => match replay::next(doubt, state, &policy.rotation, now) {
                Some(next) => next,
                None => return Plan::Never(Never::AnswerKept),
            },
            None => wanted(state, policy),
        },
    };
    let (at, why) = bounds(state, policy)
        .into_iter()
        .filter(|(_, bound)| !(*bound == Why::Gap && why == Why::Doubt))
        .fold(
            (at, why),
            |latest, bound| if bound.0 > latest.0 { bound } else { latest },
        );
    Plan::At { at, why }
}

/// The moment the token should be replaced, with nothing in the way.
fn wanted(state: &GrantState, policy: &Policy) -> (WallTime, Why) {
    if state.generation == 0 {
        return (WallTime(0), Why::First);
    }
    // In doubt only where the client can ask anew: the exchange may have ended the old one.
    let may_be_dead = state.doubt.is_some() && policy.rotation.revokes_old_access;
    if state.expiry_unknown || state.access_dead || may_be_dead {
        return (WallTime(0), Why::Overdue);
    }
    let access_lead = lead(state.lifetime(), &policy.schedule, state.learned_lead);
    let access = state.expires_at - access_lead - share(access_lead / 5, state.roll);
    // Where the client can ask anew, a refresh token may die in peace.
    let bounded = !policy.asks_anew() && policy.lifetime.refresh_from == RefreshFrom::Issue;
    let life_lead = |end: WallTime| {
        let life = end.since(state.issued_at);
        lead(life, &Schedule::default(), state.learned_lead)
    };
    let refresh = state
        .refresh_expires_at
        .filter(|_| bounded)
        .map(|end| end - life_lead(end));
    let (at, why) = match refresh {
        Some(refresh) if refresh < access => (refresh, Why::RefreshLife),
        _ => (access, Why::Lead),
    };
    let at_most = policy.schedule.at_most.unwrap_or(AT_MOST);
    let oldest = state.issued_at + at_most - share(RETRY_CAP.min(at_most / 10), state.roll);
    match oldest < at {
        true => (oldest, Why::AtMost),
        false => (at, why),
    }
}

/// The moments before which nothing is sent, each with its rule.
fn bounds(state: &GrantState, policy: &Policy) -> Vec<(WallTime, Why)> {
    let min_age = policy.schedule.min_age.unwrap_or_default() + SETTLE;
    let has_age = state.generation > 0 && !state.expiry_unknown;
    let counts = has_age && !mutation::is(Mutation::LeastAgeIgnored);
    let aged = counts.then(|| (state.issued_at + min_age, Why::MinAge));
    let gap = state
        .last_send
        .map(|last| (last + gap(state.lifetime()), Why::Gap));
    let not_before = state.not_before.map(|at| (at, held_back(state)));
    let window = window_end(state, policy);
    [aged, gap, not_before, window, refresh_over(state, policy)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the provider or our own back-off wants the wait.
fn held_back(state: &GrantState) -> Why {
    let last = state.last_outcome.as_ref();
    let asked = last.is_some_and(|last| last.kind == OutcomeKind::AskedToWait.word());
    match asked || state.asked_until >= state.not_before {
        true => Why::AskedToWait,
        false => Why::NotBefore,
    }
}

/// A refresh token that is over by the provider's own rule is tried once, since
/// clocks err; where that brought no definite answer, now and then.
fn refresh_over(state: &GrantState, policy: &Policy) -> Option<(WallTime, Why)> {
    let end = refresh_token_over(state, policy, WallTime::NEVER)?;
    let tried = state.last_send.filter(|sent| *sent >= end)?;
    Some((tried + seldom(state.failures), Why::RefreshOver))
}

/// When the refresh token died, if it did and nothing but it renews the grant.
#[must_use]
pub fn refresh_token_over(state: &GrantState, policy: &Policy, now: WallTime) -> Option<WallTime> {
    let needed =
        state.presents.is_some() && policy.with == With::RefreshToken && state.revoked.is_none();
    state
        .refresh_expires_at
        .filter(|end| needed && !policy.asks_anew() && *end <= now)
}

fn window_end(state: &GrantState, policy: &Policy) -> Option<(WallTime, Why)> {
    let window = policy.schedule.max_per_window?;
    let from = state
        .window_from
        .filter(|_| !mutation::is(Mutation::WindowCapIgnored))?;
    (state.sends_in_window >= window.count).then(|| (from + window.per, Why::Window))
}

/// How many refusals in a row count. A try that came to something else was none: the
/// token was not looked at.
fn tries(state: &GrantState, refusal: &Refusal) -> u32 {
    let last = state.last_outcome.as_ref();
    let judging = [OutcomeKind::InvalidGrant, OutcomeKind::InteractionRequired];
    let judged = last.is_none_or(|last| judging.iter().any(|kind| last.kind == kind.word()));
    if judged { refusal.times } else { 1 }
}

/// For what is not likely to work: after an hour, six, then daily.
fn seldom(times: u32) -> Duration {
    Duration::from_secs(match times {
        0 | 1 => 3600,
        2 => 6 * 3600,
        _ => 24 * 3600,
    })
}

/// When an absolute end comes that refreshing cannot move: the end of a refresh
/// token that counts from the login, or of an access token with nothing to
/// refresh it. A person must authorize again before.
#[must_use]
pub fn reauthorize_before(state: &GrantState, policy: &Policy) -> Option<WallTime> {
    if state.generation == 0 || policy.asks_anew() || state.revoked.is_some() {
        None
    } else if state.presents.is_none() || policy.with == With::None {
        Some(state.expires_at)
    } else {
        state
            .refresh_expires_at
            .filter(|_| policy.lifetime.refresh_from == RefreshFrom::Login)
    }
}

/// How far a wish to refresh at once goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// A consumer's: within every rule.
    #[default]
    Wish,
    /// A consumer's whose access token was refused: where the old one dies at a
    /// refresh, that tells what became of an exchange in doubt.
    Rejected,
    /// An operator's `--force`: gap, back-off, least age and an earlier refusal do not count.
    Force,
    /// An operator's `--force --accept-risk`: a token in doubt is presented even
    /// where that may revoke the whole family.
    AcceptRisk,
}

impl Urgency {
    /// Whether it is an operator's, who knows what they do.
    #[must_use]
    pub fn is_forced(self) -> bool {
        matches!(self, Urgency::Force | Urgency::AcceptRisk)
    }
}

/// Why a wish was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It would have to wait until then, by this rule.
    NotBefore {
        /// When.
        at: WallTime,
        /// The rule.
        why: Why,
    },
    /// Waiting does not help.
    Never(Never),
}

/// Whether a grant may be refreshed right now because somebody wishes so.
///
/// # Errors
/// Why not.
pub fn wish(
    state: &GrantState,
    policy: &Policy,
    urgency: Urgency,
    now: WallTime,
) -> Result<(), Denied> {
    let forced = urgency.is_forced();
    let mut wished = state.clone();
    if forced {
        wished.refusal = None;
        // No person's authorization is needed for another token set.
        wished.revoked = wished.revoked.filter(|_| !policy.asks_anew());
    }
    wished.access_dead |= wished.doubt.is_none()
        || policy.asks_anew()
        || (urgency == Urgency::Rejected && policy.rotation.revokes_old_access);
    if urgency == Urgency::AcceptRisk
        && let Some(doubt) = &mut wished.doubt
    {
        doubt.unread = false;
    }
    // Asked apart from the plan's reason: a later bound stands in front of the hold there.
    let could_hold = urgency != Urgency::AcceptRisk && !policy.asks_anew();
    let held = could_hold && replay::is_held(&wished, &policy.rotation, now);
    match plan(&wished, policy, now) {
        Plan::Never(why) => Err(Denied::Never(why)),
        Plan::At { at, .. } if held => Err(Denied::NotBefore { at, why: Why::Hold }),
        Plan::At { at, why } if at > now && !forced => Err(Denied::NotBefore { at, why }),
        Plan::At { .. } => Ok(()),
    }
}

impl Why {
    /// The rule in words, as in "not before 12:03, because …".
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Why::First => "the client asks for its first token set by itself",
            Why::Lead => "that is early enough before the access token expires",
            Why::RefreshLife => "the refresh token's own life ends soon after",
            Why::AtMost => "no token set becomes older than that (`[schedule] at_most`)",
            Why::Overdue => "the access token has to be replaced",
            Why::MinAge => "the provider refuses to replace a younger token",
            Why::Gap => "the last request was sent only a moment ago",
            Why::NotBefore => "the last try failed, and each failure makes the wait longer",
            Why::AskedToWait => "the provider asked to wait",
            Why::Window => "the provider allows no more refreshes in this time",
            Why::Doubt => {
                "the last exchange is in doubt; it is tried again then, which is harmless"
            }
            Why::Hold => {
                "the last exchange is in doubt and presenting the refresh token again could revoke the whole grant, \
                 so the living access token is used up first"
            }
            Why::RefusedRetry => {
                "the provider refused it: authorize again; in case the refusal passes, it is tried once more then"
            }
            Why::RefreshOver => {
                "the refresh token has outlived the life that its provider gives it, and has been tried since; authorize again"
            }
        }
    }
}

impl Never {
    /// The reason in words, and what to do.
    #[must_use]
    pub fn explain(self) -> &'static str {
        match self {
            Never::Pending => {
                "no token set has come yet; get one with `refreshd authorize`, or bring one with `refreshd import`"
            }
            Never::NothingToRefresh => {
                "there is no refresh token; authorize again before the access token ends"
            }
            Never::Refused => {
                "the provider refused the refresh token; authorize again, or try once more with `refreshd refresh --force`"
            }
            Never::Paused => "its client or token endpoint changed; see `refreshd doctor`",
            Never::AnswerKept => {
                "an answer is kept that could not be read and may hold a newer refresh token, and presenting the old one \
                 could revoke that; see `refreshd answers`, or take the risk with `refreshd refresh --force --accept-risk`"
            }
            Never::Revoked => {
                "its operator had it revoked; authorize it again, or take it away with `refreshd remove`"
            }
        }
    }
}

/// Clamps a lifetime to what timers and calendars bear.
#[must_use]
pub fn clamp(lifetime: Duration) -> Duration {
    lifetime.min(CENTURY)
}

#[cfg(test)]
mod tests;
