//! What there is, and how it is: `status`, `doctor`, `history`.

use super::api::StatusQuery;
use super::offline::Offline;
use super::{Host, Service, outputs};
use crate::config::active::{has_broken_client, seat_of};
use crate::descriptors;
use crate::engine::message::{Message, WhichGrants};
use crate::enroll::scopes_of;
use crate::exchange::Deck;
use crate::exit::{Failure, internal, no_such_grant};
use crate::history::{self, HistoryLine};
use crate::incidents::at_rest::open_incidents;
use crate::incidents::report::{CLOSED_SHOWN, IncidentReport};
use crate::report::status::Status;
use crate::report::{GrantReport, missing, tell_held};
use crate::state::fence_text;
use refreshd_core::grant::Grant;
use refreshd_core::incident::Incident;
use refreshd_core::time::WallTime;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// The outputs are looked at for so long at most.
const LOOKS: Duration = Duration::from_secs(3);
/// And the store is waited for no longer than this.
const STORE: Duration = Duration::from_secs(1);

impl Service {
    /// `refreshd status`.
    ///
    /// # Errors
    /// When a grant that is named is not there, or the store cannot be read.
    pub async fn status(&self, query: &StatusQuery) -> Result<Status, Failure> {
        let which = query.named();
        let mut status = Status::default();
        let (mut grants, incidents) = match &self.host {
            Host::Daemon(running) => {
                status.running = true;
                status.pid = Some(std::process::id());
                let max_flights = self.config().daemon.max_flights;
                let count = |open| running.ration.count(open, max_flights);
                status.descriptors = descriptors::open_now().map(count);
                // What is said of a file is what stands there now.
                running.reloader.look_at_outputs(LOOKS).await;
                let message = |reply| Message::Status(which.clone(), reply);
                (running.ask(message).await?, running.incidents.open())
            }
            Host::Command(offline) => offline.reports(&self.deck, &which).await?,
        };
        let held = tell_held(&self.deck.store, &mut grants);
        // A disk that hangs, or a record that is damaged, keeps nobody from the rest.
        if !matches!(tokio::time::timeout(STORE, held).await, Ok(Ok(()))) {
            tracing::warn!("status could not look for authorizations that wait for a person");
        }
        let mut status = Status {
            notices: self.notices(),
            incidents: IncidentReport::of(&incidents),
            grants,
            ..status
        };
        if let WhichGrants::These(names) = &which {
            self.tell_more(&mut status, names, query.history).await?;
        }
        Ok(status.summed_up())
    }

    /// Of grants that are named, more; and of what is not healthy, what is theirs.
    async fn tell_more(
        &self,
        status: &mut Status,
        names: &BTreeSet<String>,
        events: u32,
    ) -> Result<(), Failure> {
        let clients = status.grants.iter().map(|report| report.client.clone());
        let clients: BTreeSet<String> = clients.collect();
        let of_them = |incident: &IncidentReport| incident.concerns(names, &clients);
        status.incidents.retain(of_them);
        if let Host::Daemon(running) = &self.host {
            // What has just turned may not be in the store yet.
            running.incidents.write().await;
        }
        let (store, config) = (&self.deck.store, self.config());
        for name in names {
            if !status.grants.iter().any(|report| report.grant == *name) {
                return Err(no_such_grant(name));
            }
            let closed = store.closed_incidents(name, CLOSED_SHOWN).await;
            let closed = IncidentReport::of(&closed.map_err(internal)?);
            status.closed_incidents.extend(closed);
            if let Some((grant, tokens)) = store.load_named(name).await.map_err(internal)?
                && let Some(scopes) = scopes_of(&grant, tokens.as_ref(), &config)
            {
                status.scopes.insert(name.clone(), scopes);
            }
            if events > 0 {
                let lines = self.history(name, events).await?;
                status.history.insert(name.clone(), lines);
            }
        }
        Ok(())
    }

    /// What holds for all grants.
    fn notices(&self) -> Vec<String> {
        let fence = self.deck.store.fence();
        let clock = (!self.deck.clock.is_trusted()).then(|| {
            "the system's wall clock was set back and is not followed; see `refreshd doctor`"
                .to_owned()
        });
        let notices = fence.iter().map(fence_text).chain(clock);
        notices.chain(self.maintenance.notice()).collect()
    }

    /// `refreshd history`, newest first.
    ///
    /// # Errors
    /// When there is no such grant, or the store cannot be read.
    pub async fn history(&self, name: &str, limit: u32) -> Result<Vec<HistoryLine>, Failure> {
        let lines = history::of(&self.deck.store, name, limit).await;
        match lines.map_err(internal)? {
            Some(lines) => Ok(lines),
            // Nothing has happened to it yet.
            None if self.config().grants.contains_key(name) => Ok(Vec::new()),
            None => Err(no_such_grant(name)),
        }
    }
}

impl Offline {
    /// Reports of grants by their rows, by name, and what is open of incidents.
    async fn reports(
        &self,
        deck: &Deck,
        which: &WhichGrants,
    ) -> Result<(Vec<GrantReport>, Vec<Incident>), Failure> {
        let (config, now) = (&*self.config, deck.clock.wall());
        let all = deck.store.grants().await.map_err(internal)?;
        let asked = all.iter().filter(|grant| which.has(&grant.name));
        let asked: Vec<&Grant> = asked.collect();
        let reports = asked.iter().map(|grant| self.report(grant, now));
        let mut reports: Vec<GrantReport> = reports.collect();
        outputs::tell(&mut reports, &asked, deck, config).await?;
        let known: HashSet<&str> = all.iter().map(|grant| grant.name.as_str()).collect();
        let missing = missing(config, |name| known.contains(name));
        reports.extend(missing.filter(|report| which.has(&report.grant)));
        reports.sort_by(|a, b| a.grant.cmp(&b.grant));
        let open = open_incidents(&deck.store, &all, config, now).await;
        Ok((reports, open.map_err(internal)?))
    }

    fn report(&self, grant: &Grant, now: WallTime) -> GrantReport {
        let seat = seat_of(grant, &self.config);
        let provider = seat.as_ref().map(|s| s.client.description.name.as_str());
        let policy = seat.as_ref().map(|s| &s.policy);
        let report = GrantReport::new(grant, provider, policy, now).at_rest();
        match has_broken_client(grant, &self.config) {
            true => report.without_client(&grant.state, now),
            false => report,
        }
    }
}
