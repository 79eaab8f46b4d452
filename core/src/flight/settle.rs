//! What an exchange did to its grant: from how it ended to the state and token
//! set to commit.

use super::life::{Sent as SentAt, date, forget_end_of_none};
use crate::backoff::{Backoff, half};
use crate::flight::{Intent, Sent, Settlement};
use crate::grant::outcome::{AUTHORIZED, OutcomeKind};
use crate::grant::replay::{in_window, spacing};
use crate::grant::schedule::{
    RETRY_BASE, RETRY_CAP, SLOW_RETRY, last_moment, lead, refresh_token_over, retry_after,
};
use crate::grant::state::{Doubt, GrantState, LastOutcome, Refusal};
use crate::grant::{Binding, Policy, Presents, TokenSet};
use crate::mutation::{self, Mutation};
use crate::provider::answer::{self, Outcome, Success};
use crate::provider::description::{Auth, Rotates};
use crate::provider::{Description, Ending};
use crate::secret::{Fingerprint, Fingerprinter, Secret};
use crate::time::WallTime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Where a provider asks to wait and does not say for how long.
const WAIT: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_secs(900));
/// The first wait where the client is not accepted.
const NOT_ACCEPTED_BASE: Duration = Duration::from_secs(30);
/// The longest, once the access token is dead.
const NOT_ACCEPTED_CAP: Duration = Duration::from_secs(3600);
/// Where the client is not accepted.
const NOT_ACCEPTED: Backoff = Backoff::new(NOT_ACCEPTED_BASE, NOT_ACCEPTED_CAP);

/// What settling goes by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The description that the intent names.
    pub description: Arc<Description>,
    /// Schedule and rotation.
    pub policy: Policy,
    /// Makes the fingerprints of the new tokens.
    pub fingerprinter: Fingerprinter,
}

/// What to commit, and what to tell.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What to commit.
    pub settlement: Settlement,
    /// What it came to.
    pub kind: OutcomeKind,
    /// A sentence for people; of a success, what is odd about it: mostly empty.
    pub text: String,
}

/// Settles an exchange against the grant's current state and token set.
#[must_use]
pub fn settle(
    rules: &Rules,
    state: &GrantState,
    tokens: &TokenSet,
    intent: &Intent,
    ending: Ending,
    now: WallTime,
) -> Settled {
    let status = match &ending {
        Ending::Answered(answer) => Some(answer.status).filter(|status| *status != 0),
        _ => None,
    };
    let outcome = match &ending {
        Ending::NotSent { text } => return not_sent(rules, state, intent, text, now),
        Ending::Lost { text } => Outcome::Lost {
            text: text.clone(),
            retry_after: None,
        },
        Ending::Answered(answer) => {
            let known = tokens.refresh_token.iter().chain([&tokens.access_token]);
            let known: Vec<&Secret> = known.filter(|token| !token.is_empty()).collect();
            read_whatever_happens(|| answer::read_knowing(&rules.description, answer, &known))
        }
    };
    let sent = request_of(rules, intent, &outcome);
    let state = after_send(state, intent, sent);
    let mut settled = match (outcome, intent.presents) {
        (Outcome::Success(success), _) => succeed(rules, state, tokens, intent, *success, now),
        (other, Presents::RefreshToken(token)) => {
            let presented = Presented { token, intent };
            fail(rules, state, presented, other, ending, now)
        }
        (other, Presents::ClientCredentials | Presents::Code(_)) => {
            fail_anew(rules, state, intent, other, now)
        }
    };
    settled.settlement.sent = Some(sent);
    if let Some(last) = &mut settled.settlement.state.last_outcome {
        last.status = status;
    }
    settled
}

/// An answer on which our own reading fails is one that could not be read: it is kept, since
/// it may hold anything.
fn read_whatever_happens(read: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Outcome::Unread {
        text: "reading it failed, because of an internal error".to_owned(),
        retry_after: None,
        may_hold: true,
    })
}

/// A refresh token and the exchange that presented it.
#[derive(Clone, Copy)]
struct Presented<'a> {
    token: Fingerprint,
    intent: &'a Intent,
}

/// The request, as its grant has to account for it.
fn request_of(rules: &Rules, intent: &Intent, outcome: &Outcome) -> Sent {
    let policy = &rules.policy;
    let presents_token = intent.presents != Presents::ClientCredentials;
    let carried_out = matches!(
        outcome,
        Outcome::Success(_) | Outcome::Lost { .. } | Outcome::Unread { .. }
    );
    Sent {
        at: intent.sent.wall,
        counted_per: policy.schedule.max_per_window.map(|window| window.per),
        ends_access: presents_token && carried_out && policy.rotation.revokes_old_access,
    }
}

