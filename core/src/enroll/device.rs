//! The device flow (RFC 8628): what the provider says at first, and at each poll.

use crate::flight::Answer;
use crate::secret::Secret;
use crate::text::printable;
use serde::Deserialize;
use std::time::Duration;
use url::Url;

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

#[derive(Deserialize)]
struct Members {
    device_code: Option<Secret>,
    user_code: Option<String>,
    #[serde(alias = "verification_url")]
    verification_uri: Option<String>,
    #[serde(alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    expires_in: Option<f64>,
    interval: Option<f64>,
}

/// What a poll came to, when it brought no token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// `authorization_pending`: the person has not decided.
    Pending,
    /// `slow_down`: the same, and five seconds more between polls from now on.
    SlowDown,
    /// Something else, for [`crate::provider::answer::read`].
    Other,
}

/// Reads the answer to a device authorization request.
///
/// # Errors
/// What is wrong with it, for a person; no member's value is in it.
pub fn read(answer: &Answer) -> Result<DeviceCode, String> {
    let refused = |what: &str| format!("the device endpoint answered {}: {what}", answer.status);
    if !(200..300).contains(&answer.status) || !answer.complete {
        let said =
            error_code(answer).map_or_else(|| "no device code".to_owned(), |code| printable(&code));
        return Err(refused(&said));
    }
    let members: Members = serde_json::from_slice(&answer.body)
        .map_err(|_| refused("it is not the JSON of RFC 8628 §3.2"))?;
    let lacks = |name: &str| refused(&format!("it lacks {name}"));
    let uri = members
        .verification_uri
        .ok_or_else(|| lacks("verification_uri"))?;
    let shown = |uri: &str| {
        let url = Url::parse(uri)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http"));
        url.map(String::from)
            .ok_or_else(|| refused("verification_uri is no web address"))
    };
    let secs = |value: Option<f64>, or: f64, most: f64| {
        let value = value.filter(|v| v.is_finite() && *v > 0.0).unwrap_or(or);
        Duration::from_secs_f64(value.min(most))
    };
    Ok(DeviceCode {
        device_code: members
            .device_code
            .filter(|c| !c.is_empty())
            .ok_or_else(|| lacks("device_code"))?,
        user_code: printable(&members.user_code.ok_or_else(|| lacks("user_code"))?),
        verification_uri: shown(&uri)?,
        verification_uri_complete: members
            .verification_uri_complete
            .and_then(|uri| shown(&uri).ok()),
        expires_in: secs(members.expires_in, 600.0, 86_400.0),
        // RFC 8628 §3.2: five seconds where it does not say.
        interval: secs(members.interval, 5.0, 300.0),
    })
}

/// What a poll's answer says about going on.
#[must_use]
pub fn poll(answer: &Answer) -> Poll {
    match error_code(answer).as_deref() {
        Some("authorization_pending") => Poll::Pending,
        Some("slow_down") => Poll::SlowDown,
        _ => Poll::Other,
    }
}

/// `error` of an answer that is not a success (RFC 6749 §5.2).
fn error_code(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Error {
        error: String,
    }
    if (200..300).contains(&answer.status) {
        return None;
    }
    let error: Error = serde_json::from_slice(&answer.body).ok()?;
    Some(error.error)
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
        let refused = read(&answer(401, r#"{"error":"invalid_client"}"#)).unwrap_err();
        assert!(refused.contains("invalid_client"), "{refused}");
    }

    #[test]
    fn polls_go_on_while_the_person_decides() {
        let said = |error: &str| poll(&answer(400, &format!(r#"{{"error":"{error}"}}"#)));
        assert_eq!(said("authorization_pending"), Poll::Pending);
        assert_eq!(said("slow_down"), Poll::SlowDown);
        assert_eq!(said("access_denied"), Poll::Other);
        assert_eq!(poll(&answer(200, r#"{"error":"slow_down"}"#)), Poll::Other);
        assert_eq!(poll(&answer(502, "<html>")), Poll::Other);
    }
}
