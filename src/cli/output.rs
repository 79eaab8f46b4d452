//! What commands print. What could not be written is remembered, and makes the command
//! fail at its end; a reader that has gone away is no error.

use crate::exit::{Exit, Failure};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Why something was not written to standard output; the first time counts.
static NOT_WRITTEN: OnceLock<io::Error> = OnceLock::new();

/// A line on standard output.
pub(super) fn line(text: &str) {
    raw(&format!("{text}\n"));
}

/// Text on standard output as it is.
pub(super) fn raw(text: &str) {
    bytes(text.as_bytes());
}

/// Bytes on standard output.
pub(super) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    // Flushed, since what stays in a buffer until the end fails there unseen.
    let written = out.write_all(bytes).and_then(|()| out.flush());
    if let Err(e) = written {
        let _later = NOT_WRITTEN.set(e);
    }
}

/// A value as JSON on standard output.
pub(super) fn json(value: &impl serde::Serialize) {
    line(&serde_json::to_string_pretty(value).expect("what is printed is plain data"));
}

/// Whether everything so far was written, for commands that wait for an answer to it.
///
/// # Errors
/// When something was not, and somebody is there to read it.
pub(super) fn outcome() -> Result<(), Failure> {
    match NOT_WRITTEN.get() {
        Some(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotCreate,
            format!("standard output could not be written: {e}"),
        )),
        _ => Ok(()),
    }
}

/// How a command ends: by its own result, and by whether its output was written.
pub(super) fn end(result: Result<Exit, Failure>) -> ExitCode {
    let written = |exit| match exit {
        Exit::Ok => outcome().map(|()| exit),
        worse => Ok(worse),
    };
    match result.and_then(written) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            error(&failure.message);
            failure.exit.into()
        }
    }
}

/// Why a command failed, on standard error.
pub(super) fn error(text: &str) {
    let _closed = writeln!(io::stderr(), "{}", shown(text));
}

/// A failure as a person reads it.
pub(super) fn shown(text: &str) -> String {
    // Diagnostics of the configuration carry their own severity.
    let prefix = if text.contains("error:") {
        ""
    } else {
        "refreshd: "
    };
    format!("{prefix}{}", text.trim_end())
}

/// A note on standard error; nothing for an empty one.
pub(super) fn note(text: &str) {
    if !text.trim().is_empty() {
        let _closed = writeln!(io::stderr(), "{}", text.trim_end());
    }
}