/// The state with the send accounted for.
fn after_send(state: &GrantState, intent: &Intent, sent: Sent) -> GrantState {
    let mut state = state.clone();
    sent.count(&mut state);
    if let Some(doubt) = state
        .doubt
        .as_mut()
        .filter(|doubt| intent.presents.is_token(doubt.presents))
    {
        doubt.last_sent = doubt.last_sent.max(sent.at);
        doubt.presentations = doubt.presentations.max(intent.attempt);
    }
    state
}

fn not_sent(
    rules: &Rules,
    state: &GrantState,
    intent: &Intent,
    text: &str,
    now: WallTime,
) -> Settled {
    let mut state = state.clone();
    back_off(rules, &mut state, intent, None, now);
    settled(state, OutcomeKind::NotSent, text, now)
}

/// A failed exchange that presented a refresh token.
fn fail(
    rules: &Rules,
    mut state: GrantState,
    presented: Presented<'_>,
    outcome: Outcome,
    ending: Ending,
    now: WallTime,
) -> Settled {
    let intent = presented.intent;
    if state
        .presents
        .is_some_and(|presents| presents != presented.token)
    {
        return fail_of_another(state, outcome, ending, now);
    }
    match outcome {
        Outcome::Lost { text, retry_after } => {
            enter_doubt(&mut state, presented, false);
            if let Some(doubt) = state
                .doubt
                .as_mut()
                .filter(|_| mutation::is(Mutation::WindowFromAnswer))
            {
                doubt.first_sent = now;
            }
            back_off(rules, &mut state, intent, retry_after, now);
            settled(state, OutcomeKind::InDoubt, &text, now)
        }
        Outcome::Unread {
            text,
            retry_after,
            may_hold,
        } => {
            enter_doubt(&mut state, presented, may_hold);
            back_off(rules, &mut state, intent, retry_after, now);
            let mut settled = settled(state, OutcomeKind::Unread, &text, now);
            if let Ending::Answered(answer) = ending
                && !mutation::is(Mutation::UnreadDropped)
            {
                settled.settlement.unread = Some(answer);
            }
            settled
        }
        Outcome::InvalidGrant { text } => {
            // A doubt outlasts it, at rest: should the refusal be taken back, since the
            // provider was broken, what was not known before is not known still.
            // The exchange in doubt was carried out, most likely: that was the access token's end.
            let doubted = state.doubt.is_some();
            state.access_dead |= doubted && rules.policy.rotation.revokes_old_access;
            let over = refresh_token_over(&state, &rules.policy, intent.sent.wall).is_some();
            let first = state.refusal.is_none() || mutation::is(Mutation::RefusedRetriedForEver);
            let provisional = !doubted && !over && first;
            refuse(&mut state, &text, false, now);
            if let Some(refusal) = &mut state.refusal {
                refusal.provisional = provisional;
            }
            if mutation::is(Mutation::RefusalForgotten) {
                state.refusal = None;
            }
            settled(state, OutcomeKind::InvalidGrant, &text, now)
        }
        Outcome::InteractionRequired { text } => {
            refuse(&mut state, &text, true, now);
            settled(state, OutcomeKind::InteractionRequired, &text, now)
        }
        other => fail_harmlessly(rules, state, intent, other, now),
    }
}

/// A person is asked: the refresh token is refused, or waits for them.
fn refuse(state: &mut GrantState, text: &str, interaction: bool, now: WallTime) {
    let earlier = state.refusal.take();
    state.failures += 1;
    state.refusal = Some(Refusal {
        at: earlier.as_ref().map_or(now, |r| r.at),
        times: earlier.map_or(0, |r| r.times) + 1,
        text: text.to_owned(),
        interaction,
        provisional: false,
    });
}

