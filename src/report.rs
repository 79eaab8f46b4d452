//! What `status` shows, the same from the running daemon and from the state at rest.
//!
//! - [`GrantReport`]: one grant, with how urgent it is and what it waits for
//! - [`Summary`]: the most urgent things of all, counts, and an exit code
//! - [`table`]: the grants as rows of 80 columns, the most urgent first

pub mod status;
mod summary;
mod table;
mod urgency;

pub use summary::{Summary, Urgent};
pub use table::{outputs, table};
pub use urgency::Urgency;

use crate::publish::reconcile::OutputReport;
use crate::state::{Store, StoreError};
use refreshd_core::enroll::Enrollment;
use refreshd_core::grant::outcome::AUTHORIZED;
use refreshd_core::grant::schedule::{Never, Plan, Why, plan, reauthorize_before};
use refreshd_core::grant::state::Status;
use refreshd_core::grant::{Grant, GrantState, Policy};
use refreshd_core::limits::{Scope, Trouble};
use refreshd_core::provider::Description;
use refreshd_core::scheduler::Hold;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};

/// One grant, for people and programs. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantReport {
    /// Name.
    pub grant: String,
    /// Client.
    pub client: String,
    /// Provider; empty when the client is not configured.
    pub provider: String,
    /// How it is, in a word: `fresh`, `in-doubt`, … or `retired`.
    pub state: String,
    /// Number of its token set.
    pub generation: u64,
    /// When the access token ends.
    pub expires_at: Option<String>,
    /// Seconds until then; negative when it has passed.
    pub expires_in: Option<i64>,
    /// When something is really sent for it next.
    pub next_refresh_at: Option<String>,
    /// Seconds until then.
    pub next_refresh_in: Option<i64>,
    /// What it waits for besides its own time, in a word: `person`, `client`,
    /// `endpoint`, `fence`, `disk`, `daemon`, `stop`.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Why then, or why not at all.
    pub why: String,
    /// When the refresh token itself ends, where that is known.
    pub refresh_token_expires_at: Option<String>,
    /// A person must authorize again before this.
    pub reauthorize_before: Option<String>,
    /// How urgent it is.
    #[serde(default)]
    pub urgency: Urgency,
    /// Why it is that urgent, in a few words; empty where all is well.
    #[serde(default)]
    pub reason: String,
    /// What its owner has to do, if anything.
    pub needs: Option<String>,
    /// The command for that.
    #[serde(default)]
    pub act: Option<String>,
    /// What the last exchange came to.
    pub last_outcome: Option<Outcome>,
    /// An exchange is under way.
    pub refreshing: bool,
    /// Outputs that cannot be written, with the reason.
    pub output_errors: Vec<String>,
    /// Where it is published, as far as a running daemon knows.
    #[serde(default)]
    pub outputs: Vec<OutputState>,
}

/// One output of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputState {
    /// The file, or the database.
    pub path: String,
    /// `file`, or `row` of a database.
    pub kind: String,
    /// The generation that stands there; `None`: none, or it is not known yet.
    pub generation: Option<u64>,
    /// It is as the state has it.
    pub up_to_date: bool,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Somebody else has written there of late, and it was put right.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disturbed: bool,
}

/// What the last exchange came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: String,
    /// In a word.
    pub kind: String,
    /// For people; of a success, what is odd about it: mostly empty.
    pub text: String,
}

