//! An authorization is asked for.

use super::{Enroller, failed, id_text};
use crate::config::active::Seat;
use crate::engine::message::{Message, NotRefreshed, Wish};
use crate::exchange::registration;
use crate::exit::{Exit, Failure};
use crate::random;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via, state};
use refreshd_core::grant::schedule::Urgency;
use refreshd_core::provider::authorize::{Asked, Pkce, authorize_url};
use refreshd_core::secret::Secret;
use refreshd_core::text::printable;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// The grant; `None` with `client`: a new one of the client's, named when the
    /// provider tells the business.
    #[serde(default)]
    pub grant: Option<String>,
    /// The client, where no grant is named.
    #[serde(default)]
    pub client: Option<String>,
    /// How the provider's word is to come. A provider that pushes codes does so anyway.
    pub via: Via,
    /// The redirect URI to name to the provider, where neither the configuration nor the
    /// grant has one.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// Read the configuration again first, where the one on disk says other things about
    /// the client or the grant.
    #[serde(default)]
    pub reload: bool,
}

/// What was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum Begun {
    /// The person is to be sent to `url`.
    Visit {
        /// The enrolment.
        id: String,
        /// How the provider's word comes.
        via: Via,
        /// Where the person authorizes.
        url: String,
        /// Where the person is sent back to.
        redirect_uri: Option<String>,
        /// How long a code is good for, in milliseconds, where that is known.
        code_lifetime_ms: Option<u64>,
        /// After this nothing is taken for it, RFC 3339.
        expires_at: String,
    },
    /// The person is to type `user_code` at `url`.
    Type {
        /// The enrolment.
        id: String,
        /// What to type.
        user_code: String,
        /// Where.
        url: String,
        /// Where, with the code filled in already.
        complete_url: Option<String>,
        /// After this nothing is taken for it, RFC 3339.
        expires_at: String,
    },
    /// Nobody has to authorize: the client asked for itself, and got this.
    Asked {
        /// The grant.
        grant: String,
        /// Its generation now.
        generation: u64,
        /// When its access token ends, RFC 3339.
        token_expires_at: String,
    },
}

/// A browser's answer is waited for so long.
const REDIRECT_VALID: Duration = Duration::from_secs(15 * 60);

impl Enroller {
    /// Begins an enrolment.
    ///
    /// # Errors
    /// When there is no such grant or client, the provider's description does not
    /// allow it, or it could not be written down.
    pub async fn begin(&self, begin: Begin) -> Result<Begun, Failure> {
        self.be_current(&begin).await?;
        let mut enrollment = self.draft(&begin).await?;
        let name = enrollment.grant.clone().unwrap_or_default();
        let seat = self.seat(&enrollment, &name).map_err(config)?;
        let description = &seat.client.description;
        if enrollment.grant.is_none() && !description.pushes_codes() {
            let text =
                "name a grant: only a provider that pushes its codes tells which one it is for";
            return Err(Failure::new(Exit::Usage, text));
        }
        match &description.authorize {
            _ if begin.via == Via::Device => return self.begin_device(enrollment, seat).await,
            None if description.device.is_some() => {
                return self.begin_device(enrollment, seat).await;
            }
            None if description.refresh.asks_anew() => return self.ask_anew(name).await,
            Some(_) if description.pushes_codes() => enrollment.via = Via::Push,
            _ => {}
        }
        let valid = match enrollment.via {
            Via::Redirect => REDIRECT_VALID,
            _ => self.0.reloader.config().enroll.link_valid,
        };
        enrollment.expires_at = enrollment.begun_at + valid;
        let (secrets, url) = match enrollment.via {
            Via::Link => {
                let seat = self.link_seat(&mut enrollment, &begin, seat.clone())?;
                (Secrets::default(), self.link_url(&enrollment, &seat)?)
            }
            via => {
                if via == Via::Push {
                    self.check_listens()?;
                    enrollment.redirect_uri = None;
                }
                self.ask(&enrollment, &seat)?
            }
        };
        let begun = Begun::Visit {
            id: id_text(enrollment.id),
            via: enrollment.via,
            url,
            redirect_uri: enrollment.redirect_uri.clone(),
            code_lifetime_ms: description
                .authorize
                .as_ref()
                .and_then(|a| a.code_lifetime)
                .and_then(|d| u64::try_from(d.as_millis()).ok()),
            expires_at: enrollment.expires_at.rfc3339(),
        };
        self.tidy().await;
        let store = &self.0.deck.store;
        store
            .begin_enrollment(enrollment, secrets)
            .await
            .map_err(failed)?;
        Ok(begun)
    }

