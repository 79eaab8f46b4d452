//! `refreshd provider`.

use super::{Context, block_on, output};
use crate::config::embedded_provider_files;
use crate::discovery::{DiscoveryError, discover};
use crate::exit::{Exit, Failure};
use crate::http::probe::{ProbeError, Reach};
use crate::net::Network;
use refreshd_core::text::printable;
use std::path::PathBuf;

/// `refreshd provider`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: refreshd provider discover https://login.example.com")]
pub(super) struct Provider {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a server's own metadata and print a provider file for review
    Discover(Discover),
    /// List the providers there are
    List,
    /// Print a provider's file
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `refreshd provider discover`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: refreshd provider discover https://login.example.com\n\n\
    Reads RFC 8414 or OpenID Connect metadata. Nothing is written: read what is printed, add what it cannot know,\n\
    and save it in providers.d/ beside refreshd.toml."
)]
struct Discover {
    /// The issuer, to the letter
    #[arg(value_name = "URL")]
    issuer: String,
    /// The provider's name in the file; made from the host unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A network besides the open Internet that it may lie in, as in 10.1.2.0/24; may be repeated
    #[arg(long, value_name = "CIDR")]
    allow_network: Vec<Network>,
    /// Certificate authorities to trust besides the system's, in PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the members that were used, as JSON
    #[arg(long)]
    json: bool,
}

impl Provider {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            Command::Discover(discover) => discover.run(),
            Command::List => list(context),
            Command::Show { name } => show(context, &name),
        }
    }
}

impl Discover {
    fn run(self) -> Result<Exit, Failure> {
        if let Some(name) = &self.name
            && !refreshd_core::name::is_valid(name)
        {
            let rule = refreshd_core::name::RULE;
            let text = format!("{:?} is not a name: {rule}", printable(name));
            return Err(Failure::new(Exit::Usage, text));
        }
        crate::http::install_tls();
        let reach = Reach {
            allowed: self.allow_network,
            ca_file: self.ca_file,
        };
        let found = block_on(async {
            let found = discover(&self.issuer, &reach).await;
            found.map_err(|e| failure(&e))
        })?;
        if self.json {
            output::line(&found.json());
        } else {
            let file = found.provider_file(self.name.as_deref());
            output::raw(&file.map_err(|e| failure(&e))?);
        }
        Ok(Exit::Ok)
    }
}

fn failure(error: &DiscoveryError) -> Failure {
    let exit = match error {
        DiscoveryError::Probe(ProbeError::Barred { .. }) => Exit::NoPermission,
        DiscoveryError::Probe(ProbeError::Failed { .. }) => Exit::Unavailable,
        DiscoveryError::Issuer(_) => Exit::Usage,
        _ => Exit::Data,
    };
    Failure::new(exit, error.to_string())
}

/// The files: of one's own first, since one replaces the built-in one of its name.
fn files(context: &Context) -> Result<Vec<(String, String, String)>, Failure> {
    let own = crate::config::own_provider_files(&context.sources);
    let embedded = embedded_provider_files()
        .map(|(file, text)| ("built in".to_owned(), file.to_owned(), text.to_owned()));
    let mut all = Vec::new();
    for path in own {
        let text = std::fs::read_to_string(&path).map_err(|e| {
            let text = format!("cannot read {}: {e}", path.display());
            Failure::new(Exit::Config, text)
        })?;
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        all.push((path.display().to_string(), file, text));
    }
    all.extend(embedded);
    Ok(all)
}

/// The name that a file gives, or the one that its own name suggests.
fn name_in(file: &str, text: &str) -> String {
    let document = text.parse::<toml_edit::DocumentMut>().ok();
    let name = document.as_ref().and_then(|d| d.get("name")?.as_str());
    name.map_or_else(|| file.trim_end_matches(".toml").to_owned(), printable)
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let mut seen = Vec::new();
    for (place, file, text) in files(context)? {
        let name = name_in(&file, &text);
        let replaced = if seen.contains(&name) {
            ", replaced"
        } else {
            ""
        };
        output::line(&format!("{name:<20} {place}{replaced}"));
        seen.push(name);
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, name: &str) -> Result<Exit, Failure> {
    let all = files(context)?;
    let found = all
        .iter()
        .find(|(_, file, text)| name_in(file, text) == name);
    let (place, _, text) = found.ok_or_else(|| {
        let text = format!(
            "there is no provider {}; `refreshd provider list` lists them",
            printable(name)
        );
        Failure::new(Exit::Data, text)
    })?;
    output::note(&format!("# {place}"));
    output::raw(text);
    Ok(Exit::Ok)
}