/// A failed exchange that presented another refresh token than the grant has by
/// now: a second chance took its place. Its refusal or doubt says nothing about
/// that one, which nobody has tried yet. But whoever asks to wait is heeded.
fn fail_of_another(
    mut state: GrantState,
    outcome: Outcome,
    ending: Ending,
    now: WallTime,
) -> Settled {
    if let Outcome::Lost { retry_after, .. }
    | Outcome::Unread { retry_after, .. }
    | Outcome::Unavailable { retry_after, .. }
    | Outcome::AskedToWait { retry_after, .. } = &outcome
        && let Some(asked) = retry_after
    {
        asked_to_wait(&mut state, now + *asked);
    }
    let (kind, text) = match outcome {
        Outcome::Unread { text, .. } => (OutcomeKind::Unread, text),
        Outcome::InvalidGrant { text } => (OutcomeKind::InvalidGrant, text),
        Outcome::AskedToWait { text, .. } => (OutcomeKind::AskedToWait, text),
        Outcome::InvalidClient { text } => (OutcomeKind::InvalidClient, text),
        Outcome::InteractionRequired { text } => (OutcomeKind::InteractionRequired, text),
        Outcome::TooEarly { text } => (OutcomeKind::TooEarly, text),
        Outcome::Unavailable { text, .. } => (OutcomeKind::Unavailable, text),
        Outcome::Refused { text } => (OutcomeKind::Refused, text),
        Outcome::Lost { text, .. } => (OutcomeKind::InDoubt, text),
        Outcome::Success(_) => unreachable!("settled by the caller"),
    };
    let mut settled = settled(state, kind, &text, now);
    if let (OutcomeKind::Unread, Ending::Answered(answer)) = (kind, ending) {
        settled.settlement.unread = Some(answer);
    }
    settled
}

/// A failed exchange that presented nothing but the client: whatever became of
/// it, asking again costs nothing.
fn fail_anew(
    rules: &Rules,
    mut state: GrantState,
    intent: &Intent,
    outcome: Outcome,
    now: WallTime,
) -> Settled {
    let (text, retry_after) = match outcome {
        Outcome::Lost { text, retry_after }
        | Outcome::Unread {
            text, retry_after, ..
        } => (text, retry_after),
        // No grant was presented that could be invalid: the client may not do this.
        Outcome::InvalidGrant { text } | Outcome::InteractionRequired { text } => {
            let refused = Outcome::Refused { text };
            return fail_harmlessly(rules, state, intent, refused, now);
        }
        other => return fail_harmlessly(rules, state, intent, other, now),
    };
    back_off(rules, &mut state, intent, retry_after, now);
    settled(state, OutcomeKind::Unanswered, &text, now)
}

/// What tells nothing about the fate of what was presented.
fn fail_harmlessly(
    rules: &Rules,
    mut state: GrantState,
    intent: &Intent,
    outcome: Outcome,
    now: WallTime,
) -> Settled {
    match outcome {
        Outcome::AskedToWait { retry_after, text } => {
            wait_as_asked(rules, &mut state, intent, retry_after, now);
            settled(state, OutcomeKind::AskedToWait, &text, now)
        }
        Outcome::Unavailable { retry_after, text } => {
            let slow = Some(SLOW_RETRY).filter(|_| mutation::is(Mutation::UnavailableIsSlow));
            let retry_after = retry_after.max(slow);
            back_off(rules, &mut state, intent, retry_after, now);
            settled(state, OutcomeKind::Unavailable, &text, now)
        }
        Outcome::InvalidClient { text } => {
            let refresh = rules.description.refresh.client.as_ref();
            let client = refresh.unwrap_or(&rules.description.token.client);
            // Nothing was spent, and the next try tells whether that was it.
            state.unencoded ^= client.auth == Auth::Basic;
            not_accepted(&mut state, intent, now);
            settled(state, OutcomeKind::InvalidClient, &text, now)
        }
        Outcome::TooEarly { text } => {
            if !was_early(&state, &rules.policy, intent.sent.wall) {
                state.learned_lead = Some(shorter_lead(&state, &rules.policy));
            }
            if state.expiry_unknown || !state.is_alive(now) {
                // No lead makes it later: it would be asked for again and again.
                back_off(rules, &mut state, intent, None, now);
            }
            settled(state, OutcomeKind::TooEarly, &text, now)
        }
        Outcome::Refused { text } => {
            state.failures += 1;
            let remaining = state.expires_at.since(now);
            let wait = if remaining.is_zero() {
                SLOW_RETRY
            } else {
                SLOW_RETRY.min(remaining / 4)
            };
            let wait = half(wait, intent.roll).max(RETRY_BASE);
            hold_back(&mut state, now + wait);
            settled(state, OutcomeKind::Refused, &text, now)
        }
        Outcome::Success(_)
        | Outcome::Lost { .. }
        | Outcome::Unread { .. }
        | Outcome::InteractionRequired { .. }
        | Outcome::InvalidGrant { .. } => unreachable!("settled by the caller"),
    }
}

