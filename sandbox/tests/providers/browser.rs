//! Somebody at a browser, and a client that waits to be called back.

use crate::scene::Scene;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use sandbox::{Enrollment, Kind, Origin};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use url::Url;

/// The kinds that a browser brings a code back from.
pub(crate) const WITH_PAGES: [Kind; 4] = [Kind::Generic, Kind::Retently, Kind::Reteno, Kind::Vcita];

/// Where the browser is sent back to, with a parameter of its own.
pub(crate) const BACK: &str = "http://127.0.0.1:4711/back?x=1";

/// The parameters of a right authorization request.
pub(crate) const RIGHT: [(&str, &str); 4] = [
    ("response_type", "code"),
    ("client_id", "pretend"),
    ("redirect_uri", BACK),
    ("state", "st <\"&'> ü"),
];

/// What a server answered to a browser.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) location: Option<Url>,
    pub(crate) body: String,
}

impl Seen {
    /// A parameter of the redirect.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let location = self.location.as_ref()?;
        let mut pairs = location.query_pairs().filter(|(n, _)| n == name);
        pairs.next().map(|(_, value)| value.into_owned())
    }

    /// The code of a redirect that must have one.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.status, 302, "{self:?}");
        self.param("code").unwrap_or_else(|| panic!("{self:?}"))
    }

    /// The values of the form's hidden fields.
    pub(crate) fn hidden(&self) -> Vec<(String, String)> {
        let inputs = self.body.split("<input type=\"hidden\" ").skip(1);
        let attribute = |input: &str, name: &str| {
            let begun = input.split(&format!("{name}=\"")).nth(1).unwrap();
            unescaped(begun.split('"').next().unwrap())
        };
        inputs
            .map(|input| (attribute(input, "name"), attribute(input, "value")))
            .collect()
    }
}

fn unescaped(html: &str) -> String {
    html.replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

impl Scene {
    /// The same, with how first tokens are had changed.
    pub(crate) fn enroll(&self, change: impl FnOnce(&mut Enrollment)) {
        let mut enrollment = self.server.enrollment();
        change(&mut enrollment);
        self.server.set_enrollment(enrollment);
    }

    /// Follows a link to the authorization page.
    pub(crate) async fn follow(&self, params: &[(&str, &str)]) -> Seen {
        let url = self.server.authorize_url().unwrap();
        let url = Url::parse_with_params(&url, params).unwrap();
        seen(self.http.get(url)).await
    }

    /// Fills in the consent form.
    pub(crate) async fn submit(&self, page: &Seen, account: &str, decision: &str) -> Seen {
        let mut fields = page.hidden();
        fields.push(("account".to_owned(), account.to_owned()));
        fields.push(("decision".to_owned(), decision.to_owned()));
        self.post(&self.server.authorize_url().unwrap(), &fields)
            .await
    }

    /// Posts a form.
    pub(crate) async fn post(&self, url: &str, fields: &[(String, String)]) -> Seen {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(fields).finish();
        let form = "application/x-www-form-urlencoded";
        seen(self.http.post(url).header("content-type", form).body(body)).await
    }

    /// A code that an account gave for these parameters.
    pub(crate) async fn consented(&self, params: &[(&str, &str)], account: &str) -> Origin {
        let page = self.follow(params).await;
        assert_eq!(page.status, 200, "{page:?}");
        origin(self.submit(&page, account, "allow").await.code())
    }
}

/// What a code for [`BACK`] began with.
pub(crate) fn origin(code: String) -> Origin {
    Origin {
        code,
        redirect_uri: BACK.to_owned(),
        business_id: None,
    }
}

async fn seen(request: reqwest::RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let location = response.headers().get("location");
    let location = location.map(|to| Url::parse(to.to_str().unwrap()).unwrap());
    Seen {
        status: response.status().as_u16(),
        location,
        body: response.text().await.unwrap(),
    }
}

/// A client that notes how it is called: method, path and query, body.
pub(crate) struct Client {
    pub(crate) url: String,
    called: Arc<Mutex<Vec<(String, String, String)>>>,
}

/// How a [`Client`] answers.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) status: u16,
    pub(crate) after: Duration,
    /// The first so many calls are answered 500.
    pub(crate) fails: usize,
}

impl Manner {
    pub(crate) const OK: Manner = Manner {
        status: 200,
        after: Duration::ZERO,
        fails: 0,
    };
}

type Noted = (Arc<Mutex<Vec<(String, String, String)>>>, Manner);

impl Client {
    pub(crate) async fn listening(manner: Manner) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/called", listener.local_addr().unwrap());
        let called = Arc::default();
        let app = Router::new()
            .fallback(note)
            .with_state((Arc::clone(&called), manner));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Client { url, called }
    }

    /// The calls, once there are so many.
    pub(crate) async fn calls(&self, at_least: usize) -> Vec<(String, String, String)> {
        loop {
            let called = self.called.lock().unwrap().clone();
            if called.len() >= at_least {
                return called;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn note(
    State((called, manner)): State<Noted>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let body = String::from_utf8_lossy(&body).into_owned();
    let before = {
        let mut called = called.lock().unwrap();
        called.push((method.to_string(), uri.to_string(), body));
        called.len() - 1
    };
    tokio::time::sleep(manner.after).await;
    let status = if before < manner.fails {
        500
    } else {
        manner.status
    };
    (StatusCode::from_u16(status).unwrap(), "{\"url\":\"x\"}")
}
