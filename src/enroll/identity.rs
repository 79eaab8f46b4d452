//! Whose account a new token set belongs to.

use super::Enroller;
use crate::config::active::Seat;
use refreshd_core::enroll::account::{self, Account, Expected};
use refreshd_core::provider::answer::Success;
use refreshd_core::provider::{Answer, Ending, request};
use refreshd_core::secret::Secret;
use std::time::Duration;

/// The account URL is given so long: what it says is a help, and the token set is at hand.
const LIMIT: Duration = Duration::from_secs(10);

impl Enroller {
    /// The account, where the answer or the provider tells.
    ///
    /// # Errors
    /// When the answer was not made for us.
    pub(super) async fn account(
        &self,
        seat: &Seat,
        success: &Success,
        nonce: Option<&Secret>,
    ) -> Result<Option<Account>, String> {
        let client = &seat.client;
        let id_token = success.extra.get("id_token");
        let id_token = id_token.and_then(|json| serde_json::from_str::<Secret>(json.expose()).ok());
        if let Some(token) = id_token {
            let authorize = client.description.authorize.as_ref();
            let expected = Expected {
                client_id: &client.client_id,
                issuer: authorize.and_then(|a| a.issuer.as_deref()),
                nonce,
            };
            let account = account::of_id_token(token.expose(), expected);
            if let Some(account) = account.map_err(|e| e.to_string())? {
                return Ok(Some(account));
            }
        }
        let Some(described) = &client.description.account else {
            return Ok(None);
        };
        let request = request::account(&client.description, &seat.vars, &success.access_token);
        let request = match request {
            Ok(request) => request,
            Err(e) => {
                tracing::warn!(client = %client.name, "whose account it is cannot be asked: {e}");
                return Ok(None);
            }
        };
        let url = request.url.to_string();
        let clock = self.0.deck.clock.clone();
        let asked = self.0.deck.http.get(client, request, || clock.wall());
        let answer: Option<Answer> = match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ending::Answered(answer)) if answer.status == 200 && answer.complete => Some(answer),
            _ => None,
        };
        let account = answer.and_then(|a| account::of_answer(&url, &described.member, &a.body));
        if account.is_none() {
            tracing::warn!(client = %client.name, "whose account it is could not be learned from [account] url; it is not compared");
        }
        Ok(account)
    }
}
