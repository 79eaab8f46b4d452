//! The state at rest: what `status`, `get`, `import`, `verify`, `backup` and `key` do
//! while no daemon runs. It takes the daemon's lock, settles what a crash left in the
//! journal, and sends nothing but what `verify` asks.

use crate::clock::SharedClock;
use crate::config::active::{has_broken_client, seat_of};
use crate::config::{Config, Database};
use crate::engine::perform::Deck;
use crate::engine::recovery::{self, Unsaved};
use crate::enroll::scopes_of;
use crate::exit::{Exit, Failure, internal, no_such_grant, retired};
use crate::history::{self, HistoryLine};
use crate::http::Http;
use crate::incidents::at_rest::open_incidents;
use crate::incidents::report::{CLOSED_SHOWN, IncidentReport};
use crate::opening::{Make, failure, open, options};
use crate::publish::database::read_generations;
use crate::publish::reconcile::OutputReport;
use crate::publish::{View, inspect};
use crate::report::status::Status;
use crate::report::{GrantReport, missing, tell_held};
use crate::service::answers::{self, KeptInFull};
use crate::service::api::{BackupMade, BackupRequest, Imported, KeyStatus, Token, TokenQuery};
use crate::service::import::Importer;
use crate::service::maintenance::Maintenance;
use crate::service::verify::{Verified, verify};
use crate::state::{Recovered, State, fence_text};
use refreshd_core::grant::schedule::{Never, Plan, plan};
use refreshd_core::grant::scopes::Scopes;
use refreshd_core::grant::{Grant, GrantId};
use refreshd_core::time::WallTime;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A file system that takes longer hangs, and is not waited for.
const HANGS: Duration = Duration::from_secs(5);

/// The state, opened by a command.
pub struct Rest {
    config: Arc<Config>,
    deck: Deck,
    maintenance: Maintenance,
    /// What the journal holds of authorizations: only a daemon reads it.
    waiting: Vec<Recovered>,
    /// What the store did not take: their grants present nothing meanwhile.
    _unsaved: Vec<Unsaved>,
    /// Held for its lock.
    state: State,
}

