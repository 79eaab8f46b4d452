//! People who log in and say yes or no on the servers' own pages, in a real browser.

use super::flow::{Callback, Flow, GOODBYE};
use super::python::RealServer;
use crate::browser::Browser;
use crate::http::Http;
use crate::support::wait_for;
use serde_json::Value;
use std::collections::BTreeMap;

/// A server with pages: how to start it, what to ask it for, what a person does there.
pub(crate) struct Site {
    pub(crate) script: &'static str,
    pub(crate) scope: &'static str,
    /// What its authorize URL needs beyond the standard parameters.
    pub(crate) more: &'static [(&'static str, &'static str)],
    /// Whether it says whose a refusal is too, as RFC 9207 wants it.
    refuses_by_name: bool,
    /// What confirms a device's code, before anyone logs in.
    confirm: Option<&'static str>,
    log_in: fn(&Browser, &str, &str),
    allow: &'static str,
    deny: &'static str,
}

/// Django's login, then the toolkit's consent form.
pub(crate) const DOT: Site = Site {
    script: "dot_server.py",
    scope: "openid read",
    more: &[],
    refuses_by_name: false,
    confirm: None,
    log_in: |browser, name, password| {
        browser.fill("#id_username", name);
        browser.fill("#id_password", password);
        browser.click("[name=login]");
    },
    allow: "#authorizationForm [name=allow]",
    deny: "#authorizationForm [type=submit]:not([name])",
};

/// One page for both.
pub(crate) const AUTHLIB: Site = Site {
    script: "authlib_server.py",
    scope: "read",
    more: &[],
    refuses_by_name: true,
    confirm: None,
    log_in: |browser, name, password| {
        browser.fill("[name=username]", name);
        browser.fill("[name=password]", password);
    },
    allow: "[value=allow]",
    deny: "[value=deny]",
};

/// node-oidc-provider's interactions; no refresh token without `prompt=consent`.
pub(crate) const OIDC: Site = Site {
    script: "node/oidc_server.mjs",
    scope: "openid offline_access read",
    more: &[("prompt", "consent")],
    refuses_by_name: true,
    confirm: Some("[autofocus][form='op.deviceConfirmForm']"),
    log_in: |browser, name, password| {
        browser.fill("[name=login]", name);
        browser.fill("[name=password]", password);
        browser.click("form:has([name=login]) [type=submit]");
    },
    allow: "form:has([value=consent]) [type=submit]",
    deny: "a[href$='/abort']",
};

impl Site {
    /// Does what a person does who came by the authorize URL and agrees.
    pub(crate) fn approve(&self, browser: &Browser, name: &str, password: &str) {
        (self.log_in)(browser, name, password);
        browser.click(self.allow);
    }

    /// The same of one who does not.
    pub(crate) fn refuse(&self, browser: &Browser, name: &str, password: &str) {
        (self.log_in)(browser, name, password);
        browser.click(self.deny);
    }

    /// Does what a person does who came by a device's `verification_uri_complete` and agrees.
    pub(crate) fn approve_device(&self, browser: &Browser, name: &str, password: &str) {
        if let Some(confirm) = self.confirm {
            browser.click(confirm);
        }
        self.approve(browser, name, password);
    }
}