impl GrantReport {
    /// Reports a grant. `policy` and `provider` are missing when its client is
    /// not configured any more.
    #[must_use]
    pub fn new(
        grant: &Grant,
        provider: Option<&str>,
        policy: Option<&Policy>,
        now: WallTime,
    ) -> Self {
        let state = &grant.state;
        let planned = policy.map(|policy| plan(state, policy, now));
        let (next, why) = match planned {
            Some(Plan::At { at, why }) => (Some(at), why.explain()),
            Some(Plan::Never(never)) => (None, never.explain()),
            None => (None, crate::exit::why_retired(grant)),
        };
        let expires = (state.generation > 0).then_some(state.expires_at);
        let (urgency, reason) = policy
            .map_or((Urgency::Ended, "not configured any more"), |policy| {
                urgency::of_state(state, policy, now)
            });
        let mut report = GrantReport {
            grant: grant.name.clone(),
            client: grant.client.clone(),
            provider: provider.unwrap_or_default().to_owned(),
            state: policy.map_or_else(|| "retired".to_owned(), |_| state.status(now).to_string()),
            generation: state.generation,
            expires_at: expires.map(WallTime::rfc3339),
            expires_in: expires.map(|at| seconds_until(at, now)),
            next_refresh_at: next.map(WallTime::rfc3339),
            next_refresh_in: next.map(|at| seconds_until(at, now).max(0)),
            waits_for: None,
            why: why.to_owned(),
            refresh_token_expires_at: state.refresh_expires_at.map(WallTime::rfc3339),
            reauthorize_before: policy
                .and_then(|p| reauthorize_before(state, p))
                .map(WallTime::rfc3339),
            urgency,
            reason: reason.to_owned(),
            needs: None,
            act: None,
            last_outcome: outcome(state),
            refreshing: false,
            output_errors: Vec::new(),
            outputs: Vec::new(),
        };
        if let Some(need) = policy.and_then(|p| urgency::need(&grant.name, state, p, now)) {
            report.tell_need(need);
        }
        if report.urgency == Urgency::Person && next.is_none() {
            report.waits_for = Some("person".to_owned());
        }
        report
    }

    /// Something beyond its own schedule keeps it waiting. `name_of`: whom a brake is about.
    pub fn tell_hold(&mut self, hold: Hold, name_of: impl Fn(Scope) -> String, now: WallTime) {
        if self.next_refresh_in.is_none() || self.refreshing {
            return;
        }
        let (word, why) = match hold {
            Hold::Fenced => (
                "fence",
                "nothing is sent while the state is fenced".to_owned(),
            ),
            Hold::Unwritable => (
                "disk",
                "nothing is sent while the state cannot be written".to_owned(),
            ),
            Hold::Draining => ("stop", "refreshd is stopping".to_owned()),
            Hold::Braked { by, trouble, until } => {
                return self.tell_brake(&name_of(by), trouble, until, now);
            }
        };
        self.waits_for = Some(word.to_owned());
        self.why = why;
        (self.next_refresh_at, self.next_refresh_in) = (None, None);
    }

    /// Exchanges of others fail too: it is asked when that is over, at its last moment, or
    /// when it is its turn. What ends before it is due does not hold it.
    fn tell_brake(&mut self, of: &str, trouble: Trouble, until: Option<WallTime>, now: WallTime) {
        // Where another has its turn already, nobody knows when this one's is.
        let until = until.filter(|until| *until > now);
        let wait = until.map_or(0, |until| seconds_until(until, now));
        if self.next_refresh_in.is_some_and(|next| next > wait) {
            return;
        }
        let word = match trouble {
            Trouble::Client => "client",
            _ => "endpoint",
        };
        self.waits_for = Some(word.to_owned());
        self.why = format!("{of}: {}; one grant at a time is asked", trouble.explain());
        self.next_refresh_in = until.map(|_| wait);
        self.next_refresh_at = until.map(WallTime::rfc3339);
    }

    /// What an authorization brought waits for a person, who may have what this grant needs.
    fn tell_held(&mut self, held: &Enrollment) {
        self.tell_need(urgency::held(&self.grant, &held.text));
    }

