//! A TOML file with the place of every key and value: figment knows files, not
//! lines. It also knows which places hold literal secrets, so that no
//! diagnostic shows one.

use super::problem::{Problem, Spot, nearest};
use figment::value::{Dict, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml_edit::{ImDocument, Item, TableLike};

/// A key path; elements of arrays go by their number.
pub(super) type Path = Vec<String>;

/// What of an entry a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Its key: it should not be there, or something in it is missing.
    Key,
    /// Its value is wrong.
    Value,
}

/// A file's text and the places in it.
#[derive(Debug)]
pub(super) struct SourceText {
    pub(super) path: PathBuf,
    text: String,
    places: BTreeMap<Path, Place>,
    /// Literal values under keys that sound secret, and URLs with passwords.
    secrets: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Place {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    is_table: bool,
}

impl SourceText {
    /// Parses the text into its values and their places.
    pub(super) fn parse(path: PathBuf, text: String) -> Result<(SourceText, Dict), Box<Problem>> {
        let document = ImDocument::parse(text.clone())
            .map_err(|error| Box::new(malformed(&error, &path, &text)))?;
        let mut walk = Walk::default();
        let dict = walk.table(document.as_table(), &mut Vec::new());
        let source = SourceText {
            path,
            text,
            places: walk.places,
            secrets: walk.secrets,
        };
        Ok((source, dict))
    }

    /// The place of an entry.
    pub(super) fn spot(&self, path: &[String], aim: Aim) -> Option<Spot> {
        let place = self.places.get(path)?;
        let by_key = aim == Aim::Key || place.is_table;
        let range = match (&place.key, &place.value) {
            (Some(key), _) if by_key => key,
            (_, Some(value)) => value,
            (key, None) => key.as_ref()?,
        };
        let mut spot = spot(&self.text, range.clone());
        spot.source_line = self.shown_line(range);
        Some(spot)
    }

    /// The line that a range begins on, cut before the first secret in it and
    /// before what may be a comment: old secrets end there.
    fn shown_line(&self, range: &Range<usize>) -> String {
        let line = line_around(&self.text, range.start);
        let overlaps = |secret: &&Range<usize>| secret.start < line.end && secret.end > line.start;
        let secret = self.secrets.iter().filter(overlaps).map(|s| s.start).min();
        let after = range.end.clamp(line.start, line.end);
        let comment = self.text[after..line.end].find('#').map(|i| after + i);
        match secret.into_iter().chain(comment).min() {
            Some(cut) => shown(&self.text[line.start..cut.max(line.start)]) + "…",
            None => shown(&self.text[line]),
        }
    }
}

#[derive(Default)]
struct Walk {
    places: BTreeMap<Path, Place>,
    secrets: Vec<Range<usize>>,
}

impl Walk {
    fn table(&mut self, table: &dyn TableLike, path: &mut Path) -> Dict {
        let mut dict = Dict::new();
        for (name, item) in table.iter() {
            let key = table.get_key_value(name).and_then(|(key, _)| key.span());
            path.push(name.to_owned());
            if let Some(value) = self.item(item, key, path) {
                dict.insert(name.to_owned(), value);
            }
            path.pop();
        }
        dict
    }

    fn item(&mut self, item: &Item, key: Option<Range<usize>>, path: &mut Path) -> Option<Value> {
        let place = Place {
            key,
            value: item.span(),
            is_table: item.is_table() || item.is_array_of_tables(),
        };
        self.places.insert(path.clone(), place);
        match item {
            Item::None => None,
            Item::Value(value) => Some(self.value(value, path)),
            Item::Table(table) => Some(self.table(table, path).into()),
            Item::ArrayOfTables(array) => {
                let tables = array.iter().map(|table| Item::Table(table.clone()));
                Some(self.array(tables, path))
            }
        }
    }

    fn array(&mut self, items: impl Iterator<Item = Item>, path: &mut Path) -> Value {
        let mut values = Vec::new();
        for (i, item) in items.enumerate() {
            path.push(i.to_string());
            values.extend(self.item(&item, None, path));
            path.pop();
        }
        values.into()
    }

    fn value(&mut self, value: &toml_edit::Value, path: &mut Path) -> Value {
        use toml_edit::Value as Toml;
        match value {
            Toml::InlineTable(table) => self.table(table, path).into(),
            Toml::Array(array) => self.array(array.iter().cloned().map(Item::Value), path),
            scalar => {
                if sounds_secret(path) || scalar.as_str().is_some_and(holds_credentials) {
                    self.secrets.extend(scalar.span());
                }
                plain(scalar)
            }
        }
    }
}

/// A value without places, as it stands in the environment or on the command
/// line: TOML if it is that, else the text itself.
pub(super) fn loose_value(text: &str) -> Value {
    let value = text.parse::<toml_edit::Value>().ok();
    value.map_or_else(
        || text.into(),
        |value| Walk::default().value(&value, &mut Vec::new()),
    )
}

fn plain(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => text.value().as_str().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(truth) => (*truth.value()).into(),
        other => other.to_string().trim().into(),
    }
}

