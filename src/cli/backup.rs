//! `refreshd backup`.

use super::{Context, output};
use crate::control::client::Control;
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use crate::service::api::{BackupMade, BackupRequest};
use refreshd_core::text::counted;
use std::path::PathBuf;

/// `refreshd backup`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: refreshd backup                     into backup.dir of the configuration\n          \
    refreshd backup /mnt/state.db       into a file, where the daemon's user may write\n\n\
    The sealing key is not in it: keep that apart, by refreshd key export. To restore, stop refreshd,\n\
    put the file into an otherwise empty state directory as refreshd.db, start, and confirm:\n\
    refreshd doctor --accept-restore. docs/operations.md has every step."
)]
pub(super) struct Backup {
    /// The file; without it another one is made in backup.dir, and the oldest there go
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "file")]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let absolute = |file: PathBuf| {
            std::path::absolute(file).map_err(|e| Failure::new(Exit::Usage, e.to_string()))
        };
        let request = BackupRequest {
            file: self.file.map(absolute).transpose()?,
            replace: self.force,
        };
        let ask = async |control: &Control| control.backup(&request).await;
        let made = context.ask(Access::Look, ask)?;
        if self.json {
            output::json(&made);
        } else {
            report(&made);
        }
        Ok(Exit::Ok)
    }
}

fn report(made: &BackupMade) {
    let copied = &made.copied;
    let keys: Vec<String> = copied.keys.iter().map(ToString::to_string).collect();
    let (word, keys) = (
        if keys.len() == 1 { "key" } else { "keys" },
        keys.join(", "),
    );
    output::line(&format!(
        "{}: {}, {} bytes; restoring it needs sealing {word} {keys}, which is not in the backup",
        copied.path.display(),
        counted(
            usize::try_from(copied.grants).unwrap_or(usize::MAX),
            "grant"
        ),
        copied.bytes
    ));
    for old in &made.removed {
        output::line(&format!("removed {}", old.display()));
    }
}
