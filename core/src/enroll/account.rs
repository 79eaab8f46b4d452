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
    /// It belongs to another authorization.
    #[error("the id token repeats another nonce than the one that was sent")]
    Nonce,
}

/// Reads an id token that came straight from the token endpoint, over TLS: its
/// signature need not be checked then (OpenID Connect Core §3.1.3.7, point 6).
/// `None`: it cannot be read, and says nothing.
///
/// # Errors
/// When it can be read and was made for somebody else.
pub fn of_id_token(
    token: &str,
    client_id: &str,
    nonce: Option<&Secret>,
) -> Result<Option<Account>, IdTokenError> {
    let claims = token
        .split('.')
        .nth(1)
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
    let Some(claims) = claims else {
        return Ok(None);
    };
    let for_us = match &claims["aud"] {
        Value::String(aud) => aud == client_id,
        Value::Array(all) => all.iter().any(|aud| aud == client_id),
        _ => true,
    };
    if !for_us {
        return Err(IdTokenError::Audience);
    }
    if let (Some(sent), Some(repeated)) = (nonce, claims["nonce"].as_str())
        && sent.expose() != repeated
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

    #[test]
    fn an_id_token_says_who_it_was() {
        let token =
            id_token(r#"{"iss":"https://as.example","sub":"alice","aud":["us"],"nonce":"n"}"#);
        let account = of_id_token(&token, "us", Some(&Secret::new("n")))
            .unwrap()
            .unwrap();
        assert_eq!(
            (account.by.as_str(), account.subject.as_str()),
            ("https://as.example", "alice")
        );
        assert_eq!(
            of_id_token(&token, "them", None),
            Err(IdTokenError::Audience)
        );
        let other = Secret::new("m");
        assert_eq!(
            of_id_token(&token, "us", Some(&other)),
            Err(IdTokenError::Nonce)
        );
        assert_eq!(of_id_token("garbage", "us", None), Ok(None));
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