/// Whether a literal value at this path may be a secret. References to secrets
/// (`file`, `env`, `credential`) are not.
pub(super) fn sounds_secret(path: &[String]) -> bool {
    let words: Vec<String> = path.iter().map(|word| word.to_lowercase()).collect();
    let Some(last) = words.last() else {
        return false;
    };
    let reference = matches!(last.as_str(), "file" | "env" | "credential");
    !reference
        && (words.iter().any(|word| hints_at_secret(word))
            || last.contains("token")
            || in_proxy(path))
}

/// Whether this is a `proxy` or within one, but for its `user`: URLs of proxies
/// are often copied with a password in them.
pub(super) fn in_proxy(path: &[String]) -> bool {
    match path {
        [.., last] if last == "proxy" => true,
        // A client of that name.
        [clients, _, _] if clients == "clients" => false,
        [.., proxy, last] => proxy == "proxy" && last != "user",
        _ => false,
    }
}

fn hints_at_secret(word: &str) -> bool {
    const HINTS: [&str; 7] = [
        "secret",
        "passw",
        "authorization",
        "cookie",
        "api_key",
        "apikey",
        "api-key",
    ];
    // Misspelt ones end up in diagnostics sooner than others.
    const WORDS: [&str; 5] = [
        "client_secret",
        "secret",
        "password",
        "passphrase",
        "authorization",
    ];
    HINTS.iter().any(|hint| word.contains(hint)) || nearest(word, WORDS).is_some()
}

fn malformed(error: &toml_edit::TomlError, path: &std::path::Path, text: &str) -> Problem {
    let mut message = format!("malformed TOML: {}", error.message().trim()).replace('\n', ", ");
    message.truncate(message.trim_end_matches([':', ' ']).len());
    let mut problem = Problem::error(message).in_file(path);
    problem.spot = error.span().map(|range| {
        let mut spot = spot(text, range.clone());
        spot.source_line = line_of_malformed(text, range.start);
        spot
    });
    problem
}

/// Without a parse, what is secret can only be guessed. The line is cut where
/// the first thing begins that may be.
fn line_of_malformed(text: &str, at: usize) -> String {
    let line = line_around(text, at);
    let (before, this) = (&text[..line.start], &text[line.clone()]);
    let cut = [
        within_a_value(before, this).then_some(0),
        value_that_sounds_secret(this, at.saturating_sub(line.start)),
        // From the error on, nothing is what it seems: strings and comments least.
        this.char_indices()
            .find(|(i, c)| line.start + i >= at && matches!(c, '"' | '\'' | '#'))
            .map(|(i, _)| i),
        // Whatever is left of a URL with a password in it.
        this.find("://"),
        this.contains('@')
            .then(|| this.find('=').map_or(0, |i| i + 1)),
    ];
    match cut.into_iter().flatten().min() {
        Some(cut) => shown(&this[..cut]) + "…",
        None => shown(this),
    }
}

/// Whether a line goes on with a value that began above it: a multi-line
/// string, or whatever follows a key that sounds secret.
fn within_a_value(before: &str, this: &str) -> bool {
    let inside = |quotes: &str| before.matches(quotes).count() % 2 == 1;
    let above = before
        .rsplit_once('=')
        .map_or("", |(head, _)| last_line(head));
    let goes_on = !this.contains('=') && !this.trim_start().starts_with('[');
    inside("\"\"\"") || inside("'''") || (goes_on && sounds_secret(&[above.trim().to_owned()]))
}

fn value_that_sounds_secret(this: &str, error_at: usize) -> Option<usize> {
    let (key, _) = this.split_once('=').unwrap_or((this, ""));
    let line = this.to_lowercase();
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    let secret = sounds_secret(&[key.trim().to_owned()]) || words.any(hints_at_secret);
    let value = this.find('=').map_or(error_at, |i| i + 1);
    let value = (0..=value.min(this.len()))
        .rev()
        .find(|i| this.is_char_boundary(*i));
    value.filter(|_| secret)
}

/// Whether a URL with a user name, and so perhaps a password, stands in the text.
fn holds_credentials(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.contains('@'))
}

fn last_line(text: &str) -> &str {
    text.rsplit('\n').next().unwrap_or_default()
}

fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let end = text[at..].find('\n').map_or(text.len(), |i| at + i);
    start..end
}

/// The place of a byte range; of several lines the first counts.
pub(super) fn spot(text: &str, range: Range<usize>) -> Spot {
    let start = (0..=range.start.min(text.len()))
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    let line = line_around(text, start);
    let end = range.end.clamp(start, line.end);
    let within = text.get(start..end).unwrap_or_default().trim_end();
    Spot {
        line: text[..start].matches('\n').count() + 1,
        column: text[line.start..start].chars().count() + 1,
        width: within.chars().count().max(1),
        source_line: shown(&text[line]),
    }
}

/// One character for one, so that the caret stays right; no control characters.
fn shown(line: &str) -> String {
    let one = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '·',
        c => c,
    };
    line.trim_end_matches(['\r', '\n'])
        .chars()
        .map(one)
        .collect()
}
