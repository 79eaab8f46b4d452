//! How urgent a grant is: what its owner has to do, or what goes wrong meanwhile.

use super::GrantReport;
use refreshd_core::GrantState;
use refreshd_core::duration::human;
use refreshd_core::grant::Policy;
use refreshd_core::grant::notice::notice;
use refreshd_core::grant::outcome::OutcomeKind;
use refreshd_core::grant::schedule::{Never, Plan, plan, reauthorize_before, refresh_token_over};
use refreshd_core::grant::state::{Pause, Refusal, Revocation, Status};
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};

/// How urgent something is, the most urgent first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Only a person helps.
    Person,
    /// Consumers have no token that is sure to work, or it cannot be written where
    /// they read it; refreshd goes on trying.
    Trouble,
    /// A person has to do something before a certain day.
    Soon,
    /// The last try failed, and there is time for more.
    Busy,
    /// Nothing is wrong.
    #[default]
    Well,
    /// Its operator has ended it.
    Ended,
}

/// What a person has to do about a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) urgency: Urgency,
    /// A few words.
    pub(super) reason: String,
    /// A sentence.
    pub(super) text: String,
    /// The command.
    pub(super) act: String,
}

impl Need {
    /// Only another authorization helps.
    fn authorize(name: &str, reason: &str, text: &str) -> Need {
        let act = format!("refreshd authorize {name}");
        Need {
            urgency: Urgency::Person,
            reason: reason.to_owned(),
            text: format!("{text}: `{act}`"),
            act,
        }
    }

    /// Something else does.
    fn command(reason: &str, text: String, act: String) -> Need {
        Need {
            urgency: Urgency::Person,
            reason: reason.to_owned(),
            text: format!("{text}: `{act}`"),
            act,
        }
    }
}

/// What its owner has to do, now or by a certain day; `None`: nothing.
pub(super) fn need(name: &str, state: &GrantState, policy: &Policy, now: WallTime) -> Option<Need> {
    if state.generation == 0 {
        return (!policy.asks_anew()).then(|| unauthorized(name));
    }
    if let Some(revoked) = state.revoked {
        let at = revoked.at.rfc3339();
        let text = format!("whether the provider revoked it at {at} is not known: ask again");
        let act = format!("refreshd revoke {name}");
        let unconfirmed = revoked.how != Revocation::Confirmed;
        return unconfirmed.then(|| Need::command("whether it is revoked is not known", text, act));
    }
    if let Some(Pause::BindingChanged { .. }) = &state.pause {
        let text = "its client or token endpoint was changed in the configuration: confirm that its refresh token may go there";
        let act = format!("refreshd doctor --accept-binding {name}");
        return Some(Need::command(
            "its client was changed",
            text.to_owned(),
            act,
        ));
    }
    if let Some(died) = refresh_token_over(state, policy, now) {
        let (at, issued) = (died.rfc3339(), state.issued_at.rfc3339());
        let text = format!("its refresh token, issued at {issued}, died at {at}: authorize again");
        return Some(Need::authorize(name, "its refresh token is over", &text));
    }
    let may_be_kept = state.doubt.as_ref().is_some_and(|doubt| doubt.unread);
    if let Some(refusal) = state.refusal.as_ref().filter(|_| !policy.asks_anew()) {
        return Some(refused(name, refusal, may_be_kept));
    }
    if plan(state, policy, now) == Plan::Never(Never::AnswerKept) {
        return Some(answer_kept(name));
    }
    ending(name, state, policy, now)
}

/// Only a person can read what is kept, and the old refresh token is not presented meanwhile.
fn answer_kept(name: &str) -> Need {
    let act = format!("refreshd answers {name}");
    Need {
        urgency: Urgency::Person,
        reason: "an answer that nobody could read may hold its refresh token".to_owned(),
        text: format!(
            "an answer is kept that could not be read and may hold a newer refresh token, and presenting the old one could revoke that: see `{act}`, and take its tokens; if it holds none, drop it, or present the old one all the same with `refreshd refresh {name} --force --accept-risk`"
        ),
        act,
    }
}

