//! `refreshd authorize`.

mod approval;
mod browser;
mod editor;
mod listener;
mod paste;
mod patience;
mod route;
mod terminal;

use super::{Context, grant_name, output};
use crate::control::client::Control;
use crate::enroll::{Approve, Begin, Begun, Report};
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use crate::service::api::Patience;
use crate::service::read_id;
use refreshd_core::enroll::{Stage, Via};
use refreshd_core::grant::scopes::Scopes;
use refreshd_core::time::WallTime;
use route::Route;
use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

/// `refreshd authorize`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: refreshd authorize surveys\n         refreshd authorize surveys --no-browser   # over SSH\n         \
    refreshd authorize surveys --paste        # where the redirect leads somewhere else\n\n\
    The daemon keeps state and verifier and exchanges the code; the grant keeps its name, its outputs and its history."
)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["grant", "client", "list", "accept", "approve", "cancel"])))]
pub(super) struct Authorize {
    /// The grant
    #[arg(value_name = "GRANT")]
    grant: Option<String>,
    /// A new grant of this client, which gets its name when the provider tells the business
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Paste the URL that the browser was sent to, or the code, at the terminal (or on standard input)
    #[arg(long)]
    paste: bool,
    /// Only print the URL, and how to reach this machine over SSH
    #[arg(long)]
    no_browser: bool,
    /// Make a link for the person who may approve; the daemon serves its callback ([enroll] public_url)
    #[arg(long, conflicts_with_all = ["paste", "device"])]
    link: bool,
    /// Use the device flow: a code is typed elsewhere (RFC 8628)
    #[arg(long, conflicts_with = "paste")]
    device: bool,
    /// Listen for the callback on this port of 127.0.0.1 and [::1]
    #[arg(long, value_name = "PORT", conflicts_with_all = ["link", "device"])]
    port: Option<u16>,
    /// Reload the configuration without asking, where the daemon has not read what it says of the grant and its client
    #[arg(long)]
    yes: bool,
    /// Do not wait for the end of it (with --link, --device, and providers that push)
    #[arg(long)]
    no_wait: bool,
    /// Show authorizations under way, and the latest
    #[arg(long)]
    list: bool,
    /// Take in a token set that is held, since another account authorized than before
    #[arg(long, value_name = "ID")]
    accept: Option<String>,
    /// Let in a push that came without our state, as a new grant or as the one of --grant
    #[arg(long, value_name = "ID")]
    approve: Option<String>,
    /// With --approve: the grant that the push is for
    #[arg(long = "grant", value_name = "GRANT", requires = "approve")]
    approve_as: Option<String>,
    /// Give one up for which nothing has come
    #[arg(long, value_name = "ID")]
    cancel: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How long one request to the daemon waits for something to happen.
const STEP: Duration = Duration::from_secs(20);

impl Authorize {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.list {
            let ask = async |control: &Control| control.enrollments().await;
            self.show_all(&context.ask(Access::Look, ask)?);
            return Ok(Exit::Ok);
        }
        // They go into URLs.
        let ids = [&self.accept, &self.approve, &self.cancel];
        for id in ids.into_iter().flatten() {
            read_id(id)?;
        }
        if let Some(name) = &self.grant {
            grant_name(name)?;
        }
        context.ask_daemon(async |control: &Control| self.ask(context, control).await)
    }

    async fn ask(&self, context: &Context, control: &Control) -> Result<Exit, Failure> {
        if let Some(id) = &self.accept {
            return self.tell(&control.accept_enrollment(id).await?);
        }
        if let Some(id) = &self.approve {
            let whose = Approve {
                grant: self.approve_as.clone(),
            };
            let approved = control.approve_enrollment(id, &whose).await?;
            return self.tell(&approved);
        }
        if let Some(id) = &self.cancel {
            let report = control.cancel_enrollment(id).await?;
            self.tell(&report)?;
            // To have given it up is what was asked for.
            return Ok(match report.stage {
                Stage::Refused | Stage::Expired => Exit::Ok,
                _ => Exit::NoPermission,
            });
        }
        self.authorize(context, control).await
    }

