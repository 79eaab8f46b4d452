//! The provider file: URLs, encodings, lifetimes, rotation. Its key names are
//! a promise to people who write such files.

use crate::duration;
pub use crate::provider::authorize::{Account, Authorize, Delivery, Device, Pkce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// How one kind of authorization server talks: a provider file, overlaid with a
/// client's `override` table where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The provider's name, as clients refer to it.
    pub name: String,
    /// Where the provider documents this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// The authorization endpoint (RFC 6749 §3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize: Option<Authorize>,
    /// The device authorization endpoint (RFC 8628 §3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Who authorized, where the provider tells it to a holder of the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// The token endpoint (RFC 6749 §3.2).
    pub token: Token,
    /// What differs from `[token]` when refreshing (RFC 6749 §6).
    #[serde(default)]
    pub refresh: Refresh,
    /// Where answers have their members, if not where RFC 6749 §5.1 has them.
    #[serde(default)]
    pub response: Response,
    /// Lifetimes that answers do not state.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// What becomes of a refresh token that has been presented.
    #[serde(default)]
    pub rotation: Rotation,
    /// Error codes of this provider that mean what RFC 6749 §5.2 has other names for.
    #[serde(default)]
    pub errors: Errors,
    /// When refreshing is allowed and wanted.
    #[serde(default)]
    pub schedule: Schedule,
    /// A harmless request that tells whether an access token works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// Where tokens are revoked (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<Revoke>,
    /// Variables that fill `{name}` in URLs and parameters, each set per grant.
    #[serde(default)]
    pub vars: BTreeMap<String, Var>,
}

/// The token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// URL, with `{var}` where a variable belongs.
    pub url: String,
    /// Where the parameters go.
    #[serde(default)]
    pub body: Body,
    /// Further parameters of every token request.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Further headers of every token request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How the client proves who it is.
    #[serde(default)]
    pub client: ClientAuth,
}

/// Where the parameters of a token request go. Always a POST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
    #[default]
    Form,
    /// A JSON object.
    Json,
    /// The URL's query; the body is empty. Secrets end up in access logs.
    Query,
}

/// `[token.client]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// The method.
    #[serde(default)]
    pub auth: Auth,
}

/// How the client authenticates (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// HTTP Basic, id and secret form-encoded first as RFC 6749 §2.3.1 says.
    #[default]
    Basic,
    /// HTTP Basic with id and secret as they are (RFC 7617 §2), for servers that do not
    /// decode them.
    BasicRaw,
    /// `client_id` and `client_secret` among the parameters.
    Body,
    /// `client_id` and `client_secret` in the query, whatever the body is.
    Query,
    /// `client_id` alone, among the parameters: a public client.
    None,
}

/// What differs when refreshing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// What is presented to renew.
    #[serde(default)]
    pub with: With,
    /// What is presented when there is no refresh token that may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Another URL than `[token]`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Another encoding than `[token]`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// Parameters besides `[token]`'s. `{code}` is the authorization code that
    /// began the grant, `{redirect_uri}` the one it was begun with.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Headers besides `[token]`'s.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Another client authentication than `[token]`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientAuth>,
}

/// What is presented to renew a token set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum With {
    /// The refresh token (RFC 6749 §6).
    #[default]
    RefreshToken,
    /// The client's own credentials (RFC 6749 §4.4): the grant begins and renews
    /// by itself, and a refresh token that comes along is not used.
    ClientCredentials,
    /// Nothing: a person authorizes again before the access token ends.
    None,
}

/// What is presented when there is no refresh token, or the one there is was
/// refused, is in doubt or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The client's own credentials (RFC 6749 §4.4): the grant also begins by itself.
    ClientCredentials,
}

/// What an authorization request is tied to its answer by, and what it asks for: codes.
const MADE_ANEW: [&str; 5] = [
    "response_type",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

impl With {
    /// Whether the client can ask for itself, with this fallback.
    pub(crate) fn asks_anew(self, fallback: Option<Fallback>) -> bool {
        self == With::ClientCredentials || fallback == Some(Fallback::ClientCredentials)
    }
}

impl Refresh {
    /// Whether the client can ask for a token set itself, without a person and
    /// without a refresh token.
    #[must_use]
    pub fn asks_anew(&self) -> bool {
        self.with.asks_anew(self.fallback)
    }
}

/// Where an answer's members are. Each is a path of names with dots between
/// them, as in `authed_user.access_token`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The object that holds the members; the other paths begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// The access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// The refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Its scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How many seconds the access token lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl Response {
    /// The members' names in RFC 6749, each with its path where it has one.
    pub(super) fn paths(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("access_token", self.access_token.as_deref()),
            ("refresh_token", self.refresh_token.as_deref()),
            ("token_type", self.token_type.as_deref()),
            ("scope", self.scope.as_deref()),
            ("expires_in", self.expires_in.as_deref()),
            ("expires_at", self.expires_at.as_deref()),
        ]
    }
}

