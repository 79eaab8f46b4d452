//! What kind of authorization server to pretend to be.

use crate::{Auth, RefreshFrom, Rotates, Rotation};
use std::time::Duration;

/// How a server behaves. The default is the hardest kind that is common: it
/// rotates always, voids at once, and revokes the family when a void token comes back.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The only client it knows.
    pub client_id: String,
    /// That client's secret; `None`: a public client.
    pub client_secret: Option<String>,
    /// How the client may authenticate.
    pub client_auth: Vec<Auth>,
    /// How long an access token lives.
    pub access_lifetime: Duration,
    /// How long a refresh token lives; `None`: for ever.
    pub refresh_lifetime: Option<Duration>,
    /// From when a refresh token's life counts.
    pub refresh_from: RefreshFrom,
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

impl Default for Options {
    fn default() -> Self {
        Options {
            port: 0,
            client_id: "pretend".to_owned(),
            client_secret: Some("pretend-secret".to_owned()),
            client_auth: vec![Auth::Basic, Auth::Body],
            access_lifetime: Duration::from_secs(3600),
            refresh_lifetime: None,
            refresh_from: RefreshFrom::Issue,
            rotation: Rotation {
                rotates: Rotates::Always,
                ..Rotation::default()
            },
            rotates_every: 2,
            repeats_refresh_token: false,
            expiry: Expiry::Number,
            replay_says_full: false,
        }
    }
}
