//! A token response that a person hands over, read like any other answer.

use super::{Success, Unreadable, error, members, own, place};
use crate::provider::Description;
use serde_json::Value;

/// Why a token response cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not an object.
    #[error("a token response is a JSON object such as {{\"access_token\": …}}, and this is {0}")]
    NotAnObject(&'static str),
    /// The answer to a request that failed.
    #[error("this is the answer to a failed request: {0}; import the answer to one that succeeded")]
    ErrorResponse(String),
    /// A slip of copying: the provider would refuse the refresh token for it.
    #[error(
        "its refresh_token holds a line break or another control character; copy it again, in one line"
    )]
    RefreshTokenControl,
    /// Not an object, where a format of another program was announced.
    #[error("{what} is a JSON object, and this is {found}")]
    NotThat {
        /// The format.
        what: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// A field is not there, or empty.
    #[error("{what} has the field {field}, and this has none; is it of that format, and whole?")]
    Missing {
        /// The format.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field is no text.
    #[error("its {field} is {found}, not a text")]
    FieldKind {
        /// The field.
        field: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// A slip of copying.
    #[error("its {0} holds a line break or another control character; copy it again, in one line")]
    FieldControl(&'static str),
    /// A field says something else than the format allows.
    #[error("the {field} of {what} is {expected}, and this one is not")]
    WrongField {
        /// The format.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Google's other kind of file.
    #[error(
        "its type says that it is the key of a service account, which has no refresh token; an authorized_user is what `gcloud auth application-default login` writes"
    )]
    ServiceAccount,
    /// No tokens in it, or none that are fit to be used.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
}

/// Reads a token response, member by member as an answer from the endpoint.
///
/// # Errors
/// When it is no token response, or its tokens are not fit to be used.
pub fn read_import(description: &Description, response: &Value) -> Result<Success, ImportError> {
    let Value::Object(map) = response else {
        return Err(ImportError::NotAnObject(kind(response)));
    };
    let members = own::Members::new(map.clone());
    // The status is not known; people's files hold bodies alone.
    if let Some(said) = error::find(&members, &description.errors, None) {
        return Err(ImportError::ErrorResponse(said.text));
    }
    let members = place::place(members, &description.response);
    // An endpoint's slip is mended; a person can copy again.
    let has_control = |token: &str| token.chars().any(char::is_control);
    let access_token = members.get("access_token").and_then(Value::as_str);
    if access_token.is_some_and(has_control) {
        return Err(Unreadable::ControlCharacter.into());
    }
    let success = members::read(members, &description.lifetime)?;
    let refresh_token = success.refresh_token.as_ref();
    if refresh_token.is_some_and(|token| has_control(token.expose())) {
        return Err(ImportError::RefreshTokenControl);
    }
    Ok(success)
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