/// Lifetimes, for when the answer does not state them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// Of an access token.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub access: Option<Duration>,
    /// What numbers of `expires_in` count.
    #[serde(default, skip_serializing_if = "ExpiresIn::is_seconds")]
    pub expires_in: ExpiresIn,
    /// Of a refresh token.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub refresh: Option<Duration>,
    /// From when a refresh token's life counts.
    #[serde(default)]
    pub refresh_from: RefreshFrom,
    /// A refresh token ends with the access token that came with it.
    #[serde(default)]
    pub refresh_with_access: bool,
    /// `expires_in` is the total life from the answer's `created_at`, not what is left.
    #[serde(default)]
    pub from_created_at: bool,
}

/// What the numbers in `expires_in`, and in what says how long a refresh token lives,
/// count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpiresIn {
    /// Seconds (RFC 6749 §5.1).
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Nothing that can be relied on: `access` holds, whatever an answer says about when
    /// the access token ends.
    Unused,
}

impl ExpiresIn {
    /// A unit's milliseconds.
    pub(crate) fn millis(self) -> u32 {
        match self {
            ExpiresIn::Milliseconds => 1,
            ExpiresIn::Seconds | ExpiresIn::Unused => 1000,
            ExpiresIn::Minutes => 60_000,
            ExpiresIn::Hours => 3_600_000,
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde calls it with a reference"
    )]
    fn is_seconds(&self) -> bool {
        *self == ExpiresIn::Seconds
    }
}

/// From when a refresh token's life counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefreshFrom {
    /// Sliding: each refresh token lives this long, so refreshing prolongs it.
    #[default]
    Issue,
    /// Absolute: from the person's authorization on; refreshing does not help.
    Login,
}

/// What becomes of a refresh token that has been presented. What is unknown is
/// taken to be the worst: void at once, and presenting it again revokes all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Whether an answer brings a new refresh token.
    #[serde(default)]
    pub rotates: Rotates,
    /// How long a presented refresh token stays good, as the file has it; what holds is
    /// [`Rotation::old_valid`].
    #[serde(default)]
    pub old_valid: OldValid,
    /// The longest that `until-used` lasts.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub old_valid_max: Option<Duration>,
    /// What presenting it after that does.
    #[serde(default)]
    pub reuse: Reuse,
    /// The old access token dies when a new one is issued.
    #[serde(default)]
    pub revokes_old_access: bool,
}

impl Rotation {
    /// How long a presented refresh token stays good. One that never rotates is the same
    /// before and after: no exchange can make it void.
    #[must_use]
    pub fn old_valid(&self) -> OldValid {
        match self.rotates {
            Rotates::Never => OldValid::Forever,
            Rotates::Always | Rotates::Sometimes => self.old_valid,
        }
    }
}

/// Whether an answer brings a new refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotates {
    /// With every refresh.
    Always,
    /// With some; also what is assumed when nothing is known.
    #[default]
    Sometimes,
    /// With none.
    Never,
}

/// How long a presented refresh token stays good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OldValid {
    /// For this long after it was first presented; zero: not at all.
    For(Duration),
    /// Until the token set that it brought is first used.
    UntilUsed,
    /// Always.
    Forever,
}

impl Default for OldValid {
    fn default() -> Self {
        OldValid::For(Duration::ZERO)
    }
}

impl TryFrom<String> for OldValid {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "until-used" => Ok(OldValid::UntilUsed),
            "forever" => Ok(OldValid::Forever),
            other => duration::parse(other)
                .map(OldValid::For)
                .map_err(|_| format!("old_valid = {other:?}: expected \"0s\", a duration, \"until-used\" or \"forever\"")),
        }
    }
}

impl From<OldValid> for String {
    fn from(old_valid: OldValid) -> String {
        match old_valid {
            OldValid::For(d) => format!("{}ms", d.as_millis()),
            OldValid::UntilUsed => "until-used".to_owned(),
            OldValid::Forever => "forever".to_owned(),
        }
    }
}

/// What presenting a void refresh token does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// An error and nothing else.
    Error,
    /// All tokens of the grant are revoked (RFC 9700 §4.14.2).
    #[default]
    Revokes,
}

