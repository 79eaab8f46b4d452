//! What a provider has pushed to us: whose it is, and that it takes nothing over.

use super::Enroller;
use crate::config::{Client, Config};
use crate::random;
use crate::state::{GrantsByName, Received, StoreError};
use refreshd_core::enroll::push::Push;
use refreshd_core::enroll::state::Claim;
use refreshd_core::enroll::{Asked, Enrollment, EnrollmentId, Stage, Via, business, state};
use refreshd_core::grant::Grant;
use refreshd_core::name;
use refreshd_core::provider::template;
use refreshd_core::secret::Fingerprinter;
use refreshd_core::time::WallTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is kept, and its code is presented.
    Received,
    /// It came before.
    Again,
    /// An operator has to look at it.
    Quarantined,
}

/// Why nothing was done with a push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushRefusal {
    /// It has no state, or none of ours for this client.
    #[error("it does not carry our state")]
    Unsigned,
    /// Its business cannot be one.
    #[error("business_id: {0}")]
    Business(String),
    /// It is not what the state is for.
    #[error("{0}")]
    Foreign(String),
    /// Another code has come for its state.
    #[error("this authorization has had its code already")]
    Spent,
    /// It could not be kept.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for PushRefusal {
    fn from(error: StoreError) -> Self {
        PushRefusal::Failed(error.to_string())
    }
}

impl Enroller {
    /// The client whose pushes come to a path.
    #[must_use]
    pub fn client_of_push(&self, path: &str) -> Option<Arc<Client>> {
        let config = self.0.reloader.config();
        let mut clients = config.clients.values();
        let client =
            clients.find(|client| client.push.path == path && client.description.pushes_codes());
        client.cloned()
    }

    /// Takes a push that carries our state: it is durable when this returns. A state
    /// that we have not made is told by its seal, and costs the store nothing.
    ///
    /// # Errors
    /// When it is not ours, or not what was asked for. Nothing was written then.
    pub async fn pushed(&self, client: &Arc<Client>, push: Push) -> Result<Pushed, PushRefusal> {
        business::check(&push.business_id).map_err(PushRefusal::Business)?;
        let key = self.0.deck.fingerprinter.clone();
        let claim = push
            .state
            .as_deref()
            .and_then(|text| state::read(text, &key));
        let claim = claim.ok_or(PushRefusal::Unsigned)?;
        let now = self.0.deck.clock.wall();
        let judge = Judge {
            key,
            claim,
            now,
            config: self.0.reloader.config(),
            client: client.clone(),
            business_id: push.business_id,
        };
        let (store, code) = (self.0.deck.store.clone(), push.code);
        let keeping = async move {
            let judged = move |known: Option<Enrollment>, grants: &GrantsByName<'_>| {
                judge.judge(known, |name| grants.find(name))
            };
            store.receive_push(claim.id, code, now, judged).await
        };
        let kept = self.kept(keeping, |kept| {
            kept.as_ref().ok()?.as_ref().ok()?.to_present()
        });
        let kept = kept
            .await
            .map_err(|failure| PushRefusal::Failed(failure.message))?;
        match kept?? {
            Received::New(_) => Ok(Pushed::Received),
            Received::Again(_) => Ok(Pushed::Again),
            Received::Spent(_) => Err(PushRefusal::Spent),
        }
    }

    /// Keeps a push that does not carry our state, for an operator.
    ///
    /// # Errors
    /// When too many wait already, or it could not be kept.
    pub async fn quarantine(&self, client: &Client, push: Push) -> Result<Pushed, PushRefusal> {
        business::check(&push.business_id).map_err(PushRefusal::Business)?;
        let now = self.0.deck.clock.wall();
        let text = format!(
            "business {} has installed it without a link of ours: approve it if you expected that",
            push.business_id
        );
        let business = (business::VARIABLE.to_owned(), push.business_id);
        let enrollment = Enrollment {
            id: EnrollmentId(random::bytes()),
            grant: None,
            client: client.name.clone(),
            provider: client.description.name.clone(),
            via: Via::Push,
            redirect_uri: None,
            vars: BTreeMap::from([business]),
            begun_at: now,
            expires_at: now + self.0.reloader.config().enroll.link_valid,
            stage: Stage::Quarantined,
            text,
            configured: false,
            generation: None,
            account: None,
            sent: None,
            asked: None,
            code: Default::default(),
        };
        let store = &self.0.deck.store;
        let mut kept = store
            .quarantine(enrollment.clone(), push.code.clone())
            .await;
        if matches!(kept, Err(StoreError::TooMany(_))) {
            // Some may have waited for too long.
            self.tidy().await;
            kept = store.quarantine(enrollment, push.code).await;
        }
        self.turned();
        Ok(match kept? {
            true => Pushed::Quarantined,
            false => Pushed::Again,
        })
    }
}

