//! What `status` shows, the same from the running daemon and from the state at rest.

use crate::publish::reconcile::OutputReport;
use refreshd_core::duration::human;
use refreshd_core::grant::notice::notice;
use refreshd_core::grant::schedule::{
    Never, Plan, Policy, Why, plan, reauthorize_before, refresh_token_over,
};
use refreshd_core::grant::state::{Revocation, Status};
use refreshd_core::grant::{Grant, GrantState};
use refreshd_core::provider::Description;
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
    /// When it is refreshed next.
    pub next_refresh_at: Option<String>,
    /// Seconds until then.
    pub next_refresh_in: Option<i64>,
    /// Why then, or why not at all.
    pub why: String,
    /// When the refresh token itself ends, where that is known.
    pub refresh_token_expires_at: Option<String>,
    /// A person must authorize again before this.
    pub reauthorize_before: Option<String>,
    /// What its owner has to do, if anything.
    pub needs: Option<String>,
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
}

/// What the last exchange came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub at: String,
    /// In a word.
    pub kind: String,
    /// For people; empty for a success.
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
            None => (None, "its client is not configured"),
        };
        let expires = (state.generation > 0).then_some(state.expires_at);
        GrantReport {
            grant: grant.name.clone(),
            client: grant.client.clone(),
            provider: provider.unwrap_or_default().to_owned(),
            state: policy.map_or_else(|| "retired".to_owned(), |_| state.status(now).to_string()),
            generation: state.generation,
            expires_at: expires.map(WallTime::rfc3339),
            expires_in: expires.map(|at| seconds_until(at, now)),
            next_refresh_at: next.map(WallTime::rfc3339),
            next_refresh_in: next.map(|at| seconds_until(at, now).max(0)),
            why: why.to_owned(),
            refresh_token_expires_at: state.refresh_expires_at.map(WallTime::rfc3339),
            reauthorize_before: policy
                .and_then(|p| reauthorize_before(state, p))
                .map(WallTime::rfc3339),
            needs: policy
                .and_then(|policy| needs(state, policy, now))
                .map(|what| format!("{what}: `refreshd authorize {}`", grant.name)),
            last_outcome: outcome(state),
            refreshing: false,
            output_errors: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The same of a grant whose client is there, but broken: it has not retired.
    #[must_use]
    pub fn without_client(self, state: &GrantState, now: WallTime) -> Self {
        GrantReport {
            state: state.status(now).to_string(),
            why: "something is wrong with its client in the configuration; see `refreshd check`"
                .to_owned(),
            ..self
        }
    }

    /// Adds where it is published, and what is wrong there.
    pub fn tell_outputs(&mut self, outputs: &[OutputReport]) {
        let error = |output: &OutputReport| {
            let error = output.error.as_ref()?;
            Some(format!("{}: {error}", output.path.display()))
        };
        self.output_errors = outputs.iter().filter_map(error).collect();
        let state = |output: &OutputReport| OutputState {
            path: output.path.display().to_string(),
            kind: if output.is_row { "row" } else { "file" }.to_owned(),
            generation: output.published_generation,
            up_to_date: output.is_up_to_date(self.generation),
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
        GrantReport {
            grant: name.to_owned(),
            client: client.to_owned(),
            provider: description.map_or_else(String::new, |d| d.name.clone()),
            state: Status::Pending.to_string(),
            generation: 0,
            expires_at: None,
            expires_in: None,
            next_refresh_at: None,
            next_refresh_in: None,
            why: why.to_owned(),
            refresh_token_expires_at: None,
            reauthorize_before: None,
            needs: None,
            last_outcome: None,
            refreshing: false,
            output_errors: Vec::new(),
            outputs: Vec::new(),
        }
    }
}

/// What its owner has to do: authorize again, now or soon.
fn needs(state: &GrantState, policy: &Policy, now: WallTime) -> Option<String> {
    if let Some(revoked) = state.revoked {
        let unconfirmed = revoked.how != Revocation::Confirmed;
        return unconfirmed.then(|| {
            format!(
                "whether the provider revoked it at {} is not known: run `refreshd revoke` again",
                revoked.at.rfc3339()
            )
        });
    }
    if let Some(died) = refresh_token_over(state, policy, now) {
        let (at, issued) = (died.rfc3339(), state.issued_at.rfc3339());
        return Some(format!(
            "its refresh token, issued at {issued}, died at {at}: authorize again"
        ));
    }
    if let Plan::Never(Never::Refused) = plan(state, policy, now) {
        let at = state.refusal.as_ref().map_or(now, |refusal| refusal.at);
        return Some(format!(
            "the provider refused its refresh token at {}: authorize again",
            at.rfc3339()
        ));
    }
    let end = reauthorize_before(state, policy)?;
    match notice(end, now).days? {
        0 => Some(format!(
            "it ended at {} and cannot be refreshed: authorize again",
            end.rfc3339()
        )),
        _ => Some(format!(
            "authorize again before {}, in {}",
            end.rfc3339(),
            human(end.since(now))
        )),
    }
}

fn outcome(state: &GrantState) -> Option<Outcome> {
    state.last_outcome.as_ref().map(|last| Outcome {
        at: last.at.rfc3339(),
        kind: last.kind.clone(),
        text: last.text.clone(),
    })
}

fn seconds_until(at: WallTime, now: WallTime) -> i64 {
    (at.0 - now.0).div_euclid(1000)
}

/// Reports as a table that fits into 80 columns, problems below it.
#[must_use]
pub fn table(reports: &[GrantReport]) -> String {
    let mut text = format!(
        "{:<20} {:<10} {:<8} {:>5} {:>8} {:>8} {:>14}\n",
        "GRANT", "PROVIDER", "STATE", "GEN", "EXPIRES", "NEXT", "LAST"
    );
    for report in reports {
        let last = report
            .last_outcome
            .as_ref()
            .map_or("-", |last| last.kind.as_str());
        text.push_str(&format!(
            "{:<20} {:<10} {:<8} {:>5} {:>8} {:>8} {:>14}\n",
            cut(&report.grant, 20),
            cut(&report.provider, 10),
            cut(&report.state, 8),
            report.generation,
            seconds(report.expires_in),
            if report.refreshing {
                "now".to_owned()
            } else {
                seconds(report.next_refresh_in)
            },
            last,
        ));
    }
    for line in reports.iter().flat_map(problems) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Where grants are published, a line for each output.
#[must_use]
pub fn outputs(reports: &[GrantReport]) -> String {
    let line = |grant: &str, output: &OutputState| {
        let row = if output.kind == "row" { " (row)" } else { "" };
        let generation = match output.generation {
            Some(generation) => format!("generation {generation}"),
            None => "nothing".to_owned(),
        };
        let current = if output.up_to_date { "" } else { "not " };
        let path = &output.path;
        format!("{grant}: {path}{row}: {generation}, {current}up to date\n")
    };
    let lines = reports.iter().flat_map(|report| {
        let outputs = report.outputs.iter();
        outputs.map(|output| line(&report.grant, output))
    });
    lines.collect()
}

/// What needs a person's eye, a line each.
fn problems(report: &GrantReport) -> Vec<String> {
    let mut lines = Vec::new();
    let calm = matches!(report.state.as_str(), "fresh" | "retrying");
    if !calm {
        lines.push(format!("{}: {}", report.grant, report.why));
    }
    if let Some(last) = report
        .last_outcome
        .as_ref()
        .filter(|last| !last.text.is_empty())
    {
        lines.push(format!(
            "{}: {} at {}: {}",
            report.grant, last.kind, last.at, last.text
        ));
    }
    if let Some(needs) = &report.needs {
        lines.push(format!("{}: {needs}", report.grant));
    }
    lines.extend(
        report
            .output_errors
            .iter()
            .map(|error| format!("{}: {error}", report.grant)),
    );
    lines
}

fn seconds(secs: Option<i64>) -> String {
    match secs {
        None => "-".to_owned(),
        Some(secs) if secs < 0 => "over".to_owned(),
        Some(secs) => human(std::time::Duration::from_secs(secs.unsigned_abs())).replace(' ', ""),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width - 1).collect();
    short.push('…');
    short
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
