use super::*;
use serde_json::json;

fn description(changes: serde_json::Value) -> Description {
    let mut all = json!({
        "name": "test",
        "token": { "url": "https://as.example/token" },
        "vars": { "shop": { "format": "dns-label" }, "region": { "default": "eu" } },
    });
    for (key, value) in changes.as_object().expect("an object") {
        all[key] = value.clone();
    }
    serde_json::from_value(all).expect("a description")
}

fn tokens() -> TokenSet {
    TokenSet {
        access_token: Secret::new("at"),
        refresh_token: Some(Secret::new("rt/1+2 &=é")),
        token_type: None,
        scope: None,
        extra: BTreeMap::new(),
        code: Some(Secret::new("co&de")),
    }
}

fn build(description: &Description) -> Result<TokenRequest, RequestError> {
    build_with(description, &[], Some("s:e%c/ret"))
}

fn build_with(
    description: &Description,
    vars: &[(&str, &str)],
    secret: Option<&str>,
) -> Result<TokenRequest, RequestError> {
    let secret = secret.map(Secret::new);
    let scopes = ["a".to_owned(), "b".to_owned()];
    let registration = Registration {
        client_id: "my id",
        client_secret: secret.as_ref(),
        redirect_uri: Some("https://www.example.com/"),
        scopes: &scopes,
        unencoded: false,
    };
    let vars = vars
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    refresh(description, &registration, &vars, &tokens())
}

fn header<'r>(request: &'r TokenRequest, name: &str) -> Option<&'r str> {
    let mut found = request.headers.iter().filter(|(n, _)| n == name);
    let value = found.next().map(|(_, v)| v.expose());
    assert!(found.next().is_none(), "{name} is there twice");
    value
}

fn params(text: &str) -> BTreeMap<String, String> {
    let mut params = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let before = params.insert(name.into_owned(), value.into_owned());
        assert_eq!(before, None, "RFC 6749 §3.2: no parameter twice");
    }
    params
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

const BARE: Registration<'_> = Registration {
    client_id: "id",
    client_secret: None,
    redirect_uri: None,
    scopes: &[],
    unencoded: false,
};

const PLAIN: [(&str, &str); 2] = [
    ("grant_type", "refresh_token"),
    ("refresh_token", "rt/1+2 &=é"),
];

