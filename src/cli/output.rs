//! What commands print. A reader that has gone away is no error.

use std::io::Write;

/// A line on standard output.
pub(super) fn line(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// Text on standard output as it is.
pub(super) fn raw(text: &str) {
    let _closed = write!(std::io::stdout(), "{text}");
}

/// A value as JSON on standard output.
pub(super) fn json(value: &impl serde::Serialize) {
    line(&serde_json::to_string_pretty(value).expect("what is printed is plain data"));
}

/// Why a command failed, on standard error.
pub(super) fn error(text: &str) {
    // Diagnostics of the configuration carry their own severity.
    let prefix = if text.contains("error:") {
        ""
    } else {
        "refreshd: "
    };
    let _closed = writeln!(std::io::stderr(), "{prefix}{}", text.trim_end());
}

/// A note on standard error; nothing for an empty one.
pub(super) fn note(text: &str) {
    if !text.trim().is_empty() {
        let _closed = writeln!(std::io::stderr(), "{}", text.trim_end());
    }
}