/// Notes that this refresh token's fate is not known. An older doubt about the
/// same token keeps its first send: its windows count from there.
fn enter_doubt(state: &mut GrantState, presented: Presented<'_>, unread: bool) {
    let Presented { token, intent } = presented;
    let earlier = state.doubt.take().filter(|doubt| doubt.presents == token);
    let sent = intent.sent.wall;
    state.doubt = Some(match earlier {
        Some(doubt) => Doubt {
            first_sent: doubt.first_sent.min(intent.first_sent),
            last_sent: doubt.last_sent.max(sent),
            presentations: doubt.presentations.max(intent.attempt),
            unread: unread || doubt.unread,
            ..doubt
        },
        None => Doubt {
            first_sent: intent.first_sent,
            last_sent: sent,
            presents: token,
            presentations: intent.attempt,
            unread,
            relic: false,
        },
    });
}

fn back_off(
    rules: &Rules,
    state: &mut GrantState,
    intent: &Intent,
    asked: Option<Duration>,
    now: WallTime,
) {
    state.failures = state.failures.saturating_add(1);
    let remaining = if state.is_alive(now) {
        state.expires_at.since(now)
    } else {
        Duration::ZERO
    };
    let dead_for = now.since(state.expires_at);
    let mut wait = retry_after(state.failures, remaining, dead_for, intent.roll);
    let rotation = &rules.policy.rotation;
    let doubt = state.doubt.as_ref();
    if doubt.is_some_and(|doubt| in_window(doubt, rotation, now)) {
        // Several presentations must fit into the window, so back-off does not outgrow the spacing.
        wait = wait.min(spacing(state, rotation));
    }
    let asked = asked.filter(|_| !mutation::is(Mutation::RetryAfterIgnored));
    hold_back(state, now + wait);
    if let Some(asked) = asked {
        asked_to_wait(state, now + asked);
    }
}

/// The provider asks to wait. Where it does not say for how long, the wait doubles until
/// a success.
fn wait_as_asked(
    rules: &Rules,
    state: &mut GrantState,
    intent: &Intent,
    asked: Option<Duration>,
    now: WallTime,
) {
    let before = state.last_outcome.as_ref();
    let again = before.is_some_and(|last| last.kind == OutcomeKind::AskedToWait.word());
    let unstated = WAIT.wait(if again { state.failures } else { 0 });
    back_off(rules, state, intent, asked, now);
    if asked.is_none() {
        let wait = half(unstated, intent.roll);
        hold_back(state, now + wait.min(unstated_limit(state, now)));
    }
}

/// No living token dies of a wait that nobody asked for: it is asked again at its last
/// moment, and then several times in what is left.
fn unstated_limit(state: &GrantState, now: WallTime) -> Duration {
    if !state.is_alive(now) {
        return Duration::MAX;
    }
    let last_moment = last_moment(state);
    match now < last_moment {
        true => last_moment.since(now).max(RETRY_BASE),
        false => (state.expires_at.since(now) / 4).max(RETRY_BASE),
    }
}

/// The client is not accepted for this grant: it backs off like after any failure, from
/// half a minute, and once its access token is dead to an hour.
fn not_accepted(state: &mut GrantState, intent: &Intent, now: WallTime) {
    let grown = NOT_ACCEPTED.wait(state.failures);
    state.failures = state.failures.saturating_add(1);
    let wait = match state.is_alive(now) {
        // There was never one that could be dead.
        _ if state.generation == 0 => grown,
        true => grown.min(RETRY_CAP).min(state.expires_at.since(now) / 4),
        // Half as long as it has been dead already: the many short waits of its last
        // moments do not count.
        false => (now.since(state.expires_at) / 2).clamp(NOT_ACCEPTED_BASE, NOT_ACCEPTED_CAP),
    };
    let wait = half(wait, intent.roll).max(RETRY_BASE);
    hold_back(state, now + wait);
}

/// Not before then, nor before what was asked for earlier: an overdue exchange
/// may end after a later one was asked to wait.
fn hold_back(state: &mut GrantState, until: WallTime) {
    state.not_before = state.not_before.max(Some(until));
}

/// The provider asks to wait until then; what an earlier answer asked for still holds.
fn asked_to_wait(state: &mut GrantState, until: WallTime) {
    state.asked_until = state.asked_until.max(Some(until));
    hold_back(state, until);
}