#[test]
fn form_with_basic_is_the_default() {
    let request = build(&description(json!({}))).expect("builds");
    assert_eq!(request.url.as_str(), "https://as.example/token");
    assert_eq!(
        request.body.expose(),
        "grant_type=refresh_token&refresh_token=rt%2F1%2B2+%26%3D%C3%A9"
    );
    assert_eq!(
        header(&request, "content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(header(&request, "accept"), Some("application/json"));
    // "my+id:s%3Ae%25c%2Fret": RFC 6749 §2.3.1 encodes both before they are joined.
    assert_eq!(
        header(&request, "authorization"),
        Some("Basic bXkraWQ6cyUzQWUlMjVjJTJGcmV0")
    );
}

#[test]
fn the_client_in_the_body() {
    let d = description(
        json!({ "token": { "url": "https://as.example/token?v=2", "client": { "auth": "body" } } }),
    );
    let request = build(&d).expect("builds");
    let mut expected = owned(&PLAIN);
    expected.extend(owned(&[
        ("client_id", "my id"),
        ("client_secret", "s:e%c/ret"),
    ]));
    assert_eq!(params(request.body.expose()), expected);
    assert_eq!(request.url.as_str(), "https://as.example/token?v=2");
    assert_eq!(header(&request, "authorization"), None);
}

#[test]
fn a_json_body() {
    let d = description(json!({
        "token": { "url": "https://as.example/token", "body": "json", "client": { "auth": "body" } },
    }));
    let request = build(&d).expect("builds");
    let body: serde_json::Value = serde_json::from_str(request.body.expose()).expect("JSON");
    assert_eq!(
        body,
        json!({
            "grant_type": "refresh_token", "refresh_token": "rt/1+2 &=é",
            "client_id": "my id", "client_secret": "s:e%c/ret",
        })
    );
    assert_eq!(header(&request, "content-type"), Some("application/json"));
}

#[test]
fn everything_in_the_query() {
    let d = description(json!({
        "token": { "url": "https://as.example/token?v=2", "body": "query", "client": { "auth": "query" } },
    }));
    let request = build(&d).expect("builds");
    let mut expected = owned(&PLAIN);
    expected.extend(owned(&[
        ("v", "2"),
        ("client_id", "my id"),
        ("client_secret", "s:e%c/ret"),
    ]));
    assert_eq!(params(request.url.query().unwrap_or_default()), expected);
    assert!(request.body.is_empty());
    assert_eq!(header(&request, "content-type"), None);
}

#[test]
fn only_the_client_in_the_query() {
    let d = description(json!({
        "token": { "url": "https://as.example/token", "client": { "auth": "query" } },
    }));
    let request = build(&d).expect("builds");
    assert_eq!(params(request.body.expose()), owned(&PLAIN));
    assert_eq!(
        params(request.url.query().unwrap_or_default()),
        owned(&[("client_id", "my id"), ("client_secret", "s:e%c/ret")])
    );
}

#[test]
fn a_client_without_a_secret_is_public() {
    for auth in ["basic", "body", "none"] {
        let d = description(
            json!({ "token": { "url": "https://as.example/token", "client": { "auth": auth } } }),
        );
        let request = build_with(&d, &[], None).expect("builds");
        let mut expected = owned(&PLAIN);
        expected.extend(owned(&[("client_id", "my id")]));
        assert_eq!(params(request.body.expose()), expected, "{auth}");
        assert_eq!(header(&request, "authorization"), None, "{auth}");
    }
}

#[test]
fn params_are_filled_and_refresh_wins() {
    let d = description(json!({
        "token": {
            "url": "https://as.example/token",
            "params": { "format": "json", "audience": "{region}", "lang": "" },
            "headers": { "X-Client": "{client_id}", "Accept": "application/vnd.x+json" },
        },
        "refresh": {
            "url": "https://{shop}.as.example/refresh",
            "params": { "code": "{code}", "redirect_uri": "{redirect_uri}", "scope": "{scope}", "format": "JSON" },
            "headers": { "X-Shop": "{shop}" },
        },
    }));
    let request = build_with(&d, &[("shop", "shop-17")], Some("s")).expect("builds");
    assert_eq!(request.url.as_str(), "https://shop-17.as.example/refresh");
    let mut expected = owned(&PLAIN);
    expected.extend(owned(&[
        ("code", "co&de"),
        ("redirect_uri", "https://www.example.com/"),
        ("scope", "a b"),
        ("format", "JSON"),
        ("audience", "eu"),
        ("lang", ""),
    ]));
    assert_eq!(params(request.body.expose()), expected);
    assert_eq!(header(&request, "x-client"), Some("my id"));
    assert_eq!(header(&request, "x-shop"), Some("shop-17"));
    assert_eq!(header(&request, "accept"), Some("application/vnd.x+json"));
}

#[test]
fn what_comes_out_empty_is_left_out() {
    let d = description(json!({ "refresh": { "params": { "scope": "{scope}" } } }));
    let request = refresh(&d, &BARE, &BTreeMap::new(), &tokens()).expect("builds");
    assert!(!params(request.body.expose()).contains_key("scope"));
}

#[test]
fn basic_may_go_as_it_is() {
    let sent = |auth: &str| {
        let d = description(
            json!({ "token": { "url": "https://as.example/token", "client": { "auth": auth } } }),
        );
        let request = build(&d).expect("builds");
        let basic = header(&request, "authorization")
            .expect("a header")
            .to_owned();
        let coded = basic.strip_prefix("Basic ").expect("Basic").to_owned();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, coded);
        String::from_utf8(bytes.expect("base64")).expect("text")
    };
    assert_eq!(sent("basic"), "my+id:s%3Ae%25c%2Fret");
    assert_eq!(sent("basic-raw"), "my id:s:e%c/ret");
}

#[test]
fn a_missing_value_is_named() {
    let d = description(json!({ "refresh": { "params": { "code": "{code}" } } }));
    let bare = TokenSet {
        code: None,
        ..tokens()
    };
    let error = refresh(&d, &BARE, &BTreeMap::new(), &bare).expect_err("no code");
    assert_eq!(
        error.to_string(),
        "refresh.params.code needs {code}, for which the grant has no value"
    );
}

#[test]
fn vars_are_checked_again() {
    let d = description(json!({ "token": { "url": "https://{shop}.as.example/token" } }));
    for bad in ["evil.example/x?", "evil.example#", "a.b", "xn--a", "", "A"] {
        let error = build_with(&d, &[("shop", bad)], Some("s")).expect_err(bad);
        assert!(matches!(error, RequestError::Variable { .. }), "{error}");
    }
    let error = build(&d).expect_err("no shop");
    assert!(matches!(error, RequestError::Unfilled { .. }), "{error}");
    // A value that the description does not declare never reaches the URL.
    let d = description(json!({ "token": { "url": "https://{other}.as.example/token" } }));
    let error = build_with(&d, &[("other", "x")], Some("s")).expect_err("not declared");
    assert!(matches!(error, RequestError::Unfilled { .. }), "{error}");
}

#[test]
fn secrets_go_over_tls_only() {
    for url in [
        "http://as.example/token",
        "ftp://as.example/token",
        "https://u:p@as.example/token",
    ] {
        let error = build(&description(json!({ "token": { "url": url } }))).expect_err(url);
        assert!(matches!(error, RequestError::Endpoint(_)), "{error}");
    }
    build(&description(
        json!({ "token": { "url": "http://127.0.0.1:8080/token" } }),
    ))
    .expect("loopback is fine");
}

#[test]
fn headers_cannot_be_split() {
    for (name, value) in [
        ("x-a", "b\r\nhost: evil"),
        ("x-a", "b\u{7f}"),
        ("x-a", "é"),
        ("x a", "b"),
        ("", "b"),
        ("Content-Length", "0"),
        ("Host", "evil"),
    ] {
        let d = description(json!({ "refresh": { "headers": { name: value } } }));
        let error = build(&d).expect_err(value);
        assert!(matches!(error, RequestError::Header { .. }), "{error}");
    }
    // A value that a template brings in is checked too.
    let d = description(json!({ "refresh": { "headers": { "x-code": "{code}" } } }));
    let split = TokenSet {
        code: Some(Secret::new("a\nb")),
        ..tokens()
    };
    assert!(refresh(&d, &BARE, &BTreeMap::new(), &split).is_err());
}

#[test]
fn nothing_to_present() {
    let nothing = |d: &Description, refresh_token: Option<Secret>| {
        let tokens = TokenSet {
            refresh_token,
            ..tokens()
        };
        refresh(d, &BARE, &BTreeMap::new(), &tokens) == Err(RequestError::NothingToPresent)
    };
    let d = description(json!({}));
    assert!(nothing(&d, None));
    assert!(nothing(&d, Some(Secret::new(""))));
    let none = description(json!({ "refresh": { "with": "none" } }));
    assert!(nothing(&none, Some(Secret::new("rt"))));
}

#[test]
fn a_device_asks_with_parameters_of_its_own() {
    let d = description(json!({
        "token": { "url": "https://as.example/token", "params": { "audience": "api" } },
        "device": { "url": "https://as.example/device", "params": { "prompt": "consent" } },
    }));
    let asked = device_authorization(&d, &BARE, &BTreeMap::new()).expect("builds");
    let expected = [
        ("audience", "api"),
        ("client_id", "id"),
        ("prompt", "consent"),
    ];
    assert_eq!(params(asked.body.expose()), owned(&expected));
    let polled = device_code(&d, &BARE, &BTreeMap::new(), &Secret::new("dc")).expect("builds");
    assert_eq!(params(polled.body.expose()).get("prompt"), None);
}

#[test]
fn origins_write_the_port_out() {
    let origin = |url: &str| {
        let d = description(json!({ "token": { "url": url } }));
        token_origin(&d, &owned(&[("shop", "s1")])).expect("an origin")
    };
    assert_eq!(
        origin("https://{shop}.as.example/t?x=1"),
        "https://s1.as.example:443"
    );
    assert_eq!(
        origin("https://AS.example:8443/t"),
        "https://as.example:8443"
    );
    assert_eq!(origin("http://[::1]:80/t"), "http://[::1]:80");
}

#[test]
fn debug_shows_no_secret() {
    let d = description(json!({
        "token": { "url": "https://as.example/token", "body": "query", "client": { "auth": "query" } },
        "refresh": { "params": { "code": "{code}" } },
    }));
    let request = build(&d).expect("builds");
    let secrets = ["rt%2F1", "co%26de", "s%3Ae", "my%20id"];
    for secret in secrets {
        assert!(request.url.as_str().contains(secret), "{secret}");
    }
    let basic = build(&description(json!({}))).expect("builds");
    let shown = format!("{request:?} {basic:?}");
    for secret in secrets.iter().chain(&["rt/1", "bXkra"]) {
        assert!(!shown.contains(secret), "{shown}");
    }
}