/// The provider wants a person, at once or by its refusal.
fn refused(name: &str, refusal: &Refusal, may_be_kept: bool) -> Need {
    let at = refusal.at.rfc3339();
    let (reason, what) = match refusal.interaction {
        true => (
            "the provider wants a person",
            "the provider wants a person to act, it said",
        ),
        false => (
            "refused by the provider",
            "the provider refused its refresh token",
        ),
    };
    let kept = match may_be_kept {
        true => format!(
            "; an answer that could not be read may hold a newer one (`refreshd answers {name}`)"
        ),
        false => String::new(),
    };
    let need = Need::authorize(name, reason, "");
    let text = format!(
        "{what} at {at}{kept}: authorize again with `{}`, or try once more with `refreshd refresh {name} --force`",
        need.act
    );
    Need { text, ..need }
}

/// What an authorization brought was not taken in.
pub(super) fn held(name: &str, why: &str) -> Need {
    let act = format!("refreshd answers {name}");
    Need {
        urgency: Urgency::Person,
        reason: "what an authorization brought waits for a person".to_owned(),
        text: format!(
            "an authorization brought an answer that waits for a person (`{act}`): {why}"
        ),
        act,
    }
}

/// No token set has ever come, and the client cannot ask for one itself.
pub(super) fn unauthorized(name: &str) -> Need {
    let need = Need::authorize(name, "never authorized", "");
    let text = format!(
        "it was never authorized: do so with `{}`, or bring a token set with `refreshd import {name}`",
        need.act
    );
    Need { text, ..need }
}

/// An end that refreshing cannot move.
fn ending(name: &str, state: &GrantState, policy: &Policy, now: WallTime) -> Option<Need> {
    let end = reauthorize_before(state, policy)?;
    let at = end.rfc3339();
    match notice(end, now).days? {
        0 => {
            let text = format!("it ended at {at} and cannot be refreshed: authorize again");
            Some(Need::authorize(name, "its token has ended", &text))
        }
        _ => {
            let left = human(end.since(now));
            let reason = format!("ends in {left}");
            let text = format!("authorize again before {at}, in {left}");
            Some(Need {
                urgency: Urgency::Soon,
                ..Need::authorize(name, &reason, &text)
            })
        }
    }
}

/// What goes wrong without a person being needed, by the grant's state.
pub(super) fn of_state(
    state: &GrantState,
    policy: &Policy,
    now: WallTime,
) -> (Urgency, &'static str) {
    match state.status(now) {
        Status::Revoked => (Urgency::Ended, "revoked by its operator"),
        Status::Pending if state.failures > 0 => (Urgency::Trouble, "no token has come yet"),
        Status::Pending if policy.asks_anew() => (Urgency::Busy, "asks for its first token"),
        Status::Expired if is_not_accepted(state) => (
            Urgency::Trouble,
            "its token has expired, and the provider does not accept its client",
        ),
        Status::Expired => (Urgency::Trouble, "its token has expired"),
        Status::Suspect => (Urgency::Trouble, "its token was refused by a consumer"),
        Status::InDoubt => (Urgency::Trouble, "in doubt: an answer was lost"),
        Status::Refused => (Urgency::Trouble, "refused by the provider"),
        Status::Retrying if is_not_accepted(state) => {
            (Urgency::Busy, "the provider did not accept its client")
        }
        Status::Retrying => (Urgency::Busy, "the last try failed"),
        _ => (Urgency::Well, ""),
    }
}

/// Whether the last exchange was told that the client is not accepted: that may be this
/// grant's own affair, of which no client's incident tells.
fn is_not_accepted(state: &GrantState) -> bool {
    let last = state.last_outcome.as_ref();
    last.is_some_and(|last| last.kind == OutcomeKind::InvalidClient.word())
}

impl GrantReport {
    /// Takes over what a person has to do.
    pub(super) fn tell_need(&mut self, need: Need) {
        self.urgency = need.urgency;
        self.reason = need.reason;
        self.needs = Some(need.text);
        self.act = Some(need.act);
    }

    /// Something is wrong that its state does not tell; the more urgent counts.
    pub(super) fn tell_trouble(&mut self, reason: &str) {
        if self.urgency > Urgency::Trouble && self.urgency != Urgency::Ended {
            self.urgency = Urgency::Trouble;
            reason.clone_into(&mut self.reason);
        }
    }
}
