//! Tokens as other programs keep them. Each format names the fields it lacks;
//! no message shows a value.

use super::import::kind;
use super::{ImportError, Success, members, own, read_import};
use crate::provider::Description;
use crate::provider::description::Lifetime;
use crate::secret::Secret;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How the program they come from writes tokens down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportFormat {
    /// A token response (RFC 6749 §5.1), as the provider's description has it.
    #[default]
    Rfc6749,
    /// The JSON that rclone keeps as `token`: the access token with a moment of expiry.
    Rclone,
    /// Google's `authorized_user`: a refresh token and the client it belongs to,
    /// without an access token.
    GoogleAuthorizedUser,
}

impl ImportFormat {
    /// All of them.
    pub const ALL: [ImportFormat; 3] = [
        ImportFormat::Rfc6749,
        ImportFormat::Rclone,
        ImportFormat::GoogleAuthorizedUser,
    ];

    /// Its name, as `--from` takes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ImportFormat::Rfc6749 => "rfc6749",
            ImportFormat::Rclone => "rclone",
            ImportFormat::GoogleAuthorizedUser => "google-authorized-user",
        }
    }
}

/// What a document of a format holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The tokens. The access token is empty where the format has none.
    pub success: Success,
    /// The client they were issued to, where the document tells.
    pub client_id: Option<String>,
}

/// Reads a document of a format.
///
/// # Errors
/// What is missing from it, or wrong with it; never with a value of it.
pub fn read_import_from(
    format: ImportFormat,
    description: &Description,
    document: &Value,
) -> Result<Brought, ImportError> {
    match format {
        ImportFormat::Rfc6749 if is_google(document) => {
            google(&Document::new("Google's file", document)?)
        }
        ImportFormat::Rfc6749 => read_import(description, document).map(|success| Brought {
            success,
            client_id: None,
        }),
        ImportFormat::Rclone => rclone(&Document::new("rclone's token", document)?),
        ImportFormat::GoogleAuthorizedUser => {
            google(&Document::new("an authorized_user", document)?)
        }
    }
}

fn rclone(document: &Document<'_>) -> Result<Brought, ImportError> {
    let mut map = Map::new();
    for name in ["access_token", "refresh_token"] {
        map.insert(name.to_owned(), document.text(name)?.into());
    }
    if let Some(token_type) = document.optional("token_type")? {
        map.insert("token_type".to_owned(), token_type.into());
    }
    let expiry = document.optional("expiry")?;
    let expiry = expiry.map(|text| {
        WallTime::parse_rfc3339(text)
            .ok_or_else(|| document.wrong("expiry", "a time as in 2026-01-31T12:00:00Z"))
    });
    let mut success = members::read(own::Members::new(map), &Lifetime::default())?;
    // Go writes the year 1 where it knows no expiry.
    success.expires_at = expiry.transpose()?.filter(|at| *at > WallTime(0));
    Ok(Brought {
        success,
        client_id: None,
    })
}

/// Whether a document is what Google's libraries keep: the `token.json` of google-auth, or
/// the file of oauth2client, which went before it.
fn is_google(document: &Value) -> bool {
    let has = |name: &str| document.get(name).is_some_and(Value::is_string);
    let google_auth = has("token") && !has("access_token");
    let oauth2client = has("_module") || has("token_expiry");
    has("token_uri") && has("client_id") && (google_auth || oauth2client)
}

