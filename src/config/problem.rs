//! What is wrong with a configuration, and where: shown as
//! `file:line:column: message`, the line, a caret run, and a remedy.

use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// Odd, but legal.
    Warning,
    /// Nothing is wrong; it could not be looked at from here.
    Remark,
}

/// One thing that is wrong with a configuration. It holds no secret: where a
/// secret stands in the source line, the line is cut before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file; `None` when it comes from the environment, the command line or an absence.
    pub file: Option<PathBuf>,
    /// Where in the file; `None` when it is about the file as a whole.
    pub spot: Option<Spot>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// How many characters it is about, at least 1.
    pub width: usize,
    /// The line, fit to be shown.
    pub source_line: String,
}

impl Problem {
    /// An error without a place.
    pub(super) fn error(message: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            file: None,
            spot: None,
            message: message.into(),
            remedy: None,
        }
    }

    pub(super) fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// On one line: where, and what.
    #[must_use]
    pub fn line(&self) -> String {
        match (&self.file, &self.spot) {
            (Some(file), Some(spot)) => format!(
                "{}:{}:{}: {}",
                file.display(),
                spot.line,
                spot.column,
                self.message
            ),
            (Some(file), None) => format!("{}: {}", file.display(), self.message),
            (None, _) => self.message.clone(),
        }
    }

    /// What they are sorted by: file, then place.
    pub(super) fn order(&self) -> (Option<PathBuf>, usize, usize) {
        let spot = self.spot.as_ref();
        let (line, column) = spot.map_or((0, 0), |s| (s.line, s.column));
        (self.file.clone(), line, column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(spot) = &self.spot {
                write!(f, "{}:{}:", spot.line, spot.column)?;
            }
            f.write_str(" ")?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Remark => f.write_str("remark: ")?,
        }
        f.write_str(&self.message)?;
        if let Some(spot) = &self.spot {
            write!(f, "\n{spot}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\nhelp: {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        // The line may have been cut to hide a secret: the caret stays on it.
        let shown = self.source_line.chars().count();
        let column = self.column.min(shown.max(1));
        let width = self.width.min(shown.saturating_sub(column - 1)).max(1);
        let indent = " ".repeat(column - 1);
        let carets = "^".repeat(width);
        writeln!(f, "{number} | {}", self.source_line)?;
        write!(f, "{gutter} | {indent}{carets}")
    }
}

/// The known word nearest to what was written, if one is near.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// A remedy for an unknown word: the nearest known one, or all of them.
pub(super) fn suggestion<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(word) = nearest(written, known.iter().copied()) {
        return Some(format!("did you mean {word:?}?"));
    }
    (!known.is_empty()).then(|| format!("known {what}: {}", known.join(", ")))
}

/// All problems, one after the other, for a person.
#[must_use]
pub fn render(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_place_line_caret_and_remedy() {
        let problem = Problem {
            severity: Severity::Error,
            file: Some("/etc/refreshd/refreshd.toml".into()),
            spot: Some(Spot {
                line: 12,
                column: 3,
                width: 4,
                source_line: "  clnt = 1".into(),
            }),
            message: "unknown key \"clnt\" in [grants.a]".into(),
            remedy: Some("did you mean \"client\"?".into()),
        };
        let expected = "/etc/refreshd/refreshd.toml:12:3: unknown key \"clnt\" in [grants.a]\n\
                        12 |   clnt = 1\n   |   ^^^^\nhelp: did you mean \"client\"?";
        assert_eq!(problem.to_string(), expected);
    }

    #[test]
    fn nearest_is_near() {
        assert_eq!(nearest("clent", ["client", "vars"]), Some("client"));
        assert_eq!(nearest("xyz", ["client", "vars"]), None);
    }
}
