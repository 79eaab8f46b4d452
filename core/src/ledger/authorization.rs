//! Every change of an authorization: a code comes for it, it gets further, and its token
//! set becomes its grant's or waits for an operator. The last changes two subjects in one
//! transaction, the grant and the authorization.

mod code;
mod restored;
mod turn;

pub use code::{Received, receive};
pub use restored::restored;
pub use turn::{Turn, forget_answer};

use super::import::{Import, ImportOutcome, NotImported, import};
use super::{Changes, Entry, Facts};
use crate::enroll::{Enrollment, Secrets, Stage};
use crate::flight::kept_refresh;
use crate::grant::{GrantId, GrantState};
use crate::secret::Fingerprint;

/// An authorization as a store has it, with what nobody may see of it.
pub type Row = (Enrollment, Secrets);

/// Who wants a token set to be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The exchange that brought it.
    ByExchange,
    /// An operator who knows what it is.
    ByOperator,
}

/// What becomes of a token set that was authorized.
#[derive(Clone, Debug)]
pub enum Admission {
    /// It is to be taken in.
    Admitted(Box<Admitted>),
    /// It waits for an operator, with the reason in the authorization's text.
    Held(Box<Enrollment>),
    /// An operator wanted it, and it is not held any more.
    Gone,
}

/// A token set that is to be taken in, and the authorization which that ends.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The token set, with the refresh token that goes on where it has none.
    pub import: Import,
    done: Enrollment,
}

/// Decides whether a token set that was authorized is simply the grant's next one. What is
/// another account's than the grant's, older than an authorization that came meanwhile, or
/// of an authorization that was given up, waits, unless an operator wants it.
///
/// `stage`: the authorization's in the store; `id`: its number, `who`: the account, both
/// for people.
#[must_use]
pub fn admit(
    entry: Option<&Entry>,
    (enrollment, stage): (Enrollment, Option<Stage>),
    mut import: Import,
    wanted: Wanted,
    (id, who): (&str, Option<&str>),
) -> Admission {
    let before = entry.map(|entry| &entry.grant.state);
    if wanted == Wanted::ByOperator {
        if stage != Some(Stage::Held) {
            return Admission::Gone;
        }
    } else if let Some(why) = held_because(stage, before, &import, who) {
        return Admission::Held(Box::new(Enrollment {
            stage: Stage::Held,
            text: format!(
                "{why}: its token set waits. Take it with `refreshd authorize --accept {id}`, or authorize again"
            ),
            sent: import.obtained_at,
            account: import.state.account,
            ..enrollment
        }));
    }
    // Who it is could not be learned this time; who it was is not forgotten for that.
    let account = before.and_then(|state| state.account);
    import.state.account = import.state.account.or(account);
    let text = match keep_refresh(entry, &mut import) {
        true => "the answer has no refresh token; the one that the grant has goes on".to_owned(),
        false => enrollment.text.clone(),
    };
    let done = Enrollment {
        stage: Stage::Done,
        text,
        ..enrollment
    };
    Admission::Admitted(Box::new(Admitted { import, done }))
}

impl Admitted {
    /// Takes it in; the authorization is done then.
    ///
    /// # Errors
    /// As for [`import`].
    pub fn take_in(
        self,
        entry: Option<&Entry>,
        facts: &Facts,
        identity: Fingerprint,
        id: GrantId,
    ) -> Result<(ImportOutcome, Changes, Enrollment), NotImported> {
        let (outcome, changes) = import(entry, facts, &self.import, identity, id)?;
        let grant = changes.grant.as_ref().or(entry.map(|entry| &entry.grant));
        let done = Enrollment {
            generation: grant.map(|grant| grant.state.generation),
            ..self.done
        };
        Ok((outcome, changes, done))
    }
}

/// Keeps the grant's refresh token where the answer has none; whether it did.
fn keep_refresh(entry: Option<&Entry>, import: &mut Import) -> bool {
    let ours =
        |entry: &&Entry| entry.grant.client == import.client && entry.grant.vars == import.vars;
    let kept = entry.filter(ours).and_then(|entry| {
        let before = (&entry.grant.state, entry.tokens.as_ref()?);
        kept_refresh::keep(before, (&import.state, &import.tokens), import.now)
    });
    match kept {
        Some((state, tokens)) => {
            (import.state, import.tokens) = (state, tokens);
            true
        }
        None => false,
    }
}

/// Why a token set that an exchange brought is not simply the next one.
fn held_because(
    stage: Option<Stage>,
    before: Option<&GrantState>,
    import: &Import,
    who: Option<&str>,
) -> Option<String> {
    if matches!(
        stage,
        None | Some(Stage::Refused | Stage::Done | Stage::Held)
    ) {
        return Some("it was given up before its answer came".to_owned());
    }
    let before = before?;
    let accounts = (before.account, import.state.account);
    if matches!(accounts, (Some(old), Some(new)) if old != new) {
        let who = who.map_or_else(String::new, |who| format!(" ({who})"));
        return Some(format!("another account{who} authorized than before"));
    }
    let later = import.obtained_at.is_some_and(|at| at < before.login_at);
    later.then(|| "a later authorization came before its answer did".to_owned())
}