    /// Whether nothing on disk is newer than what is in force: an approval would be asked
    /// for by an address, or exchanged by a secret, that somebody has just changed.
    async fn be_current(&self, begin: &Begin) -> Result<(), Failure> {
        let reloader = self.0.reloader.clone();
        let grant = begin.grant.clone();
        let client = begin.client.clone();
        let looked = tokio::task::spawn_blocking(move || {
            reloader.newer_on_disk(grant.as_deref(), client.as_deref())
        });
        let newer = looked.await.ok().flatten();
        let Some(newer) = newer else {
            return Ok(());
        };
        if begin.reload {
            let done = self.0.reloader.reload(&self.0.engine).await?;
            tracing::info!("{done}");
            return Ok(());
        }
        Err(config(format!(
            "the configuration on disk is newer than the one that refreshd works with: {newer}. Run `refreshd reload` and authorize again, or pass --yes"
        )))
    }

    /// What the configuration says about the grant, or the client.
    async fn draft(&self, begin: &Begin) -> Result<Enrollment, Failure> {
        let config = self.0.reloader.config();
        let mut configured_uri = None;
        let (client, vars, redirect_uri) = match (&begin.grant, &begin.client) {
            (Some(name), _) => {
                let stored = self
                    .0
                    .deck
                    .store
                    .grant_by_name(name)
                    .await
                    .map_err(failed)?;
                let configured = config.grants.get(name);
                let stored = stored.filter(|g| configured.is_some() || !g.state.configured);
                let (mut vars, mut redirect_uri) = (BTreeMap::new(), None);
                let mut client = None;
                if let Some(stored) = stored {
                    (client, vars) = (Some(stored.client), stored.vars);
                    redirect_uri = stored.redirect_uri.filter(|uri| !made_up(uri));
                }
                if let Some(configured) = configured {
                    client = Some(configured.client.clone());
                    vars.extend(configured.vars.clone());
                    configured_uri = configured.redirect_uri.clone();
                }
                let client = client.ok_or_else(|| no_such_grant(name))?;
                (client, vars, redirect_uri)
            }
            (None, Some(client)) => (client.clone(), BTreeMap::new(), None),
            (None, None) => return Err(Failure::new(Exit::Usage, "name a grant, or a client")),
        };
        let known = config.clients.get(&client).ok_or_else(|| {
            let text = format!(
                "there is no client {:?} in the configuration",
                printable(&client)
            );
            Failure::new(Exit::NoGrant, text)
        })?;
        let now = self.0.deck.clock.wall();
        Ok(Enrollment {
            id: EnrollmentId(random::bytes()),
            grant: begin.grant.clone(),
            client,
            provider: known.description.name.clone(),
            via: begin.via,
            // As the configuration has it now: what the grant was begun with is older.
            redirect_uri: configured_uri
                .or_else(|| known.redirect_uri.clone())
                .or(redirect_uri)
                .or_else(|| begin.redirect_uri.clone()),
            vars,
            begun_at: now,
            expires_at: now,
            stage: Stage::Open,
            text: String::new(),
            configured: begin
                .grant
                .as_ref()
                .is_some_and(|name| config.grants.contains_key(name)),
            sent: None,
            account: None,
            generation: None,
            asked: None,
            code: Default::default(),
        })
    }

