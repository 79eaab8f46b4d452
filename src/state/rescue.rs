//! What could not be saved when the daemon stopped: answers that were in memory alone go to
//! a file of their own, sealed, which the next start reads.

use super::disk;
use super::history;
use super::intents::{self, Recovered};
use super::kept;
use super::records::{answer_bytes, split_answer};
use super::seal::{Context, KeyId, Sealer};
use refreshd_core::flight::Intent;
use refreshd_core::provider::Answer;
use rusqlite::Connection;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name in the state directory.
pub(super) const FILE: &str = "rescue";

const CONTEXT: Context<'static> = Context {
    purpose: "rescue",
    owner: "",
    column: "answers",
    generation: 0,
};

/// A rescue file that does not open: it may hold the only copy of a refresh token.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}; it holds answers that could not be saved")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// It was sealed with another key, or changed.
    #[error(
        "{0} holds answers that could not be saved, and does not open with this sealing key; put the right key back, or move the file away if there is nothing in it to be kept"
    )]
    Unreadable(PathBuf),
}

/// Writes answers down, with what each is settled by, beside those that are there still.
pub(super) fn write(dir: &Path, sealer: &Sealer, answers: &[(Intent, Answer)]) -> io::Result<()> {
    let mut all = read(dir, sealer).map_err(io::Error::other)?;
    all.retain(|(intent, _)| answers.iter().all(|(new, _)| new.flight != intent.flight));
    all.extend_from_slice(answers);
    let mut plain = zeroize::Zeroizing::new(Vec::new());
    for (intent, answer) in &all {
        let bytes = answer_bytes(&(intent, answer), &answer.body);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        plain.extend(length.to_be_bytes());
        plain.extend(bytes.iter());
    }
    disk::replace(&dir.join(FILE), &sealer.seal(&CONTEXT, &plain))?;
    disk::sync_dir(dir)
}

/// What stands in the file, if there is one.
pub(super) fn read(dir: &Path, sealer: &Sealer) -> Result<Vec<(Intent, Answer)>, RescueError> {
    let path = dir.join(FILE);
    let sealed = match fs::read(&path) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RescueError::Io { path, source }),
    };
    let unreadable = || RescueError::Unreadable(path.clone());
    let plain = sealer.open(&CONTEXT, &sealed).map_err(|_| unreadable())?;
    let (mut rest, mut found) = (plain.as_slice(), Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (record, after) = after.split_at_checked(length).ok_or_else(unreadable)?;
        let ((intent, mut answer), body): ((Intent, Answer), _) =
            split_answer(record).ok_or_else(unreadable)?;
        answer.body = body;
        found.push((intent, answer));
        rest = after;
    }
    Ok(found)
}

/// The key that the file was sealed with.
pub(super) fn sealed_with(dir: &Path) -> Option<KeyId> {
    KeyId::of(&fs::read(dir.join(FILE)).ok()?)
}

/// What of it is not settled yet: the file may have outlived that.
pub(super) fn unsettled(
    conn: &Connection,
    rescued: Vec<(Intent, Answer)>,
) -> rusqlite::Result<Vec<(Intent, Answer)>> {
    let mut left = Vec::new();
    for (intent, answer) in rescued {
        let flight = intent.flight;
        if intents::is_there(conn, flight)? || !history::has_settled(conn, flight)? {
            left.push((intent, answer));
        }
    }
    Ok(left)
}

/// Brings what was rescued into the database, and then the file goes. Where the database
/// does not take it, the file stays, and what stands in it is settled all the same.
pub(super) fn take_in(
    dir: &Path,
    conn: &Connection,
    sealer: &Sealer,
    rescued: &[(Intent, Answer)],
) {
    let path = dir.join(FILE);
    if !path.exists() {
        return;
    }
    let put = || -> rusqlite::Result<()> {
        let transaction = conn.unchecked_transaction()?;
        for (intent, answer) in rescued {
            intents::put_back(&transaction, intent)?;
            kept::put_raw(&transaction, sealer, intent, answer)?;
        }
        transaction.commit()
    };
    let done = put().map_err(io::Error::other);
    let done = done.and_then(|()| fs::remove_file(path));
    match done.and_then(|()| disk::sync_dir(dir)) {
        Ok(()) => tracing::info!(
            answers = rescued.len(),
            "answers that could not be saved at the last stop are in the database now"
        ),
        Err(error) => {
            tracing::error!(%error, "answers that could not be saved at the last stop stay in their file");
        }
    }
}

/// Has each exchange its answer that was rescued, also where the database did not take it.
pub(super) fn merge(recovered: &mut Vec<Recovered>, rescued: Vec<(Intent, Answer)>) {
    for (intent, answer) in rescued {
        let flight = intent.flight;
        match recovered.iter_mut().find(|it| it.intent.flight == flight) {
            Some(known) => known.answer = Some(answer),
            None => recovered.push(Recovered {
                intent,
                answer: Some(answer),
            }),
        }
    }
}
