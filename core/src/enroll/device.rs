//! The device flow (RFC 8628): what the provider says at first, and at each poll.

pub mod pace;

use crate::provider::Answer;
use crate::provider::answer::{names_token, object_of, retry_after_of};
use crate::secret::Secret;
use crate::text::printable;
use serde_json::{Map, Value};
use std::time::Duration;
use url::{Url, form_urlencoded};

/// The answer to a device authorization request (RFC 8628 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCode {
    /// What we poll with.
    pub device_code: Secret,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Where, with the code filled in already.
    pub verification_uri_complete: Option<String>,
    /// How long all of it is good.
    pub expires_in: Duration,
    /// At least so long between two polls.
    pub interval: Duration,
}

/// What a poll came to, when it brought no token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// `authorization_pending`: the person has not decided.
    Pending,
    /// `slow_down`: the same, and five seconds more between polls from now on.
    SlowDown,
    /// `access_denied`: the person, or a rule of the provider's, said no.
    Denied,
    /// `expired_token`: nobody approved in time.
    Expired,
    /// The server has trouble, and has decided nothing.
    Trouble,
    /// Something else, for [`crate::provider::answer::read`].
    Other,
}

/// A code's life where the answer does not say, although it must (RFC 8628 §3.2).
const UNSTATED_LIFE: f64 = 600.0;
/// RFC 8628 §3.2: five seconds where the answer does not say.
const UNSTATED_INTERVAL: f64 = 5.0;

/// Reads the answer to a device authorization request: JSON, or a form as GitHub sends it
/// to who does not ask for JSON.
///
/// # Errors
/// What is wrong with it, for a person; no member's value is in it.
pub fn read(answer: &Answer) -> Result<DeviceCode, String> {
    let refused = |what: &str| format!("the device endpoint answered {}: {what}", answer.status);
    let members = object_of(answer).or_else(|| form(&answer.body));
    let said = || {
        let words = members.as_ref().and_then(|map| words(map).next());
        words.map_or_else(|| "no device code".to_owned(), |code| printable(&code))
    };
    if !(200..300).contains(&answer.status) || !answer.complete {
        return Err(refused(&said()));
    }
    let Some(map) = &members else {
        return Err(refused("it is not the JSON of RFC 8628 §3.2"));
    };
    let first = |names: &[&str]| names.iter().find_map(|name| scalar(map.get(*name)?));
    let lacks = |name: &str| match map.contains_key("error") {
        true => refused(&said()),
        false => refused(&format!("it lacks {name}")),
    };
    let uri = first(&["verification_uri", "verification_url"]);
    let complete = first(&["verification_uri_complete", "verification_url_complete"]);
    let secs = |name: &str, or: f64, most: f64| {
        let stated = first(&[name]).and_then(|text| text.parse::<f64>().ok());
        let value = stated.filter(|v| v.is_finite() && *v > 0.0).unwrap_or(or);
        Duration::from_secs_f64(value.min(most))
    };
    Ok(DeviceCode {
        device_code: Secret::new(first(&["device_code"]).ok_or_else(|| lacks("device_code"))?),
        user_code: printable(&first(&["user_code"]).ok_or_else(|| lacks("user_code"))?),
        verification_uri: web_address(&uri.ok_or_else(|| lacks("verification_uri"))?)
            .ok_or_else(|| refused("verification_uri is no web address"))?,
        verification_uri_complete: complete.and_then(|uri| web_address(&uri)),
        expires_in: secs("expires_in", UNSTATED_LIFE, 86_400.0),
        interval: secs("interval", UNSTATED_INTERVAL, 300.0),
    })
}

/// An address that a person can open; `example.com/device` has lost its scheme.
fn web_address(text: &str) -> Option<String> {
    let is_web = |url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host();
    match Url::parse(text) {
        Ok(url) => Some(url).filter(is_web),
        Err(_) if text.contains('.') => Url::parse(&format!("https://{text}")).ok(),
        Err(_) => None,
    }
    .map(String::from)
}

/// A text, or a number as it is written; `None`: blank, or something else.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

fn form(body: &[u8]) -> Option<Map<String, Value>> {
    let map: Map<String, Value> = form_urlencoded::parse(body.trim_ascii())
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    map.contains_key("device_code").then_some(map)
}

/// What a poll's answer says about going on. Servers say it with every status (GitHub with
/// 200, Google with 428), as JSON or as a form, in `error` or where they put their
/// messages: the word counts.
#[must_use]
pub fn poll(answer: &Answer) -> Poll {
    let Some(map) = object_of(answer) else {
        return Poll::Other;
    };
    // Whatever stands beside a token, the token must be kept.
    if names_token(answer) {
        return Poll::Other;
    }
    words(&map)
        .find_map(|word| meaning(&word))
        .unwrap_or(Poll::Other)
}

/// How long a poll's answer asks to wait, at most a day.
#[must_use]
pub fn retry_after(answer: &Answer) -> Option<Duration> {
    retry_after_of(answer)
}

/// The words that may be an error's code, likeliest first.
pub(super) fn words(map: &Map<String, Value>) -> impl Iterator<Item = String> {
    const NAMES: [&str; 8] = [
        "error",
        "code",
        "error_code",
        "errorCode",
        "type",
        "message",
        "status",
        "error_description",
    ];
    let inner = map.get("error").and_then(Value::as_object);
    let of = |map: &Map<String, Value>| -> Vec<String> {
        NAMES
            .iter()
            .filter_map(|name| map.get(*name).and_then(scalar))
            .collect()
    };
    let nested = inner.map(of).unwrap_or_default();
    of(map).into_iter().chain(nested)
}

