//! Questions at the terminal. What is given by options is not asked for, and without a
//! terminal nothing is: what is missing then is told all at once.

use super::output;
use crate::exit::{Exit, Failure};
use refreshd_core::text::printable;
use std::io::{BufRead, IsTerminal, Write};

/// One thing to find out.
pub(super) struct Question<'a> {
    /// What is asked.
    pub(super) text: &'a str,
    /// The option that answers it.
    pub(super) option: &'a str,
    /// What an empty answer means.
    pub(super) default: Option<String>,
    /// There has to be an answer.
    pub(super) needed: bool,
}

/// Asks, or notes what would have to be asked.
pub(super) struct Asker {
    interactive: bool,
    missing: Vec<String>,
}

impl Asker {
    /// `silent`: nothing is to be asked.
    pub(super) fn new(silent: bool) -> Asker {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Asker {
            interactive: terminal && !silent,
            missing: Vec::new(),
        }
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The answer, as the check has made it; asked again while the check refuses it.
    pub(super) fn find<T>(
        &mut self,
        question: &Question<'_>,
        given: Option<&str>,
        mut check: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        if let Some(given) = given {
            let wrong = |why| Failure::new(Exit::Usage, format!("{}: {why}", question.option));
            return check(given).map(Some).map_err(wrong);
        }
        if !self.interactive {
            return self.unasked(question, check);
        }
        loop {
            let answer = self.line(question)?;
            let answer = match (answer.is_empty(), &question.default) {
                (true, Some(default)) => default.clone(),
                (true, None) if question.needed => {
                    output::note("  an answer is needed here");
                    continue;
                }
                (true, None) => return Ok(None),
                (false, _) => answer,
            };
            match check(&answer) {
                Ok(answer) => return Ok(Some(answer)),
                Err(why) => output::note(&format!("  {why}")),
            }
        }
    }

    fn unasked<T>(
        &mut self,
        question: &Question<'_>,
        mut check: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        if let Some(default) = &question.default {
            let wrong = |why| Failure::new(Exit::Usage, format!("{}: {why}", question.option));
            return check(default).map(Some).map_err(wrong);
        }
        if question.needed {
            self.misses(question.option);
        }
        Ok(None)
    }

    /// An option is missing, and nobody can be asked.
    pub(super) fn misses(&mut self, option: &str) {
        self.missing.push(option.to_owned());
    }

    /// Fails if anything was missing so far.
    pub(super) fn complete(&self) -> Result<(), Failure> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let text = format!(
            "nothing can be asked here, so these have to be given: {}",
            self.missing.join(", ")
        );
        Err(Failure::new(Exit::Usage, text))
    }

    /// A yes or a no; without a terminal, the default.
    pub(super) fn agrees(&mut self, question: &str, default: bool) -> Result<bool, Failure> {
        if !self.interactive {
            return Ok(default);
        }
        let choice = if default { "Y/n" } else { "y/N" };
        loop {
            match prompt(&format!("{question} [{choice}] "))?
                .to_lowercase()
                .as_str()
            {
                "" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => output::note("  y or n"),
            }
        }
    }

    fn line(&self, question: &Question<'_>) -> Result<String, Failure> {
        let default = question.default.as_ref();
        let shown =
            default.map_or_else(String::new, |default| format!(" [{}]", printable(default)));
        prompt(&format!("{}{shown}: ", question.text))
    }
}

/// A line from the terminal, without what a paste may bring along.
fn prompt(text: &str) -> Result<String, Failure> {
    let failed =
        |e: std::io::Error| Failure::new(Exit::Usage, format!("nothing can be asked: {e}"));
    let mut terminal = std::io::stderr();
    terminal.write_all(text.as_bytes()).map_err(failed)?;
    terminal.flush().map_err(failed)?;
    let mut line = String::new();
    if std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(failed)?
        == 0
    {
        output::note("");
        let text = "the input has ended; nothing was written";
        return Err(Failure::new(Exit::Usage, text));
    }
    let line = line.replace("\u{1b}[200~", "").replace("\u{1b}[201~", "");
    Ok(line.trim().to_owned())
}