fn succeed(
    rules: &Rules,
    mut state: GrantState,
    tokens: &TokenSet,
    intent: &Intent,
    success: Success,
    now: WallTime,
) -> Settled {
    let again = rules.fingerprinter.of(&success.access_token);
    let same_access = state.access == Some(again);
    let previous_issue = state.issued_at;
    let was_early = was_early(&state, &rules.policy, intent.sent.wall);
    let after_doubt = intent.attempt > 1 && !mutation::is(Mutation::ReplayDatedFromReplay);
    let mut notes = success.notes.clone();
    let brought = success.refresh_token.as_ref();
    let brought = brought.map(|token| rules.fingerprinter.of(token));
    let renewed = brought.is_some() && brought != state.presents;
    if renewed && state.presents.is_some() && rules.policy.rotation.rotates == Rotates::Never {
        notes.push(
            "another refresh token came, though the description says rotates = \"never\"; write \"sometimes\""
                .to_owned(),
        );
    }
    // A replay may return an older token with its full `expires_in`.
    let issued_at = if after_doubt {
        intent.first_sent
    } else {
        intent.sent.wall
    };
    let sent = SentAt {
        first: issued_at,
        last: intent.sent.wall,
        after_doubt,
        renewed,
    };
    notes.extend(date(&rules.policy, &mut state, &success, sent));
    if after_doubt && state.expires_at <= now && success.expires_in != Some(0) {
        // Counted from the first send it is over; but most likely it is new. It is
        // delivered, and replaced as soon as may be, by one whose age is known.
        let sent = SentAt {
            first: intent.sent.wall,
            after_doubt: false,
            ..sent
        };
        date(&rules.policy, &mut state, &success, sent);
        state.expiry_unknown = true;
    }
    state.generation += u64::from(!mutation::is(Mutation::GenerationReused));
    state.roll = intent.roll;
    state.access = Some(again);
    if same_access {
        state.issued_at = previous_issue.min(state.issued_at);
        if !was_early {
            state.learned_lead = Some(shorter_lead(&state, &rules.policy));
        }
    }
    let tokens = match intent.presents {
        Presents::RefreshToken(_) => renew(tokens, success),
        Presents::ClientCredentials | Presents::Code(_) => {
            state.login_at = state.issued_at;
            state.own = true;
            state.revoked = None;
            state.chances_from = state.generation;
            renew(&TokenSet::none(), success)
        }
    };
    state.presents = tokens
        .refresh_token
        .as_ref()
        .map(|token| rules.fingerprinter.of(token));
    forget_end_of_none(&mut state);
    // A success leaves failures behind only if it was dead on arrival too.
    let dead_before = state
        .last_outcome
        .as_ref()
        .filter(|last| last.kind == OutcomeKind::Success.word())
        .map_or(0, |_| state.failures);
    // A later presentation, whose answer is not known, has ended this access token
    // most likely.
    let sent = intent.sent.wall;
    let overtaken = state.doubt.as_ref().is_some_and(|doubt| {
        let own = intent.presents.is_token(doubt.presents);
        doubt.last_sent > sent && !(own && doubt.presentations <= intent.attempt)
    });
    // How long ago it was sent, nobody knows, if time was lost since.
    state.expiry_unknown |= state.doubt.as_ref().is_some_and(|d| d.is_undated(sent));
    state.expiry_unknown |= intent.attempt == 1 && intent.is_undated();
    recover(&mut state);
    if intent.generation < state.doubts_before && !mutation::is(Mutation::RelicTrusted) {
        // Kept from before a restore: in the time that is lost, it may have been read and
        // its refresh token used.
        let doubted = |token| Doubt::of_lost_time(token, state.last_send);
        state.doubt = state.presents.map(doubted);
    }
    state.access_dead = overtaken && rules.policy.rotation.revokes_old_access;
    if state.expires_at <= now {
        // Dead on arrival: without this, a provider that always answers so would be asked each
        // second, or each minute if such a token counted as one that has just died.
        state.failures = dead_before.saturating_add(1);
        let wait = retry_after(state.failures, Duration::ZERO, Duration::MAX, intent.roll);
        hold_back(&mut state, now + wait);
    }
    let mut settled = settled(state, OutcomeKind::Success, &notes.join("; "), now);
    settled.settlement.tokens = Some(tokens);
    settled
}

