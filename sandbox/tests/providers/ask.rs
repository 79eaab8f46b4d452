//! A token request that can be bent.

use reqwest::{Client, RequestBuilder};
use sandbox::server::Server;
use sandbox::{Flow, Kind, Origin};
use serde_json::json;

/// Where the parameters stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Form,
    Json,
    Query,
    /// A form's bytes under another content type.
    Typed(&'static str),
}

/// How the client says who it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    /// Among the parameters.
    Params,
    Basic,
    /// In the URL, whatever the body is.
    Url,
    Nobody,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    url: String,
    place: Place,
    who: Who,
    secret: &'static str,
    params: Vec<(String, String)>,
}

impl Ask {
    /// The request that the provider's document has.
    pub(crate) fn right(server: &Server, flow: Flow, origin: &Origin, refresh: &str) -> Ask {
        let kind = server.options().kind;
        let (place, who) = match kind {
            Kind::Retently => (Place::Form, Who::Params),
            Kind::Generic | Kind::Reteno => (Place::Form, Who::Basic),
            Kind::Retm | Kind::RetmStaging | Kind::Vcita => (Place::Json, Who::Params),
            Kind::Blynk => (Place::Query, Who::Basic),
        };
        let business_id = origin.business_id.as_deref().unwrap_or("nobody");
        let url = server.token_url().replace("{business_id}", business_id);
        let ask = Ask {
            url,
            place,
            who,
            secret: "pretend-secret",
            params: Vec::new(),
        };
        let (code, redirect_uri) = (
            ("code", &*origin.code),
            ("redirect_uri", &*origin.redirect_uri),
        );
        let refresh = ("refresh_token", refresh);
        let params: &[(&str, &str)] = match (flow, kind) {
            (Flow::ClientCredentials, _) => &[("grant_type", "client_credentials")],
            (Flow::DeviceCode, _) => {
                &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code")]
            }
            (Flow::AuthorizationCode, Kind::Retm | Kind::RetmStaging) => {
                &[("grant_type", "authorization_code"), code]
            }
            (Flow::AuthorizationCode, _) => {
                &[("grant_type", "authorization_code"), code, redirect_uri]
            }
            (_, Kind::Retently) => &[("grant_type", "refresh_token"), refresh, redirect_uri],
            (_, Kind::Reteno) => &[("grant_type", "refresh_token"), refresh, code, redirect_uri],
            (_, _) => &[("grant_type", "refresh_token"), refresh],
        };
        params
            .iter()
            .fold(ask, |ask, (name, value)| ask.with(name, value))
    }

    /// With a parameter, in place of one of that name.
    pub(crate) fn with(self, name: &str, value: &str) -> Ask {
        let mut ask = self.without(name);
        ask.params.push((name.to_owned(), value.to_owned()));
        ask
    }

    pub(crate) fn without(mut self, name: &str) -> Ask {
        self.params.retain(|(n, _)| n != name);
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Ask {
        self.place = place;
        self
    }

    pub(crate) fn by(mut self, who: Who) -> Ask {
        self.who = who;
        self
    }

    pub(crate) fn to(mut self, url: String) -> Ask {
        self.url = url;
        self
    }

    pub(crate) fn wrong_secret(mut self) -> Ask {
        self.secret = "guess";
        self
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn request(&self, http: &Client) -> RequestBuilder {
        let client = [("client_id", "pretend"), ("client_secret", self.secret)];
        let client = client.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (mut params, mut query) = (self.params.clone(), Vec::new());
        match self.who {
            Who::Params => params.extend(client),
            Who::Url => query.extend(client),
            Who::Basic | Who::Nobody => {}
        }
        let (content_type, body) = match self.place {
            Place::Form => (
                "application/x-www-form-urlencoded;charset=utf-8",
                encoded(&params),
            ),
            Place::Typed(content_type) => (content_type, encoded(&params)),
            Place::Json => {
                let members = params.into_iter().map(|(name, value)| (name, json!(value)));
                let object = serde_json::Value::Object(members.collect());
                ("application/json", object.to_string())
            }
            Place::Query => {
                query.extend(params);
                ("", String::new())
            }
        };
        let url = match query.as_slice() {
            [] => self.url.clone(),
            pairs => format!("{}?{}", self.url, encoded(pairs)),
        };
        let request = http.post(url).body(body);
        let request = match content_type {
            "" => request,
            typed => request.header("content-type", typed),
        };
        match self.who {
            Who::Basic => request.basic_auth("pretend", Some(self.secret)),
            _ => request,
        }
    }
}

fn encoded(pairs: &[(String, String)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs).finish()
}
