//! What the limits ask for besides: incidents, second chances.

use super::Engine;
use refreshd_core::GrantId;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::limits::{Effect, Scope, Trouble};
use std::collections::HashSet;

impl Engine {
    /// Tells what the limits have done.
    pub(super) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Braked {
                    scope,
                    trouble,
                    proven,
                } => self.braked(scope, trouble, proven),
                Effect::Freed { scope } => self.freed(scope),
                Effect::ManyRefused { client, count } => {
                    let client = self.roster.client_name(client).to_owned();
                    let text = || {
                        format!(
                            "{count} grants of client {client} were refused within ten minutes: the provider may be broken, or somebody revoked them; each is presented once more after another grant of the client has worked, and the others go on"
                        )
                    };
                    let subject = Subject::Client(client.clone());
                    self.incidents.raise(&subject, Kind::MassRefusal, text);
                }
                Effect::FewRefused { client } => {
                    let subject = Subject::Client(self.roster.client_name(client).to_owned());
                    let why = "grants of it that were refused work again";
                    self.incidents.close(&subject, Kind::MassRefusal, why);
                }
            }
        }
    }

    /// Many fail alike.
    fn braked(&mut self, scope: Scope, trouble: Trouble, proven: bool) {
        let (subject, kind) = match self.subject_of(scope, trouble) {
            Some(found) => found,
            None => {
                let Scope::Template(template) = scope else {
                    return;
                };
                let template = self.roster.template_name(template);
                return tracing::warn!(
                    template,
                    trouble = trouble.word(),
                    "{template}: at the last hosts asked, {}; retries are made one at a time",
                    trouble.explain()
                );
            }
        };
        let name = subject.name().to_owned();
        let held = match proven {
            true => "one grant at a time tries it, the others are asked at their last moment",
            false => {
                "retries are made one at a time; grants whose tokens live are asked when they are due"
            }
        };
        let text = || match kind {
            Kind::ClientNotAccepted => format!(
                "client {name} is not accepted by its provider: {held}; nothing of it is lost. See its client_id and client_secret; once they are mended, `refreshd reload` tries at once"
            ),
            _ => format!("{name}: {} in a row; {held}", trouble.explain()),
        };
        self.incidents.raise(&subject, kind, text);
    }

    fn freed(&mut self, scope: Scope) {
        let of = |scope| match scope {
            Scope::ClientAt { client, .. } | Scope::Client(client) => Some(client),
            Scope::Host(_) | Scope::Template(_) => None,
        };
        let still = |(other, trouble, _)| trouble == Trouble::Client && of(other) == of(scope);
        let still_rejected = of(scope).is_some() && self.scheduler.limits().brakes().any(still);
        for trouble in [Trouble::Client, Trouble::Down] {
            if trouble == Trouble::Client && still_rejected {
                continue;
            }
            if let Some((subject, kind)) = self.subject_of(scope, trouble) {
                let why = match kind {
                    Kind::ClientNotAccepted => "the provider accepts it again",
                    _ => "it works again",
                };
                self.incidents.close(&subject, kind, why);
            }
        }
    }

    /// Whom an incident of a brake is about; of a template's there is none.
    fn subject_of(&self, scope: Scope, trouble: Trouble) -> Option<(Subject, Kind)> {
        let rejected = trouble == Trouble::Client;
        Some(match scope {
            Scope::Client(client) | Scope::ClientAt { client, .. } if rejected => {
                let client = self.roster.client_name(client).to_owned();
                (Subject::Client(client), Kind::ClientNotAccepted)
            }
            Scope::ClientAt { client, host } => {
                let host = self.roster.host_name(host);
                let endpoint = endpoint_for(host, self.roster.client_name(client));
                (Subject::Endpoint(endpoint), Kind::EndpointFailing)
            }
            Scope::Host(host) => {
                let host = self.roster.host_name(host).to_owned();
                (Subject::Endpoint(host), Kind::EndpointFailing)
            }
            Scope::Client(_) | Scope::Template(_) => return None,
        })
    }

    /// Before a person is asked, a refused grant tries what a late answer brought.
    pub(super) async fn take_second_chance(&mut self, index: u32) {
        // In a store that was put back it is not known yet which token is the newest.
        if self.scheduler.fenced().is_some() {
            return;
        }
        let grant = &self.scheduler.entry(index).grant;
        let (id, name, revision) = (grant.id.clone(), grant.name.clone(), grant.revision);
        let at = self.deck.clock.wall();
        match self.deck.store.take_second_chance(&id, revision, at).await {
            Ok(Some(grant)) => {
                tracing::warn!(grant = %name, "{name}: its refresh token was refused; one that a late answer brought is tried");
                self.put(grant);
                // It is bound to whom it was asked of, which may be another by now.
                self.align(index).await;
                self.scheduler.schedule(index, at);
            }
            Ok(None) => {}
            Err(e) => {
                tracing::error!(grant = %name, "{name}: what late answers brought cannot be tried yet: {e}");
            }
        }
    }

    /// The process may have ended between a refusal and its second chance.
    pub(super) async fn recall_second_chances(&mut self) {
        let chances = match self.deck.store.second_chances().await {
            Ok(chances) => HashSet::<GrantId>::from_iter(chances),
            Err(e) => return tracing::error!("kept answers cannot be read: {e}"),
        };
        let refused = |engine: &Engine, index: &u32| {
            let grant = &engine.scheduler.entry(*index).grant;
            grant.state.refusal.is_some() && chances.contains(&grant.id)
        };
        let indices: Vec<u32> = self.scheduler.indices().collect();
        for index in indices
            .into_iter()
            .filter(|index| refused(self, index))
            .collect::<Vec<_>>()
        {
            self.take_second_chance(index).await;
            self.schedule(index);
        }
    }
}

/// A host that fails for one client alone, while it works for others.
pub(super) fn endpoint_for(host: &str, client: &str) -> String {
    format!("{host} for client {client}")
}
