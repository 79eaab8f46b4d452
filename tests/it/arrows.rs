//! The arrows between the rooms of the house point one way: every import in the sources is
//! read, and none runs up.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms on their floors, the lowest first. A room may use those of the floors below
/// its own, and no other.
type House = &'static [&'static [&'static str]];

/// The daemon and its commands (`src/`).
const DAEMON: House = &[
    // The process and what surrounds it.
    &[
        "authorities",
        "clock",
        "connections",
        "descriptors",
        "exit",
        "hardening",
        "logging",
        "net",
        "random",
        "sandboxed",
        "systemd",
        "trust",
    ],
    // It feeds everything above.
    &["config"],
    // The disk and the network.
    &["http", "state"],
    // One request to a token endpoint, whatever it is for.
    &["exchange"],
    &["discovery", "history", "incidents", "publish"],
    // What is shown of a grant: the engine tells it.
    &["report"],
    &["engine"],
    // The configuration in force.
    &["reload"],
    // What people and providers are asked.
    &["enroll", "opening"],
    // What the commands come to, with or without a daemon.
    &["service"],
    // How it is asked for.
    &["control"],
    // The wiring.
    &["daemon"],
    &["cli"],
];

/// The crate that decides (`core/src/`).
const CORE: House = &[
    &["backoff", "duration", "mutation", "name", "secret", "text"],
    &["time"],
    &["provider", "queue"],
    &["grant"],
    &["fence", "flight", "incident", "limits"],
    &["scheduler", "kept"],
    &["enroll"],
    &["ledger"],
    &["exchange"],
];

#[test]
fn no_import_runs_up() {
    for (house, dir) in [(DAEMON, "src"), (CORE, "core/src")] {
        let sources = Sources::read(dir);
        let faults: Vec<String> = sources
            .files
            .iter()
            .flat_map(|file| faults(house, file))
            .collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn every_room_has_one_floor() {
    for (house, dir) in [(DAEMON, "src"), (CORE, "core/src")] {
        let rooms: Vec<&str> = house.iter().copied().flatten().copied().collect();
        let named: BTreeSet<String> = rooms.iter().map(|room| (*room).to_owned()).collect();
        assert_eq!(named.len(), rooms.len(), "a room of {dir} is named twice");
        assert_eq!(named, Sources::read(dir).rooms, "the rooms of {dir}");
    }
}

/// What is not read cannot be found.
#[test]
fn every_source_is_read() {
    for dir in ["src", "core/src"] {
        let sources = Sources::read(dir);
        let read: BTreeSet<PathBuf> = sources.files.iter().map(|f| f.path.clone()).collect();
        let mut all = BTreeSet::new();
        list(&root().join(dir), &mut all);
        let left: Vec<&PathBuf> = all.difference(&read).collect();
        let is_known = |path: &&PathBuf| {
            let path = path.to_string_lossy();
            // Tests, and the program that calls the library.
            path.ends_with("/tests.rs")
                || path.contains("/tests/")
                || path.ends_with("/src/main.rs")
        };
        assert!(
            left.iter().copied().all(|path| is_known(&path)),
            "not read: {left:?}"
        );
        assert!(read.len() > 50, "of {dir}: {}", read.len());
    }
}

/// A made-up import upwards is found, however it is written, and where it stands.
#[test]
fn an_import_that_runs_up_is_found() {
    let found = |module: &[&str], text: &str| {
        let file = Source {
            path: "made/up.rs".into(),
            module: module.iter().map(|s| (*s).to_owned()).collect(),
            text: text.to_owned(),
        };
        faults(DAEMON, &file)
    };
    let upwards = [
        (1, "use crate::cli::Context;"),
        (1, "use crate::{clock, cli::{self, Context}};"),
        (3, "use crate::{\nclock::Alarm,\ndaemon,\n};"),
        (1, "pub(crate) use crate::cli::output as shown;"),
        (
            2,
            "fn f() {\nlet x: crate::daemon::Boot = crate::clock::now(); }",
        ),
        (
            1,
            "fn f<'a>(x: &'a char) -> bool { *x == '\"' } use crate::cli;",
        ),
        (1, "use super::super::cli::Context;"),
        (1, "use super::{key, super::cli};"),
        (1, "fn f() { super::super::daemon::run() }"),
        (1, "macro_rules! say { () => { $crate::cli::say() } }"),
        (
            3,
            "#[cfg(test)]\nmod tests { use crate::control; }\nuse crate::cli;",
        ),
        (3, "#[cfg(test)]\nuse crate::{control};\nuse crate::cli;"),
        (
            3,
            "#[cfg(test)]\nmod tests;\nconst R: &str = r#\"\"crate::control\"#; use crate::cli;",
        ),
        // Another room on the same floor, and what stands in no room.
        (1, "use crate::http::Http;"),
        (1, "use crate::Grant;"),
        (1, "use crate::*;"),
    ];
    for (line, text) in upwards {
        let found = found(&["state", "db"], text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        let place = format!("made/up.rs:{line}: ");
        assert!(found[0].starts_with(&place), "{text}: {found:?}");
    }
    let allowed = [
        "use crate::{clock, config::{Config, daemon}};",
        "use crate::state::cli; use super::cli; use self::super::daemon;",
        "// use crate::cli;\n/* crate::cli /* crate::cli */ crate::cli */",
        "/// See [`crate::cli`].\nconst A: &str = \"crate::cli \\\" crate::cli\";",
        "#[cfg(test)]\nmod tests { fn f() { crate::cli::f() } }",
        "#[cfg(test)]\n#[expect(dead_code)]\npub(crate) fn f() { crate::cli::f() }",
        "const B: &[u8] = br##\"crate::cli\"# crate::cli\"##; fn f<'crate_>() {}",
    ];
    for text in allowed {
        assert_eq!(
            found(&["state", "db"], text),
            Vec::<String>::new(),
            "{text}"
        );
    }
    // In the room's own file, `super` is the root.
    assert_eq!(found(&["state"], "use super::cli;").len(), 1);
}

/// The same at the end of every source as it is.
#[test]
fn an_import_added_to_a_source_is_found() {
    for (house, dir) in [(DAEMON, "src"), (CORE, "core/src")] {
        let highest = house[house.len() - 1][0];
        for file in Sources::read(dir).files {
            if file.module[0] == highest {
                continue;
            }
            let line = file.text.lines().count() + 1;
            let text = format!(
                "{}\nuse crate::{{{highest}::Added}};\n",
                file.text.trim_end()
            );
            let found = faults(house, &Source { text, ..file });
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(&format!(".rs:{line}: ")), "{found:?}");
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of a room.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// Where it stands: its room, and the modules within.
    module: Vec<String>,
    text: String,
}

/// What of a crate is compiled when it is no test.
#[derive(Default)]
struct Sources {
    rooms: BTreeSet<String>,
    files: Vec<Source>,
}

impl Sources {
    /// Follows the modules from the root on.
    fn read(dir: &str) -> Sources {
        let mut sources = Sources::default();
        let dir = root().join(dir);
        let text = fs::read_to_string(dir.join("lib.rs")).unwrap();
        for room in modules(&text) {
            sources.add(&dir, vec![room.clone()]);
            sources.rooms.insert(room);
        }
        sources
    }

    fn add(&mut self, dir: &Path, module: Vec<String>) {
        let below = module
            .iter()
            .fold(dir.to_owned(), |dir, name| dir.join(name));
        let beside = below.with_extension("rs");
        let path = if beside.exists() {
            beside
        } else {
            below.join("mod.rs")
        };
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for name in modules(&text) {
            let mut module = module.clone();
            module.push(name);
            self.add(dir, module);
        }
        self.files.push(Source { path, module, text });
    }
}

/// All sources below a directory.
fn list(dir: &Path, all: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("lib.rs") {
            all.insert(path);
        }
    }
}

/// The imports of a file that do not run down, with their lines.
fn faults(house: House, file: &Source) -> Vec<String> {
    let floor = |room: &str| house.iter().position(|rooms| rooms.contains(&room));
    let own = &file.module[0];
    let here = floor(own);
    let path = file.path.strip_prefix(root()).unwrap_or(&file.path);
    let wrong = roots(&file.text, file.module.len()).into_iter();
    let wrong =
        wrong.filter(|(room, _)| room != own && (floor(room).is_none() || floor(room) >= here));
    wrong
        .map(|(room, line)| {
            let why = match floor(&room) {
                Some(_) => "a room of a floor that is not below",
                None => "no room that has a floor",
            };
            format!("{}:{line}: {own} uses {room}, {why}", path.display())
        })
        .collect()
}

/// What a text names in the root of its crate (`crate::NAME`, or by as many `super` as its
/// module is deep), with the line; tests apart.
fn roots(text: &str, depth: usize) -> Vec<(String, usize)> {
    let tokens = without_tests(&tokens(text));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, depth, &mut found);
    }
    found
}

/// Reads a path that begins there, if one does; returns where to go on.
fn path(tokens: &[Token], at: usize, depth: usize, found: &mut Vec<(String, usize)>) -> usize {
    let is_path = |at: usize| tokens.get(at + 1).is_some_and(|next| next.text == "::");
    let goes_on = at > 0 && tokens[at - 1].text == "::";
    match tokens[at].text.as_str() {
        "crate" if is_path(at) && !goes_on => branch(tokens, at + 2, 0, found),
        "super" if is_path(at) && !goes_on => branch(tokens, at, depth, found),
        _ => at + 1,
    }
}

/// Reads what follows, so many modules above it the root; returns where to go on.
fn branch(tokens: &[Token], at: usize, above: usize, found: &mut Vec<(String, usize)>) -> usize {
    let Some(token) = tokens.get(at) else {
        return at;
    };
    let next = |at: usize| tokens.get(at).map(|token| token.text.as_str());
    match token.text.as_str() {
        "super" | "self" if next(at + 1) == Some("::") => {
            let up = usize::from(token.text == "super");
            branch(tokens, at + 2, above.saturating_sub(up), found)
        }
        "{" => {
            let mut at = at + 1;
            while at < tokens.len() && tokens[at].text != "}" {
                at = branch(tokens, at, above, found);
                at = end_of_branch(tokens, at);
            }
            at + 1
        }
        "self" | "super" => at + 1,
        name => {
            if above == 0 {
                found.push((name.to_owned(), token.line));
            }
            at + 1
        }
    }
}

/// Where the next branch of the same group begins, or where the group ends.
fn end_of_branch(tokens: &[Token], mut at: usize) -> usize {
    let mut inside = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => inside += 1,
            "}" if inside == 0 => return at,
            "}" => inside -= 1,
            "," if inside == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The modules that a text declares as files, tests apart.
fn modules(text: &str) -> Vec<String> {
    let tokens = without_tests(&tokens(text));
    let declared = tokens.windows(3).filter_map(|window| match window {
        [keyword, name, end] if keyword.text == "mod" && end.text == ";" => Some(name.text.clone()),
        _ => None,
    });
    declared.collect()
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Words and signs; comments, texts and characters are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => until(&chars, at, |c| c == '\n'),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_comment(&chars, at),
            '"' => end_of_text(&chars, at),
            '\'' => end_of_character(&chars, at),
            c if c.is_alphanumeric() || c == '_' => {
                let end = until(&chars, at, |c| !c.is_alphanumeric() && c != '_');
                let word: String = chars[at..end].iter().collect();
                let raw = ["r", "br", "cr"].contains(&word.as_str());
                match end_of_raw(&chars, end).filter(|_| raw) {
                    Some(end) => end,
                    None => {
                        tokens.push(Token { text: word, line });
                        end
                    }
                }
            }
            c if c.is_whitespace() => at + 1,
            ':' if chars.get(at + 1) == Some(&':') => {
                tokens.push(Token {
                    text: "::".to_owned(),
                    line,
                });
                at + 2
            }
            c => {
                tokens.push(Token {
                    text: c.to_string(),
                    line,
                });
                at + 1
            }
        };
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

fn until(chars: &[char], at: usize, ends: impl Fn(char) -> bool) -> usize {
    let rest = chars[at..].iter().position(|c| ends(*c));
    rest.map_or(chars.len(), |rest| at + rest)
}

fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut open = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (open, at) = (open + 1, at + 2),
            ('*', Some('/')) => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            break;
        }
    }
    at
}

