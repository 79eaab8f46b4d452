//! What an operator lets out of quarantine.

use super::begin::config;
use super::push::{Place, name_for};
use super::receive::refused;
use super::{Enroller, PushRefusal, Report, failed};
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::{Enrollment, EnrollmentId, Stage, business};
use refreshd_core::name;
use refreshd_core::text::printable;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whose it is said to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Approve {
    /// The grant; `None`: as the client names the grants of new businesses.
    #[serde(default)]
    pub grant: Option<String>,
}

/// An exchange is waited for so long; it goes on.
const PATIENCE: Duration = Duration::from_secs(60);

impl Enroller {
    /// Presents the code of a push that came without our state: an operator says that
    /// it was expected, and whose it is.
    ///
    /// # Errors
    /// When none waits there, or it would take over another grant.
    pub async fn approve(&self, id: EnrollmentId, whose: Approve) -> Result<Report, Failure> {
        self.tidy().await;
        let enrollment = self.find(id).await?;
        if enrollment.stage != Stage::Quarantined {
            return Err(nothing_waits());
        }
        let conf = self.0.reloader.config();
        let client = conf
            .clients
            .get(&enrollment.client)
            .filter(|client| client.description.name == enrollment.provider);
        let client = client.ok_or_else(|| {
            config(format!(
                "there is no client {} of provider {} in the configuration any more",
                enrollment.client, enrollment.provider
            ))
        })?;
        let business = enrollment.vars.get(business::VARIABLE).cloned();
        let business = business.unwrap_or_default();
        let explain = |refusal: PushRefusal| refused(&refusal.to_string());
        let name = match &whose.grant {
            Some(name) if name::is_valid(name) => name.clone(),
            Some(name) => {
                let text = format!("{:?} cannot name a grant; {}", printable(name), name::RULE);
                return Err(Failure::new(Exit::Usage, text));
            }
            None => name_for(client, &enrollment.vars, &business).map_err(explain)?,
        };
        let stored = self.0.deck.store.grant_by_name(&name).await;
        let stored = stored.map_err(failed)?;
        let place = Place {
            name: &name,
            stored: stored.as_ref(),
            new: whose.grant.is_none(),
        };
        place.check(&conf, client, &business).map_err(explain)?;
        let approved = Enrollment {
            configured: conf.grants.contains_key(&name),
            grant: Some(name),
            text: String::new(),
            ..enrollment
        };
        let store = &self.0.deck.store;
        if !store.approve_enrollment(approved).await.map_err(failed)? {
            return Err(nothing_waits());
        }
        self.turned();
        self.exchange_soon(id);
        self.exchanged(id, PATIENCE).await
    }
}

fn nothing_waits() -> Failure {
    refused("no push waits there for approval; see `refreshd authorize --list`")
}