/// What a push with a state of ours is judged by.
struct Judge {
    key: Fingerprinter,
    claim: Claim,
    now: WallTime,
    config: Arc<Config>,
    client: Arc<Client>,
    business_id: String,
}

impl Judge {
    /// The enrolment with what the push has told, if nothing is against that.
    fn judge(
        self,
        known: Option<Enrollment>,
        grant: impl FnOnce(&str) -> Result<Option<Grant>, StoreError>,
    ) -> Result<Enrollment, PushRefusal> {
        let client = &self.client;
        let ours = |enrollment: &Enrollment| {
            self.claim.proves(enrollment, &self.key)
                && enrollment.via == Via::Push
                && enrollment.client == client.name
                && enrollment.provider == client.description.name
        };
        let enrollment = known.filter(ours).ok_or(PushRefusal::Unsigned)?;
        let open = enrollment.stage == Stage::Open;
        if open && self.now >= enrollment.expires_at {
            return Err(foreign("the link was too old; ask for a new one"));
        }
        let expected = enrollment.vars.get(business::VARIABLE);
        if expected.is_some_and(|expected| *expected != self.business_id) {
            return Err(foreign("the link was for another business"));
        }
        let new = enrollment.grant.is_none();
        let name = match &enrollment.grant {
            Some(name) => name.clone(),
            None => name_for(client, &enrollment.vars, &self.business_id)?,
        };
        if open {
            let stored = grant(&name)?;
            let place = Place {
                name: &name,
                stored: stored.as_ref(),
                new,
            };
            place.check(&self.config, client, &self.business_id)?;
        }
        let configured = self.config.grants.contains_key(&name);
        Ok(Enrollment {
            configured,
            ..learned(enrollment, name, self.business_id)
        })
    }
}

/// The grant that a business's token set is to become.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    /// As the store has it, if it has.
    pub(super) stored: Option<&'a Grant>,
    /// Nobody has named it: it follows from the business alone.
    pub(super) new: bool,
}

impl Place<'_> {
    /// Whether it may: no other client's is taken over, nor another business's.
    pub(super) fn check(
        &self,
        config: &Config,
        client: &Client,
        business_id: &str,
    ) -> Result<(), PushRefusal> {
        let configured = config.grants.get(self.name);
        let owner = configured
            .map(|grant| &grant.client)
            .or(self.stored.map(|grant| &grant.client));
        if owner.is_some_and(|owner| *owner != client.name) {
            return Err(foreign("the grant of that name is another client's"));
        }
        let of = |vars: &BTreeMap<String, String>| vars.get(business::VARIABLE).cloned();
        let have = configured
            .and_then(|grant| of(&grant.vars))
            .or_else(|| self.stored.and_then(|grant| of(&grant.vars)));
        match have {
            Some(have) if have != business_id => Err(foreign("the grant is another business's")),
            None if self.new && owner.is_some() => Err(foreign(
                "there is a grant of that name already, of which no business is known: authorize it by its name",
            )),
            None if self.new => {
                let mut others = config.grants.values();
                let other = others.find(|g| {
                    g.client == client.name && of(&g.vars).as_deref() == Some(business_id)
                });
                match other {
                    Some(other) => Err(PushRefusal::Foreign(format!(
                        "this business is the grant {}'s: authorize it by its name",
                        other.name
                    ))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The name of a new business's grant.
pub(super) fn name_for(
    client: &Client,
    vars: &BTreeMap<String, String>,
    business_id: &str,
) -> Result<String, PushRefusal> {
    let declared = &client.description.vars;
    let value = |var: &str| match var {
        business::VARIABLE => Some(business_id.to_owned()),
        _ => vars
            .get(var)
            .or_else(|| declared.get(var)?.default.as_ref())
            .cloned(),
    };
    let filled = template::fill(&client.push.grant, value)
        .map_err(|e| PushRefusal::Failed(format!("push.grant of client {}: {e}", client.name)))?;
    match name::is_valid(&filled) {
        true => Ok(filled),
        false => Err(foreign("the business's grant would have no valid name")),
    }
}

/// With what the push has told; its state stays bound to what was asked.
fn learned(enrollment: Enrollment, name: String, business_id: String) -> Enrollment {
    let asked = enrollment.asked.clone().unwrap_or_else(|| Asked {
        grant: enrollment.grant.clone(),
        vars: enrollment.vars.clone(),
    });
    let mut vars = enrollment.vars.clone();
    vars.insert(business::VARIABLE.to_owned(), business_id);
    Enrollment {
        grant: Some(name),
        vars,
        asked: Some(asked),
        ..enrollment
    }
}

fn foreign(text: &str) -> PushRefusal {
    PushRefusal::Foreign(text.to_owned())
}
