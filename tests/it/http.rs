//! Requests from ordinary threads to servers on this machine.

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded::Serializer;

/// A client with a runtime of its own. It follows no redirect.
pub struct Http {
    runtime: Runtime,
    client: Client,
}

/// Status and body of an answer.
pub type Answer = (u16, String);

impl Http {
    /// A client for one thread.
    pub fn new() -> Self {
        Http {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: sandbox::http::client(),
        }
    }

    /// Sends what a client of reqwest has been told to.
    pub fn send(
        &self,
        request: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Answer, reqwest::Error> {
        self.runtime.block_on(async {
            let answer = request(&self.client).send().await?;
            let status = answer.status().as_u16();
            Ok((status, answer.text().await?))
        })
    }

    /// Sends a form, with HTTP Basic where credentials are given; the answer must be JSON.
    pub fn form(
        &self,
        url: &str,
        credentials: Option<(&str, &str)>,
        pairs: &[(&str, &str)],
    ) -> (u16, Value) {
        let body = Serializer::new(String::new()).extend_pairs(pairs).finish();
        let answer = self.send(|client| {
            let request = client
                .post(url)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(body);
            match credentials {
                Some((name, secret)) => request.basic_auth(name, Some(secret)),
                None => request,
            }
        });
        json(answer.unwrap())
    }

    /// Gets JSON, as the bearer of a token where one is given.
    pub fn json(&self, url: &str, token: Option<&str>) -> (u16, Value) {
        let answer = self.send(|client| match token {
            Some(token) => client.get(url).bearer_auth(token),
            None => client.get(url),
        });
        json(answer.unwrap())
    }
}

fn json((status, body): Answer) -> (u16, Value) {
    let value = serde_json::from_str(&body);
    (
        status,
        value.unwrap_or_else(|_| panic!("{status}, no JSON: {body}")),
    )
}
