//! The documented providers: the exact requests that their files lead to, in the
//! reading that is the default and in the other one.

use super::*;
use refreshd_core::grant::TokenSet;
use refreshd_core::provider::request::{
    Registration, RequestError, TokenRequest, client_credentials, refresh,
};

const BASIC: &str = "Basic aWQ6aHVudGVyMg==";

/// The client `c` of a provider, with lines of its own.
fn client(provider: &str, more: &str) -> Arc<Client> {
    let text = format!(
        "[clients.c]\nprovider = \"{provider}\"\nclient_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\n\
         redirect_uri = \"https://www.example.com/\"\n{more}"
    );
    let files = [("refreshd.toml", text.as_str())];
    let case = Case {
        files: &files,
        ..Case::default()
    };
    case.config().clients["c"].clone()
}

fn tokens() -> TokenSet {
    TokenSet {
        access_token: Secret::new("at"),
        refresh_token: Some(Secret::new("rt/1")),
        code: Some(Secret::new("co de")),
        ..TokenSet::none()
    }
}

fn registration(client: &Client) -> Registration<'_> {
    Registration {
        client_id: &client.client_id,
        client_secret: client.client_secret.as_ref(),
        redirect_uri: client.redirect_uri.as_deref(),
        scopes: &client.scopes,
        unencoded: false,
    }
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(owned).collect()
}

/// What a refresh sends: URL, content type, authorization, body.
fn wire(request: &TokenRequest) -> [String; 4] {
    let header = |name: &str| {
        let found = request.headers.iter().find(|(n, _)| n == name);
        found.map_or(String::new(), |(_, v)| v.expose().to_owned())
    };
    [
        request.url.to_string(),
        header("content-type"),
        header("authorization"),
        request.body.expose().to_owned(),
    ]
}