fn end_of_text(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `None`: no raw text begins there.
fn end_of_raw(chars: &[char], at: usize) -> Option<usize> {
    let begin = until(chars, at, |c| c != '#');
    let signs = begin - at;
    if chars.get(begin) != Some(&'"') {
        return None;
    }
    let ends = |at: &usize| {
        chars[*at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= signs
    };
    let end = (begin + 1..chars.len()).find(ends)?;
    Some(end + 1 + signs)
}

/// A character, or the mark of a lifetime alone.
fn end_of_character(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => until(chars, at + 3, |c| c == '\'') + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Without the items that only tests have.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut left, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let here = tokens[at..].iter().map(|token| token.text.as_str());
        if here.take(mark.len()).eq(mark) {
            at = end_of_item(tokens, at + mark.len());
        } else {
            left.push(tokens[at].clone());
            at += 1;
        }
    }
    left
}

/// An item ends with its block, with a semicolon, or with a comma outside of brackets.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut inside = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "(" | "[" | "{" => inside += 1,
            ")" | "]" | "}" if inside == 0 => return at,
            ")" | "]" | "}" => inside -= 1,
            _ => {}
        }
        let ends = ["}", ";", ","].contains(&tokens[at].text.as_str());
        at += 1;
        if inside == 0 && ends {
            break;
        }
    }
    at
}
