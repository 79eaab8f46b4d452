//! `refreshd import`: token responses that people bring, one or many.

use super::api::{self, ImportQuery};
use super::{Host, Service};
use crate::config::active::{Seat, binding_of, seat_of};
use crate::config::{Client, Config};
use crate::engine::perform;
use crate::exchange::Deck;
use crate::random;
use crate::state::{ImportRequest, Imported};
use refreshd_core::flight::settle::{self, Rules};
use refreshd_core::grant::{Grant, GrantId, GrantState, Policy, Presents, TokenSet};
use refreshd_core::name;
use refreshd_core::provider::answer::{ImportFormat, Success, read_import_from};
use refreshd_core::provider::description::With;
use refreshd_core::secret::Secret;
use refreshd_core::text::printable;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A line of `refreshd import --ndjson`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportLine {
    /// The grant's name.
    pub name: String,
    /// Its client; may be left out where the configuration names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// A token response (RFC 6749 §5.1), or what `from` says.
    pub response: serde_json::Value,
    /// How `response` is written.
    #[serde(default, skip_serializing_if = "is_rfc6749")]
    pub from: ImportFormat,
    /// The client that the tokens were issued to, where that is known: the grant's
    /// client must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When the response was obtained: seconds since 1970, or RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtained_at: Option<ObtainedAt>,
    /// Values of the provider's variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The authorization code that began the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret>,
    /// The redirect URI the grant was begun with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

fn is_rfc6749(format: &ImportFormat) -> bool {
    *format == ImportFormat::Rfc6749
}

impl std::fmt::Debug for ImportLine {
    /// Without the response, which holds tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImportLine({:?})", self.name)
    }
}

/// A moment as people write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ObtainedAt {
    /// Seconds since 1970.
    Epoch(f64),
    /// RFC 3339.
    Text(String),
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineReport {
    /// Number of the line, from 1.
    pub line: usize,
    /// The grant, where the line could be read that far.
    pub grant: Option<String>,
    /// `created`, `re-authorized`, `unchanged` or `refused`.
    pub result: String,
    /// Its generation.
    pub generation: Option<u64>,
    /// It holds a refresh token, which nobody else may present from now on.
    #[serde(default)]
    pub has_refresh_token: bool,
    /// Why it was refused.
    pub error: Option<String>,
}

impl Service {
    /// `refreshd import`: a line of JSON each.
    pub async fn import(&self, lines: &str, query: ImportQuery) -> api::Imported {
        let importer = Importer {
            config: self.config(),
            deck: self.deck.clone(),
            replace: query.replace,
        };
        let (lines, changed) = importer.lines(lines).await;
        self.changed(changed);
        if let Host::Daemon(running) = &self.host {
            running.reloader.retarget(&running.engine).await;
        }
        api::Imported { lines }
    }
}

/// Brings token sets into a store.
#[derive(Clone)]
struct Importer {
    config: Arc<Config>,
    deck: Deck,
    /// Also takes an older token set in the place of a newer one.
    replace: bool,
}

/// Lines that are imported at the same time, so that they share commits.
const ABREAST: usize = 64;

