//! How a first token is had: who consents, and what goes wrong on the way.

use crate::server::Server;
use crate::{NewPush, Push, Visit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How authorization pages, installations and devices behave. A running
/// server's can be changed ([`Server::set_enrollment`](crate::server::Server::set_enrollment),
/// `PATCH /admin/enrollment`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrollment {
    /// Whether a person is asked.
    pub auto: Auto,
    /// Who consents unless the form or a `login_hint` says otherwise.
    pub account: String,
    /// Which business installs unless the form says otherwise.
    pub business_id: String,
    /// The scope of the tokens; what was asked for unless said.
    pub grants_scope: Option<String>,
    /// The `error` of a denial.
    pub deny_error: String,
    /// An `error_description` full of what a terminal must not get: escapes,
    /// line ends, bytes that are not UTF-8, and far too much of it.
    pub hostile_description: bool,
    /// What becomes of `state` in redirects.
    pub state: StateAs,
    /// `iss` in redirects (RFC 9207).
    pub iss: Iss,
    /// How long a code is good, in milliseconds; 0 makes it late at once. As
    /// [`Options::code_lifetime`](crate::Options::code_lifetime) unless said.
    pub code_ms: Option<u64>,
    /// A second code for one consent.
    pub second_code: SecondCode,
    /// `id_token` in the answer to a code.
    pub id_token: IdToken,
    /// Laid over the claims of the `id_token`; `null` takes one away.
    pub id_token_changes: Map<String, Value>,
    /// Laid over what `/userinfo` answers.
    pub userinfo_changes: Map<String, Value>,
    /// Laid over the metadata, a wrong `issuer` for instance.
    pub metadata_changes: Map<String, Value>,
    /// Where RETM's pushes go.
    pub success_url: Option<String>,
    /// A push is in time with its 200 after that many milliseconds at the latest.
    pub push_within_ms: u64,
    /// When a push is given up; the measure of how late an answer was ends there.
    pub push_wait_ms: u64,
    /// How often a push that failed is repeated, with the same body.
    pub push_repeats: u32,
    /// How long before each repetition.
    pub push_repeat_ms: u64,
    /// How often a device may ask, in seconds (RFC 8628 §3.2 `interval`).
    pub device_interval: u64,
    /// Device answers do not say the interval; it is five seconds then.
    pub device_interval_unsaid: bool,
    /// How long a device code is good, in milliseconds.
    pub device_ms: u64,
    /// Access tokens can be revoked; else `unsupported_token_type` (RFC 7009 §2.2.1).
    pub revokes_access: bool,
}

/// Whether a person is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auto {
    /// A form is shown.
    #[default]
    Off,
    /// Everything is allowed at once.
    Allow,
    /// Everything is denied at once.
    Deny,
}

/// What becomes of `state` in redirects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateAs {
    /// It comes back.
    #[default]
    Sent,
    /// It does not come back.
    Omitted,
    /// Another one comes back.
    Changed,
}

/// `iss` in redirects (RFC 9207).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Iss {
    /// It is not there.
    #[default]
    Omitted,
    /// The server's own.
    Right,
    /// That of another server.
    Wrong,
}

/// A second code for one consent, as a double click may bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondCode {
    /// There is none.
    #[default]
    Never,
    /// The server itself calls the `redirect_uri` with another code, and then
    /// answers with its redirect.
    Before,
    /// The server itself calls it half a second after its redirect.
    After,
    /// Two `code` parameters in one redirect.
    Beside,
}

/// `id_token` in the answer to a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdToken {
    /// It is not there.
    #[default]
    Omitted,
    /// `"alg":"none"`.
    Unsigned,
    /// Signed with the client's secret.
    Hs256,
}

impl Default for Enrollment {
    fn default() -> Self {
        Enrollment {
            auto: Auto::Off,
            account: "account-1".to_owned(),
            business_id: "shop-17".to_owned(),
            grants_scope: None,
            deny_error: "access_denied".to_owned(),
            hostile_description: false,
            state: StateAs::Sent,
            iss: Iss::Omitted,
            code_ms: None,
            second_code: SecondCode::Never,
            id_token: IdToken::Omitted,
            id_token_changes: Map::new(),
            userinfo_changes: Map::new(),
            metadata_changes: Map::new(),
            success_url: None,
            push_within_ms: 1000,
            push_wait_ms: 5000,
            push_repeats: 0,
            push_repeat_ms: 1000,
            device_interval: 5,
            device_interval_unsaid: false,
            device_ms: 600_000,
            revokes_access: true,
        }
    }
}

impl Enrollment {
    /// The same with the members of an object in place of its own.
    ///
    /// # Errors
    /// When one is not known, or is not of its kind.
    pub fn with(&self, changes: Map<String, Value>) -> serde_json::Result<Enrollment> {
        let mut members = serde_json::to_value(self)?;
        if let Some(members) = members.as_object_mut() {
            members.extend(changes);
        }
        serde_json::from_value(members)
    }
}

impl Server {
    /// The issuer (RFC 8414 §2): the server's URL, without a slash at its end.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.url("")
    }

    /// The authorization page; at RETM the install link, without its parameters.
    #[must_use]
    pub fn authorize_url(&self) -> Option<String> {
        let path = self.shared.options.kind.authorize_path()?;
        Some(self.url(path))
    }

    /// How a first token is had now.
    #[must_use]
    pub fn enrollment(&self) -> Enrollment {
        self.shared.world().enrollment.clone()
    }

    /// Lets first tokens be had otherwise from now on.
    pub fn set_enrollment(&self, enrollment: Enrollment) {
        self.shared.world().enrollment = enrollment;
    }

    /// The visits to authorization pages so far, oldest first.
    #[must_use]
    pub fn visits(&self) -> Vec<Visit> {
        self.shared.world().visits.clone()
    }

    /// The pushes to success endpoints so far, oldest first.
    #[must_use]
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.world().pushes.clone()
    }

    /// Pushes now, whatever it is. `None`: there is nowhere to push to.
    pub async fn push(&self, new: &NewPush) -> Option<Vec<Push>> {
        self.shared.push_now(new).await
    }
}
