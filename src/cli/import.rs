//! `refreshd import`.

use super::{Context, grant_name, output, rclone_conf};
use crate::config::Config;
use crate::control::client::Control;
use crate::control::find;
use crate::exit::{Exit, Failure};
use crate::opening::{Access, Make};
use crate::service::api::{ImportQuery, Imported};
use crate::service::import::{ImportLine, LineReport, ObtainedAt};
use crate::state;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use refreshd_core::provider::answer::ImportFormat;
use refreshd_core::secret::Secret;
use refreshd_core::text::printable;
use serde_json::Value;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Lines that go to the daemon in one request, and their bytes.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// One `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as in business_id=shop-17")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The authorization code in a file; never in an argument, which all processes may read.
fn read_code(file: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        let message = format!("cannot read the code from {}: {e}", file.display());
        Failure::new(Exit::Data, message)
    })?;
    match text.trim() {
        "" => Err(Failure::new(
            Exit::Data,
            format!("{} holds no code", file.display()),
        )),
        code => Ok(Secret::new(code)),
    }
}

/// The formats by their names.
fn formats() -> impl TypedValueParser<Value = ImportFormat> {
    PossibleValuesParser::new(ImportFormat::ALL.map(ImportFormat::word)).map(|word| {
        let mut all = ImportFormat::ALL.into_iter();
        all.find(|format| format.word() == word)
            .expect("only these words pass")
    })
}

/// `refreshd import`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd import surveys < response.json\n          refreshd import --ndjson < grants.ndjson\n\n\
    A response is what the token endpoint answered (RFC 6749 §5.1): {\"access_token\": …, \"refresh_token\": …}.\n\
    --from rclone takes the token JSON, a line `token = {…}`, or a whole rclone.conf with --section NAME;\n\
    --from google-authorized-user takes what `gcloud auth application-default login` writes.\n\
    A line of --ndjson is {\"name\", \"client\", \"response\": {…}} with from, client_id, obtained_at, vars, code and redirect_uri if need be.\n\
    Importing the same again does nothing. Whoever else holds this refresh token must stop using it."
)]
pub(super) struct Import {
    /// The grant's name
    #[arg(
        value_name = "NAME",
        required_unless_present = "ndjson",
        conflicts_with = "ndjson"
    )]
    name: Option<String>,
    /// Its client; not needed where the configuration names it
    #[arg(long, value_name = "CLIENT", conflicts_with = "ndjson")]
    client: Option<String>,
    /// How the input is written
    #[arg(long, value_name = "FORMAT", value_parser = formats(), default_value = "rfc6749", conflicts_with = "ndjson")]
    from: ImportFormat,
    /// The section of rclone.conf
    #[arg(long, value_name = "NAME", conflicts_with = "ndjson")]
    section: Option<String>,
    /// When the response was obtained: seconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "ndjson")]
    obtained_at: Option<String>,
    /// File that holds the authorization code that began the grant, for a provider
    /// that wants it with every refresh (Reteno)
    #[arg(long, value_name = "FILE", conflicts_with = "ndjson")]
    code_file: Option<PathBuf>,
    /// The redirect URI the grant was begun with, where it is not the client's
    #[arg(long, value_name = "URI", conflicts_with = "ndjson")]
    redirect_uri: Option<String>,
    /// A variable of the provider, as in business_id=shop-17; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable, conflicts_with = "ndjson")]
    vars: Vec<(String, String)>,
    /// Many grants, a JSON object a line
    #[arg(long)]
    ndjson: bool,
    /// Also take an older token set in the place of a newer one
    #[arg(long)]
    replace: bool,
    /// While refreshd does not run: make the state where there is none yet
    #[arg(long)]
    create_state: bool,
    /// Print a report of every line as JSON
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.section.is_some() && self.from != ImportFormat::Rclone {
            return Err(Failure::new(
                Exit::Usage,
                "--section goes with --from rclone only",
            ));
        }
        let config = context.sound_config()?;
        if std::io::stdin().is_terminal() {
            output::note("reading from the terminal; end with Ctrl-D");
        }
        let mut input = String::new();
        std::io::stdin().read_to_string(&mut input).map_err(|e| {
            Failure::new(
                Exit::Data,
                format!("standard input cannot be read as text: {e}"),
            )
        })?;
        let lines = if self.ndjson {
            input
        } else {
            self.single(&input)?
        };
        let query = ImportQuery {
            replace: self.replace,
        };
        let running = find::daemon(&config)?;
        if let Some(theirs) = running.and(find::other_configuration(&config)) {
            return Err(belongs_elsewhere(&config, &theirs));
        }
        // Without a daemon it is this configuration that says whose the tokens are.
        let offline = |_| self.offline(context.config()?);
        let imported = context.ask_by(config, offline, async |control: &Control| {
            send(control, &lines, query).await
        })?;
        Ok(self.report(&imported))
    }

    /// Whether a state may be made. Unasked only where the configuration names its
    /// directory: elsewhere it depends on who asks, and the daemon's may be another.
    fn offline(&self, config: Config) -> Result<(Config, Access), Failure> {
        let dir = config.daemon.state_dir.display();
        let make = if self.create_state {
            Make::Anew
        } else if config.daemon.state_is_named {
            Make::First
        } else if state::exists(&config.daemon.state_dir) {
            Make::Never
        } else {
            let message = format!(
                "refreshd is not running (nobody answers at {}), and there is no state in {dir}: nothing was imported. Start refreshd first (refreshd run, or its service), then import; or have this command make the state there: refreshd import --create-state …",
                config.socket().display()
            );
            return Err(Failure::new(Exit::Unavailable, message));
        };
        output::note(&format!(
            "refreshd is not running: the state in {dir} takes the import"
        ));
        Ok((config, Access::Write(make)))
    }

    /// One response as a line.
    fn single(&self, input: &str) -> Result<String, Failure> {
        let name = self.name.as_deref().unwrap_or_default();
        grant_name(name).map_err(|_| {
            Failure::new(
                Exit::Data,
                format!("{name:?} is not a name: {}", refreshd_core::name::RULE),
            )
        })?;
        let (response, client_id) = self.document(input)?;
        let obtained_at = self.obtained_at.as_ref().map(|text| match text.parse() {
            Ok(epoch) => ObtainedAt::Epoch(epoch),
            Err(_) => ObtainedAt::Text(text.clone()),
        });
        let line = ImportLine {
            name: name.to_owned(),
            client: self.client.clone(),
            response,
            from: self.from,
            client_id,
            obtained_at,
            vars: self.vars.iter().cloned().collect(),
            code: self.code_file.as_deref().map(read_code).transpose()?,
            redirect_uri: self.redirect_uri.clone(),
        };
        Ok(serde_json::to_string(&line).expect("a line is plain data"))
    }

    /// What is imported, and the client it belongs to where that stands beside it.
    fn document(&self, input: &str) -> Result<(Value, Option<String>), Failure> {
        if self.from == ImportFormat::Rclone {
            let found = rclone_conf::find(input, self.section.as_deref())
                .map_err(|e| Failure::new(Exit::Data, format!("standard input: {e}")))?;
            if found.in_section && found.client_id.is_none() {
                output::note(
                    "the section names no client_id: this token is of rclone's own client, and no other can refresh it",
                );
            }
            return Ok((found.token, found.client_id));
        }
        let what = match self.from {
            ImportFormat::Rfc6749 => "a token response",
            _ => "an authorized_user",
        };
        let response = serde_json::from_str(input).map_err(|e| {
            let message = format!(
                "standard input is not {what} in JSON ({:?} error at line {}, column {})",
                e.classify(),
                e.line(),
                e.column()
            );
            Failure::new(Exit::Data, message)
        })?;
        Ok((response, None))
    }

    fn report(&self, imported: &Imported) -> Exit {
        let refused = imported
            .lines
            .iter()
            .filter(|line| line.error.is_some())
            .count();
        if self.json {
            output::json(imported);
        } else {
            imported
                .lines
                .iter()
                .for_each(|line| self.report_line(line));
            if self.ndjson {
                output::line(&format!(
                    "{} imported, {refused} refused",
                    imported.lines.len() - refused
                ));
            }
        }
        warn_of_others(&imported.lines);
        if refused == 0 { Exit::Ok } else { Exit::Data }
    }

    fn report_line(&self, line: &LineReport) {
        let grant = line.grant.as_deref().unwrap_or("?");
        match (&line.error, self.ndjson) {
            (Some(error), true) => output::note(&format!("line {}: {grant}: {error}", line.line)),
            (Some(error), false) => output::error(&format!("{grant}: {error}")),
            (None, true) => {}
            (None, false) => {
                output::line(&format!(
                    "{grant}: {}, generation {}",
                    line.result,
                    line.generation.unwrap_or_default()
                ));
            }
        }
    }
}

