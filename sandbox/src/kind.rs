//! The kinds of authorization server to pretend to be, and how they differ on
//! the wire. Lifetimes and rotation are [`Options`](crate::Options).

use crate::{Auth, Body};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// A documented provider, or none in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What RFC 6749 says, with whatever the options say.
    #[default]
    Generic,
    /// Forms, the client in the body, and the `redirect_uri` with every refresh.
    Retently,
    /// Refreshes want the original code and `redirect_uri`.
    Reteno,
    /// JSON, and a host for each business.
    Retm,
    /// JSON, and one host for all.
    RetmStaging,
    /// The Organization API: client credentials.
    Blynk,
    /// inTandem: a token for twenty years, and nothing to refresh.
    Vcita,
}

/// What is exchanged for a token set (`grant_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// A code (RFC 6749 §4.1.3).
    AuthorizationCode,
    /// A refresh token (RFC 6749 §6).
    RefreshToken,
    /// The client's own word (RFC 6749 §4.4).
    ClientCredentials,
    /// A device code (RFC 8628 §3.4).
    DeviceCode,
}

/// Reteno's document says one thing in its text and another in its sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// The sample: a form, and the client by HTTP Basic.
    #[default]
    FormBasic,
    /// The text: everything in the query of a POST.
    Query,
    /// Either, but no mixture.
    Both,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Generic,
        Kind::Retently,
        Kind::Reteno,
        Kind::Retm,
        Kind::RetmStaging,
        Kind::Blynk,
        Kind::Vcita,
    ];

    /// The name of the provider's file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Generic => "generic",
            Kind::Retently => "retently",
            Kind::Reteno => "reteno",
            Kind::Retm => "retm",
            Kind::RetmStaging => "retm-staging",
            Kind::Blynk => "blynk",
            Kind::Vcita => "vcita",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Where its token endpoint is.
    #[must_use]
    pub fn token_path(self) -> &'static str {
        match self {
            Kind::Generic => "/token",
            Kind::Retently => "/api/oauth/token",
            Kind::Reteno => "/uaa/oauth/token",
            Kind::Retm | Kind::RetmStaging => "/api/oAuth/token",
            Kind::Blynk => "/oauth2/token",
            Kind::Vcita => "/oauth/token",
        }
    }

    /// Where a person consents; at RETM the install link. Blynk has no such page.
    #[must_use]
    pub fn authorize_path(self) -> Option<&'static str> {
        match self {
            Kind::Generic => Some("/authorize"),
            Kind::Retently => Some("/api/oauth/authorize"),
            Kind::Reteno => Some("/uaa/oauth/authorize"),
            Kind::Retm | Kind::RetmStaging => Some("/integrations/authorized"),
            Kind::Blynk => None,
            Kind::Vcita => Some("/oauth/authorize"),
        }
    }

    /// Codes are pushed to the client's success endpoint, not carried by a browser.
    #[must_use]
    pub fn pushes_codes(self) -> bool {
        matches!(self, Kind::Retm | Kind::RetmStaging)
    }

    /// Where an access token is tried; `/resource` where nothing is documented.
    #[must_use]
    pub fn verify_path(self) -> &'static str {
        match self {
            Kind::Reteno => "/api/v2/version",
            Kind::Vcita => "/oauth/userinfo",
            _ => "/resource",
        }
    }

    /// What it exchanges.
    #[must_use]
    pub fn flows(self) -> &'static [Flow] {
        use Flow::{AuthorizationCode, ClientCredentials, DeviceCode, RefreshToken};
        match self {
            Kind::Generic => &[
                AuthorizationCode,
                RefreshToken,
                ClientCredentials,
                DeviceCode,
            ],
            Kind::Retently | Kind::Reteno | Kind::Retm | Kind::RetmStaging => {
                &[AuthorizationCode, RefreshToken]
            }
            Kind::Blynk => &[ClientCredentials, RefreshToken],
            Kind::Vcita => &[AuthorizationCode],
        }
    }

    /// The parameters that a request must repeat from the grant's beginning.
    pub(crate) fn repeats(self, flow: Flow) -> &'static [&'static str] {
        match (self, flow) {
            (_, Flow::ClientCredentials | Flow::DeviceCode)
            | (Kind::Retm | Kind::RetmStaging, _) => &[],
            (_, Flow::AuthorizationCode) | (Kind::Retently, _) => &["redirect_uri"],
            (Kind::Reteno, Flow::RefreshToken) => &["code", "redirect_uri"],
            (_, Flow::RefreshToken) => &[],
        }
    }

    /// Where the parameters may stand, and how the client may authenticate.
    pub(crate) fn wire(self) -> (Vec<Body>, Vec<Auth>) {
        match self {
            Kind::Generic => (vec![Body::Form], vec![Auth::Basic, Auth::Body]),
            Kind::Retently => (vec![Body::Form], vec![Auth::Body]),
            Kind::Retm | Kind::RetmStaging | Kind::Vcita => (vec![Body::Json], vec![Auth::Body]),
            Kind::Reteno | Kind::Blynk => {
                let auth = vec![Auth::Basic, Auth::Query];
                (vec![Body::Form, Body::Query], auth)
            }
        }
    }

    /// What it answers to a client that it does not accept. Two of the
    /// documents say that every failure is a 400.
    pub(crate) fn invalid_client(self) -> StatusCode {
        match self {
            Kind::Retently | Kind::Blynk => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// How its answers spell `token_type`.
    pub(crate) fn token_type(self) -> Option<&'static str> {
        match self {
            Kind::Generic | Kind::Retm | Kind::RetmStaging => Some("Bearer"),
            Kind::Reteno | Kind::Blynk | Kind::Vcita => Some("bearer"),
            Kind::Retently => None,
        }
    }

    /// First answers tell the scope that was asked for.
    pub(crate) fn tells_scope(self) -> bool {
        self == Kind::Generic
    }

    /// Each business has a host of its own, which decides whose grants are known there.
    #[must_use]
    pub fn has_business_hosts(self) -> bool {
        self == Kind::Retm
    }
}

impl Flow {
    const ALL: [Flow; 4] = [
        Flow::AuthorizationCode,
        Flow::RefreshToken,
        Flow::ClientCredentials,
        Flow::DeviceCode,
    ];

    /// Its `grant_type`.
    #[must_use]
    pub fn grant_type(self) -> &'static str {
        match self {
            Flow::AuthorizationCode => "authorization_code",
            Flow::RefreshToken => "refresh_token",
            Flow::ClientCredentials => "client_credentials",
            Flow::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
        }
    }

    /// The flow that a `grant_type` names.
    pub(crate) fn named(grant_type: &str) -> Option<Flow> {
        Flow::ALL.into_iter().find(|f| f.grant_type() == grant_type)
    }
}

impl Reading {
    /// Whether it allows the client to authenticate like this beside such parameters.
    pub(crate) fn allows(self, body: Body, auth: Auth) -> bool {
        match (body, auth) {
            (Body::Form, Auth::Basic) => self != Reading::Query,
            (Body::Query, Auth::Query) => self != Reading::FormBasic,
            _ => false,
        }
    }
}
