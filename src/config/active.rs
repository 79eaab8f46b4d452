//! Grants that are active: a grant of the store with its client as the configuration has it.

use super::{Client, Config};
use refreshd_core::grant::align::{self, Wanted};
use refreshd_core::grant::{Binding, Grant, Policy};
use refreshd_core::limits::Route;
use refreshd_core::provider::request::token_origin;
use refreshd_core::scheduler::Post;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the configuration says about a grant that is active.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its client.
    pub client: Arc<Client>,
    /// Its schedule.
    pub policy: Policy,
    /// Values of the provider's variables, the configured ones over the stored.
    pub vars: BTreeMap<String, String>,
    /// The redirect URI, where the grant has one of its own.
    pub redirect_uri: Option<String>,
    /// Where it is asked, and as whose, by number.
    pub route: Route,
}

impl Post for Seat {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn route(&self) -> Route {
        self.route
    }
}

/// The seat of a grant by the configuration, its numbers not yet set; `None` when
/// it was taken out of the configuration or its client is not there.
#[must_use]
pub fn seat_of(grant: &Grant, config: &Config) -> Option<Seat> {
    let configured = config.grants.get(&grant.name);
    if configured.is_none() && grant.state.configured {
        return None;
    }
    let client = config
        .clients
        .get(configured.map_or(&grant.client, |c| &c.client))?;
    let mut vars = grant.vars.clone();
    vars.extend(configured.map(|c| c.vars.clone()).unwrap_or_default());
    Some(Seat {
        client: client.clone(),
        policy: Policy::new(&client.description, config.schedule_of(&grant.name, client)),
        vars,
        redirect_uri: configured
            .and_then(|c| c.redirect_uri.clone())
            .or_else(|| grant.redirect_uri.clone()),
        route: Route::default(),
    })
}

/// Whether something is wrong with its client in the configuration.
#[must_use]
pub fn has_broken_client(grant: &Grant, config: &Config) -> bool {
    let configured = config.grants.get(&grant.name);
    let client = configured.map_or(&grant.client, |c| &c.client);
    config.broken_clients.contains(client)
}

/// Whether the configuration does not have it any more.
#[must_use]
pub fn has_retired(grant: &Grant, config: &Config) -> bool {
    seat_of(grant, config).is_none() && !has_broken_client(grant, config)
}

/// To whom the configuration would send the refresh token.
///
/// # Errors
/// When the token URL cannot be made from the grant's variables.
pub fn binding_of(seat: &Seat) -> Result<Binding, String> {
    let origin = token_origin(&seat.client.description, &seat.vars).map_err(|e| e.to_string())?;
    Ok(Binding {
        client_id: seat.client.client_id.clone(),
        origin,
    })
}

/// What has to be committed so that the grant's state agrees with the
/// configuration. `None`: nothing.
#[must_use]
pub fn aligned(grant: &Grant, seat: &Seat, config: &Config) -> Option<align::Change> {
    let wanted = Wanted {
        configured: config.grants.contains_key(&grant.name),
        asks_anew: seat.policy.asks_anew(),
        binding: binding_of(seat).ok(),
    };
    align::aligned(&grant.state, wanted)
}

#[cfg(test)]
mod tests;
