//! What an operator ends: a revocation at the provider, and a grant that is taken away.

use super::Engine;
use super::reconfigure::Change;
use crate::config::active::{Seat, binding_of};
use crate::exit::{Exit, Failure, no_such_grant};
use refreshd_core::Grant;
use refreshd_core::grant::revocation::{Told, answered, asked};
use refreshd_core::grant::schedule::{Denied, Never};
use refreshd_core::grant::state::Revoked;
use refreshd_core::incident::Subject;
use refreshd_core::scheduler::Declined;
use refreshd_core::time::WallTime;

/// A revocation that may be sent: nothing of the grant is refreshed any more.
#[derive(Debug)]
pub struct Revoking {
    /// The grant.
    pub grant: Grant,
    /// Its client.
    pub seat: Seat,
    /// What stood there before.
    pub before: Option<Revoked>,
    /// When it was written down.
    pub asked_at: WallTime,
    /// An overdue exchange may still bring another token set.
    pub overdue: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Ended {
    /// What was begun.
    pub revoking: Revoking,
    /// What the provider said.
    pub told: Told,
}

impl Engine {
    /// Looks whether a grant can be revoked, and (where it is `meant`) writes down
    /// that it is. `None`: an exchange is under way; ask again when it has ended.
    pub(super) async fn begin_revocation(
        &mut self,
        name: &str,
        meant: bool,
    ) -> Result<Option<Revoking>, Failure> {
        let index = self.ready(name)?;
        let entry = self.scheduler.entry(index);
        let person = |why: String| Failure::new(Exit::NoPermission, format!("{name}: {why}"));
        let grant = entry.grant.clone();
        let seat = entry.seat.clone().ok_or_else(|| {
            person("its client is not in the configuration, and revoking takes the client's credentials; put it back, or take the grant away with `refreshd remove`".to_owned())
        })?;
        if seat.client.description.revoke.is_none() {
            let provider = &seat.client.description.name;
            return Err(Failure::new(
                Exit::Unavailable,
                format!(
                    "{name}: no revocation endpoint of provider {provider} is known ([revoke] url in its file); end the authorization at the provider by hand, and take the grant away with `refreshd remove {name}`"
                ),
            ));
        }
        if grant.state.generation == 0 {
            return Err(person("it has no token set to revoke".to_owned()));
        }
        let bound = binding_of(&seat).map_err(&person)?;
        if grant.state.pause.is_some() || grant.state.binding.is_some_and(|b| b != bound) {
            return Err(person("its tokens belong to another client or token endpoint than the configuration has now, and are not sent there; see `refreshd doctor`".to_owned()));
        }
        if entry.in_flight.is_some() {
            return Ok(None);
        }
        let grant = entry.grant.clone();
        let mut revoking = Revoking {
            before: grant.state.revoked,
            asked_at: self.deck.clock.wall(),
            overdue: self.scheduler.is_aloft(index),
            seat,
            grant,
        };
        if meant {
            let state = asked(&revoking.grant.state, revoking.asked_at);
            let wanted = state.revoked;
            let change = Change::new(index, state, "revoking", "its operator asked for it");
            if let Some(e) = self.commit_states(vec![change]).await {
                let text =
                    format!("{name}: nothing was sent, since it cannot be written down: {e}");
                return Err(Failure::new(Exit::TempFail, text));
            }
            revoking.grant = self.scheduler.entry(index).grant.clone();
            if revoking.grant.state.revoked != wanted {
                return Err(changed_meanwhile(name));
            }
            self.schedule(index);
            self.scheduler.withdraw_wish(index);
            self.turn_down(index, Declined::Denied(Denied::Never(Never::Revoked)));
        }
        Ok(Some(revoking))
    }

    /// Writes down what became of a revocation.
    pub(super) async fn end_revocation(&mut self, ended: Ended) -> Result<(), Failure> {
        let Ended { revoking, told } = ended;
        let name = revoking.grant.name.clone();
        let Some(index) = self.roster.index(&name) else {
            return Ok(());
        };
        let (kind, text) = match &told {
            Told::Revoked => ("revoked", "the provider has revoked it".to_owned()),
            Told::Unknown { text } => (
                "revocation-unknown",
                format!("whether the provider has revoked it is not known: {text}"),
            ),
            Told::NotRevoked { text, .. } => (
                "not-revoked",
                format!("the provider has not revoked it: {text}"),
            ),
        };
        tracing::warn!(grant = %name, "{name}: {text}");
        // A late answer may be committed in between.
        for _ in 0..3 {
            let grant = &self.scheduler.entry(index).grant;
            if grant.id != revoking.grant.id {
                return Ok(());
            }
            let after = answered(&grant.state, revoking.before, revoking.asked_at, &told);
            let Some(state) = after.filter(|state| *state != grant.state) else {
                break;
            };
            let change = Change::new(index, state, kind, text.clone());
            if let Some(e) = self.commit_states(vec![change]).await {
                let text = format!("{name}: {text}; that could not be written down: {e}");
                return Err(Failure::new(Exit::TempFail, text));
            }
        }
        self.schedule(index);
        self.watch(index, self.deck.clock.wall(), None);
        self.publisher.notify(&name);
        Ok(())
    }

    /// Takes a grant away from the store and from here. `None`: an exchange is under
    /// way; ask again when it has ended. Where it is not `meant`, only looks.
    pub(super) async fn remove(&mut self, name: &str, meant: bool) -> Result<Option<()>, Failure> {
        let index = self.ready(name)?;
        if self.config.grants.contains_key(name) {
            return Err(Failure::new(
                Exit::Data,
                format!(
                    "{name} is still in the configuration that is in force; run `refreshd reload`"
                ),
            ));
        }
        let entry = self.scheduler.entry(index);
        if entry.in_flight.is_some() {
            return Ok(None);
        }
        if self.scheduler.is_aloft(index) || self.deck.late_answers.are_pending(&entry.grant.id) {
            let text = format!(
                "{name}: an exchange has not been answered yet, and its answer would have no grant; try again in ten minutes at most"
            );
            return Err(Failure::new(Exit::TempFail, text));
        }
        if !meant {
            return Ok(Some(()));
        }
        let grant = entry.grant.clone();
        match self.deck.store.remove(&grant).await {
            Ok(true) => {}
            Ok(false) => return Err(changed_meanwhile(name)),
            Err(e) => {
                let text = format!("{name}: it was not taken away: {e}");
                return Err(Failure::new(Exit::TempFail, text));
            }
        }
        let effects = self.scheduler.remove(index, self.deck.clock.wall());
        self.turn_down(index, Declined::Retired);
        self.roster.remove(name);
        self.apply(effects);
        let gone = Subject::Grant(name.to_owned());
        self.incidents.forget(|subject| *subject == gone);
        tracing::warn!(grant = %name, "{name}: its operator took it away");
        Ok(Some(()))
    }

    /// The index of a grant, where the store can be trusted and written.
    fn ready(&mut self, name: &str) -> Result<u32, Failure> {
        let index = self.roster.index(name).ok_or_else(|| no_such_grant(name))?;
        self.watch_store();
        if let Some(why) = self.scheduler.fenced() {
            let text = format!("{name}: {why}");
            return Err(Failure::new(Exit::NoPermission, text));
        }
        if self.scheduler.is_unwritable() {
            let text = format!("{name}: the database cannot be written; the log says why");
            return Err(Failure::new(Exit::TempFail, text));
        }
        Ok(index)
    }
}

fn changed_meanwhile(name: &str) -> Failure {
    let text = format!("{name}: it was changed meanwhile; nothing was done, try again");
    Failure::new(Exit::TempFail, text)
}