#[track_caller]
fn refreshes(client: &Client, given: &[(&str, &str)], expected: [&str; 4]) {
    let request = refresh(
        &client.description,
        &registration(client),
        &vars(given),
        &tokens(),
    );
    assert_eq!(wire(&request.expect("it can be built")), expected);
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn retently() {
    let body = "grant_type=refresh_token&refresh_token=rt%2F1&redirect_uri=https%3A%2F%2Fwww.example.com%2F\
                &client_id=id&client_secret=hunter2";
    let url = "https://app.retently.com/api/oauth/token";
    refreshes(&client("retently", ""), &[], [url, FORM, "", body]);
}

#[test]
fn reteno_wants_the_code_again() {
    let body = "grant_type=refresh_token&refresh_token=rt%2F1&code=co+de&redirect_uri=https%3A%2F%2Fwww.example.com%2F";
    let url = "https://uaa.reteno.com/uaa/oauth/token";
    let client = client("reteno", "");
    refreshes(&client, &[], [url, FORM, BASIC, body]);
    assert!(client.description.refresh_wants_code());
    let lifetime = &client.description.lifetime;
    assert_eq!(lifetime.access.map(|d| d.as_secs()), Some(172_800));
    assert_eq!(lifetime.refresh.map(|d| d.as_secs()), Some(2_592_000));
}

#[test]
fn reteno_as_its_text_has_it() {
    let other = "override = { token = { url = \"https://reteno.com/uaa/oauth/token\", body = \"query\", client = { auth = \"query\" } } }";
    let url = "https://reteno.com/uaa/oauth/token?grant_type=refresh_token&refresh_token=rt%2F1&code=co%20de\
               &redirect_uri=https%3A%2F%2Fwww.example.com%2F&client_id=id&client_secret=hunter2";
    refreshes(&client("reteno", other), &[], [url, "", "", ""]);
}

#[test]
fn retm_has_a_host_for_each_business() {
    let body = r#"{"client_id":"id","client_secret":"hunter2","grant_type":"refresh_token","refresh_token":"rt/1"}"#;
    let json = "application/json";
    let production = client("retm", "");
    let url = "https://shop-17.retm.sa/api/oAuth/token";
    let business = [("business_id", "shop-17")];
    refreshes(&production, &business, [url, json, "", body]);
    let url = "https://stg.retm.sa/api/oAuth/token";
    refreshes(&client("retm-staging", ""), &[], [url, json, "", body]);
}

#[test]
fn a_business_id_is_one_dns_label() {
    let client = client("retm", "");
    let long = "a".repeat(64);
    for bad in [
        "a.b", "a/b", "a@b", "xn--a", "", &long, "-a", "a-", "A", "a b", "a:1", "a?", "a#", "é",
        "a%2e",
    ] {
        let vars = vars(&[("business_id", bad)]);
        let registration = registration(&client);
        let error = refresh(&client.description, &registration, &vars, &tokens());
        let refused = matches!(error, Err(RequestError::Variable { .. }));
        assert!(refused, "{bad:?}: {error:?}");
    }
    let at_most = "a".repeat(63);
    let vars = vars(&[("business_id", &at_most)]);
    refresh(
        &client.description,
        &registration(&client),
        &vars,
        &tokens(),
    )
    .expect("63 are fine");
}

#[test]
fn blynk_in_a_form_with_basic() {
    let client = client("blynk", "");
    let server = [("server_address", "blynk.cloud")];
    let url = "https://blynk.cloud/oauth2/token";
    let body = "grant_type=refresh_token&refresh_token=rt%2F1";
    refreshes(&client, &server, [url, FORM, BASIC, body]);
    let anew = client_credentials(&client.description, &registration(&client), &vars(&server));
    let expected = [url, FORM, BASIC, "grant_type=client_credentials"];
    assert_eq!(wire(&anew.expect("it can be built")), expected);
}

#[test]
fn blynk_in_the_query() {
    let other = "scopes = [\"a\", \"b\"]\noverride = { token = { body = \"query\", client = { auth = \"query\" } } }";
    let client = client("blynk", other);
    let server = [("server_address", "eu.blynk.example:8443")];
    let base = "https://eu.blynk.example:8443/oauth2/token?grant_type=";
    let url =
        format!("{base}refresh_token&refresh_token=rt%2F1&client_id=id&client_secret=hunter2");
    refreshes(&client, &server, [&url, "", "", ""]);
    let anew = client_credentials(&client.description, &registration(&client), &vars(&server));
    let url = format!("{base}client_credentials&scope=a%20b&client_id=id&client_secret=hunter2");
    assert_eq!(wire(&anew.expect("it can be built")), [&url, "", "", ""]);
}

#[test]
fn vcita_has_nothing_to_refresh() {
    let client = client("vcita", "");
    let error = refresh(
        &client.description,
        &registration(&client),
        &BTreeMap::new(),
        &tokens(),
    );
    assert_eq!(error, Err(RequestError::NothingToPresent));
    let lifetime = &client.description.lifetime;
    assert_eq!(lifetime.access.map(|d| d.as_secs()), Some(631_152_000));
    assert!(lifetime.from_created_at);
}

#[test]
fn contradictions_are_told() {
    let main = "[clients.c]\nprovider = \"blynk\"\nclient_id = \"id\"\nclient_secret = { env = \"SECRET\" }\n";
    let case = |more: &str| {
        let text = format!("{main}{more}");
        let files = [("refreshd.toml", text.as_str())];
        Case {
            files: &files,
            ..Case::default()
        }
        .problems()
        .join("\n")
    };
    let told = case("override = { refresh = { with = \"none\" } }");
    assert!(told.contains("refresh.fallback: it goes with"), "{told}");
    let told = case("override = { lifetime = { refresh = \"1h\" } }");
    assert!(told.contains("lifetime.refresh says otherwise"), "{told}");
    let told = case("override = { token = { client = { auth = \"none\" } } }");
    assert!(told.contains("client credentials need a secret"), "{told}");
}

#[test]
fn nothing_is_renewed_by_a_password() {
    let text = "[clients.c]\nprovider = \"blynk\"\nclient_id = \"id\"\n\
                client_secret = { env = \"SECRET\" }\noverride.refresh.with = \"password\"\n";
    let files = [("refreshd.toml", text)];
    let case = Case {
        files: &files,
        ..Case::default()
    };
    let told = case.problems().join("\n");
    assert!(
        told.contains("password") && told.contains("client_credentials"),
        "{told}"
    );
}

#[test]
fn what_ties_an_answer_to_its_request_cannot_be_fixed() {
    let main = "[clients.c]\nprovider = \"retently\"\nclient_id = \"id\"\nredirect_uri = \"https://a/\"\n\
                client_secret = { env = \"SECRET\" }\n";
    for (param, told) in [
        ("state", true),
        ("response_type", true),
        ("nonce", true),
        ("code_challenge", true),
        ("prompt", false),
    ] {
        let text = format!("{main}override.authorize.params = {{ {param} = \"x\" }}\n");
        let files = [("refreshd.toml", text.as_str())];
        let case = Case {
            files: &files,
            ..Case::default()
        };
        let problems = case.problems().join("\n");
        let anew = problems.contains(&format!("{param} is made anew for each authorization"));
        assert_eq!(anew, told, "{param}: {problems}");
    }
}