/// RFC 8628 §3.5, and how others spell it: `AuthorizationPendingException`,
/// `authorization_declined`.
fn meaning(word: &str) -> Option<Poll> {
    Some(match plain(word).as_str() {
        "authorizationpending" | "pending" => Poll::Pending,
        "slowdown" | "pollingtoofast" | "pollingtoofrequently" => Poll::SlowDown,
        "accessdenied" | "authorizationdeclined" | "authorizationdenied" => Poll::Denied,
        "expiredtoken" | "codeexpired" | "devicecodeexpired" => Poll::Expired,
        "temporarilyunavailable" | "servererror" => Poll::Trouble,
        _ => return None,
    })
}

/// A code without what servers differ in: `_`, capitals, `Exception`.
pub(super) fn plain(word: &str) -> String {
    let letters = word.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    match plain.strip_suffix("exception") {
        Some(rest) => rest.to_owned(),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            complete: true,
            received: WallTime(0),
        }
    }

    #[test]
    fn the_rfc_s_example_is_read() {
        let body = r#"{"device_code":"GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS","user_code":"WDJB-MJHT",
            "verification_uri":"https://example.com/device",
            "verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT","expires_in":1800}"#;
        let code = read(&answer(200, body)).unwrap();
        assert_eq!(code.user_code, "WDJB-MJHT");
        assert_eq!(code.interval, Duration::from_secs(5));
        assert_eq!(code.expires_in, Duration::from_secs(1800));
    }

    #[test]
    fn device_codes_are_read_as_real_servers_write_them() {
        let of = |body: &str| read(&answer(200, body)).unwrap();
        let texts = of(
            r#"{"device_code":"d","user_code":123456,"verification_url":"https://a.example/d","expires_in":"900","interval":"1.5"}"#,
        );
        assert_eq!(texts.expires_in, Duration::from_secs(900));
        assert_eq!(texts.interval, Duration::from_millis(1500));
        assert_eq!(texts.user_code, "123456");
        // Both spellings at once, numbers with a fraction, a null, no scheme.
        let both = of(
            r#"{"device_code":"d","user_code":"u","verification_uri":"a.example/d","verification_url":"https://b.example/",
            "verification_uri_complete":null,"expires_in":899.5,"interval":0}"#,
        );
        assert_eq!(both.verification_uri, "https://a.example/d");
        assert_eq!(both.verification_uri_complete, None);
        assert_eq!(both.expires_in, Duration::from_millis(899_500));
        assert_eq!(both.interval, Duration::from_secs(5));
        let form = of(
            "device_code=3584d83&expires_in=899&interval=5&user_code=WDJB-MJHT&verification_uri=https%3A%2F%2Fgithub.com%2Flogin%2Fdevice",
        );
        assert_eq!(form.verification_uri, "https://github.com/login/device");
        assert_eq!(form.user_code, "WDJB-MJHT");
        let never = of(
            r#"{"device_code":"d","user_code":"u","verification_uri":"https://a.example","expires_in":"soon","interval":-3}"#,
        );
        assert_eq!(never.expires_in, Duration::from_secs(600));
        assert_eq!(never.interval, Duration::from_secs(5));
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_shown() {
        let lacking =
            read(&answer(200, r#"{"device_code":"hunter2","user_code":"A"}"#)).unwrap_err();
        assert!(lacking.contains("verification_uri"), "{lacking}");
        let script =
            r#"{"device_code":"hunter2","user_code":"A","verification_uri":"javascript:alert(1)"}"#;
        let script = read(&answer(200, script)).unwrap_err();
        assert!(
            !script.contains("hunter2") && script.contains("web address"),
            "{script}"
        );
        for status in [401, 200] {
            let refused = read(&answer(status, r#"{"error":"invalid_client"}"#)).unwrap_err();
            assert!(refused.contains("invalid_client"), "{refused}");
        }
    }

    #[test]
    fn polls_are_told_by_the_word_whatever_the_status() {
        for status in [200, 400, 401, 403, 428, 503] {
            let said = |body: &str| poll(&answer(status, body));
            for body in [
                r#"{"error":"authorization_pending","error_description":"The request is pending."}"#,
                "error=authorization_pending&error_description=Pending.&error_uri=https%3A%2F%2Fdocs.example",
                r#"{"error":{"code":"authorization_pending"}}"#,
                r#"{"status":400,"message":"authorization_pending"}"#,
                r#"{"error":"AuthorizationPendingException"}"#,
                r#"{"status":"pending"}"#,
            ] {
                assert_eq!(said(body), Poll::Pending, "{status} {body}");
            }
            assert_eq!(
                said(r#"{"error":"slow_down","interval":10}"#),
                Poll::SlowDown
            );
            assert_eq!(said("error=slow_down"), Poll::SlowDown);
            assert_eq!(said(r#"{"error":"access_denied"}"#), Poll::Denied);
            assert_eq!(said(r#"{"error":"authorization_declined"}"#), Poll::Denied);
            assert_eq!(said(r#"{"error":"expired_token"}"#), Poll::Expired);
            assert_eq!(
                said(r#"{"error":"temporarily_unavailable"}"#),
                Poll::Trouble
            );
            assert_eq!(said(r#"{"error":"invalid_client"}"#), Poll::Other);
            assert_eq!(said("<html>authorization_pending</html>"), Poll::Other);
        }
        for token in [
            r#"{"access_token":"a","error":"authorization_pending"}"#,
            r#"{"refresh_token":"r","error":"access_denied"}"#,
            r#"{"error":"server_error","data":{"refreshToken":"rt-12345"}}"#,
        ] {
            for status in [200, 400, 503] {
                let said = poll(&answer(status, token));
                assert_eq!(said, Poll::Other, "a token must be kept: {token}");
            }
        }
    }
}
