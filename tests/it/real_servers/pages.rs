//! People who log in and say yes or no on the servers' own pages, in a real browser.

use super::flow::{Callback, Flow, GOODBYE};
use super::python::RealServer;
use crate::browser::Browser;
use crate::http::Http;
use serde_json::Value;
use std::collections::BTreeMap;

/// A server with pages: how to start it, what to ask it for, what a person does there.
pub(crate) struct Site {
    pub(crate) script: &'static str,
    pub(crate) scope: &'static str,
    /// What its authorize URL needs beyond the standard parameters.
    pub(crate) more: &'static [(&'static str, &'static str)],
    log_in: fn(&Browser, &str, &str),
    allow: &'static str,
    deny: &'static str,
}

/// Django's login, then the toolkit's consent form.
pub(crate) const DOT: Site = Site {
    script: "dot_server.py",
    scope: "openid read",
    more: &[],
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
    check(&server, &flow, &came);
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
    assert_ne!(second["refresh_token"], first["refresh_token"], "it rotates");
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
