//! A passphrase, from a file or the terminal; never from an argument, which all
//! processes may read.

use super::hidden;
use crate::exit::{Exit, Failure};
use refreshd_core::secret::Secret;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads it; from the terminal twice, where a slip would make it useless.
pub(super) fn read(file: Option<&Path>, twice: bool) -> Result<Secret, Failure> {
    match file {
        Some(file) => from_file(file),
        None => from_terminal(twice),
    }
}

fn from_file(path: &Path) -> Result<Secret, Failure> {
    let data = |why: String| {
        Failure::new(
            Exit::Data,
            format!("passphrase file {}: {why}", path.display()),
        )
    };
    let file = File::open(path).map_err(|e| data(e.to_string()))?;
    let mode = file
        .metadata()
        .map_err(|e| data(e.to_string()))?
        .permissions()
        .mode();
    if mode & 0o004 != 0 {
        return Err(data(format!(
            "it can be read by everyone (mode {:04o}); run: chmod 0600 {}",
            mode & 0o7777,
            path.display()
        )));
    }
    let mut reader = BufReader::new(file);
    let line = line_of(&mut reader).map_err(|e| data(e.to_string()))?;
    if line.is_empty() {
        return Err(data("its first line is empty".to_owned()));
    }
    Ok(line)
}

fn from_terminal(twice: bool) -> Result<Secret, Failure> {
    let failed = |e: io::Error| {
        let message = format!(
            "no passphrase can be asked for ({e}); run this at a terminal, or name a --passphrase-file"
        );
        Failure::new(Exit::Usage, message)
    };
    let first = hidden::ask("Passphrase: ").map_err(failed)?;
    if twice && hidden::ask("Again: ").map_err(failed)? != first {
        return Err(Failure::new(
            Exit::Usage,
            "the two differ; nothing was done",
        ));
    }
    Ok(first)
}

fn line_of(reader: &mut impl BufRead) -> io::Result<Secret> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(4096));
    reader.read_line(&mut line)?;
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}