impl Rest {
    /// Opens the state under its lock and settles what stands in the journal. Where
    /// there is no state, one is made if it may be.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(config: Arc<Config>, make: Make) -> Result<Self, Failure> {
        let state = open(&config, make)?;
        Self::begin(config, state).await
    }

    /// Looks at the state: at a copy in memory, with what stands in the journal settled
    /// there. Nothing is made or changed, and a daemon may start meanwhile.
    ///
    /// # Errors
    /// When there is no state, or it cannot be read.
    pub async fn look(config: Arc<Config>) -> Result<Self, Failure> {
        let opened = State::look(&options(&config, Make::Never));
        let state = opened.map_err(|error| failure(&config, error))?;
        Self::begin(config, state).await
    }

    async fn begin(config: Arc<Config>, mut state: State) -> Result<Self, Failure> {
        let last_seen = state.last_seen();
        let deck = Deck {
            store: state.store.clone(),
            journal: state.journal.clone(),
            http: Http::default(),
            clock: SharedClock::new(last_seen.as_ref()),
            fingerprinter: state.store.fingerprinter(),
            arrivals: Default::default(),
        };
        let recovered = std::mem::take(&mut state.recovered);
        let left = recovery::finish(&deck, &config, recovered).await?;
        let maintenance = Maintenance::new(deck.store.clone(), state.keys.clone(), deck.clock.clone());
        Ok(Rest {
            config,
            deck,
            maintenance,
            waiting: left.enrolments,
            _unsaved: left.unsaved,
            state,
        })
    }

    /// Where the journal and the rows of exchanges under way disagreed as it was opened.
    #[must_use]
    pub fn disagreements(&self) -> &[String] {
        &self.state.disagreements
    }

    /// `refreshd status`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn status(&self) -> Result<Status, Failure> {
        let now = self.deck.clock.wall();
        let grants = self.deck.store.grants().await.map_err(internal)?;
        let mut reports: Vec<GrantReport> = grants
            .iter()
            .map(|grant| {
                let seat = seat_of(grant, &self.config);
                let provider = seat.as_ref().map(|s| s.client.description.name.as_str());
                let policy = seat.as_ref().map(|s| &s.policy);
                let report = GrantReport::new(grant, provider, policy, now).at_rest();
                match has_broken_client(grant, &self.config) {
                    true => report.without_client(&grant.state, now),
                    false => report,
                }
            })
            .collect();
        let generations = self.generations().await;
        for (report, grant) in reports.iter_mut().zip(&grants) {
            match self.outputs_of(grant, &generations, now).await? {
                Some(outputs) => report.tell_outputs(&outputs),
                // A file system hangs.
                None => break,
            }
        }
        let known: HashSet<&str> = grants.iter().map(|grant| grant.name.as_str()).collect();
        reports.extend(missing(&self.config, |name| known.contains(name)));
        reports.sort_by(|a, b| a.grant.cmp(&b.grant));
        let told = tell_held(&self.deck.store, &mut reports).await;
        told.map_err(internal)?;
        let fence = self.deck.store.fence();
        let open = open_incidents(&self.deck.store, &grants, &self.config, now).await;
        let status = Status {
            running: false,
            notices: fence.iter().map(fence_text).collect(),
            incidents: IncidentReport::of(&open.map_err(internal)?),
            grants: reports,
            ..Status::default()
        };
        Ok(status.summed_up())
    }

    /// What stands in the outputs of a grant, looked at as they lie.
    async fn outputs_of(
        &self,
        grant: &Grant,
        generations: &HashMap<PathBuf, BTreeMap<GrantId, u64>>,
        now: WallTime,
    ) -> Result<Option<Vec<OutputReport>>, Failure> {
        let Some(seat) = seat_of(grant, &self.config) else {
            return Ok(Some(Vec::new()));
        };
        let outputs = self.config.outputs_of(&grant.name, &seat.client);
        let rows: Vec<_> = self.config.databases_of(&grant.name).cloned().collect();
        if outputs.is_empty() && rows.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let loaded = self.deck.store.load(&grant.id).await.map_err(internal)?;
        let Some((grant, Some(tokens))) = loaded else {
            return Ok(Some(Vec::new()));
        };
        if tokens.access_token.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let view = View {
            store_id: self.deck.store.store_id().to_owned(),
            grant,
            tokens,
        };
        let row = |database: &Arc<Database>| {
            let here = generations.get(&database.path);
            let published = here.and_then(|here| here.get(&view.grant.id)).copied();
            inspect::row(database, &view, published)
        };
        let rows: Vec<OutputReport> = rows.iter().map(row).collect();
        let looked = tokio::task::spawn_blocking(move || {
            let files = outputs
                .iter()
                .map(|output| inspect::file(output, &view, now));
            files.chain(rows).collect()
        });
        let looked = tokio::time::timeout(HANGS, looked).await;
        Ok(looked.ok().and_then(Result::ok))
    }

    /// What stands in each published database.
    async fn generations(&self) -> HashMap<PathBuf, BTreeMap<GrantId, u64>> {
        let databases = self.config.databases.clone();
        let store_id = self.deck.store.store_id().to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let of = |database: &Arc<Database>| {
                let path = database.path.clone();
                (path.clone(), read_generations(&path, &store_id))
            };
            databases.iter().map(of).collect()
        });
        let read = tokio::time::timeout(HANGS, read).await;
        read.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// `refreshd history`.
    ///
    /// # Errors
    /// When there is no such grant, or the store cannot be read.
    pub async fn history(&self, name: &str, limit: u32) -> Result<Vec<HistoryLine>, Failure> {
        let lines = history::of(&self.deck.store, name, limit).await;
        lines.map_err(internal)?.ok_or_else(|| no_such_grant(name))
    }

    /// The incidents of a grant that are over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn closed_incidents(&self, name: &str) -> Result<Vec<IncidentReport>, Failure> {
        let closed = self.deck.store.closed_incidents(name, CLOSED_SHOWN).await;
        Ok(IncidentReport::of(&closed.map_err(internal)?))
    }

    /// What a grant may do, where that is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn scopes(&self, name: &str) -> Result<Option<Scopes>, Failure> {
        let loaded = self.deck.store.load_named(name).await.map_err(internal)?;
        Ok(loaded.and_then(|(grant, tokens)| scopes_of(&grant, tokens.as_ref(), &self.config)))
    }

    /// `refreshd get`.
    ///
    /// # Errors
    /// When there is no such grant or its token does not serve.
    pub async fn token(&self, name: &str, query: TokenQuery) -> Result<Token, Failure> {
        let now = self.deck.clock.wall();
        let found = self
            .deck
            .store
            .grant_by_name(name)
            .await
            .map_err(internal)?;
        let grant = found.ok_or_else(|| self.nothing_of(name))?;
        if self.has_retired(&grant) {
            return Err(retired(&grant));
        }
        let loaded = self.deck.store.load(&grant.id).await.map_err(internal)?;
        match loaded {
            Some((grant, Some(tokens)))
                if grant.state.is_alive(now)
                    && now + query.min_valid() <= grant.state.expires_at =>
            {
                Ok(Token::new(&grant, &tokens))
            }
            Some((grant, _)) if grant.state.refusal.is_some() && !grant.state.asks_anew => {
                Err(Failure::new(
                    Exit::NoPermission,
                    format!("{name}: the provider refused its refresh token; authorize again"),
                ))
            }
            Some((grant, _)) if grant.state.revocation_was_sent() => Err(Failure::new(
                Exit::NoPermission,
                format!("{name}: its operator had it revoked; authorize again"),
            )),
            Some((grant, None)) if grant.state.asks_anew => Err(not_begun(name)),
            Some((grant, _)) if self.is_held_by_answer(&grant, now) => Err(Failure::new(
                Exit::NoPermission,
                format!(
                    "{name}: an answer that could not be read may hold its refresh token; see `refreshd answers {name}`"
                ),
            )),
            _ => Err(Failure::new(
                Exit::TempFail,
                format!(
                    "{name}: the access token does not live long enough, and refreshd is not running; start it with `refreshd run`"
                ),
            )),
        }
    }

    /// Whether an answer that is kept keeps its refresh token from being presented.
    fn is_held_by_answer(&self, grant: &Grant, now: WallTime) -> bool {
        let seat = seat_of(grant, &self.config);
        seat.is_some_and(|seat| {
            plan(&grant.state, &seat.policy, now) == Plan::Never(Never::AnswerKept)
        })
    }

    /// Whether the configuration does not have it any more: the daemon would not serve it.
    fn has_retired(&self, grant: &Grant) -> bool {
        seat_of(grant, &self.config).is_none() && !has_broken_client(grant, &self.config)
    }

    /// Why there is no token of a grant that the store does not know.
    fn nothing_of(&self, name: &str) -> Failure {
        let Some(grant) = self.config.grants.get(name) else {
            return no_such_grant(name);
        };
        let client = self.config.clients.get(&grant.client);
        if client.is_some_and(|client| client.description.refresh.asks_anew()) {
            return not_begun(name);
        }
        Failure::new(
            Exit::NoPermission,
            format!(
                "{name} has no token set yet; get one with `refreshd authorize {name}`, or bring one with `refreshd import {name}`"
            ),
        )
    }

    /// `refreshd import`.
    pub async fn import(&self, lines: &str, replace: bool) -> Imported {
        let importer = Importer {
            config: self.config.clone(),
            store: self.deck.store.clone(),
            clock: self.deck.clock.clone(),
            fingerprinter: self.deck.fingerprinter.clone(),
            replace,
        };
        let (lines, _) = importer.lines(lines).await;
        Imported { lines }
    }

    /// `refreshd answers`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn answers(&self, grant: Option<&str>) -> Result<Vec<KeptInFull>, Failure> {
        let store = &self.deck.store;
        let mut all = answers::all(store, grant).await.map_err(internal)?;
        for recovered in &self.waiting {
            let found = answers::in_journal(store, recovered).await;
            let found = found.map_err(internal)?;
            let wanted = |kept: &KeptInFull| grant.is_none_or(|name| name == kept.kept.grant);
            all.extend(found.filter(wanted));
        }
        Ok(all)
    }

    /// `refreshd answers drop`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn drop_answer(&self, id: &str, became: Option<u64>) -> Result<(), Failure> {
        let now = self.deck.clock.wall();
        let forgotten = answers::forget(&self.deck.store, id, became, now).await;
        forgotten.map(drop).map_err(internal)
    }

    /// `refreshd verify`: the one request that a command sends by itself.
    ///
    /// # Errors
    /// When there is nothing to try, or nowhere to.
    pub async fn verify(&self, name: &str) -> Result<Verified, Failure> {
        let loaded = self.deck.store.load_named(name).await.map_err(internal)?;
        let (grant, tokens) = loaded.ok_or_else(|| self.nothing_of(name))?;
        if self.has_retired(&grant) {
            return Err(retired(&grant));
        }
        let seat = seat_of(&grant, &self.config).ok_or_else(|| {
            let text = format!(
                "{name}: something is wrong with its client in the configuration; see `refreshd check`"
            );
            Failure::new(Exit::Config, text)
        })?;
        verify(&self.deck, &seat, &grant, tokens.as_ref()).await
    }

    /// `refreshd backup`.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub async fn backup(&self, request: &BackupRequest) -> Result<BackupMade, Failure> {
        self.maintenance.backup(&self.config, request).await
    }

    /// `refreshd key status`.
    ///
    /// # Errors
    /// When something cannot be read.
    pub async fn key_status(&self) -> Result<KeyStatus, Failure> {
        self.maintenance.key_status(&self.config).await
    }

    /// `refreshd key rotate`, to its end.
    ///
    /// # Errors
    /// When the new key cannot be written, or the state not read.
    pub async fn rotate_key(&self) -> Result<KeyStatus, Failure> {
        // One that was cut short is brought to its end first.
        self.maintenance.settle(&self.config).await;
        self.maintenance.rotate().await?;
        self.maintenance.settle(&self.config).await;
        self.key_status().await
    }

    /// Writes everything down and lets go of the state.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn close(self) -> Result<(), Failure> {
        if self.deck.journal.is_idle() {
            self.deck.store.note_rest().await.map_err(internal)?;
        }
        self.deck.store.close().await.map_err(internal)
    }
}

/// The client asks for the first token set, once the daemon runs.
fn not_begun(name: &str) -> Failure {
    Failure::new(
        Exit::TempFail,
        format!(
            "{name} has no token set yet, and refreshd is not running; start it with `refreshd run`"
        ),
    )
}
