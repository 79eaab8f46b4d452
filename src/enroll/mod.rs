//! How grants get their token sets from people: the daemon keeps what was asked,
//! presents the code that comes, and takes in what it brings. Whoever listens for
//! the provider's word (a command, the daemon itself) hands it over here.

mod approve;
mod begin;
mod device;
mod ending;
mod exchange;
mod link;
mod permits;
mod push;
mod receive;
mod recovery;
mod resume;
pub(crate) mod serve;
mod view;

pub use approve::Approve;
pub use begin::{Begin, Begun};
pub use link::{Attempt, Offer};
pub use push::{PushRefusal, Pushed};
pub use receive::Word;
pub use view::{Report, id_text, parse_id};
pub(crate) use view::{report_of, scopes_of};

use crate::config::active::{Seat, binding_of, seat_of};
use crate::engine::EngineHandle;
use crate::exchange::{Deck, rules};
use crate::exit::{Exit, Failure};
use crate::reload::Reloader;
use crate::state::StoreError;
use permits::CodePermits;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Stage, business};
use refreshd_core::exchange::authorization::{Terms, Verdict};
use refreshd_core::grant::{Grant, GrantId, GrantState};
use refreshd_core::name;
use refreshd_core::secret::Fingerprint;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Enrols grants. Clones share everything.
#[derive(Clone)]
pub struct Enroller(Arc<Inner>);

struct Inner {
    deck: Deck,
    engine: EngineHandle,
    reloader: Arc<Reloader>,
    /// Rises whenever an enrolment has come further.
    turned: watch::Sender<u64>,
    /// What is being exchanged right now, each by one task.
    busy: Mutex<HashSet<Fingerprint>>,
    /// Turns of those who are at a provider.
    permits: CodePermits,
    /// Exchanges that a stop waits for.
    under_way: watch::Sender<usize>,
    stopping: AtomicBool,
}

/// How often it is looked for what nobody answered in time.
const TIDY_EVERY: Duration = Duration::from_secs(60);

