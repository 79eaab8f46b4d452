//! How a grant gets its first token set, and every later one that a person
//! authorizes: what an enrolment is, what may come back from the provider, and
//! whose account it was.

pub mod account;
pub mod business;
pub mod callback;
pub mod code;
pub mod device;
pub mod paste;
pub mod push;
pub mod quarantine;
pub mod state;

use crate::kept::KeptAnswer;
use crate::secret::{Fingerprint, Secret};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tells one enrolment from every other: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnrollmentId(pub [u8; 16]);

impl EnrollmentId {
    /// As people have it.
    #[must_use]
    pub fn hex(self) -> String {
        crate::text::hex(&self.0)
    }
}

/// How the provider's word comes to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// The person's browser is sent back to the command, or the person pastes where
    /// it was sent.
    Redirect,
    /// By a link, and a callback that the daemon serves.
    Link,
    /// The provider posts the code to us.
    Push,
    /// The person types a code at the provider (RFC 8628); we ask.
    Device,
}

/// How far an enrolment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The provider's word is waited for.
    Open,
    /// It came without our state, and waits for an operator's approval.
    Quarantined,
    /// A code has come, and is kept; it is to be presented, once. Whether it was, its
    /// intent says.
    Received,
    /// The token set has been taken in.
    Done,
    /// There is a token set, of another account than before: it waits for an operator.
    Held,
    /// The provider, or the person, said no.
    Refused,
    /// The code was presented, and what came of it is not known: authorize again.
    InDoubt,
    /// Nothing came in time.
    Expired,
}

impl Stage {
    /// Whether nothing more happens to it by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Stage::Open | Stage::Received)
    }

    /// The word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Stage::Open => "open",
            Stage::Quarantined => "quarantined",
            Stage::Received => "received",
            Stage::Done => "done",
            Stage::Held => "held",
            Stage::Refused => "refused",
            Stage::InDoubt => "in-doubt",
            Stage::Expired => "expired",
        }
    }
}

/// One authorization, from the moment it is asked for. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// Its identity.
    pub id: EnrollmentId,
    /// The grant that it is for; `None`: a new one, named when the business is known.
    pub grant: Option<String>,
    /// The client.
    pub client: String,
    /// The provider's name, which tells its environments apart.
    pub provider: String,
    /// How the provider's word comes.
    pub via: Via,
    /// The redirect URI that was named to the provider.
    pub redirect_uri: Option<String>,
    /// Values of the provider's variables, as far as they are known.
    pub vars: BTreeMap<String, String>,
    /// When it began.
    pub begun_at: WallTime,
    /// After this nothing is taken for it.
    pub expires_at: WallTime,
    /// How far it has come.
    pub stage: Stage,
    /// What there is to say about that, for people.
    pub text: String,
    /// The grant stood in the configuration when it began.
    #[serde(default)]
    pub configured: bool,
    /// When the code of a token set that is held was presented.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<WallTime>,
    /// Whose account a token set that is held is, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Fingerprint>,
    /// The grant's generation that it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What was asked for, where more has become known since: its state is bound to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What is known of its codes.
    #[serde(default)]
    pub code: code::Course,
}

impl Enrollment {
    /// The stage at which it is after it has ended so. A link is good until it is spent,
    /// which it is by a token set.
    #[must_use]
    pub fn stage_after(&self, stage: Stage, now: WallTime) -> Stage {
        let failed = matches!(stage, Stage::Refused | Stage::InDoubt);
        match self.via {
            Via::Link if failed && now < self.expires_at => Stage::Open,
            _ => stage,
        }
    }
}

/// What of an enrolment may become known with the code alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The grant.
    pub grant: Option<String>,
    /// Values of the provider's variables.
    pub vars: BTreeMap<String, String>,
}

/// What of an enrolment nobody may see; sealed where it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The PKCE verifier (RFC 7636).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<Secret>,
    /// `nonce`, which an id token repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Secret>,
    /// The authorization code, or the device code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret>,
    /// How long to wait between polls, in milliseconds: it comes with a device code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// Answers to its codes, as they came, where they could not be taken in; the oldest first.
    #[serde(
        default,
        alias = "answer",
        deserialize_with = "crate::kept::of_authorization",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub answers: Vec<KeptAnswer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_an_earlier_version_kept_is_there_still() {
        let old = r#"{"code":"c","answer":"{\"access_token\":\"a\"}"}"#;
        let secrets: Secrets = serde_json::from_str(old).unwrap();
        assert_eq!(secrets.answers.len(), 1);
        assert_eq!(secrets.answers[0].answer.body, br#"{"access_token":"a"}"#);
        let text = serde_json::to_string(&secrets).unwrap();
        assert_eq!(serde_json::from_str::<Secrets>(&text).unwrap(), secrets);
    }
}
