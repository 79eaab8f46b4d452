//! Readers of another user, in the database's group and in nothing else: the
//! `sqlite3` tool and Python's sqlite3, in a loop, each of them judged.

use super::place::{GROUP, READER};
use crate::support::wait_for;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One line a round: name, generation, token, and the generation in `meta`.
const SQL: &str = "SELECT json_group_array(json_array(t.name, t.generation, t.access_token, m.generation)) \
                   FROM tokens t JOIN meta m USING (name)";

const SHELL_LOOP: &str = r#"while :; do
    seen=$(sqlite3 -readonly -cmd '.timeout 5000' "$1" "$2" 2>&1) && echo "$seen" || echo "\"$seen\""
done"#;

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    rounds: usize,
    newest: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

/// Every token that anybody saw, by grant and generation.
pub(super) type Tokens = Arc<Mutex<BTreeMap<(String, u64), String>>>;

/// A running reader; it ends with the test.
pub(super) struct Reader {
    name: String,
    child: Child,
    seen: Arc<Mutex<Seen>>,
    judge: Option<JoinHandle<()>>,
}

impl Reader {
    /// Python's sqlite3: `fresh`, `kept`, `plain` or `idle`.
    pub(super) fn python(how: &str, path: &Path, tokens: &Tokens) -> Reader {
        let mut command = as_reader("/usr/bin/python3");
        command.args(["-c", include_str!("reader.py"), how]);
        Reader::start(how, command, path, tokens)
    }

    /// One that reads without a pause, of a database or of a directory's files.
    pub(super) fn restless(how: &str, path: &Path, tokens: &Tokens) -> Reader {
        let mut command = as_reader("/usr/bin/python3");
        command.args(["-c", include_str!("reader.py"), how]);
        command.arg(path).args([SQL, "0"]);
        Reader::spawn(how, command, tokens)
    }

    /// The `sqlite3` tool, a process for each round.
    pub(super) fn tool(path: &Path, tokens: &Tokens) -> Reader {
        let mut command = as_reader("/bin/sh");
        command.args(["-c", SHELL_LOOP, "sh"]);
        Reader::start("sqlite3", command, path, tokens)
    }

    fn start(name: &str, mut command: Command, path: &Path, tokens: &Tokens) -> Reader {
        command.arg(path).arg(SQL);
        Reader::spawn(name, command, tokens)
    }

    fn spawn(name: &str, mut command: Command, tokens: &Tokens) -> Reader {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = Arc::<Mutex<Seen>>::default();
        let (judged, tokens) = (seen.clone(), tokens.clone());
        let judge = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                judged.lock().unwrap().round(&line, &tokens);
            }
        });
        Reader {
            name: name.to_owned(),
            child,
            seen,
            judge: Some(judge),
        }
    }

    /// How often it has read.
    pub(super) fn rounds(&self) -> usize {
        self.seen.lock().unwrap().rounds
    }

    /// The newest generation of a grant that it saw.
    pub(super) fn newest(&self, grant: &str) -> u64 {
        let seen = self.seen.lock().unwrap();
        seen.newest.get(grant).copied().unwrap_or_default()
    }

    /// Ends it; how often it read. Nothing may have been wrong.
    pub(super) fn end(mut self) -> usize {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.judge.take().unwrap().join().unwrap();
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.wrong, [""; 0], "{}", self.name);
        assert!(seen.rounds > 0, "{} never read", self.name);
        seen.rounds
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Seen {
    fn round(&mut self, line: &str, tokens: &Tokens) {
        // Before it is there, and before it has a row.
        let nothing = line == "[]" || line.contains("unable to open database file");
        if nothing && self.newest.is_empty() {
            return;
        }
        self.rounds += 1;
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Array(rows)) if !rows.is_empty() => {
                rows.iter().for_each(|row| self.row(row, tokens));
            }
            // Rows never go away here, and no error is one to expect.
            _ => self.wrong.push(line.to_owned()),
        }
    }

    fn row(&mut self, row: &Value, tokens: &Tokens) {
        let name = row[0].as_str().unwrap().to_owned();
        let (generation, token) = (row[1].as_u64().unwrap(), row[2].as_str().unwrap());
        if row[3] != row[1] {
            self.wrong.push(format!("half a transaction: {row}"));
        }
        let newest = self.newest.entry(name.clone()).or_default();
        if generation < *newest {
            self.wrong.push(format!("older than {newest}: {row}"));
        }
        *newest = generation.max(*newest);
        let mut tokens = tokens.lock().unwrap();
        let known = tokens.entry((name, generation)).or_insert(token.to_owned());
        if known != token {
            self.wrong.push(format!("another token before: {row}"));
        }
    }
}

/// Waits until each has read some more.
pub(super) fn read_on(readers: &[Reader]) {
    let before: Vec<usize> = readers.iter().map(Reader::rounds).collect();
    wait_for("the readers to go on", || {
        let mut now = readers.iter().zip(&before);
        now.all(|(reader, before)| reader.rounds() >= before + 5)
    });
}

/// No token stands at two generations.
pub(super) fn distinct(tokens: &Tokens) -> Vec<String> {
    let tokens = tokens.lock().unwrap();
    let texts: BTreeSet<&String> = tokens.values().collect();
    assert_eq!(texts.len(), tokens.len());
    texts.into_iter().cloned().collect()
}

/// A command under a uid that has nothing but the group.
fn as_reader(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .args([format!("--reuid={READER}"), format!("--regid={READER}")])
        .arg(format!("--groups={GROUP}"))
        .arg(program)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}
