//! How a pretend authorization server behaves.

use crate::{
    Auth, Body, Enrollment, Kind, OldValid, Reading, RefreshFrom, Reuse, Rotates, Rotation,
};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The least that scaling leaves of a code's validity: the way of a code from
/// browser to daemon to token endpoint does not get faster.
const LEAST_CODE_LIFETIME: Duration = Duration::from_secs(10);

/// How a server behaves. The default is the hardest kind that is common: it
/// rotates always, voids at once, and revokes the family when a void token comes back.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom it pretends to be: paths, parameters, forms of answers.
    pub kind: Kind,
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The only client it knows.
    pub client_id: String,
    /// That client's secret; `None`: a public client.
    pub client_secret: Option<String>,
    /// How the client may authenticate.
    pub client_auth: Vec<Auth>,
    /// Where the parameters of a token request may stand.
    pub bodies: Vec<Body>,
    /// Which reading of Reteno's document holds; nothing to the other kinds.
    pub reading: Reading,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How old an access token already is when it is issued: it counts from its creation.
    pub answer_age: Duration,
    /// How long a refresh token lives; `None`: for ever. At the Organization API
    /// it dies with its access token at the latest.
    pub refresh_lifetime: Option<Duration>,
    /// From when a refresh token's life counts.
    pub refresh_from: RefreshFrom,
    /// Whether answers bring a refresh token at all.
    pub brings_refresh_token: Brings,
    /// How long an authorization code is good.
    pub code_lifetime: Duration,
    /// What presenting a code again does besides the error.
    pub code_reuse: Reuse,
    /// What becomes of a refresh token that has been presented.
    pub rotation: Rotation,
    /// With [`Rotates::Sometimes`]: a new refresh token with every so-many-eth refresh.
    pub rotates_every: u32,
    /// An answer without a new refresh token repeats the old one.
    pub repeats_refresh_token: bool,
    /// How an answer tells when the access token expires.
    pub expiry: Expiry,
    /// A replayed answer says the full `expires_in` again, though the token has aged.
    pub replay_says_full: bool,
    /// Where codes may be sent; empty: anywhere, as Retently has it.
    pub redirect_uris: Vec<String>,
    /// What a `code_challenge` is to the authorization page.
    pub pkce: Pkce,
    /// How a first token is had.
    pub enrollment: Enrollment,
}

/// What a `code_challenge` (RFC 7636) is to the authorization page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pkce {
    /// A parameter like any that is not known: neither challenge nor verifier counts.
    Unknown,
    /// S256 is checked where a challenge is sent.
    #[default]
    Taken,
    /// There is no code without a challenge.
    Required,
}

/// How an answer tells when the access token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// `"expires_in": 3600`, as RFC 6749 §5.1 has it.
    #[default]
    Number,
    /// `"expires_in": "3600"`.
    Text,
    /// Not at all.
    Absent,
}

/// Whether answers bring a refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Brings {
    /// Whenever there is a new one.
    #[default]
    Token,
    /// `"refresh_token": null`.
    Null,
    /// The member is never there.
    Nothing,
}

impl Default for Options {
    fn default() -> Self {
        let (bodies, client_auth) = Kind::Generic.wire();
        Options {
            kind: Kind::Generic,
            port: 0,
            client_id: "pretend".to_owned(),
            client_secret: Some("pretend-secret".to_owned()),
            client_auth,
            bodies,
            reading: Reading::default(),
            access_lifetime: HOUR,
            answer_age: Duration::ZERO,
            refresh_lifetime: None,
            refresh_from: RefreshFrom::Issue,
            brings_refresh_token: Brings::Token,
            code_lifetime: Duration::from_secs(600),
            code_reuse: Reuse::Error,
            rotation: Rotation {
                rotates: Rotates::Always,
                ..Rotation::default()
            },
            rotates_every: 2,
            repeats_refresh_token: false,
            expiry: Expiry::Number,
            replay_says_full: false,
            redirect_uris: Vec::new(),
            pkce: Pkce::Taken,
            enrollment: Enrollment::default(),
        }
    }
}

