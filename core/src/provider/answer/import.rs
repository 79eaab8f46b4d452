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
    let success = members::read(members, None)?;
    let refresh_token = success.refresh_token.as_ref();
    if refresh_token.is_some_and(|token| token.expose().chars().any(char::is_control)) {
        return Err(ImportError::RefreshTokenControl);
    }
    Ok(success)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
