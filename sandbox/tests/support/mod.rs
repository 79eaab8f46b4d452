//! A client as simple as can be: it sends what it is told and hands back what comes.

use reqwest::{Client, Response};
use sandbox::server::Server;
use sandbox::{Options, Presentation, Verdict};
use serde_json::Value;

/// A server and somebody who talks to it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) http: Client,
}

impl Scene {
    pub(crate) async fn with(options: Options) -> Scene {
        let server = Server::start(options).await.unwrap();
        let http = sandbox::http::client();
        Scene { server, http }
    }

    /// Presents a refresh token.
    pub(crate) async fn send(&self, refresh_token: &str) -> reqwest::Result<Response> {
        let body = format!("grant_type=refresh_token&refresh_token={refresh_token}");
        self.send_body(body).await
    }

    pub(crate) async fn send_body(&self, body: String) -> reqwest::Result<Response> {
        let request = self.http.post(self.server.token_url());
        let request = request.basic_auth("pretend", Some("pretend-secret"));
        let form = "application/x-www-form-urlencoded";
        request.header("content-type", form).body(body).send().await
    }

    /// Presents a refresh token: status and JSON.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> (u16, Value) {
        read(self.send(refresh_token).await.unwrap()).await
    }

    /// What the resource says to an access token.
    pub(crate) async fn visit(&self, access_token: &str) -> u16 {
        let request = self.http.get(self.server.resource_url());
        let response = request.bearer_auth(access_token).send().await.unwrap();
        response.status().as_u16()
    }

    pub(crate) fn last(&self) -> Presentation {
        self.server.presentations().pop().unwrap()
    }

    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let log = self.server.presentations();
        log.iter().map(|entry| entry.verdict).collect()
    }
}

pub(crate) async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

/// A member of an answer that is a text.
pub(crate) fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_default()
}
