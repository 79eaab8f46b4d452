//! `refreshd init`: a first configuration by a few questions, or by options alone.
//!
//! - [`ask`]: a question at the terminal, asked again until the answer will do
//! - [`home`]: where a configuration lies, and whose it is
//! - [`provider`]: a provider that is known, or a file for one that is not
//! - [`plan`]: all answers together
//! - [`draft`]: the text of the files
//! - [`write`]: puts them where they belong, all or none

mod ask;
mod draft;
mod home;
mod plan;
mod provider;
mod secret;
mod write;

use super::{Context, block_on, output};
use crate::config::{self, Loaded, Secrets, Sources};
use crate::control::find;
use crate::exit::{Exit, Failure};
use crate::net::Network;
use ask::Asker;
use home::Home;
use plan::Plan;
use refreshd_core::text::counted;
use serde::Serialize;
use std::path::PathBuf;
use write::Planned;

/// `refreshd init`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd init      asks at the terminal\n          \
    refreshd init --provider retently --client-id my-id --secret-from - --redirect-uri https://www.example.com/ \\\n            \
    --grant surveys --yes < secret.txt\n          \
    refreshd init --issuer https://login.example.com --client-id my-id --no-secret --grant mail --dry-run --yes\n\n\
    As root it writes below /etc/refreshd, for the user refreshd if there is one; as another user below ~/.config/refreshd.\n\
    What is there is never overwritten: with --add a client and a grant become a file in conf.d/ beside it."
)]
pub(super) struct Init {
    /// A provider that refreshd knows; `refreshd provider list` lists them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["issuer", "token_url"])]
    provider: Option<String>,
    /// A server that tells its own metadata, as in https://login.example.com
    #[arg(long, value_name = "URL", conflicts_with = "token_url")]
    issuer: Option<String>,
    /// The token endpoint of a server that does not
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// Its authorization endpoint, to which people are sent
    #[arg(long, value_name = "URL", requires = "token_url")]
    authorize_url: Option<String>,
    /// The client asks for its tokens itself, and no person is needed (RFC 6749 §4.4)
    #[arg(long, requires = "token_url")]
    client_credentials: bool,
    /// What the file of such a server is called; made from its host unless given
    #[arg(long, value_name = "NAME")]
    provider_name: Option<String>,
    /// A network besides the open Internet that the server may lie in; may be repeated
    #[arg(long, value_name = "CIDR")]
    allow_network: Vec<Network>,
    /// Certificate authorities to trust besides the system's, in PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// What the client is called here; with --add, one that is there may get another grant
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// The client id that the provider gave
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Where the client secret lies or shall lie [default: secrets/CLIENT beside the configuration]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read the client secret from FILE, or from standard input (-), and write it there
    #[arg(long, value_name = "FILE")]
    secret_from: Option<PathBuf>,
    /// The client secret is in this variable of the daemon's environment
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["secret_file", "secret_from"])]
    secret_env: Option<String>,
    /// The client secret is this systemd credential of the unit
    #[arg(long, value_name = "NAME", conflicts_with_all = ["secret_file", "secret_from", "secret_env"])]
    secret_credential: Option<String>,
    /// The provider gave no client secret
    #[arg(long, conflicts_with_all = ["secret_file", "secret_from", "secret_env", "secret_credential"])]
    no_secret: bool,
    /// Taken so that it can be refused: everybody could read it
    #[arg(long, hide = true, alias = "secret", value_name = "SECRET")]
    client_secret: Option<String>,
    /// The redirect URI that is registered at the provider, to the letter
    #[arg(long, value_name = "URI")]
    redirect_uri: Option<String>,
    /// A scope to ask for; may be repeated
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// What the grant is called
    #[arg(long, value_name = "NAME")]
    grant: Option<String>,
    /// A value that the provider needs of each grant, as in business_id=shop-17; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::key_value)]
    var: Vec<(String, String)>,
    /// The file that other programs read the token from
    #[arg(long, value_name = "FILE", conflicts_with = "no_output")]
    output: Option<PathBuf>,
    /// No file; programs ask with `refreshd get`
    #[arg(long)]
    no_output: bool,
    /// The group whose programs may read that file
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Add to the configuration that is there, as a file in conf.d/
    #[arg(long)]
    add: bool,
    /// Ask nothing: what is not given is as by default, or an error
    #[arg(long, short)]
    yes: bool,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Done {
    /// The files, in the order in which they were written.
    files: Vec<PathBuf>,
    client: String,
    grant: String,
    /// What `refreshd check` says of the result.
    problems: Vec<config::Problem>,
    sound: bool,
    /// What to type next.
    next: Vec<String>,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.client_secret.is_some() {
            let text = "a secret on the command line can be read by everyone on this machine: give it by --secret-from FILE, or - for standard input";
            return Err(Failure::new(Exit::Usage, text));
        }
        crate::http::install_tls();
        let mut asker = Asker::new(self.yes);
        let home = Home::find(&context.sources)?;
        let adds = self.adds(&home, &mut asker)?;
        let plan = Plan::make(&self, context, &home, adds, &mut asker)?;
        let files = plan.files(&home)?;
        if self.dry_run {
            files.iter().for_each(|file| output::raw(&file.shown()));
            return Ok(Exit::Ok);
        }
        if asker.is_interactive() {
            for file in &files {
                output::note(&format!("  {}", file.named()));
            }
            if !asker.agrees("Write these?", true)? {
                output::note("refreshd: nothing was written");
                return Ok(Exit::Ok);
            }
        }
        write::all(&home, &files)?;
        self.end(context, &home, &plan, &files)
    }

    /// Whether a configuration is there that this adds to.
    fn adds(&self, home: &Home, asker: &mut Asker) -> Result<bool, Failure> {
        let main = home.main.display();
        if !home.exists() {
            return match self.add {
                true => {
                    let text = format!("there is no {main} to add to; leave --add out");
                    Err(Failure::new(Exit::Usage, text))
                }
                false => Ok(false),
            };
        }
        if self.add {
            return Ok(true);
        }
        let question = format!(
            "{main} is there, and stays as it is. Add a client and a grant in conf.d/ beside it?"
        );
        if asker.is_interactive() && asker.agrees(&question, true)? {
            return Ok(true);
        }
        let text = format!(
            "{main} is there and is not overwritten; `refreshd init --add` adds a client and a grant as a file in conf.d/ beside it"
        );
        Err(Failure::new(Exit::CannotCreate, text))
    }

    /// Checks what was written, and says what to type next.
    fn end(
        &self,
        context: &Context,
        home: &Home,
        plan: &Plan,
        files: &[Planned],
    ) -> Result<Exit, Failure> {
        let sources = Sources {
            file: Some(home.main.clone()),
            ..context.sources.clone()
        };
        let Loaded {
            config,
            mut problems,
            ..
        } = config::load_with(&sources, Secrets::Look);
        if let Some(config) = &config {
            problems.extend(config::survey(&sources, config));
        }
        let runs = config
            .as_ref()
            .is_some_and(|config| find::daemon(config).is_ok_and(|found| found.is_some()));
        let next = match config {
            Some(_) => home.next(plan, runs),
            None => vec![home.command("check")],
        };
        let exit = config.as_ref().map_or(Exit::Config, |_| Exit::Ok);
        if self.json {
            output::json(&Done {
                files: files.iter().map(|file| file.path.clone()).collect(),
                client: plan.client.clone(),
                grant: plan.grant.clone(),
                problems,
                sound: config.is_some(),
                next,
            });
            return Ok(exit);
        }
        for file in files {
            output::line(&format!("written: {}", file.named()));
        }
        output::note(&config::render(&problems));
        match config {
            Some(config) => output::line(&format!(
                "the configuration is sound: {}, {}",
                counted(config.clients.len(), "client"),
                counted(config.grants.len(), "grant")
            )),
            None => output::line("the configuration cannot be used yet: mend what is said above"),
        }
        output::line("next:");
        next.iter()
            .for_each(|command| output::line(&format!("  {command}")));
        Ok(exit)
    }
}