    /// The URL that asks, and what is kept to check the answer by.
    fn ask(&self, enrollment: &Enrollment, seat: &Seat) -> Result<(Secrets, String), Failure> {
        let secrets = Secrets {
            verifier: takes_pkce(seat).then(random_text),
            nonce: takes_nonce(seat).then(random_text),
            ..Secrets::default()
        };
        let state = state::of(enrollment, &self.0.deck.fingerprinter);
        let url = self.authorize_url(seat, &state, &secrets)?;
        Ok((secrets, url))
    }

    /// Where the person is to be sent with a state, and what belongs to it.
    pub(super) fn authorize_url(
        &self,
        seat: &Seat,
        state: &str,
        secrets: &Secrets,
    ) -> Result<String, Failure> {
        let description = &seat.client.description;
        description.authorize.as_ref().ok_or_else(|| {
            let text = format!(
                "provider {} has no [authorize] url in its description, so nobody can be sent there; bring a token with `refreshd import`",
                description.name
            );
            Failure::new(Exit::Config, text)
        })?;
        let asked = Asked {
            state,
            verifier: secrets.verifier.as_ref(),
            nonce: secrets.nonce.as_ref().map(Secret::expose),
        };
        authorize_url(description, &registration(seat), &seat.vars, asked)
            .map(String::from)
            .map_err(|e| config(e.to_string()))
    }

    /// Client credentials, asked for again by hand.
    async fn ask_anew(&self, grant: String) -> Result<Begun, Failure> {
        let wish = Wish {
            grant: grant.clone(),
            urgency: Urgency::Force,
            generation: None,
        };
        let asked = self.0.engine.ask(|reply| Message::Refresh(wish, reply));
        let stopping = |_| Failure::new(Exit::TempFail, "refreshd is stopping");
        match asked.await.map_err(stopping)? {
            Ok(refreshed) => Ok(Begun::Asked {
                grant,
                generation: refreshed.generation,
                token_expires_at: refreshed.expires_at,
            }),
            Err(NotRefreshed::Unknown) => Err(no_such_grant(&grant)),
            Err(NotRefreshed::Later(text)) => Err(Failure::new(Exit::TempFail, text)),
            Err(NotRefreshed::Unavailable(text)) => Err(Failure::new(Exit::Unavailable, text)),
            Err(NotRefreshed::NeedsPerson(text)) => Err(Failure::new(Exit::NoPermission, text)),
        }
    }

    pub(super) async fn tidy(&self) {
        let now: WallTime = self.0.deck.clock.wall();
        if let Err(e) = self.0.deck.store.tidy_enrollments(now).await {
            tracing::warn!("authorizations that are over stay for now: {e}");
        }
    }
}

/// Whether the provider is sent a challenge (RFC 7636). A code that is pushed comes
/// from no browser that could prove anything.
pub(super) fn takes_pkce(seat: &Seat) -> bool {
    let description = &seat.client.description;
    let authorize = description.authorize.as_ref();
    authorize.is_some_and(|a| a.pkce != Pkce::None) && !description.pushes_codes()
}

/// Whether an id token will come, which repeats a nonce.
pub(super) fn takes_nonce(seat: &Seat) -> bool {
    seat.client.scopes.iter().any(|scope| scope == "openid")
}

/// 256 random bits, in characters that go anywhere.
pub(super) fn random_text() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(random::bytes::<32>()))
}

/// Whether a redirect URI is one that the command made up: its port was free then, and
/// somebody else may have it now.
fn made_up(uri: &str) -> bool {
    let port = uri.strip_prefix("http://127.0.0.1:");
    let port = port.and_then(|rest| rest.strip_suffix("/callback"));
    port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn no_such_grant(name: &str) -> Failure {
    let name = printable(name);
    Failure::new(
        Exit::NoGrant,
        format!(
            "there is no grant {name}; add [grants.{name}] to the configuration and run `refreshd reload`"
        ),
    )
}

pub(super) fn config(text: String) -> Failure {
    Failure::new(Exit::Config, text)
}
