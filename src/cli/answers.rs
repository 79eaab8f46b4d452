//! `refreshd answers`.

use super::confirm::confirm;
use super::{Context, grant_name, output};
use crate::config::{Config, description_in, description_of};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::{Access, Make};
use crate::service::answers::{Kept, KeptInFull};
use crate::service::api::ImportQuery;
use crate::service::import::{ImportLine, ObtainedAt};
use refreshd_core::provider::answer::ImportFormat;
use refreshd_core::provider::description::Description;
use refreshd_core::text::printable;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::Path;

/// What is kept is taken or dropped in a state that is there.
const WRITE: Access = Access::Write(Make::Never);

/// `refreshd answers`
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples: refreshd answers surveys\n          refreshd answers show 3f2a\n          refreshd answers read 3f2a --provider ./fixed.toml\n          refreshd answers take 3f2a --access-token-at data.token --refresh-token-at data.renew\n\n\
    An answer that could not be read is kept, since it may hold the only copy of a refresh token. An id may be\n\
    shortened. What is read or taken becomes the grant's token set, and is not kept any longer."
)]
pub(super) struct Answers {
    /// Only those of this grant
    #[arg(value_name = "GRANT")]
    grant: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show one, with its secrets left out
    Show {
        /// Its id
        id: String,
        /// The body's text with its tokens, unpacked and decoded, to standard output
        #[arg(long, conflicts_with = "raw")]
        full: bool,
        /// The body's bytes as they came, with its tokens, to standard output
        #[arg(long)]
        raw: bool,
    },
    /// Read one again, and take in what it brings
    Read {
        /// Its id
        id: String,
        /// By this provider, or provider file, instead of the client's
        #[arg(long, value_name = "NAME|FILE")]
        provider: Option<String>,
        /// For this grant, where it is not known which one the answer is for
        #[arg(long, value_name = "GRANT")]
        grant: Option<String>,
    },
    /// Take tokens out of one by hand
    #[command(
        after_help = "A path is a member's name, or names with dots between them. Without paths a token response in JSON\n\
        ({\"access_token\": …, \"refresh_token\": …}) is read from standard input; tokens never go into arguments."
    )]
    Take {
        /// Its id
        id: String,
        /// Where in it the access token is
        #[arg(long, value_name = "PATH", requires = "refresh_token_at")]
        access_token_at: Option<String>,
        /// Where in it the refresh token is
        #[arg(long, value_name = "PATH", requires = "access_token_at")]
        refresh_token_at: Option<String>,
        /// For this grant, where it is not known which one the answer is for
        #[arg(long, value_name = "GRANT")]
        grant: Option<String>,
    },
    /// Let go of one for good
    Drop {
        /// Its id
        id: String,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
    },
}

impl Answers {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            None => list(context, self.grant.as_deref(), self.json),
            Some(Command::Show { id, full, raw }) => {
                let as_what = match (full, raw) {
                    (true, _) => As::Text,
                    (_, true) => As::Bytes,
                    _ => As::Form,
                };
                show(context, &id, as_what)
            }
            Some(Command::Read {
                id,
                provider,
                grant,
            }) => {
                let description = provider.map(|p| description(context, &p)).transpose()?;
                adopt(context, &id, grant, |kept, config| {
                    let own = || own_description(kept, config);
                    let description = description.clone().map_or_else(own, Ok)?;
                    kept.response(&description).map_err(|text| unread(&text))
                })
            }
            Some(Command::Take {
                id,
                access_token_at,
                refresh_token_at,
                grant,
            }) => {
                let given = match &access_token_at {
                    Some(_) => None,
                    None => Some(from_stdin()?),
                };
                adopt(context, &id, grant, |kept, config| match &given {
                    Some(given) => Ok(given.clone()),
                    None => {
                        let mut description = own_description(kept, config)?;
                        description.response.root = None;
                        description.response.access_token = access_token_at.clone();
                        description.response.refresh_token = refresh_token_at.clone();
                        kept.response(&description).map_err(|text| unread(&text))
                    }
                })
            }
            Some(Command::Drop { id, yes }) => drop_one(context, &id, yes),
        }
    }
}