impl Options {
    /// What a provider's document says; where it is silent, the worst.
    #[must_use]
    pub fn of(kind: Kind) -> Options {
        let (bodies, client_auth) = kind.wire();
        let options = Options {
            kind,
            bodies,
            client_auth,
            pkce: match kind {
                Kind::Generic => Pkce::Taken,
                _ => Pkce::Unknown,
            },
            ..Options::default()
        };
        match kind {
            Kind::Generic | Kind::Retm | Kind::RetmStaging => options,
            Kind::Retently => Options {
                access_lifetime: 6 * HOUR,
                ..options
            },
            Kind::Reteno => Options {
                access_lifetime: 2 * DAY,
                // An answer says 172541, as the document's does.
                answer_age: Duration::from_secs(259),
                refresh_lifetime: Some(30 * DAY),
                ..options
            },
            Kind::Blynk => Options {
                access_lifetime: DAY,
                ..options
            },
            Kind::Vcita => Options {
                access_lifetime: Duration::from_secs(631_152_000),
                brings_refresh_token: Brings::Nothing,
                code_lifetime: Duration::from_secs(30),
                ..options
            },
        }
    }

    /// The same with every duration divided by a factor, so that days pass in
    /// seconds. A code stays good for ten seconds at least, or as long as it was.
    ///
    /// # Panics
    /// When the factor is not a positive number, or so small that no clock can tell.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Options {
        let scale = |duration: Duration| duration.div_f64(factor);
        let floor = self.code_lifetime.min(LEAST_CODE_LIFETIME);
        let rotation = Rotation {
            old_valid: match self.rotation.old_valid {
                OldValid::For(window) => OldValid::For(scale(window)),
                other => other,
            },
            old_valid_max: self.rotation.old_valid_max.map(scale),
            ..self.rotation
        };
        Options {
            access_lifetime: scale(self.access_lifetime),
            answer_age: scale(self.answer_age),
            refresh_lifetime: self.refresh_lifetime.map(scale),
            code_lifetime: scale(self.code_lifetime).max(floor),
            rotation,
            ..self
        }
    }

    /// How long an access token still lives when it is issued.
    pub(crate) fn access_left(&self) -> Duration {
        self.access_lifetime.saturating_sub(self.answer_age)
    }

    /// How long a refresh token lives when it is issued.
    pub(crate) fn refresh_left(&self) -> Option<Duration> {
        let with_access = (self.kind == Kind::Blynk).then(|| self.access_left());
        match (self.refresh_lifetime, with_access) {
            (Some(own), Some(access)) => Some(own.min(access)),
            (own, access) => own.or(access),
        }
    }

    /// Whether parameters may stand there while the client authenticates like this.
    pub(crate) fn takes(&self, body: Body, auth: Auth) -> bool {
        self.bodies.contains(&body)
            && self.client_auth.contains(&auth)
            && (self.kind != Kind::Reteno || self.reading.allows(body, auth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_years_become_two_minutes() {
        let options = Options::of(Kind::Vcita).scaled(5_000_000.0);
        assert_eq!(options.access_lifetime.as_secs(), 126);
        assert_eq!(options.code_lifetime, Duration::from_secs(10));
        let options = Options::of(Kind::Reteno).scaled(8640.0);
        assert_eq!(options.access_lifetime, Duration::from_secs(20));
        assert_eq!(options.refresh_lifetime, Some(Duration::from_secs(300)));
        assert!(options.access_left() < options.access_lifetime);
    }

    #[test]
    fn what_is_undocumented_is_the_worst() {
        for kind in Kind::ALL {
            let options = Options::of(kind);
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert_eq!(options.rotation.rotates, Rotates::Always, "{kind:?}");
            assert_eq!(options.rotation.old_valid, OldValid::For(Duration::ZERO));
            assert_eq!(options.rotation.reuse, Reuse::Revokes, "{kind:?}");
        }
    }
}