/// A person approves, another refuses, and a third time it is somebody else's account.
fn in_and_out(site: &Site) {
    let server = RealServer::start(site.script, &[]);
    let password = server.member("password");
    let (browser, http, callback) = (Browser::start(), Http::new(), Callback::listen());

    let flow = Flow::new(&server, &callback.url);
    browser.go(&flow.url(site.scope, site.more));
    site.approve(&browser, "alice", password);
    let came = callback.called();
    browser.wait_for_text(GOODBYE);
    browser.wait_for_url("the callback's address", |url| {
        url.starts_with(&callback.url)
    });
    check(&server, &flow, &came);
    let other = Flow::new(&server, &callback.url);
    let (status, answer) = other.exchange(&http, &came["code"]);
    assert_eq!(status, 400, "another's verifier was taken: {answer}");
    assert_eq!(answer["error"], "invalid_grant", "{answer}");
    browser.forget();

    let flow = Flow::new(&server, &callback.url);
    browser.go(&flow.url(site.scope, site.more));
    site.approve(&browser, "alice", password);
    let came = callback.called();
    check(&server, &flow, &came);
    let alice = tokens(&server, &flow, &http, &came["code"]);
    let (status, answer) = flow.exchange(&http, &came["code"]);
    assert_eq!(status, 400, "a code was taken twice: {answer}");
    browser.forget();

    let flow = Flow::new(&server, &callback.url);
    browser.go(&flow.url(site.scope, site.more));
    site.refuse(&browser, "bob", password);
    let came = callback.called();
    assert_eq!(came["error"], "access_denied", "{came:?}");
    assert_eq!(came["state"], flow.state);
    let named = site.refuses_by_name.then_some(server.member("issuer"));
    assert_eq!(came.get("iss").map(String::as_str), named);
    browser.forget();

    let flow = Flow::new(&server, &callback.url);
    browser.go(&flow.url(site.scope, site.more));
    site.approve(&browser, "bob", password);
    let bob = tokens(&server, &flow, &http, &callback.called()["code"]);
    assert_ne!(alice, bob, "two people are two accounts");
}

/// What each redirect has to bring: our state, and whose it is (RFC 9207).
fn check(server: &RealServer, flow: &Flow<'_>, came: &BTreeMap<String, String>) {
    assert_eq!(came["state"], flow.state);
    assert_eq!(came["iss"], server.member("issuer"));
}

/// Exchanges the code, uses and refreshes what it gave; the account it belongs to.
fn tokens(server: &RealServer, flow: &Flow<'_>, http: &Http, code: &str) -> Value {
    let (status, first) = flow.exchange(http, code);
    assert_eq!(status, 200, "{first}");
    let account = account(server, http, &first);
    let refresh_token = first["refresh_token"].as_str().unwrap();
    let (status, second) = flow.refresh(http, refresh_token);
    assert_eq!(status, 200, "{second}");
    assert_ne!(
        second["refresh_token"], first["refresh_token"],
        "it rotates"
    );
    assert_eq!(self::account(server, http, &second), account);
    account
}

fn account(server: &RealServer, http: &Http, tokens: &Value) -> Value {
    let token = tokens["access_token"].as_str();
    let (status, person) = http.json(server.member("userinfo_url"), token);
    assert_eq!(status, 200, "{person}");
    assert!(person["sub"].is_string(), "{person}");
    person["sub"].clone()
}

#[test]
fn django_oauth_toolkit_lets_people_in() {
    in_and_out(&DOT);
}

#[test]
fn authlib_lets_people_in() {
    in_and_out(&AUTHLIB);
}

#[test]
fn node_oidc_provider_lets_people_in() {
    in_and_out(&OIDC);
}

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A device that asks, is told to wait, and gets its tokens once a person has agreed.
fn by_device(site: &Site, options: &[&str]) {
    let server = RealServer::start(site.script, options);
    let (browser, http) = (Browser::start(), Http::new());
    let client = server.member("native_client_id");
    let mut asked = vec![("client_id", client), ("scope", site.scope)];
    asked.extend(site.more);
    let (status, given) = http.form(server.member("device_url"), None, &asked);
    assert_eq!(status, 200, "{given}");
    let poll = || {
        let code = given["device_code"].as_str().unwrap();
        let form = [
            ("grant_type", DEVICE_CODE),
            ("client_id", client),
            ("device_code", code),
        ];
        http.form(server.member("token_url"), None, &form)
    };
    let (_, waiting) = poll();
    assert_eq!(waiting["error"], "authorization_pending");
    browser.go(given["verification_uri_complete"].as_str().unwrap());
    site.approve_device(&browser, "alice", server.member("password"));
    let mut tokens = Value::Null;
    wait_for("the device's tokens", || {
        let (status, answer) = poll();
        tokens = answer;
        status == 200
    });
    assert!(tokens["refresh_token"].is_string(), "{tokens}");
    assert_eq!(account(&server, &http, &tokens), "alice");
    let (status, again) = poll();
    assert_eq!(status, 400, "a device code was taken twice: {again}");
}

#[test]
fn devices_are_let_in() {
    by_device(&AUTHLIB, &["--device-interval", "0"]);
    by_device(&OIDC, &[]);
}
