//! A server and somebody who talks to it.

use crate::ask::Ask;
use reqwest::Client;
use sandbox::server::Server;
use sandbox::{Flow, GrantStats, Kind, Options, Origin, Presentation, Verdict};
use serde_json::{Value, json};

/// Where codes of these tests are sent.
pub(crate) const REDIRECT_URI: &str = "https://shop.example/back?x=1";

/// See the module.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) http: Client,
}

/// An answer of the token endpoint.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Scene {
    pub(crate) async fn of(kind: Kind) -> Scene {
        Scene::with(Options::of(kind)).await
    }

    pub(crate) async fn with(options: Options) -> Scene {
        let server = Server::start(options).await.unwrap();
        let http = sandbox::http::client();
        Scene { server, http }
    }

    /// A code for grant `shop-17`.
    pub(crate) fn code(&self) -> Origin {
        let business_id = matches!(self.kind(), Kind::Retm).then_some("shop-17");
        let code = self.server.make_code("shop-17", REDIRECT_URI, business_id);
        Origin {
            code,
            redirect_uri: REDIRECT_URI.to_owned(),
            business_id: business_id.map(str::to_owned),
        }
    }

    /// The right exchange of a code.
    pub(crate) fn exchange(&self, origin: &Origin) -> Ask {
        Ask::right(&self.server, Flow::AuthorizationCode, origin, "")
    }

    /// The right refresh of a grant that began like this.
    pub(crate) fn refresh(&self, origin: &Origin, answer: &Value) -> Ask {
        let token = answer["refresh_token"].as_str().unwrap_or_default();
        Ask::right(&self.server, Flow::RefreshToken, origin, token)
    }

    pub(crate) async fn send(&self, ask: &Ask) -> Answered {
        let response = ask.request(&self.http).send().await.unwrap();
        let content_type = response.headers().get("content-type").cloned();
        Answered {
            status: response.status().as_u16(),
            content_type: content_type.map_or_else(String::new, |v| v.to_str().unwrap().to_owned()),
            body: response.text().await.unwrap(),
        }
    }

    /// The answer to a request that must be right; its access token works.
    pub(crate) async fn accepted(&self, ask: &Ask) -> Value {
        let answered = self.send(ask).await;
        assert_eq!(answered.status, 200, "{ask:?}: {answered:?}");
        let answer: Value = serde_json::from_str(&answered.body).unwrap();
        assert_eq!(self.verify(&answer).await, 200, "{answer}");
        answer
    }

    /// A request that must be refused, and what the log must say of it.
    pub(crate) async fn refused(&self, ask: &Ask, status: u16, error: &str, verdict: Verdict) {
        let answered = self.send(ask).await;
        assert_eq!(answered.status, status, "{ask:?}: {answered:?}");
        let answer: Value = serde_json::from_str(&answered.body).unwrap();
        assert_eq!(answer["error"], error, "{ask:?}: {answer}");
        let last = self.last();
        assert_eq!(last.verdict, verdict, "{ask:?}: {last:?}");
        let why = last.why.expect("a refusal has a reason");
        assert_eq!(answer["error_description"], json!(why));
    }

    /// A well-formed request that presents what is not good.
    pub(crate) async fn not_granted(&self, ask: &Ask, verdict: Verdict) {
        self.refused(ask, 400, "invalid_grant", verdict).await;
    }

    /// A request that is not as it must be.
    pub(crate) async fn malformed(&self, ask: &Ask) {
        self.refused(ask, 400, "invalid_request", Verdict::Malformed)
            .await;
    }

    /// A path or a host where no token endpoint is.
    pub(crate) async fn not_found(&self, ask: &Ask) {
        let answered = self.send(ask).await;
        assert_eq!(answered.status, 404, "{answered:?}");
        assert!(
            answered.content_type.starts_with("text/html"),
            "{answered:?}"
        );
        assert_eq!(self.last().verdict, Verdict::NotFound);
    }

    /// What the provider's API says to an answer's access token.
    pub(crate) async fn verify(&self, answer: &Value) -> u16 {
        let token = answer["access_token"].as_str().unwrap();
        let request = self.http.get(self.server.verify_url()).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }

    pub(crate) fn last(&self) -> Presentation {
        self.server.presentations().pop().unwrap()
    }

    pub(crate) fn stats(&self, grant: &str) -> GrantStats {
        self.server.stats().grants[grant].clone()
    }

    fn kind(&self) -> Kind {
        self.server.options().kind
    }
}

/// The names of an answer's members.
pub(crate) fn members(answer: &Value) -> Vec<&str> {
    answer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
