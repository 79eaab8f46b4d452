//! What commands are told about an enrolment.

use super::Enroller;
use crate::config::Config;
use crate::config::active::seat_of;
use crate::state::Store;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Stage, Via};
use refreshd_core::grant::scopes::Scopes;
use refreshd_core::grant::{Grant, TokenSet};
use refreshd_core::provider::description::With;
use serde::{Deserialize, Serialize};

/// An enrolment, for people and scripts. No code is in it, nor any token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// The grant; `None`: one that is not named yet.
    pub grant: Option<String>,
    /// The client.
    pub client: String,
    /// How the provider's word comes.
    pub via: Via,
    /// How far it has come.
    pub stage: Stage,
    /// What there is to say about that.
    pub text: String,
    /// When it began, RFC 3339.
    pub begun_at: String,
    /// After this nothing is taken for it, RFC 3339.
    pub expires_at: String,
    /// The generation that it brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When the access token that it brought ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<String>,
    /// Where the token lies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What the grant may do, against what was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Scopes>,
}

impl Enroller {
    pub(super) async fn report(&self, enrollment: Enrollment) -> Report {
        report_of(enrollment, &self.0.deck.store, &self.0.reloader.config()).await
    }
}

/// What there is to tell of an enrolment.
pub(crate) async fn report_of(enrollment: Enrollment, store: &Store, config: &Config) -> Report {
    let mut report = Report {
        id: id_text(enrollment.id),
        grant: enrollment.grant,
        client: enrollment.client,
        via: enrollment.via,
        stage: enrollment.stage,
        text: enrollment.text,
        begun_at: enrollment.begun_at.rfc3339(),
        expires_at: enrollment.expires_at.rfc3339(),
        generation: enrollment.generation,
        token_expires_at: None,
        outputs: Vec::new(),
        scopes: None,
    };
    if report.stage == Stage::Received && report.text.is_empty() {
        "its code is being exchanged".clone_into(&mut report.text);
    }
    let Some(name) = report.grant.clone().filter(|_| report.stage == Stage::Done) else {
        return report;
    };
    if let Ok(Some((grant, tokens))) = store.load_named(&name).await
        && Some(grant.state.generation) == report.generation
    {
        report.token_expires_at = Some(grant.state.expires_at.rfc3339());
        report.scopes = scopes_of(&grant, tokens.as_ref(), config);
    }
    if let Some(client) = config.clients.get(&report.client) {
        let files = config.outputs_of(&name, client).into_iter();
        let rows = config.databases_of(&name);
        report.outputs = files
            .map(|output| output.path.display().to_string())
            .chain(rows.map(|database| format!("{} ({name})", database.path.display())))
            .collect();
    }
    report
}

/// What a grant may do, against what its client asks for; `None`: it has no token set, or
/// its client is not configured.
pub(crate) fn scopes_of(
    grant: &Grant,
    tokens: Option<&TokenSet>,
    config: &Config,
) -> Option<Scopes> {
    let (tokens, seat) = tokens.zip(seat_of(grant, config))?;
    let needs_none = seat.policy.with != With::RefreshToken || seat.policy.asks_anew();
    let renewable = tokens.refresh_token.is_some() || needs_none;
    let asked = &seat.client.scopes;
    Some(Scopes::of(asked, tokens.scope.as_deref(), renewable))
}

/// The id as people and URLs have it.
#[must_use]
pub fn id_text(id: EnrollmentId) -> String {
    id.hex()
}

/// The id that a text is.
#[must_use]
pub fn parse_id(text: &str) -> Option<EnrollmentId> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(EnrollmentId(bytes))
}