/// Error codes that mean what RFC 6749 §5.2 calls otherwise; they add to the RFC's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The presented refresh token is void.
    #[serde(default)]
    pub invalid_grant: Vec<String>,
    /// The client is not accepted.
    #[serde(default)]
    pub invalid_client: Vec<String>,
    /// Too many requests.
    #[serde(default)]
    pub rate_limited: Vec<String>,
    /// The access token is too young to be replaced.
    #[serde(default)]
    pub too_early: Vec<String>,
    /// A person has to do something at the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interaction_required: Vec<String>,
    /// The provider cannot for now, and did nothing: also where the status is a 5xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transient: Vec<String>,
    /// Where an error's code is: a path as in [`Response`], and through arrays. An answer
    /// with a code there is an error in the provider's own format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where its words are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// When refreshing is allowed and wanted; for provider, client and grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How long before expiry a token is refreshed.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub lead: Option<Duration>,
    /// The least age at which the provider takes a refresh.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_age: Option<Duration>,
    /// At most so many refreshes of a grant in a time, as in `"10/10m"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_window: Option<Window>,
    /// A token set is refreshed so long after its issue at the latest, however long its
    /// access token lives; 30 days where nothing is said.
    #[serde(
        default,
        deserialize_with = "duration::deserialize",
        serialize_with = "duration::serialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub at_most: Option<Duration>,
}

impl Schedule {
    /// This one, with what `over` says taking precedence.
    #[must_use]
    pub fn overlaid(&self, over: &Schedule) -> Schedule {
        Schedule {
            lead: over.lead.or(self.lead),
            min_age: over.min_age.or(self.min_age),
            max_per_window: over.max_per_window.or(self.max_per_window),
            at_most: over.at_most.or(self.at_most),
        }
    }
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// How many; at least one.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl TryFrom<String> for Window {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let error = || format!("{text:?} is not a count in a time; write, for example, \"10/10m\"");
        let (count, per) = text.split_once('/').ok_or_else(error)?;
        let count = count
            .trim()
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(error)?;
        let per = duration::parse(per)
            .ok()
            .filter(|d| !d.is_zero())
            .ok_or_else(error)?;
        Ok(Window { count, per })
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        format!("{}/{}ms", window.count, window.per.as_millis())
    }
}

/// A harmless request that tells whether an access token works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// URL of a GET with `Authorization: Bearer …`.
    pub url: String,
}

/// Where a token is revoked (RFC 7009). The client proves who it is as at the token
/// endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// URL of the POST.
    pub url: String,
}

/// A variable of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Var {
    /// What its values look like.
    #[serde(default)]
    pub format: VarFormat,
    /// Its value where a grant gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What a variable's values look like. They go into URLs, so none is free text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VarFormat {
    /// One label of a host name: a-z, 0-9, `-` inside; no `xn--`; 63 characters at most.
    DnsLabel,
    /// A host name, with a port if need be.
    Host,
    /// Letters, digits, `.`, `_`, `~`, `-`: safe in a path or a query.
    #[default]
    Token,
}

/// SHA-256 of a description's canonical form, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DescriptionHash(pub String);

/// A description that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct DescriptionError {
    /// The key, dotted, as in `token.url`.
    pub key: String,
    /// What is wrong with it and what to write instead.
    pub problem: String,
}