impl Importer {
    /// Imports lines of JSON; bad ones are named and the good ones kept. Empty
    /// lines are skipped. Returns a report a line, and the grants that changed.
    async fn lines(&self, text: &str) -> (Vec<LineReport>, Vec<Grant>) {
        let mut reports = Vec::new();
        let mut changed = Vec::new();
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| (i + 1, line))
            .collect();
        for batch in lines.chunks(ABREAST) {
            let mut tasks = Vec::new();
            for &(number, line) in batch {
                let (importer, line) = (self.clone(), line.to_owned());
                tasks.push(tokio::spawn(
                    async move { importer.line(number, &line).await },
                ));
            }
            for task in tasks {
                let (report, grant) = task.await.expect("an import does not panic");
                reports.push(report);
                changed.extend(grant);
            }
        }
        (reports, changed)
    }

    async fn line(&self, number: usize, line: &str) -> (LineReport, Option<Grant>) {
        let mut report = LineReport {
            line: number,
            grant: None,
            result: "refused".to_owned(),
            generation: None,
            has_refresh_token: false,
            error: None,
        };
        let parsed: ImportLine = match serde_json::from_str(line) {
            Ok(parsed) => parsed,
            Err(e) => {
                // serde's message may quote a value, and a value may be a secret.
                report.error = Some(format!(
                    "not a line of JSON as `refreshd import --ndjson` takes it ({:?} error at column {})",
                    e.classify(),
                    e.column()
                ));
                return (report, None);
            }
        };
        report.grant = Some(printable(&parsed.name));
        match self.import(parsed).await {
            Ok(imported) => {
                let (word, grant, is_new) = match imported {
                    Imported::Created(grant) => ("created", grant, true),
                    Imported::Reauthorized(grant) => ("re-authorized", grant, true),
                    Imported::Unchanged(grant) => ("unchanged", grant, false),
                };
                report.result = word.to_owned();
                report.generation = Some(grant.state.generation);
                report.has_refresh_token = grant.state.presents.is_some();
                (report, is_new.then_some(grant))
            }
            Err(error) => {
                report.error = Some(error);
                (report, None)
            }
        }
    }

    /// Imports one token response; or says what is wrong with it, for a person.
    async fn import(&self, line: ImportLine) -> Result<Imported, String> {
        if !name::is_valid(&line.name) {
            return Err(format!(
                "{:?} is not a name: {}",
                printable(&line.name),
                name::RULE
            ));
        }
        let client = self.client(&line)?;
        self.check_against_config(&line)?;
        let obtained_at = line.obtained_at.as_ref().map(read_time).transpose()?;
        let brought = read_import_from(line.from, &client.description, &line.response)
            .map_err(|e| e.to_string())?;
        for issued_to in [&line.client_id, &brought.client_id].into_iter().flatten() {
            check_client_id(issued_to, &client)?;
        }
        let success = brought.success;
        check_access(&success, &client)?;
        let now = self.deck.clock.wall();
        let configured = self.config.grants.contains_key(&line.name);
        let draft = draft(&line, &client, configured);
        let seat = seat_of(&draft, &self.config).ok_or("its client is not configured")?;
        check_vars(&line.vars, &seat)?;
        check_code(&line, &client)?;
        let binding = binding_of(&seat)?;
        let rules = Rules {
            description: std::sync::Arc::clone(&client.description),
            policy: Policy::new(
                &client.description,
                self.config.schedule_of(&line.name, &client),
            ),
            fingerprinter: self.deck.fingerprinter.clone(),
        };
        let import = settle::Import {
            success,
            obtained_at,
            code: line.code.map(|code| Secret::new(code.expose().trim())),
            binding,
            roll: u64::from_le_bytes(random::bytes()),
        };
        let (mut state, tokens) = settle::import(&rules, import, now);
        state.configured = configured;
        check_refresh(&seat, &state, &tokens)?;
        let request = ImportRequest {
            name: line.name,
            client: client.name.clone(),
            vars: line.vars,
            redirect_uri: line.redirect_uri,
            tokens,
            state,
            obtained_at,
            now,
            replace: self.replace,
            authorized: false,
        };
        self.deck
            .store
            .import(request)
            .await
            .map_err(|e| e.to_string())
    }

    /// The configuration wins, so what says otherwise would send the refresh token
    /// where it was not meant to go.
    fn check_against_config(&self, line: &ImportLine) -> Result<(), String> {
        let Some(grant) = self.config.grants.get(&line.name) else {
            return Ok(());
        };
        let differs = |what: &str, configured: &str, given: &str| {
            let given = printable(given);
            Err(format!(
                "the configuration says {what} {configured}, the import says {given}"
            ))
        };
        for (name, given) in &line.vars {
            if let Some(configured) = grant.vars.get(name).filter(|value| *value != given) {
                return differs(name, configured, given);
            }
        }
        match (&grant.redirect_uri, &line.redirect_uri) {
            (Some(configured), Some(given)) if configured != given => {
                differs("redirect_uri", configured, given)
            }
            _ => Ok(()),
        }
    }

    fn client(&self, line: &ImportLine) -> Result<Arc<Client>, String> {
        let configured = self
            .config
            .grants
            .get(&line.name)
            .map(|grant| &grant.client);
        let name = match (configured, &line.client) {
            (Some(configured), Some(given)) if configured != given => {
                return Err(format!(
                    "the configuration says client {configured}, the import says {}",
                    printable(given)
                ));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => {
                return Err(format!(
                    "{} is not in the configuration; name its client (--client)",
                    line.name
                ));
            }
        };
        let known = || {
            self.config
                .clients
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.config.clients.get(name).cloned().ok_or_else(|| {
            format!(
                "there is no client {:?} in the configuration; there are: {}",
                printable(name),
                known()
            )
        })
    }
}

/// The grant as it would be, to find its seat.
fn draft(line: &ImportLine, client: &Client, configured: bool) -> Grant {
    Grant {
        id: GrantId(String::new()),
        name: line.name.clone(),
        client: client.name.clone(),
        vars: line.vars.clone(),
        redirect_uri: line.redirect_uri.clone(),
        revision: 0,
        state: GrantState {
            configured,
            ..GrantState::default()
        },
    }
}

/// A refresh token is bound to the client it was issued to (RFC 6749 §10.4).
fn check_client_id(issued_to: &str, client: &Client) -> Result<(), String> {
    if issued_to == client.client_id {
        return Ok(());
    }
    Err(format!(
        "its client_id is not that of client {} ({}), and no other client than its own can refresh it; configure a client with that client_id",
        client.name,
        printable(&client.client_id)
    ))
}

/// What has no access token is good for a refresh, if anything.
fn check_access(success: &Success, client: &Client) -> Result<(), String> {
    let description = &client.description;
    if !success.access_token.is_empty() || description.refresh.with == With::RefreshToken {
        return Ok(());
    }
    Err(format!(
        "it has no access token, and provider {:?} is not refreshed with a refresh token",
        description.name
    ))
}

/// A misspelt variable would come to light at the first refresh only.
fn check_vars(given: &BTreeMap<String, String>, seat: &Seat) -> Result<(), String> {
    let description = &seat.client.description;
    let declared = &description.vars;
    let of = format!("of provider {:?}", description.name);
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        return Err(format!("unknown variable {:?} {of}", printable(unknown)));
    }
    let lacking = declared
        .iter()
        .find(|(name, var)| var.default.is_none() && !seat.vars.contains_key(*name));
    lacking.map_or(Ok(()), |(name, _)| {
        Err(format!(
            "it lacks the variable {name:?} {of}: add it to vars"
        ))
    })
}

