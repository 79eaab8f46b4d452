use super::*;
use serde_json::json;

fn discovered(issuer: &str, more: Value) -> Result<Discovered, DiscoveryError> {
    let mut document = json!({
        "issuer": issuer,
        "token_endpoint": "https://login.example.com/token",
    });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    let url = Url::parse("https://login.example.com/.well-known/x").unwrap();
    read(issuer, url, document.to_string().as_bytes())
}

const ISSUER: &str = "https://login.example.com";

fn file(more: Value) -> String {
    let found = discovered(ISSUER, more).unwrap();
    found.provider_file(None).unwrap()
}

#[test]
fn the_well_known_part_goes_between_host_and_path() {
    let of = |issuer| -> Vec<String> {
        let places = places(issuer).unwrap();
        places.iter().map(Url::to_string).collect()
    };
    assert_eq!(
        of("https://a.example/tenant/1/"),
        [
            "https://a.example/.well-known/oauth-authorization-server/tenant/1",
            "https://a.example/tenant/1/.well-known/openid-configuration",
            "https://a.example/.well-known/openid-configuration/tenant/1",
        ]
    );
    assert_eq!(of("https://a.example").len(), 2);
    for bad in [
        "http://a.example",
        "ftp://a.example",
        "https://u:p@a.example",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://a.example/.well-known/openid-configuration",
        "a.example",
        "file:///etc/passwd",
    ] {
        assert!(places(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_issuer_must_be_equal_to_the_letter() {
    let url = Url::parse(ISSUER).unwrap();
    let body = json!({"issuer": "https://login.example.com/\u{1b}[2J"}).to_string();
    let error = read(ISSUER, url.clone(), body.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\\u{1b}") && !error.contains('\u{1b}'),
        "{error}"
    );
    let body = json!({"issuer": "https://login.example.com/"}).to_string();
    let error = read(ISSUER, url.clone(), body.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("Only the '/'"), "{error}");
    for body in ["", "[]", "{}", "{\"issuer\":7}", "\u{fffd}"] {
        assert!(
            read(ISSUER, url.clone(), body.as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn no_member_can_write_toml_of_its_own() {
    let evil = "x\"\n[token]\nurl = \"https://evil.example/\"\r\u{1b}[31m\u{202e}";
    let text = file(json!({
        "authorization_endpoint": format!("https://login.example.com/{evil}"),
        "revocation_endpoint": format!("https://login.example.com/a?{evil}"),
        "service_documentation": format!("https://docs.example/{evil}"),
        "scopes_supported": [evil, "openid"],
        "token_endpoint_auth_methods_supported": [evil],
        "grant_types_supported": [evil],
    }));
    let parsed: toml_edit::DocumentMut = text.parse().unwrap();
    assert_eq!(
        parsed["token"]["url"].as_str(),
        Some("https://login.example.com/token")
    );
    let known = ["name", "docs", "authorize", "token", "rotation", "revoke"];
    for (key, _) in parsed.iter() {
        assert!(known.contains(&key), "{key} in {text}");
    }
    let odd = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
    assert_eq!(text.chars().find(odd), None);
    let json = discovered(ISSUER, json!({"scopes_supported": [evil, "é\u{9b}"]}))
        .unwrap()
        .json();
    assert!(
        json.chars().all(|c| c == '\n' || (' '..='~').contains(&c)),
        "{json}"
    );
    let again: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(again["members"]["scopes_supported"][0], evil);
}

#[test]
fn endpoints_that_cannot_be_used_are_left_out_or_refused() {
    let text = file(json!({
        "authorization_endpoint": "https://elsewhere.example/a",
        "revocation_endpoint": "http://login.example.com/revoke",
        "userinfo_endpoint": "https://login.example.com/{code}?a={code}",
    }));
    assert!(text.contains(
        "WARNING: the authorization_endpoint is not at the issuer but at https://elsewhere.example"
    ));
    assert!(text.contains("WARNING: revocation_endpoint cannot be used"));
    assert!(text.contains("WARNING: userinfo_endpoint cannot be used"));
    let parsed: toml_edit::DocumentMut = text.parse().unwrap();
    assert!(parsed.get("revoke").is_none() && parsed.get("verify").is_none());
    for token in [
        json!("http://login.example.com/token"),
        json!(null),
        json!(7),
        json!("https://a.example/?{x}"),
    ] {
        let found = discovered(ISSUER, json!({"token_endpoint": token})).unwrap();
        assert!(found.provider_file(None).is_err(), "{token}");
    }
}

#[test]
fn what_it_announces_becomes_keys() {
    let text = file(json!({
        "authorization_endpoint": "https://login.example.com/a",
        "code_challenge_methods_supported": ["plain", "S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"],
        "grant_types_supported": ["client_credentials"],
        "revocation_endpoint": "https://login.example.com/revoke",
        "device_authorization_endpoint": "https://login.example.com/device",
        "authorization_response_iss_parameter_supported": true,
    }));
    let parsed: toml_edit::DocumentMut = text.parse().unwrap();
    assert_eq!(parsed["authorize"]["issuer"].as_str(), Some(ISSUER));
    assert_eq!(
        parsed["device"]["url"].as_str(),
        Some("https://login.example.com/device")
    );
    assert_eq!(parsed["name"].as_str(), Some("login.example.com"));
    assert_eq!(parsed["authorize"]["pkce"].as_str(), Some("S256"));
    assert_eq!(parsed["token"]["client"]["auth"].as_str(), Some("body"));
    assert_eq!(
        parsed["refresh"]["with"].as_str(),
        Some("client_credentials")
    );
    assert_eq!(
        parsed["revoke"]["url"].as_str(),
        Some("https://login.example.com/revoke")
    );
}

#[test]
fn a_refresh_token_that_needs_consent_is_asked_for() {
    let parsed = |scopes: Value| -> toml_edit::DocumentMut {
        let text = file(json!({
            "authorization_endpoint": "https://login.example.com/a",
            "code_challenge_methods_supported": ["plain"],
            "scopes_supported": scopes,
        }));
        text.parse().unwrap()
    };
    let offline = parsed(json!(["openid", "offline_access"]));
    assert_eq!(
        offline["authorize"]["params"]["prompt"].as_str(),
        Some("consent")
    );
    assert_eq!(offline["authorize"]["pkce"].as_str(), Some("plain"));
    let other = parsed(json!(["openid"]));
    assert!(other["authorize"].get("params").is_none());
}