/// The new token set: what the answer omits stays as it was.
fn renew(old: &TokenSet, success: Success) -> TokenSet {
    let mut extra = old.extra.clone();
    extra.extend(success.extra);
    TokenSet {
        access_token: success.access_token,
        refresh_token: success.refresh_token.or_else(|| old.refresh_token.clone()),
        token_type: success.token_type.or_else(|| old.token_type.clone()),
        scope: success.scope.or_else(|| old.scope.clone()),
        extra,
        code: old.code.clone(),
    }
}

/// Clears what was wrong.
fn recover(state: &mut GrantState) {
    state.failures = 0;
    state.not_before = None;
    state.asked_until = None;
    state.doubt = None;
    state.refusal = None;
    state.renamed_from = None;
    state.access_dead = false;
}

/// Whether it was asked before it was due, since somebody wished it: what the provider says to
/// that tells nothing of the lead.
fn was_early(state: &GrantState, policy: &Policy, sent: WallTime) -> bool {
    let lead = lead(state.lifetime(), &policy.schedule, state.learned_lead);
    let jitter = lead / 5;
    sent + lead + jitter < state.expires_at
}

/// Half the lead, but not under 30 s, or a quarter of a life so short that 30 s is much of it.
fn shorter_lead(state: &GrantState, policy: &Policy) -> Duration {
    let life = state.lifetime();
    let least = (life / 4).min(Duration::from_secs(30));
    (lead(life, &policy.schedule, state.learned_lead) / 2).max(least)
}

fn settled(mut state: GrantState, kind: OutcomeKind, text: &str, now: WallTime) -> Settled {
    let text = text.to_owned();
    state.last_outcome = Some(LastOutcome {
        at: now,
        kind: kind.word().to_owned(),
        text: text.clone(),
        status: None,
    });
    Settled {
        settlement: Settlement {
            state,
            tokens: None,
            unread: None,
            sent: None,
        },
        kind,
        text,
    }
}

/// What a token response that a person brings becomes (`refreshd import`).
#[derive(Clone, Debug)]
pub struct Import {
    /// What the response holds. An empty access token: there is none, and the
    /// grant is refreshed at once.
    pub success: Success,
    /// When the response was obtained, where that is known.
    pub obtained_at: Option<WallTime>,
    /// The authorization code that began the grant, where it is still known.
    pub code: Option<Secret>,
    /// To whom the refresh token is bound.
    pub binding: Binding,
    /// A random number for the jitter.
    pub roll: u64,
}

/// The first state and token set of an imported grant.
#[must_use]
pub fn import(rules: &Rules, import: Import, now: WallTime) -> (GrantState, TokenSet) {
    let obtained_at = import.obtained_at.map(|at| at.min(now));
    let access = &import.success.access_token;
    let delivers = !access.is_empty();
    let mut state = GrantState {
        login_at: obtained_at.unwrap_or(now),
        roll: import.roll,
        access: delivers.then(|| rules.fingerprinter.of(access)),
        binding: Some(import.binding),
        ..GrantState::default()
    };
    let issued_at = obtained_at.unwrap_or(now);
    let success = import.success;
    let sent = SentAt {
        first: issued_at,
        last: issued_at,
        after_doubt: obtained_at.is_none(),
        renewed: true,
    };
    let mut notes = success.notes.clone();
    let of_dates = date(&rules.policy, &mut state, &success, sent);
    notes.extend(of_dates.into_iter().filter(|_| delivers));
    state.last_outcome = (!notes.is_empty()).then(|| LastOutcome {
        at: now,
        kind: AUTHORIZED.to_owned(),
        text: notes.join("; "),
        status: None,
    });
    // Neither when it was obtained nor when it ends: it may be about to die.
    let dated = obtained_at.is_some() || success.expires_at.is_some() || success.jwt_exp.is_some();
    let empty = TokenSet {
        code: import.code,
        ..TokenSet::none()
    };
    let tokens = renew(&empty, success);
    state.presents = tokens
        .refresh_token
        .as_ref()
        .map(|token| rules.fingerprinter.of(token));
    forget_end_of_none(&mut state);
    state.asks_anew = rules.policy.asks_anew();
    state.expiry_unknown = !dated && (state.presents.is_some() || state.asks_anew);
    if !delivers {
        // It counts as over: least age and lead are those of a token that there is.
        state.expires_at = issued_at;
        state.expiry_unknown = true;
        let with_access = rules.policy.lifetime.refresh_with_access;
        state.refresh_expires_at = state.refresh_expires_at.filter(|_| !with_access);
    }
    (state, tokens)
}

#[cfg(test)]
mod tests;