    /// No daemon runs: nothing is sent.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        if self.next_refresh_at.take().is_some() {
            self.next_refresh_in = None;
            self.waits_for = Some("daemon".to_owned());
        }
        self
    }

    /// The same of a grant whose client is there, but broken: it has not retired.
    #[must_use]
    pub fn without_client(self, state: &GrantState, now: WallTime) -> Self {
        GrantReport {
            state: state.status(now).to_string(),
            why: "something is wrong with its client in the configuration; see `refreshd check`"
                .to_owned(),
            urgency: Urgency::Person,
            reason: "its client is wrong in the configuration".to_owned(),
            act: Some("refreshd check".to_owned()),
            ..self
        }
    }

    /// Adds where it is published, and what is wrong there.
    pub fn tell_outputs(&mut self, outputs: &[OutputReport]) {
        let mut outputs: Vec<&OutputReport> = outputs.iter().collect();
        outputs.sort_by_key(|output| (output.is_row, &output.path));
        let error = |output: &&OutputReport| {
            let error = output.error.as_ref()?;
            Some(format!("{}: {error}", output.path.display()))
        };
        self.output_errors = outputs.iter().filter_map(error).collect();
        if let Some(error) = self.output_errors.first() {
            let reason = format!("its output fails: {error}");
            self.tell_trouble(&reason);
        }
        let state = |output: &&OutputReport| OutputState {
            path: output.path.display().to_string(),
            kind: if output.is_row { "row" } else { "file" }.to_owned(),
            generation: output.published_generation,
            up_to_date: output.is_up_to_date(self.generation),
            problem: output.error.clone(),
            disturbed: output.disturbed,
        };
        self.outputs = outputs.iter().map(state).collect();
    }

    /// A configured grant of which the store knows nothing.
    #[must_use]
    pub fn pending(name: &str, client: &str, description: Option<&Description>) -> Self {
        let begins = description.is_some_and(|d| d.refresh.asks_anew());
        let why = match begins {
            true => Why::First.explain(),
            false => Never::Pending.explain(),
        };
        let mut report = GrantReport {
            grant: name.to_owned(),
            client: client.to_owned(),
            provider: description.map_or_else(String::new, |d| d.name.clone()),
            state: Status::Pending.to_string(),
            generation: 0,
            expires_at: None,
            expires_in: None,
            next_refresh_at: None,
            next_refresh_in: None,
            waits_for: (!begins).then(|| "person".to_owned()),
            why: why.to_owned(),
            refresh_token_expires_at: None,
            reauthorize_before: None,
            urgency: Urgency::Busy,
            reason: "asks for its first token".to_owned(),
            needs: None,
            act: None,
            last_outcome: None,
            refreshing: false,
            output_errors: Vec::new(),
            outputs: Vec::new(),
        };
        if !begins {
            report.tell_need(urgency::unauthorized(name));
        }
        report
    }
}

fn outcome(state: &GrantState) -> Option<Outcome> {
    let exchange = state.last_outcome.as_ref().map(|last| Outcome {
        at: last.at.rfc3339(),
        kind: last.kind.clone(),
        text: last.text.clone(),
    });
    // An authorization, or an import of one, leaves none behind.
    let authorized = || Outcome {
        at: state.login_at.rfc3339(),
        kind: AUTHORIZED.to_owned(),
        text: String::new(),
    };
    exchange.or_else(|| (state.generation > 0).then(authorized))
}

fn seconds_until(at: WallTime, now: WallTime) -> i64 {
    (at.0 - now.0).div_euclid(1000)
}

/// Reports of the configured grants that the store does not know.
pub fn missing<'a>(
    config: &'a crate::config::Config,
    known: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = GrantReport> + 'a {
    config
        .grants
        .values()
        .filter(move |grant| !known(&grant.name))
        .map(|grant| {
            let client = config.clients.get(&grant.client);
            let description = client.map(|client| &*client.description);
            GrantReport::pending(&grant.name, &grant.client, description)
        })
}

/// Tells of the grants whose authorizations brought what waits for a person. What is older
/// than a grant's last authorization waits no more.
///
/// # Errors
/// When the store cannot be read.
pub async fn tell_held(store: &Store, reports: &mut [GrantReport]) -> Result<(), StoreError> {
    for held in store.held_enrollments().await? {
        let name = held.grant.as_deref().unwrap_or_default();
        let Some(report) = reports.iter_mut().find(|report| report.grant == name) else {
            continue;
        };
        let grant = store.grant_by_name(name).await?;
        let later = |grant: &Grant| grant.state.login_at >= held.begun_at;
        if !grant.is_some_and(|grant| grant.state.generation > 0 && later(&grant)) {
            report.tell_held(&held);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
