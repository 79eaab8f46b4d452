//! Where the client secret lies, or shall lie. It never comes by an argument.

use super::ask::{Asker, Question};
use super::home::Home;
use super::{Init, output};
use crate::cli::hidden;
use crate::config::secret_of_text;
use crate::exit::{Exit, Failure};
use refreshd_core::provider::Description;
use refreshd_core::provider::description::Auth;
use refreshd_core::secret::Secret;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest secret that is taken.
const MAX_BYTES: u64 = 64 * 1024;

/// See the module.
pub(super) enum Keep {
    /// There is none.
    Nowhere,
    /// In a variable of the daemon's environment.
    Variable(String),
    /// In a credential of the unit.
    Credential(String),
    /// In a file that is there.
    There(PathBuf),
    /// In a file that is to be written.
    Write(PathBuf, Secret),
}

/// Whether a provider wants a secret of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    No,
    /// Some clients may have none: public ones.
    Usually,
    /// Who asks for tokens in its own name proves who it is (RFC 6749 §4.4).
    Always,
}

impl Wanted {
    pub(super) fn by(description: &Description) -> Wanted {
        let refresh = description.refresh.client.as_ref();
        let methods = [
            description.token.client.auth,
            refresh.map_or(Auth::None, |client| client.auth),
        ];
        match methods.iter().any(|auth| *auth != Auth::None) {
            false => Wanted::No,
            true if description.refresh.asks_anew() => Wanted::Always,
            true => Wanted::Usually,
        }
    }
}

impl Keep {
    /// By the options, or by asking.
    pub(super) fn find(
        init: &Init,
        home: &Home,
        client: &str,
        wanted: Wanted,
        asker: &mut Asker,
    ) -> Result<Keep, Failure> {
        if let Some(variable) = &init.secret_env {
            return Ok(Keep::Variable(variable.clone()));
        }
        if let Some(credential) = &init.secret_credential {
            return Ok(Keep::Credential(credential.clone()));
        }
        if init.no_secret && wanted == Wanted::Always {
            let text = "--no-secret: a client that asks for its tokens itself needs a secret (RFC 6749 §4.4)";
            return Err(Failure::new(Exit::Usage, text));
        }
        let unnamed = init.secret_file.is_none() && init.secret_from.is_none();
        if init.no_secret || (wanted == Wanted::No && unnamed) {
            return Ok(Keep::Nowhere);
        }
        let default = home.dir().join("secrets").join(client);
        let named = init.secret_file.as_ref();
        let path = std::path::absolute(named.unwrap_or(&default))
            .map_err(|e| Failure::new(Exit::Usage, format!("--secret-file: {e}")))?;
        let there = path.symlink_metadata().is_ok();
        if let Some(from) = &init.secret_from {
            return match there {
                true => Err(is_there(&path)),
                false => Ok(Keep::Write(path, from_file(from)?)),
            };
        }
        if there && (named.is_some() || asker.is_interactive()) {
            let question = format!("{} is there; is the client secret in it?", path.display());
            return match named.is_some() || asker.agrees(&question, true)? {
                true => Ok(Keep::There(path)),
                false => Err(is_there(&path)),
            };
        }
        if !asker.is_interactive() {
            asker.misses("--secret-from FILE (- for standard input), --secret-file of one that is there, --secret-env, --secret-credential or --no-secret");
            return Ok(Keep::Nowhere);
        }
        Keep::ask(&path, named.is_some(), wanted, asker)
    }

    fn ask(
        default: &Path,
        named: bool,
        wanted: Wanted,
        asker: &mut Asker,
    ) -> Result<Keep, Failure> {
        let prompt = match wanted {
            Wanted::Always => "Client secret (it is not shown): ",
            _ => "Client secret (it is not shown; empty: the provider gave none): ",
        };
        let secret = loop {
            let typed = hidden::ask(prompt).map_err(|e| {
                let text = format!("no secret was read ({e}); nothing was written");
                Failure::new(Exit::Usage, text)
            })?;
            if typed.expose().trim().is_empty() {
                if wanted == Wanted::Always {
                    output::note("  an answer is needed here");
                    continue;
                }
                return Ok(Keep::Nowhere);
            }
            // A blank at an end came with the paste.
            match secret_of_text(typed.expose().trim(), "what was typed") {
                Ok((secret, odd)) => {
                    odd.iter().for_each(|odd| output::note(&format!("  {odd}")));
                    break secret;
                }
                Err(why) => output::note(&format!("  {why}")),
            }
        };
        let question = Question {
            text: "File to keep it in",
            option: "--secret-file FILE",
            default: Some(default.display().to_string()),
            needed: true,
        };
        let given = named.then(|| default.display().to_string());
        let path = asker.find(&question, given.as_deref(), |answer| {
            let path = PathBuf::from(answer);
            match (path.is_absolute(), path.symlink_metadata().is_ok()) {
                (false, _) => Err("begin it with /".to_owned()),
                (_, true) => Err("it is there already, and is not overwritten".to_owned()),
                _ => Ok(path),
            }
        })?;
        Ok(Keep::Write(
            path.unwrap_or_else(|| default.to_owned()),
            secret,
        ))
    }
}

fn is_there(path: &Path) -> Failure {
    let text = format!(
        "{path} is there already, and is not overwritten: use what is in it by --secret-file {path}, or name another",
        path = path.display()
    );
    Failure::new(Exit::CannotCreate, text)
}

/// A secret that somebody hands over.
fn from_file(from: &Path) -> Result<Secret, Failure> {
    let place = match from == Path::new("-") {
        true => "standard input".to_owned(),
        false => from.display().to_string(),
    };
    let failed = |why: String| Failure::new(Exit::Data, format!("--secret-from {place}: {why}"));
    let unread = |e: std::io::Error| failed(e.to_string());
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        usize::try_from(MAX_BYTES + 1).unwrap_or(0),
    ));
    match from == Path::new("-") {
        true => std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(from)
            .map_err(unread)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes),
    }
    .map_err(unread)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed("it is longer than 64 KiB".to_owned()));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))?;
    let (secret, odd) = secret_of_text(text, &place).map_err(failed)?;
    odd.iter()
        .for_each(|odd| output::note(&format!("refreshd: {odd}")));
    Ok(secret)
}