    async fn authorize(&self, context: &Context, control: &Control) -> Result<Exit, Failure> {
        let route = Route::choose(self, context)?;
        if self.no_wait && (route.listener.is_some() || self.paste) {
            let text = "the browser comes back to this command, so it has to wait: leave --no-wait out, or use --link or --device";
            return Err(Failure::new(Exit::Usage, text));
        }
        let begin = Begin {
            grant: self.grant.clone(),
            client: self.client.clone(),
            via: route.via,
            redirect_uri: route.redirect_uri.clone(),
            reload: self.yes,
        };
        let begun = match control.begin_enrollment(&begin).await {
            Err(unknown) if unknown.exit == Exit::NoGrant && self.may_reload(context)? => {
                output::note(&control.reload().await?.message);
                control.begin_enrollment(&begin).await?
            }
            begun => begun?,
        };
        match begun {
            Begun::Asked {
                grant,
                generation,
                token_expires_at,
            } => {
                if self.json {
                    let asked = serde_json::json!({"grant": grant, "stage": "done", "generation": generation, "token_expires_at": token_expires_at});
                    output::json(&asked);
                } else {
                    output::line(&format!(
                        "{grant}: its client asks for itself, and did: generation {generation} until {token_expires_at}"
                    ));
                }
                Ok(Exit::Ok)
            }
            Begun::Type {
                id,
                user_code,
                url,
                complete_url,
                expires_at,
            } => {
                self.say(&format!("Open {url} and type the code {user_code}."));
                if let Some(complete) = &complete_url {
                    self.say(&format!("Or open {complete}, where it is filled in."));
                }
                self.say(&format!(
                    "Waiting for approval until {} (Ctrl-C to stop waiting).",
                    moment(&expires_at)
                ));
                output::outcome()?;
                browser::open(complete_url.as_deref().unwrap_or(&url), self.no_browser);
                self.watch(control, &id).await
            }
            Begun::Visit {
                id,
                via,
                url,
                code_lifetime_ms,
                expires_at,
                redirect_uri,
            } => {
                // A grant that was imported has one that only the daemon knows.
                let elsewhere = redirect_uri.filter(|uri| Some(uri) != route.redirect_uri.as_ref());
                let route = match elsewhere.filter(|_| via == Via::Redirect) {
                    Some(uri) => Route::configured(self, &uri)?,
                    None => route,
                };
                self.visit(&route, via, &url, &expires_at);
                // Nobody approves at an address that nobody was shown.
                output::outcome()?;
                let lifetime = code_lifetime_ms.map(Duration::from_millis);
                match (via, route.listener) {
                    _ if self.no_wait => {
                        self.tell(&control.enrollment(&id, Patience::default()).await?)
                    }
                    (Via::Redirect, listener) => {
                        let waiting = approval::Waiting {
                            control,
                            id: &id,
                            url: &url,
                            lifetime,
                        };
                        self.tell(&waiting.report(listener).await?)
                    }
                    _ => self.watch(control, &id).await,
                }
            }
        }
    }

    /// Tells the person where to go, and sends a browser there if there is one.
    fn visit(&self, route: &Route, via: Via, url: &str, expires_at: &str) {
        match via {
            Via::Link => {
                self.say("Give this link to the person who may approve:");
            }
            Via::Push => {
                self.say("Install at the provider; it sends the code to refreshd by itself:")
            }
            Via::Redirect | Via::Device => self.say("Open this in a browser, and approve:"),
        }
        // Alone on its line, so that it can be copied whole.
        self.say(url);
        self.say(&format!(
            "Waiting for approval until {} (Ctrl-C to stop waiting).",
            moment(expires_at)
        ));
        if let Some(hint) = route
            .listener
            .as_ref()
            .and_then(|l| browser::ssh_hint(l.port(), self.no_browser))
        {
            self.say(&hint);
        }
        if let Some(why) = &route.why_paste {
            self.say(why);
        }
        if route.listener.is_some() && via == Via::Redirect && std::io::stdin().is_terminal() {
            self.say(
                "If the browser shows an error in the end (it may run on another machine), paste the address that it shows here.",
            );
        }
        if matches!(via, Via::Redirect | Via::Push) {
            browser::open(url, self.no_browser);
        }
    }

