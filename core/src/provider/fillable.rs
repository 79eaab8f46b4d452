//! Whether a description's parameters and headers can be sent: every `{name}` in them
//! is one that can be filled, and none takes the place of what the request itself says.

use super::Description;
use super::description::With;
use super::request::check_header;
use super::template;
use crate::text::printable;
use std::collections::BTreeMap;

/// What a refresh or a code's exchange knows besides the variables.
const OF_TOKEN: [&str; 4] = ["client_id", "redirect_uri", "scope", "code"];
/// What other requests know.
const OF_CLIENT: [&str; 3] = ["client_id", "redirect_uri", "scope"];
/// What a request presents, and no constant can be.
const PRESENTED: [&str; 3] = ["refresh_token", "code_verifier", "device_code"];

/// What cannot be sent: the key, and what to write instead.
pub(super) fn problems(description: &Description) -> Vec<(String, String)> {
    let (token, refresh) = (&description.token, &description.refresh);
    let empty = BTreeMap::new();
    let device = description.device.as_ref().map_or(&empty, |d| &d.params);
    let authorize = description.authorize.as_ref().map_or(&empty, |a| &a.params);
    let tables = [
        ("token.params", &token.params, &OF_TOKEN[..]),
        ("token.headers", &token.headers, &OF_TOKEN),
        ("refresh.params", &refresh.params, &OF_TOKEN),
        ("refresh.headers", &refresh.headers, &OF_TOKEN),
        ("device.params", device, &OF_CLIENT),
        ("authorize.params", authorize, &OF_CLIENT),
    ];
    let mut problems = Vec::new();
    for (table, values, known) in tables {
        for (name, template) in values {
            let key = || format!("{table}.{}", printable(name));
            let unknown = unknown(description, template, known);
            problems.extend(unknown.map(|problem| (key(), problem)));
            if table.ends_with("headers") {
                let why = check_header(name, template).err();
                problems.extend(why.map(|why| (key(), why.to_string())));
            }
        }
    }
    problems.extend(replaced(description));
    problems
}

/// The first `{name}` that nothing fills.
fn unknown(description: &Description, template: &str, known: &[&str]) -> Option<String> {
    let filled = template::fill(template, |name| {
        let known = known.contains(&name) || description.vars.contains_key(name);
        known.then(String::new)
    });
    let name = printable(&filled.err()?.0);
    let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    Some(format!(
        "nothing fills {{{name}}}; declare it as [vars.{name}], or use {}",
        known.join(", ")
    ))
}

/// Parameters that would silently take the place of what is presented, or of how.
fn replaced(description: &Description) -> Vec<(String, String)> {
    let (token, refresh) = (&description.token.params, &description.refresh.params);
    let tables = [("token.params", token), ("refresh.params", refresh)];
    let mut problems = Vec::new();
    for (table, params) in tables {
        let presented = PRESENTED.iter().filter(|name| params.contains_key(**name));
        problems.extend(presented.map(|name| {
            let why =
                format!("it would take the place of the {name} that is presented; take it out");
            (format!("{table}.{name}"), why)
        }));
    }
    let refreshes = refresh.contains_key("grant_type") || refresh_is(description, token);
    if token.contains_key("grant_type") && !refreshes {
        let why = "it would take the place of the refresh's own grant_type, too; write it under [refresh] params \
                   if it is for refreshes, or take it out";
        problems.push(("token.params.grant_type".to_owned(), why.to_owned()));
    }
    problems
}

/// Whether the `grant_type` of every token request is that of the renewal anyway.
fn refresh_is(description: &Description, token: &BTreeMap<String, String>) -> bool {
    let written = token.get("grant_type").map(String::as_str);
    match description.refresh.with {
        With::None => true,
        With::ClientCredentials => written == Some("client_credentials"),
        With::RefreshToken => written == Some("refresh_token") && description.authorize.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problems_of(changes: Value) -> Vec<String> {
        let mut all = json!({
            "name": "test",
            "authorize": { "url": "https://as.example/auth" },
            "token": { "url": "https://as.example/token" },
            "vars": { "shop": { "format": "dns-label" } },
        });
        for (table, keys) in changes.as_object().expect("an object") {
            for (key, value) in keys.as_object().expect("a table") {
                all[table][key] = value.clone();
            }
        }
        let description: Description = serde_json::from_value(all).expect("a description");
        let problems = description.problems().into_iter();
        problems.map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn what_nothing_fills_is_named_with_its_key() {
        let cases = [
            ("token", "params", "token.params.x"),
            ("token", "headers", "token.headers.x"),
            ("refresh", "params", "refresh.params.x"),
            ("refresh", "headers", "refresh.headers.x"),
            ("authorize", "params", "authorize.params.x"),
        ];
        for (table, kind, key) in cases {
            let found = problems_of(json!({ table: { kind: { "x": "a{nope}b" } } }));
            let expected = format!(
                "{key}: nothing fills {{nope}}; declare it as [vars.nope], or use {{client_id}}"
            );
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&expected), "{found:?}");
            let fits = json!({ table: { kind: { "x": "{shop} {client_id} {scope}" } } });
            assert_eq!(problems_of(fits), Vec::<String>::new());
        }
        let device =
            json!({ "device": { "url": "https://as.example/d", "params": { "x": "{code}" } } });
        assert!(problems_of(device)[0].contains("nothing fills {code}"));
        for slip in ["{ client_id }", "{Shop}", "{client-id}", "{0}"] {
            let found = problems_of(json!({ "token": { "params": { "x": slip } } }));
            assert!(found[0].contains("nothing fills"), "{slip}: {found:?}");
        }
    }

    #[test]
    fn braces_of_json_stand_for_themselves() {
        let claims = r#"{"id_token":{"acr":{"value":"x"}},"a":{}}"#;
        let params = json!({ "authorize": { "params": { "claims": claims } } });
        assert_eq!(problems_of(params), Vec::<String>::new());
    }

    #[test]
    fn what_is_presented_is_not_replaced_in_silence() {
        let of = |changes: Value| problems_of(changes).join("\n");
        let grant_type = json!({ "token": { "params": { "grant_type": "authorization_code" } } });
        assert!(of(grant_type).starts_with("token.params.grant_type: it would take the place"));
        for table in ["token", "refresh"] {
            let token = json!({ table: { "params": { "refresh_token": "x" } } });
            assert!(of(token).starts_with(&format!("{table}.params.refresh_token: ")));
        }
        let both = json!({
            "token": { "params": { "grant_type": "x" } }, "refresh": { "params": { "grant_type": "refresh_token" } },
        });
        assert_eq!(of(both), "");
        let own = json!({ "refresh": { "params": { "grant_type": "urn:own" } } });
        assert_eq!(of(own), "");
        let client = json!({
            "token": { "params": { "grant_type": "client_credentials" } }, "refresh": { "with": "client_credentials" },
        });
        assert_eq!(of(client), "");
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_told_before() {
        for (name, value) in [
            ("x a", "b"),
            ("Host", "evil"),
            ("x-a", "b\nc"),
            ("x-a", "é"),
        ] {
            let found = problems_of(json!({ "token": { "headers": { name: value } } }));
            assert_eq!(found.len(), 1, "{name} {value}: {found:?}");
        }
    }
}
