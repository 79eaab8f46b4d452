//! Asks before what cannot be undone.

use crate::exit::{Exit, Failure};
use std::io::{IsTerminal, Write};

/// Returns if the answer is yes.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    let usage = |text: &str| Failure::new(Exit::Usage, text);
    if !std::io::stdin().is_terminal() {
        return Err(usage(
            "this asks first, and there is no terminal to ask at; pass --yes if it is meant. Nothing was done",
        ));
    }
    let mut terminal = std::io::stderr();
    let _closed = write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim().to_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(usage("nothing was done")),
    }
}