/// A grant of that name may be another there.
fn belongs_elsewhere(config: &Config, theirs: &Path) -> Failure {
    let message = format!(
        "nothing was imported: the daemon that holds {} was started with {}, and this command reads another configuration; name that one (--config), or give a second instance a state_dir and a runtime_dir of its own",
        config.daemon.state_dir.display(),
        theirs.display()
    );
    Failure::new(Exit::Config, message)
}

/// Two that refresh one token cut each other off, as most providers rotate it.
fn warn_of_others(lines: &[LineReport]) {
    let mut taken = lines
        .iter()
        .filter(|line| line.error.is_none() && line.has_refresh_token);
    let Some(first) = taken.next() else {
        return;
    };
    let name = printable(first.grant.as_deref().unwrap_or("?"));
    let whose = match taken.count() {
        0 => format!("the refresh token of {name}"),
        more => format!("the refresh tokens of {name} and {more} more"),
    };
    output::note(&format!(
        "warning: whoever else holds {whose} (the program it came from, a copy of its file) must stop using it now: \
         a refresh may void the old refresh token, so one of the two would be cut off, and some providers revoke the whole grant then"
    ));
}

/// Sends the lines in batches, with progress on long work. A batch that fails
/// does not hide what became of those before it.
async fn send(control: &Control, lines: &str, query: ImportQuery) -> Result<Imported, Failure> {
    let lines: Vec<&str> = lines.lines().collect();
    let mut all = Imported::default();
    let mut sent = 0;
    while sent < lines.len() {
        let batch = batch(&lines[sent..]);
        let mut imported = match control.import(batch.join("\n"), query).await {
            Ok(imported) => imported,
            Err(failure) if sent == 0 => return Err(failure),
            Err(failure) => {
                output::note(&format!(
                    "the first {sent} lines were imported; then: {failure}"
                ));
                return Err(failure);
            }
        };
        imported.lines.iter_mut().for_each(|line| line.line += sent);
        all.lines.append(&mut imported.lines);
        sent += batch.len();
        if lines.len() > BATCH && std::io::stderr().is_terminal() {
            output::note(&format!("{sent} of {} lines", lines.len()));
        }
    }
    Ok(all)
}

/// The lines that go into one request: at least one.
fn batch<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let mut bytes = 0;
    let fits = |line: &&&str| {
        bytes += line.len() + 1;
        bytes <= BATCH_BYTES
    };
    let count = lines.iter().take(BATCH).take_while(fits).count();
    &lines[..count.max(1)]
}