fn list(context: &Context, grant: Option<&str>, as_json: bool) -> Result<Exit, Failure> {
    let grant = grant.map(grant_name).transpose()?;
    let ask = async |control: &Control| control.answers(grant).await;
    let all = context.ask(Access::Look, ask)?;
    if as_json {
        let all: Vec<_> = all.iter().map(|kept| &kept.kept).collect();
        output::json(&json!({ "answers": all }));
        return Ok(Exit::Ok);
    }
    if all.is_empty() {
        output::line("nothing is kept: every answer has been read");
    }
    for kept in all.iter().map(|kept| &kept.kept) {
        let id = kept.id.get(..8).unwrap_or(&kept.id);
        let status = kept.status.map(|status| format!("HTTP {status}, "));
        let of = match kept.authorization {
            Some(_) => "authorization".to_owned(),
            None => format!("generation {}", kept.generation),
        };
        output::line(&format!(
            "{id}  {}  {}  {of}  {}{} bytes{}  {}",
            name(kept),
            kept.at,
            status.unwrap_or_default(),
            kept.bytes,
            if kept.whole { "" } else { ", cut off" },
            kept.why
        ));
    }
    Ok(Exit::Ok)
}

/// How one is shown.
#[derive(Clone, Copy)]
enum As {
    /// Its form, without what may be a token.
    Form,
    /// Its text.
    Text,
    /// Its bytes.
    Bytes,
}

fn show(context: &Context, id: &str, how: As) -> Result<Exit, Failure> {
    let find = async |control: &Control| find(control, id).await;
    let kept = context.ask(Access::Look, find)?;
    let text = kept.text();
    match (how, &text) {
        (As::Form, _) => {}
        (As::Bytes, _) => {
            output::bytes(&kept.answer().body);
            return Ok(Exit::Ok);
        }
        (As::Text, Ok(text)) => {
            // A token may stand in the address that it redirects to, and a body nowhere.
            let location = kept.headers.iter().find(|(name, _)| name == "location");
            if let Some((_, place)) = location {
                output::note(&format!("location: {}", escaped(place.expose())));
            }
            // What a provider sends may move a terminal's cursor.
            match std::io::stdout().is_terminal() {
                true => output::line(&escaped(text)),
                false => output::raw(text),
            }
            return Ok(Exit::Ok);
        }
        (As::Text, Err(why)) => {
            let text = format!("the body cannot be shown as text: {why}; `--raw` prints its bytes");
            return Err(Failure::new(Exit::Data, text));
        }
    }
    let it = &kept.kept;
    output::line(&format!("{}: {}, {}", it.id, name(it), it.why));
    let status = it
        .status
        .map_or("-".to_owned(), |status| status.to_string());
    output::line(&format!(
        "came {}, HTTP status {status}, {} bytes{}",
        it.at,
        it.bytes,
        if it.whole { "" } else { ", cut off" }
    ));
    for (name, value) in &kept.headers {
        let shown = match name.contains("token") || name == "location" {
            true => "…".to_owned(),
            false => printable(value.expose()),
        };
        output::line(&format!("{}: {shown}", printable(name)));
    }
    match &text {
        Ok(text) => output::line(&redacted(text)),
        Err(why) => output::line(&format!("the body cannot be shown as text: {why}")),
    }
    output::note(
        "tokens are left out; `--full` prints the text with them, `--raw` the bytes as they came",
    );
    if let Some(id) = &it.authorization {
        let text = match it.waits {
            true => "it is read when refreshd starts".to_owned(),
            false => format!(
                "an authorization keeps it: `refreshd authorize --accept {id}` takes it in, if it is held and the provider's description can read it"
            ),
        };
        output::note(&text);
    }
    Ok(Exit::Ok)
}