/// An `authorized_user`, or what Google's libraries keep.
fn google(document: &Document<'_>) -> Result<Brought, ImportError> {
    match document.optional("type")? {
        Some("authorized_user") => {}
        Some("service_account") => return Err(ImportError::ServiceAccount),
        Some(_) => return Err(document.wrong("type", "\"authorized_user\"")),
        // Their files name the endpoint instead.
        None if document.optional("token_uri")?.is_some() => {}
        None => return Err(document.missing("type")),
    }
    let client_id = document.text("client_id")?.to_owned();
    let refresh_token = document.text("refresh_token")?;
    if document.optional("token_uri")?.is_none() {
        // Not used: the secret is read where the configuration says. Without it, though,
        // this is another kind of file.
        document.text("client_secret")?;
    }
    let access_token = match document.optional("token")? {
        Some(token) => Some(token),
        None => document.optional("access_token")?,
    };
    let expiry = match document.optional("expiry")? {
        Some(expiry) => Some(expiry),
        None => document.optional("token_expiry")?,
    };
    // They write UTC, with and without a Z.
    let expiry = expiry.map(|text| {
        WallTime::parse_rfc3339(text)
            .or_else(|| WallTime::parse_rfc3339(&format!("{}Z", text.replace(' ', "T"))))
            .ok_or_else(|| document.wrong("expiry", "a time as in 2026-01-31T12:00:00Z"))
    });
    let success = Success {
        access_token: Secret::new(access_token.unwrap_or_default()),
        refresh_token: Some(Secret::new(refresh_token)),
        token_type: None,
        scope: document.words("scopes"),
        expires_in: None,
        expires_at: expiry.transpose()?,
        created_at: None,
        jwt_exp: None,
        jwt_iat: None,
        clocks: None,
        refresh_expires_in: None,
        refresh_expires_at: None,
        extra: BTreeMap::new(),
        notes: Vec::new(),
    };
    Ok(Brought {
        success,
        client_id: Some(client_id),
    })
}

