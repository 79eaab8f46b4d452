//! `refreshd revoke`: the provider is told that an authorization is over.

use super::api::{Done, Operation};
use super::{Running, Service};
use crate::engine::message::Message;
use crate::engine::revoke::{Ended, Revoking};
use crate::exchange::{Deck, registration};
use crate::exit::{Exit, Failure};
use refreshd_core::grant::replay::EXCHANGE_LIMIT;
use refreshd_core::grant::revocation::{Told, read};
use refreshd_core::provider::Ending;
use refreshd_core::provider::request::revocation;

impl Service {
    /// `refreshd revoke`; where it is not confirmed, what to ask its operator.
    ///
    /// # Errors
    /// When no daemon runs, it cannot be revoked, or the provider has not confirmed it.
    pub async fn revoke(&self, operation: &Operation) -> Result<Done, Failure> {
        let running = self.daemon()?;
        if operation.confirmed {
            return running.revoke(&operation.grant).await;
        }
        let found = running.begin_revocation(&operation.grant, false).await?;
        let (name, seat) = (&found.grant.name, &found.seat);
        let provider = &seat.client.description.name;
        Ok(Done::told(format!(
            "revoke {name} at {provider}? consumers will lose their access"
        )))
    }
}

impl Running {
    /// An exchange that is under way is waited for: what it brings is to be revoked as well.
    async fn begin_revocation(&self, name: &str, meant: bool) -> Result<Box<Revoking>, Failure> {
        let message = |reply| Message::BeginRevocation(name.to_owned(), meant, reply);
        self.after_exchange(name, message).await
    }

    async fn revoke(&self, name: &str) -> Result<Done, Failure> {
        let revoking = *self.begin_revocation(name, true).await?;
        let told = send(&self.reloader.deck, &revoking).await;
        let provider = revoking.seat.client.description.name.clone();
        let late = match revoking.overdue {
            true => {
                "; an exchange that began before may still bring another refresh token: revoke it again in ten minutes"
            }
            false => "",
        };
        let before = revoking.before.is_some();
        let result = match &told {
            Told::Revoked => Ok(Done::told(format!(
                "{name}: revoked, as {provider} has confirmed; it is not refreshed any more, and its outputs follow when_dead{late}"
            ))),
            Told::Unknown { text } => Err(Failure::new(
                Exit::TempFail,
                format!(
                    "{name}: whether {provider} has revoked it is not known: {text}; it is not refreshed any more. Run `refreshd revoke {name}` again until that is confirmed{late}"
                ),
            )),
            Told::NotRevoked { text, passing } => {
                let exit = if *passing {
                    Exit::Unavailable
                } else {
                    Exit::NoPermission
                };
                let stays = match before {
                    true => "it stays as it was",
                    false => "it is refreshed and published as before",
                };
                Err(Failure::new(
                    exit,
                    format!("{name}: not revoked at {provider}: {text}; {stays}"),
                ))
            }
        };
        let ended = Box::new(Ended { revoking, told });
        let message = |reply| Message::EndRevocation(ended, reply);
        let written = self.ask(message).await?;
        match (result, written) {
            (Ok(_), Err(failure)) => Err(failure),
            (result, _) => result,
        }
    }
}

async fn send(deck: &Deck, revoking: &Revoking) -> Told {
    let seat = &revoking.seat;
    let description = &seat.client.description;
    let not_sent = |text: String| Told::NotRevoked {
        text,
        passing: true,
    };
    let tokens = match deck.store.load(&revoking.grant.id).await {
        Ok(Some((_, Some(tokens)))) => tokens,
        Ok(_) => return not_sent("it has no token set".to_owned()),
        Err(e) => return not_sent(e.to_string()),
    };
    let request = match revocation(description, &registration(seat), &seat.vars, &tokens) {
        Ok(Some(request)) => request,
        Ok(None) => return not_sent("no revocation endpoint is known".to_owned()),
        Err(e) => return not_sent(format!("revoke.url: {e}")),
    };
    let exchange = (deck.http).exchange(&seat.client, request, || deck.clock.wall());
    let ending = tokio::time::timeout(EXCHANGE_LIMIT, exchange).await;
    let ending = ending.unwrap_or_else(|_| Ending::Lost {
        text: format!("no answer within {} s", EXCHANGE_LIMIT.as_secs()),
    });
    read(description, &ending)
}