/// Without the code no refresh would ever work, and nothing would show it before the first.
fn check_code(line: &ImportLine, client: &Client) -> Result<(), String> {
    let missing = line
        .code
        .as_ref()
        .is_none_or(|code| code.expose().trim().is_empty());
    if !missing || !client.description.refresh_wants_code() {
        return Ok(());
    }
    Err(format!(
        "provider {:?} wants the original authorization code with every refresh: pass --code-file FILE, or \"code\" in a line of --ndjson",
        client.description.name
    ))
}

/// Nor would anything else that a refresh lacks (a redirect URI) show before the first.
fn check_refresh(seat: &Seat, state: &GrantState, tokens: &TokenSet) -> Result<(), String> {
    let Some(token) = state
        .presents
        .filter(|_| seat.policy.with == With::RefreshToken)
    else {
        return Ok(());
    };
    perform::request(
        &GrantState::default(),
        seat,
        Presents::RefreshToken(token),
        tokens,
    )
    .map(drop)
    .map_err(|e| format!("no refresh of it could be sent: {e}"))
}

fn read_time(at: &ObtainedAt) -> Result<WallTime, String> {
    match at {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "milliseconds of any year that a person means fit"
        )]
        ObtainedAt::Epoch(secs) if secs.is_finite() && (0.0..1e11).contains(secs) => {
            Ok(WallTime((secs * 1000.0) as i64))
        }
        ObtainedAt::Epoch(_) => Err("obtained_at is not seconds since 1970".to_owned()),
        ObtainedAt::Text(text) => WallTime::parse_rfc3339(text).ok_or_else(|| {
            format!(
                "obtained_at {:?} is neither seconds since 1970 nor RFC 3339",
                printable(text)
            )
        }),
    }
}