/// A JSON object with fields that are texts.
struct Document<'a> {
    what: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Document<'a> {
    fn new(what: &'static str, document: &'a Value) -> Result<Self, ImportError> {
        match document {
            Value::Object(map) => Ok(Document { what, map }),
            other => Err(ImportError::NotThat {
                what,
                found: kind(other),
            }),
        }
    }

    /// A field that must be there.
    fn text(&self, field: &'static str) -> Result<&'a str, ImportError> {
        self.optional(field)?.ok_or_else(|| self.missing(field))
    }

    fn missing(&self, field: &'static str) -> ImportError {
        ImportError::Missing {
            what: self.what,
            field,
        }
    }

    /// Words in a text or a list, separated by spaces.
    fn words(&self, field: &str) -> Option<String> {
        let words = match self.map.get(field)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Array(list) => {
                let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                words.join(" ")
            }
            _ => return None,
        };
        let fits = !words.is_empty() && !words.chars().any(char::is_control);
        fits.then_some(words)
    }

    /// A field; one that is null or empty counts as missing.
    fn optional(&self, field: &'static str) -> Result<Option<&'a str>, ImportError> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(ImportError::FieldControl(field))
            }
            Some(Value::String(text)) => Ok(Some(text.trim())),
            Some(other) => Err(ImportError::FieldKind {
                field,
                found: kind(other),
            }),
        }
    }

    fn wrong(&self, field: &'static str, expected: &'static str) -> ImportError {
        ImportError::WrongField {
            what: self.what,
            field,
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn description() -> Description {
        serde_json::from_value(json!({"name": "p", "token": {"url": "https://a.example/token"}}))
            .expect("a description")
    }

    fn read(format: ImportFormat, document: &Value) -> Result<Brought, String> {
        read_import_from(format, &description(), document).map_err(|e| e.to_string())
    }

    #[test]
    fn rclones_token_has_a_moment_of_expiry() {
        let mut document = json!({
            "access_token": "at-hunter2", "token_type": "Bearer", "refresh_token": "rt-hunter2",
            "expiry": "2026-02-01T12:00:00.123456789+01:00",
        });
        let brought = read(ImportFormat::Rclone, &document).expect("reads");
        let at = WallTime::parse_rfc3339("2026-02-01T11:00:00.123Z");
        assert_eq!(brought.success.expires_at, at);
        assert_eq!(brought.success.expires_in, None);
        document["expiry"] = json!("0001-01-01T00:00:00Z");
        let brought = read(ImportFormat::Rclone, &document).expect("reads");
        assert_eq!(brought.success.expires_at, None);
    }

    #[test]
    fn each_field_that_is_missing_or_wrong_is_named_without_its_value() {
        let rclone = json!({
            "access_token": "at-hunter2", "token_type": "Bearer", "refresh_token": "rt-hunter2",
            "expiry": "2026-02-01T12:00:00Z",
        });
        let google = json!({
            "client_id": "id-hunter2", "client_secret": "cs-hunter2",
            "refresh_token": "rt-hunter2", "type": "authorized_user",
        });
        let cases = [
            (
                ImportFormat::Rclone,
                &rclone,
                vec!["access_token", "refresh_token"],
            ),
            (
                ImportFormat::GoogleAuthorizedUser,
                &google,
                vec!["client_id", "client_secret", "refresh_token", "type"],
            ),
        ];
        for (format, good, required) in cases {
            read(format, good).expect("reads");
            for field in good.as_object().expect("an object").keys() {
                for value in [
                    json!(null),
                    json!(""),
                    json!(7),
                    json!(["hunter2"]),
                    json!("a\nhunter2"),
                ] {
                    let mut bad = good.clone();
                    let optional = !required.contains(&field.as_str());
                    let absent = value.is_null() || value == "";
                    bad[field] = value;
                    match read(format, &bad) {
                        Ok(_) => assert!(optional && absent, "{field} of {bad}"),
                        Err(error) => {
                            assert!(error.contains(field), "{error}");
                            assert!(!error.contains("hunter2"), "{error}");
                        }
                    }
                }
            }
            assert!(read(format, &json!([good])).is_err());
        }
        let mut expiry = rclone.clone();
        expiry["expiry"] = json!("hunter2");
        let error = read(ImportFormat::Rclone, &expiry).expect_err("not a time");
        assert!(
            error.contains("expiry") && !error.contains("hunter2"),
            "{error}"
        );
        let mut kind = google.clone();
        kind["type"] = json!("service_account");
        let error = read(ImportFormat::GoogleAuthorizedUser, &kind).expect_err("no user");
        assert!(error.contains("service account"), "{error}");
    }

    #[test]
    fn what_google_s_libraries_keep_is_read_with_its_expiry() {
        // google-auth's token.json, and oauth2client's file.
        let token_json = json!({
            "token": "at", "refresh_token": "rt", "token_uri": "https://oauth2.googleapis.com/token",
            "client_id": "id", "client_secret": "s", "scopes": ["a", "b"],
            "universe_domain": "googleapis.com", "account": "", "expiry": "2026-01-31T12:00:00.123456Z",
        });
        let oauth2client = json!({
            "_module": "oauth2client.client", "access_token": "at", "refresh_token": "rt", "client_id": "id",
            "client_secret": "s", "token_uri": "https://oauth2.googleapis.com/token",
            "token_expiry": "2026-01-31T12:00:00", "scopes": "a b", "invalid": false,
            "token_response": {"access_token": "at", "expires_in": 3600},
        });
        let mut naive = token_json.clone();
        naive["expiry"] = json!("2026-01-31 12:00:00.123456");
        for document in [&token_json, &oauth2client, &naive] {
            for format in [ImportFormat::Rfc6749, ImportFormat::GoogleAuthorizedUser] {
                let brought = read(format, document).expect("reads");
                assert_eq!(brought.client_id.as_deref(), Some("id"));
                let success = brought.success;
                assert_eq!(success.access_token, Secret::new("at"));
                assert_eq!(success.refresh_token, Some(Secret::new("rt")));
                assert_eq!(success.scope.as_deref(), Some("a b"));
                let at = success.expires_at.expect("it is stated").secs();
                assert_eq!(
                    WallTime::from_secs(at).rfc3339()[..19],
                    *"2026-01-31T12:00:00"
                );
            }
        }
        // Without what can be kept alive it is worth nothing.
        let mut bare = token_json.clone();
        bare["refresh_token"] = json!(null);
        let error = read(ImportFormat::Rfc6749, &bare).expect_err("nothing to refresh with");
        assert!(
            error.contains("refresh_token") && !error.contains("at\""),
            "{error}"
        );
        // A plain token response stays one.
        let plain = json!({"access_token": "at", "token": "other", "refresh_token": "rt"});
        let brought = read(ImportFormat::Rfc6749, &plain).expect("reads");
        assert_eq!(brought.client_id, None);
    }
}
