//! `refreshd key`.

use super::{Context, output, passphrase};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::{Access, Make};
use crate::service::api::KeyStatus;
use crate::state::key::export::{self, ExportError};
use crate::state::{KeyError, KeyId, KeyUse};
use clap::Subcommand;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// How often the daemon is asked how far it has come.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// `refreshd key`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd key status\n          refreshd key rotate\n          \
    refreshd key export /mnt/usb/refreshd.key     asks for a passphrase\n          \
    refreshd key import /mnt/usb/refreshd.key     on the machine where a backup is restored"
)]
pub(super) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Show the sealing keys, and what still needs each
    #[command(after_help = "Example: refreshd key status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal with a new key from now on, and seal anew what the old one has sealed
    #[command(after_help = "Example: refreshd key rotate\n\n\
        The old key stays for as long as a record, an exchange under way or a backup in backup.dir needs it.\n\
        Backups elsewhere that were made before need it too: run refreshd key export first.\n\
        If this is cut short, it goes on by itself, also at the next start.")]
    Rotate {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the sealing keys into a file under a passphrase
    #[command(
        after_help = "Example: refreshd key export /mnt/usb/refreshd.key --passphrase-file passphrase.txt"
    )]
    Export {
        /// The file; it must not be there
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Read the passphrase from the first line of a file, and not from the terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Put exported keys where the configuration looks for them; none that is there is lost
    #[command(after_help = "Example: refreshd key import /mnt/usb/refreshd.key")]
    Import {
        /// The file that was exported
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Read the passphrase from the first line of a file, and not from the terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

impl Key {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            KeyCommand::Status { json } => status(context, json),
            KeyCommand::Rotate { json } => rotate(context, json),
            KeyCommand::Export {
                file,
                passphrase_file,
            } => {
                let config = context.sound_config()?;
                let passphrase = passphrase::read(passphrase_file.as_deref(), true)?;
                let ids =
                    export::export(&config.daemon.key, &file, &passphrase).map_err(failure)?;
                output::line(&format!("{}: {}", file.display(), named(&ids)));
                Ok(Exit::Ok)
            }
            KeyCommand::Import {
                file,
                passphrase_file,
            } => {
                let config = context.sound_config()?;
                let passphrase = passphrase::read(passphrase_file.as_deref(), false)?;
                let daemon = &config.daemon;
                let ids = export::import(&daemon.key, &daemon.state_dir, &file, &passphrase)
                    .map_err(failure)?;
                output::line(&match ids.as_slice() {
                    [] => "nothing to import: every key is there already".to_owned(),
                    ids => format!("imported {}", named(ids)),
                });
                Ok(Exit::Ok)
            }
        }
    }
}

fn status(context: &Context, json: bool) -> Result<Exit, Failure> {
    let ask = async |control: &Control| control.key().await;
    show(&context.ask(Access::Look, ask)?, json);
    Ok(Exit::Ok)
}

fn rotate(context: &Context, json: bool) -> Result<Exit, Failure> {
    let status = context.ask(Access::Write(Make::Never), rotate_to_the_end)?;
    show(&status, json);
    Ok(Exit::Ok)
}

async fn rotate_to_the_end(control: &Control) -> Result<KeyStatus, Failure> {
    control.rotate_key().await?;
    let cut_short = |failure: Failure| {
        let message = format!(
            "the new key is in place, and what is left goes on at the next start: {failure}"
        );
        Failure::new(failure.exit, message)
    };
    loop {
        let progress = control.key_progress().await.map_err(cut_short)?;
        if !progress.running {
            return control.key().await.map_err(cut_short);
        }
        if std::io::stderr().is_terminal() {
            output::note(&format!("{} records sealed anew", progress.resealed));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn show(status: &KeyStatus, json: bool) {
    if json {
        return output::json(status);
    }
    let kind = if status.credential {
        "credential"
    } else {
        "file"
    };
    output::line(&format!("{kind} {}", status.path.display()));
    for key in &status.keys {
        output::line(&format!("{}  {}", key.id, what_of(key, status.credential)));
    }
    if !status.finished {
        output::line("records are being sealed anew, in the daemon, with the newest key");
    }
}

fn what_of(key: &KeyUse, credential: bool) -> String {
    let mut needs = Vec::new();
    let mut need = |count: usize, one: &str, many: &str| {
        if count > 0 {
            needs.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    };
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    need(count(key.records), "record", "records");
    need(key.backups.len(), "backup", "backups");
    let needs = needs.join(", ");
    match (key.present, key.seals, needs.is_empty()) {
        (false, _, _) => format!("MISSING, and needed by {needs}: import it"),
        (_, true, true) => "seals".to_owned(),
        (_, true, false) => format!("seals; needed by {needs}"),
        (_, false, false) => format!("old; needed by {needs}"),
        (_, false, true) if credential => {
            "old; needed by nothing any more: take its line out of the credential".to_owned()
        }
        (_, false, true) => "old; needed by nothing any more, and about to go".to_owned(),
    }
}

fn named(ids: &[KeyId]) -> String {
    let word = if ids.len() == 1 { "key" } else { "keys" };
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{word} {}", ids.join(", "))
}

fn failure(error: ExportError) -> Failure {
    let exit = match &error {
        ExportError::Short => Exit::Usage,
        ExportError::Foreign(_) | ExportError::Passphrase(_) => Exit::Data,
        ExportError::Exists(_) | ExportError::Io { .. } => Exit::CannotCreate,
        ExportError::Key(KeyError::Io { .. }) => Exit::NoPermission,
        ExportError::Key(_) => Exit::Config,
        ExportError::Lock(crate::state::LockError::Held { .. }) => Exit::TempFail,
        ExportError::Lock(_) => Exit::NoPermission,
    };
    Failure::new(exit, error.to_string())
}