    /// Waits until it is over.
    async fn watch(&self, control: &Control, id: &str) -> Result<Exit, Failure> {
        if self.no_wait {
            return self.tell(&control.enrollment(id, Patience::default()).await?);
        }
        let mut told = patience::Told::default();
        self.tell(&patience::over(control, id, STEP, &mut told).await?)
    }

    /// How it ended, for people or scripts, and as an exit code.
    fn tell(&self, report: &Report) -> Result<Exit, Failure> {
        if self.json {
            output::json(report);
        } else if report.stage == Stage::Done {
            output::line(&done(report));
        } else {
            let name = report.grant.as_deref().unwrap_or(&report.client);
            let text = match report.text.as_str() {
                "" => "waiting for the provider".to_owned(),
                text => text.to_owned(),
            };
            output::note(&format!("{name}: {}: {text}", report.stage.word()));
        }
        Ok(match report.stage {
            Stage::Done | Stage::Open | Stage::Quarantined => Exit::Ok,
            Stage::Received => Exit::TempFail,
            Stage::Held | Stage::Refused | Stage::InDoubt | Stage::Expired => Exit::NoPermission,
        })
    }

    fn show_all(&self, all: &[Report]) {
        if self.json {
            output::json(&all);
        } else if all.is_empty() {
            output::line("no authorization is under way");
        }
        for report in all.iter().filter(|_| !self.json) {
            let name = report.grant.as_deref().unwrap_or(&report.client);
            let line = format!(
                "{}  {:<11}  {}  {name}  {}",
                report.id,
                report.stage.word(),
                report.begun_at,
                report.text
            );
            output::line(line.trim_end());
        }
    }

    /// Whether the configuration on disk has the grant and its operator wants it loaded.
    fn may_reload(&self, context: &Context) -> Result<bool, Failure> {
        let config = context.config()?;
        let grant = self
            .grant
            .as_ref()
            .filter(|name| config.grants.contains_key(*name));
        let client = self
            .client
            .as_ref()
            .filter(|name| config.clients.contains_key(*name));
        let Some(name) = grant.or(client) else {
            return Ok(false);
        };
        if self.yes {
            return Ok(true);
        }
        let question = format!(
            "{name} is in the configuration, but the daemon has not read it yet. Reload now? [Y/n] "
        );
        if !std::io::stdin().is_terminal() {
            output::note(&format!(
                "{name} is in the configuration, but the daemon has not read it yet: run `refreshd reload`, or pass --yes"
            ));
            return Ok(false);
        }
        let _closed = write!(std::io::stderr(), "{question}");
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
        Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
    }

    /// To standard output, or beside the JSON to standard error.
    fn say(&self, text: &str) {
        if self.json {
            output::note(text);
        } else {
            output::line(text);
        }
    }
}

/// A moment as people read it: the time, with the day where that is not today.
fn moment(rfc3339: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let today = WallTime::from_secs(now.map_or(0, |d| d.as_secs().try_into().unwrap_or(0)));
    match (rfc3339.get(..10), rfc3339.get(11..19)) {
        (Some(day), Some(time)) if today.rfc3339().starts_with(day) => format!("{time} UTC"),
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => rfc3339.to_owned(),
    }
}

fn done(report: &Report) -> String {
    let name = report.grant.as_deref().unwrap_or(&report.client);
    let mut text = format!(
        "{name} is authorized: generation {}",
        report.generation.unwrap_or_default()
    );
    if let Some(until) = &report.token_expires_at {
        text += &format!("; its token expires {until}");
    }
    match report.outputs.as_slice() {
        [] => text += &format!(". No output is configured; `refreshd get {name}` prints it"),
        outputs => text += &format!(", and lies in {}", outputs.join(", ")),
    }
    for sentence in report.scopes.iter().flat_map(Scopes::sentences) {
        text += &format!("\n{sentence}.");
    }
    if !report.text.is_empty() {
        text += &format!("\nNote: {}", report.text);
    }
    text
}
