//! Whose account a new token set belongs to.

use super::Terms;
use crate::enroll::account::{self, Account, Expected};
use crate::provider::Answer;
use crate::provider::answer::Success;
use crate::provider::request::{self, TokenRequest};
use crate::secret::Secret;

/// What is known of it by the answer itself.
pub(super) enum Identified {
    /// The account; `None`: neither answer nor provider tells.
    As(Option<Account>),
    /// The provider tells, where it is asked.
    Asks(Box<TokenRequest>),
    /// The provider would tell, and cannot be asked.
    Unasked,
    /// The answer was not made for us; why.
    NotOurs(String),
}

pub(super) fn identify(terms: &Terms, success: &Success, nonce: Option<&Secret>) -> Identified {
    let description = &terms.rules.description;
    let id_token = success.extra.get("id_token");
    let id_token = id_token.and_then(|json| serde_json::from_str::<Secret>(json.expose()).ok());
    if let Some(token) = id_token {
        let authorize = description.authorize.as_ref();
        let expected = Expected {
            client_id: &terms.client_id,
            issuer: authorize.and_then(|a| a.issuer.as_deref()),
            nonce,
        };
        match account::of_id_token(token.expose(), expected) {
            Ok(Some(account)) => return Identified::As(Some(account)),
            Ok(None) => {}
            Err(e) => return Identified::NotOurs(e.to_string()),
        }
    }
    if description.account.is_none() {
        return Identified::As(None);
    }
    match request::account(description, &terms.vars, &success.access_token) {
        Ok(request) => Identified::Asks(Box::new(request)),
        Err(_) => Identified::Unasked,
    }
}

/// What the provider says at its account URL.
pub(super) fn told(terms: &Terms, url: &str, answer: &Answer) -> Option<Account> {
    let described = terms.rules.description.account.as_ref()?;
    let whole = answer.status == 200 && answer.complete;
    whole
        .then(|| account::of_answer(url, &described.member, &answer.body))
        .flatten()
}