/// Whose it is, as far as is known.
fn name(kept: &Kept) -> &str {
    match (kept.grant.as_str(), kept.client.as_str()) {
        ("", "") => "(not known)",
        ("", client) => client,
        (grant, _) => grant,
    }
}

/// A text for a terminal: lines and tabs stay.
fn escaped(text: &str) -> String {
    let stays = |c: char| matches!(c, '\n' | '\t');
    let shown = text.split_inclusive(stays).map(|part| {
        let (part, end) = match part.strip_suffix(stays) {
            Some(rest) => part.split_at(rest.len()),
            None => (part, ""),
        };
        refreshd_core::text::escaped(part) + end
    });
    shown.collect()
}

/// The form of a body without what may be a token: names stay, values of JSON and
/// anything long goes.
fn redacted(text: &str) -> String {
    const SHOWN: usize = 4096;
    let shown: String = text.chars().take(SHOWN).collect();
    let mut kept = String::new();
    let mut rest = shown.as_str();
    let of_value = |c: char| !(c.is_whitespace() || "\"'{}[]<>=&,:;()".contains(c));
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| of_value(c) != of_value(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let name = after.trim_start_matches(['"', '\'', ' ']);
        let is_name =
            name.starts_with([':', '=', '>']) || kept.ends_with('<') || kept.ends_with("</");
        match of_value(first) && !(is_name && run.len() <= 64) {
            true => kept.push('…'),
            false => kept.push_str(run),
        }
        rest = after;
    }
    if text.len() > shown.len() {
        kept.push_str(" …");
    }
    printable(&kept)
}

fn drop_one(context: &Context, id: &str, yes: bool) -> Result<Exit, Failure> {
    context.ask(WRITE, async |control: &Control| {
        let kept = find(control, id).await?.kept;
        check_is_kept(&kept)?;
        if !yes {
            confirm(&format!(
                "drop {} of {}? it may hold the only copy of a refresh token",
                kept.id,
                name(&kept)
            ))?;
        }
        let done = control.drop_answer(&kept.id, None).await?;
        output::line(&done.message);
        Ok(Exit::Ok)
    })
}

/// Takes in what is read of one, and lets go of it then.
fn adopt(
    context: &Context,
    id: &str,
    grant: Option<String>,
    read: impl Fn(&KeptInFull, &Config) -> Result<Value, Failure>,
) -> Result<Exit, Failure> {
    let config = context.sound_config()?;
    context.ask(WRITE, async |control: &Control| {
        let kept = find(control, id).await?;
        check_is_kept(&kept.kept)?;
        let response = read(&kept, &config)?;
        let line = line(&kept, &config, grant, response)?;
        let grant = line.name.clone();
        let line = serde_json::to_string(&line).expect("a line is plain data");
        // What was kept may be older than what there is; its operator means it.
        let imported = control.import(line, ImportQuery { replace: true }).await?;
        let report = imported.lines.into_iter().next();
        let report = report.ok_or_else(|| Failure::new(Exit::Internal, "nothing was imported"))?;
        if let Some(error) = report.error {
            let text = format!("{grant}: {error}; the answer stays");
            return Err(Failure::new(Exit::Data, text));
        }
        let generation = report.generation;
        control.drop_answer(&kept.kept.id, generation).await?;
        output::line(&format!(
            "{grant}: taken in, generation {}",
            generation.unwrap_or_default()
        ));
        Ok(Exit::Ok)
    })
}

