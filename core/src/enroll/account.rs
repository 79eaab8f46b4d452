//! Whose account it was: as the id token says, or the provider's account URL.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// What tells accounts apart, with who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who says so: the id token's issuer, or the account URL.
    pub by: String,
    /// The account there.
    pub subject: String,
}

impl Account {
    /// One text for both, to make a fingerprint of.
    #[must_use]
    pub fn identity(&self) -> Secret {
        Secret::new(format!("{}\n{}", self.by, self.subject))
    }
}

/// Why an id token cannot be for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It was made for another client.
    #[error("the id token is made for another client (aud)")]
    Audience,
    /// It comes from another issuer than the one that was asked.
    #[error("the id token was made by another issuer (iss) than the one that was asked")]
    Issuer,
    /// It belongs to another authorization.
    #[error("the id token does not repeat the nonce that was sent")]
    Nonce,
}

/// What an id token must fit.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The client that it is for.
    pub client_id: &'a str,
    /// Who makes them, where that is known.
    pub issuer: Option<&'a str>,
    /// The nonce that was sent, where one was.
    pub nonce: Option<&'a Secret>,
}

/// Reads an id token that came straight from the token endpoint, over TLS: its
/// signature need not be checked then (OpenID Connect Core §3.1.3.7, point 6).
/// `None`: it cannot be read, and says nothing.
///
/// # Errors
/// When it can be read and was made for somebody else.
pub fn of_id_token(token: &str, expected: Expected<'_>) -> Result<Option<Account>, IdTokenError> {
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
    let Some(claims) = claims else {
        return Ok(None);
    };
    let for_us = match &claims["aud"] {
        Value::String(aud) => aud == expected.client_id,
        Value::Array(all) => all.iter().any(|aud| aud == expected.client_id),
        _ => true,
    };
    if !for_us {
        return Err(IdTokenError::Audience);
    }
    if expected
        .issuer
        .is_some_and(|issuer| claims["iss"] != issuer)
    {
        return Err(IdTokenError::Issuer);
    }
    // Point 11: where a nonce was sent, one must be there.
    if expected
        .nonce
        .is_some_and(|sent| claims["nonce"] != sent.expose())
    {
        return Err(IdTokenError::Nonce);
    }
    let text = |name: &str| claims[name].as_str().map(str::to_owned);
    Ok(text("iss")
        .zip(text("sub"))
        .map(|(by, subject)| Account { by, subject }))
}

/// Reads the answer of an account URL; `member` is a path of names with dots
/// between them. `None`: it is not there.
#[must_use]
pub fn of_answer(url: &str, member: &str, body: &[u8]) -> Option<Account> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let value = member
        .split('.')
        .try_fold(&answer, |value, name| value.get(name))?;
    let subject = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let by = url.to_owned();
    Some(Account { by, subject })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_token(claims: &str) -> String {
        format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))
    }

    const US: Expected<'_> = Expected {
        client_id: "us",
        issuer: None,
        nonce: None,
    };

    #[test]
    fn an_id_token_says_who_it_was() {
        let token =
            id_token(r#"{"iss":"https://as.example","sub":"alice","aud":["us"],"nonce":"n"}"#);
        let expected = Expected {
            issuer: Some("https://as.example"),
            nonce: Some(&Secret::new("n")),
            ..US
        };
        let account = of_id_token(&token, expected).unwrap().unwrap();
        assert_eq!(
            (account.by.as_str(), account.subject.as_str()),
            ("https://as.example", "alice")
        );
        assert_eq!(of_id_token("garbage", US), Ok(None));
    }

    #[test]
    fn an_id_token_for_somebody_else_is_refused() {
        let token = id_token(r#"{"iss":"https://as.example","sub":"alice","aud":"us"}"#);
        let refused = |expected| of_id_token(&token, expected).unwrap_err();
        let client_id = "them";
        assert_eq!(
            refused(Expected { client_id, ..US }),
            IdTokenError::Audience
        );
        let issuer = Some("https://as.example/");
        assert_eq!(refused(Expected { issuer, ..US }), IdTokenError::Issuer);
        let sent = Secret::new("n");
        let nonce = Some(&sent);
        assert_eq!(
            refused(Expected { nonce, ..US }),
            IdTokenError::Nonce,
            "one that has none is not ours either"
        );
        let other = id_token(r#"{"iss":"https://as.example","sub":"a","aud":"us","nonce":"m"}"#);
        let expected = Expected { nonce, ..US };
        assert_eq!(of_id_token(&other, expected), Err(IdTokenError::Nonce));
    }

    #[test]
    fn an_account_url_says_who_it_was() {
        let body = br#"{"data":{"id":17,"name":"x"}}"#;
        let account = of_answer("https://api.example/me", "data.id", body).unwrap();
        assert_eq!(account.subject, "17");
        assert_eq!(of_answer("https://api.example/me", "data.sub", body), None);
        assert_eq!(of_answer("https://api.example/me", "data", body), None);
    }
}