impl Enroller {
    /// An enroller of a running daemon.
    #[must_use]
    pub fn new(deck: Deck, engine: EngineHandle, reloader: Arc<Reloader>) -> Self {
        let permits = CodePermits::new(reloader.config().daemon.max_flights);
        Enroller(Arc::new(Inner {
            deck,
            engine,
            reloader,
            turned: watch::Sender::new(0),
            busy: Mutex::default(),
            permits,
            under_way: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Presents no further code, and waits for the exchanges under way: what was to
    /// be presented is presented at the next start.
    pub async fn drain(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.permits.close();
        let mut under_way = self.0.under_way.subscribe();
        let _never_closed = under_way.wait_for(|count| *count == 0).await;
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Ends what nobody answers in time, for as long as the daemon runs.
    pub async fn keep_tidy(self) {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            self.tidy().await;
            self.turned();
        }
    }

    /// An enrolment as it is, after it has turned or ended, or after so long.
    ///
    /// # Errors
    /// When there is none.
    pub async fn wait(&self, id: EnrollmentId, patience: Duration) -> Result<Report, Failure> {
        let turned = |before: &Enrollment, now: &Enrollment| {
            now.stage.is_over() || (before.stage, &before.text) != (now.stage, &now.text)
        };
        self.wait_until(id, patience, turned).await
    }

    /// An enrolment whose code has come, after the exchange, once it is known to wait, or
    /// after so long.
    async fn exchanged(&self, id: EnrollmentId, patience: Duration) -> Result<Report, Failure> {
        let turned = |_: &Enrollment, now: &Enrollment| {
            now.stage != Stage::Received || now.waits_with_its_code()
        };
        self.wait_until(id, patience, turned).await
    }

    async fn wait_until(
        &self,
        id: EnrollmentId,
        patience: Duration,
        has_turned: fn(before: &Enrollment, now: &Enrollment) -> bool,
    ) -> Result<Report, Failure> {
        let mut turned = self.0.turned.subscribe();
        let until = tokio::time::Instant::now() + patience;
        let (mut ended, mut first) = (false, None);
        loop {
            turned.mark_unchanged();
            let enrollment = self.find(id).await?;
            let before = first.get_or_insert_with(|| enrollment.clone());
            if has_turned(before, &enrollment) {
                return Ok(self.report(enrollment).await);
            }
            // Nobody else tells that its time is over.
            let mut next = until;
            if enrollment.stage == Stage::Open && !ended {
                let left = enrollment.expires_at.since(self.0.deck.clock.wall());
                if left.is_zero() {
                    self.tidy().await;
                    ended = true;
                    continue;
                }
                next = until.min(tokio::time::Instant::now() + left);
            }
            let changed = tokio::time::timeout_at(next, turned.changed()).await;
            if changed.is_err() && next == until {
                return Ok(self.report(self.find(id).await?).await);
            }
        }
    }

    async fn find(&self, id: EnrollmentId) -> Result<Enrollment, Failure> {
        let found = self.0.deck.store.enrollment(id).await.map_err(failed)?;
        found.map(|(enrollment, _)| enrollment).ok_or_else(|| {
            let text = "there is no such authorization under way; begin it again with `refreshd authorize`";
            Failure::new(Exit::NoGrant, text)
        })
    }

    fn turned(&self) {
        self.0.turned.send_modify(|count| *count += 1);
    }

    /// The client, variables and redirect URI that an enrolment goes by now.
    fn seat(&self, enrollment: &Enrollment, name: &str) -> Result<Seat, String> {
        let config = self.0.reloader.config();
        if enrollment.configured && !config.grants.contains_key(name) {
            return Err(format!(
                "{name} was taken out of the configuration meanwhile"
            ));
        }
        let draft = Grant {
            id: GrantId(String::new()),
            name: name.to_owned(),
            client: enrollment.client.clone(),
            vars: enrollment.vars.clone(),
            redirect_uri: enrollment.redirect_uri.clone(),
            revision: 0,
            state: GrantState::default(),
        };
        let seat = seat_of(&draft, &config)
            .filter(|seat| seat.client.name == enrollment.client)
            .filter(|seat| seat.client.description.name == enrollment.provider);
        let mut seat = seat.ok_or_else(|| {
            format!(
                "the configuration no longer has client {} of provider {} for it; authorize again",
                enrollment.client, enrollment.provider
            )
        })?;
        // The provider compares it with the one that it was asked with.
        seat.redirect_uri.clone_from(&enrollment.redirect_uri);
        Ok(seat)
    }

    /// What an authorization goes by now, for its exchange.
    fn terms(&self, enrollment: &Enrollment) -> Result<(Seat, Terms), String> {
        let name = self.name_of(enrollment)?;
        let seat = self.seat(enrollment, &name)?;
        let client = &seat.client;
        let terms = Terms {
            configured: self.0.reloader.config().grants.contains_key(&name),
            name,
            client: client.name.clone(),
            client_id: client.client_id.clone(),
            scopes: client.scopes.clone(),
            vars: seat.vars.clone(),
            binding: binding_of(&seat)?,
            rules: rules(&self.0.deck, client, seat.policy.clone()),
        };
        Ok((seat, terms))
    }

    /// The name of the grant: its own, or the business's.
    pub(super) fn name_of(&self, enrollment: &Enrollment) -> Result<String, String> {
        let named = enrollment.grant.clone();
        let business = || enrollment.vars.get(business::VARIABLE).cloned();
        let name = named
            .or_else(business)
            .ok_or("it is not known which grant it is for")?;
        match name::is_valid(&name) {
            true => Ok(name),
            false => Err(format!(
                "{:?} cannot name a grant; {}",
                refreshd_core::text::printable(&name),
                name::RULE
            )),
        }
    }
}

fn failed(error: StoreError) -> Failure {
    let exit = match error {
        StoreError::TooMany(_) | StoreError::NotDurable { .. } => Exit::TempFail,
        StoreError::NoSuchEnrollment => Exit::NoGrant,
        _ => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}