impl Description {
    /// The hash under which flights refer to this description.
    #[must_use]
    pub fn hash(&self) -> DescriptionHash {
        let canonical = serde_json::to_vec(self).expect("a description is plain data");
        let digest = Sha256::digest(&canonical);
        DescriptionHash(digest.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The URL a refresh goes to, before its variables are filled in.
    #[must_use]
    pub fn refresh_url(&self) -> &str {
        self.refresh.url.as_deref().unwrap_or(&self.token.url)
    }

    /// Whether a refresh presents the authorization code that began the grant, so
    /// that it must be kept with it.
    #[must_use]
    pub fn refresh_wants_code(&self) -> bool {
        let refresh = &self.refresh;
        let params = refresh.params.values().chain(self.token.params.values());
        let headers = refresh.headers.values().chain(self.token.headers.values());
        refresh.with == With::RefreshToken
            && params.chain(headers).any(|value| value.contains("{code}"))
    }

    /// Whether the provider posts its codes to us, and sends no browser back.
    #[must_use]
    pub fn pushes_codes(&self) -> bool {
        let authorize = self.authorize.as_ref();
        authorize.is_some_and(|authorize| authorize.delivery == Delivery::Push)
    }

    /// Everything that is wrong with the description by itself.
    #[must_use]
    pub fn problems(&self) -> Vec<DescriptionError> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, problem: String| {
            problems.push(DescriptionError {
                key: key.to_owned(),
                problem,
            })
        };
        let urls = [
            ("token.url", Some(&self.token.url)),
            ("refresh.url", self.refresh.url.as_ref()),
            ("authorize.url", self.authorize.as_ref().map(|a| &a.url)),
            ("device.url", self.device.as_ref().map(|d| &d.url)),
            ("account.url", self.account.as_ref().map(|a| &a.url)),
            ("verify.url", self.verify.as_ref().map(|v| &v.url)),
            ("revoke.url", self.revoke.as_ref().map(|r| &r.url)),
        ];
        for (key, url) in urls {
            if let Some(Err(why)) = url.map(|url| self.check_url(url)) {
                problem(key, why);
            } else if key != "authorize.url" && url.is_some_and(|url| url.contains('#')) {
                let why = "what follows a # is never sent; take it out, or write %23";
                problem(key, why.to_owned());
            }
        }
        let params = self.authorize.iter().flat_map(|a| a.params.keys());
        for name in params.filter(|name| MADE_ANEW.contains(&name.as_str())) {
            problem(
                "authorize.params",
                format!("{name} is made anew for each authorization; take it out"),
            );
        }
        for (key, why) in super::fillable::problems(self) {
            problem(&key, why);
        }
        if self.rotation.old_valid_max.is_some() && self.rotation.old_valid != OldValid::UntilUsed {
            problem(
                "rotation.old_valid_max",
                "it goes with old_valid = \"until-used\" only".to_owned(),
            );
        }
        if self.refresh.fallback.is_some() && self.refresh.with != With::RefreshToken {
            problem(
                "refresh.fallback",
                "it goes with with = \"refresh_token\" only".to_owned(),
            );
        }
        if self.lifetime.refresh_with_access && self.lifetime.refresh.is_some() {
            problem(
                "lifetime.refresh_with_access",
                "lifetime.refresh says otherwise; keep one of the two".to_owned(),
            );
        }
        if self.lifetime.expires_in == ExpiresIn::Unused && self.lifetime.access.is_none() {
            let why = "it goes with access only, which says how long an access token lives";
            problem("lifetime.expires_in", why.to_owned());
        }
        if self.refresh.asks_anew() && self.token.client.auth == Auth::None {
            problem(
                "token.client.auth",
                "client credentials need a secret (RFC 6749 §4.4); use basic, body or query"
                    .to_owned(),
            );
        }
        problems
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        // A host is judged once it is known: at a grant's check and before each request.
        let sample = |var: &Var| match var.format {
            VarFormat::Host => "localhost",
            VarFormat::DnsLabel | VarFormat::Token => "x",
        };
        let filled = crate::provider::template::fill(url, |name| {
            self.vars.get(name).map(|var| sample(var).to_owned())
        })
        .map_err(|e| format!("{e}; declare it as [vars.{}]", e.0))?;
        check_endpoint(&Url::parse(&filled).map_err(|e| format!("{url:?} is not a URL: {e}"))?)
    }
}

/// Whether secrets may be sent there: `https`, or plain `http` to a loopback
/// literal or `*.localhost`.
///
/// # Errors
/// Why not, for a person.
pub fn check_endpoint(url: &Url) -> Result<(), String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user name or password is not accepted".to_owned());
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if is_loopback(&host) => Ok(()),
        ("http", _) => Err(
            "plain http is accepted for loopback addresses and *.localhost only; use https"
                .to_owned(),
        ),
        (scheme, _) => Err(format!("scheme {scheme:?} is not accepted; use https")),
    }
}

/// Whether a host is this machine by its very form, without asking a resolver.
#[must_use]
pub fn is_loopback(host: &url::Host<&str>) -> bool {
    match host {
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

impl VarFormat {
    /// Whether a value may fill the variable.
    ///
    /// # Errors
    /// Why not, for a person.
    pub fn check(self, value: &str) -> Result<(), String> {
        let unreserved =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        let good = match self {
            VarFormat::DnsLabel => is_dns_label(value),
            VarFormat::Host => is_host(value),
            VarFormat::Token => {
                !value.is_empty()
                    && value.len() <= 255
                    && value.bytes().all(unreserved)
                    && value.bytes().any(|b| b != b'.')
            }
        };
        let what = match self {
            VarFormat::DnsLabel => {
                "one DNS label (a-z, 0-9 and '-' inside, at most 63 characters, no xn--)"
            }
            VarFormat::Host => "a host name, with :port if need be",
            VarFormat::Token => "letters, digits, '.', '_', '~' and '-'",
        };
        if good {
            Ok(())
        } else {
            Err(format!("{:?} is not {what}", crate::text::printable(value)))
        }
    }
}

fn is_dns_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
        && !label.starts_with("xn--")
}

fn is_host(host: &str) -> bool {
    let (name, port) = host
        .split_once(':')
        .map_or((host, None), |(n, p)| (n, Some(p)));
    let name_ok = name.len() <= 253 && name.split('.').all(is_dns_label);
    name_ok && port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0))
}
