//! The client's side of a code flow, without refreshd: what shows that the servers and
//! the browser work, and that a failure with refreshd is its own.

use super::python::RealServer;
use crate::http::Http;
use crate::support::PATIENCE;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use url::Url;

/// What the callback says to the person.
pub(super) const GOODBYE: &str = "You can close this window.";

/// The loopback address that a browser is sent back to.
pub(super) struct Callback {
    pub(super) url: String,
    calls: Receiver<BTreeMap<String, String>>,
}

impl Callback {
    /// Listens on a port of its own until the test ends.
    pub(super) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (send, calls) = channel();
        let url = format!("{origin}/callback");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (origin, send) = (origin.clone(), send.clone());
                // A browser connects ahead and may say nothing; it also asks for an icon.
                thread::spawn(move || {
                    let called = Url::parse(&format!("{origin}{}", answer(&stream)?)).ok()?;
                    let ours = called.path() == "/callback";
                    ours.then(|| send.send(pairs(&called)))
                });
            }
        });
        Callback { url, calls }
    }

    /// What came with the next call.
    pub(super) fn called(&self) -> BTreeMap<String, String> {
        self.calls.recv_timeout(PATIENCE).expect("no callback came")
    }
}

/// Answers a request; its target.
fn answer(mut stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    let length = GOODBYE.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{GOODBYE}"
    );
    stream.write_all(answer.as_bytes()).ok()?;
    first.split(' ').nth(1).map(str::to_owned)
}

fn pairs(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// One request for authorization by the web client.
pub(super) struct Flow<'a> {
    server: &'a RealServer,
    callback: &'a str,
    verifier: String,
    pub(super) state: String,
}

impl<'a> Flow<'a> {
    pub(super) fn new(server: &'a RealServer, callback: &'a str) -> Self {
        Flow {
            server,
            callback,
            verifier: random(),
            state: random(),
        }
    }

    /// Where the person is sent to.
    pub(super) fn url(&self, scope: &str, more: &[(&str, &str)]) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier));
        let mut url = Url::parse(self.server.member("authorize_url")).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", self.server.member("web_client_id"))
            .append_pair("redirect_uri", self.callback)
            .append_pair("scope", scope)
            .append_pair("state", &self.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        url.into()
    }

    /// Exchanges the code of a callback.
    pub(super) fn exchange(&self, http: &Http, code: &str) -> (u16, Value) {
        self.exchange_with(http, code, &self.verifier)
    }

    /// The same with a verifier that another flow may have made.
    pub(super) fn exchange_with(&self, http: &Http, code: &str, verifier: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.callback),
            ("code_verifier", verifier),
        ];
        http.form(self.server.member("token_url"), self.credentials(), &form)
    }

    /// Exchanges a refresh token.
    pub(super) fn refresh(&self, http: &Http, token: &str) -> (u16, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        http.form(self.server.member("token_url"), self.credentials(), &form)
    }

    fn credentials(&self) -> Option<(&str, &str)> {
        let member = |name| self.server.member(name);
        Some((member("web_client_id"), member("web_client_secret")))
    }
}

fn random() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    URL_SAFE_NO_PAD.encode(bytes)
}