/// The import of what was read of one, for the grant that it is for.
fn line(
    kept: &KeptInFull,
    config: &Config,
    grant: Option<String>,
    response: Value,
) -> Result<ImportLine, Failure> {
    let known = Some(kept.kept.grant.clone()).filter(|name| !name.is_empty());
    let name = grant.or(known).ok_or_else(|| {
        let text = "it is not known which grant the answer is for: pass --grant GRANT";
        Failure::new(Exit::Usage, text)
    })?;
    let configured = config.grants.get(&name);
    // What the configuration says of a grant goes before what was once recorded of it.
    let says_nothing = configured.is_none() || kept.kept.authorization.is_some();
    let redirect_uri = kept.redirect_uri.clone();
    let elsewhere = configured.is_some_and(|grant| grant.redirect_uri.is_some());
    Ok(ImportLine {
        name,
        client: Some(kept.kept.client.clone()).filter(|client| says_nothing && !client.is_empty()),
        response,
        from: ImportFormat::Rfc6749,
        client_id: None,
        obtained_at: Some(ObtainedAt::Text(kept.kept.at.clone())),
        vars: match says_nothing {
            true => kept.vars.clone(),
            false => BTreeMap::new(),
        },
        code: kept.code.clone(),
        redirect_uri: redirect_uri.filter(|_| says_nothing && !elsewhere),
    })
}

/// What was not read before a stop is read by the next start before anybody decides about it.
fn check_is_kept(kept: &Kept) -> Result<(), Failure> {
    match kept.waits {
        false => Ok(()),
        true => Err(Failure::new(
            Exit::TempFail,
            "refreshd stopped before this answer was read; start it (`refreshd run`), and see then",
        )),
    }
}

fn unread(text: &str) -> Failure {
    let text = format!(
        "it cannot be read so: {text}; look at it with `refreshd answers show`, or name the places of its tokens with `refreshd answers take`"
    );
    Failure::new(Exit::Data, text)
}

fn own_description(kept: &KeptInFull, config: &Config) -> Result<Description, Failure> {
    let client = config.clients.get(&kept.kept.client);
    let client = client.ok_or_else(|| {
        let text = format!(
            "its client {:?} is not configured; pass --provider",
            kept.kept.client
        );
        Failure::new(Exit::Config, text)
    })?;
    Ok(Description::clone(&client.description))
}

/// A provider by its name, or by its file.
fn description(context: &Context, provider: &str) -> Result<Description, Failure> {
    let bad = |text: String| Failure::new(Exit::Config, text);
    if !(provider.contains('/') || Path::new(provider).is_file()) {
        return description_of(&context.sources, provider).map_err(bad);
    }
    let text = std::fs::read_to_string(provider)
        .map_err(|e| bad(format!("cannot read {provider}: {e}")))?;
    let found = description_in(&text).map_err(bad)?;
    Ok(found.1)
}

fn from_stdin() -> Result<Value, Failure> {
    let mut input = String::new();
    let bad = |text: &str| Failure::new(Exit::Data, format!("standard input {text}"));
    std::io::stdin()
        .read_to_string(&mut input)
        .map_err(|_| bad("is no text"))?;
    serde_json::from_str(&input).map_err(|_| bad("is not a token response in JSON"))
}

/// The one whose id begins so.
async fn find(control: &Control, id: &str) -> Result<KeptInFull, Failure> {
    let none = |text: String| Failure::new(Exit::NoGrant, text);
    let all = control.answers(None).await?;
    let mut found = all.into_iter().filter(|kept| kept.kept.id.starts_with(id));
    let shown = printable(id);
    let first = found.next().filter(|_| !id.is_empty()).ok_or_else(|| {
        none(format!(
            "nothing is kept as {shown}; see `refreshd answers`"
        ))
    })?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(none(format!(
            "several begin with {shown}; write more of the id"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn names_are_shown_and_values_are_not() {
        for (text, expected) in [
            (
                r#"{"data":{"token":"at-1","ttl":60}}"#,
                r#"{"data":{"token":"…","ttl":…}}"#,
            ),
            ("<Token>at-1</Token>", "<Token>…</Token>"),
            ("access_token=at-1&x=y", "access_token=…&x=…"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }
}
