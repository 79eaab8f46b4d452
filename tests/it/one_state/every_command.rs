//! Every command answers alike with and without a daemon: the same text, the same JSON, the
//! same exit code. What takes a daemon says so in one way.

use crate::setting::{ONE, Ran, Setting};
use crate::support::{text, wait_for};
use crate::tiny::Tiny;
use sandbox::Options;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

const ODD: &str = r#"{"data":{"token":"at-odd","renew":"rt-odd","ttl":3600}}"#;

const MORE: &str = r#"
[clients.odd]
provider = "odd"
client_id = "odd"
client_secret = { file = "ROOT/secrets/pretend" }
[grants.odd]
client = "odd"
[grants.refused]
client = "pretend"
[grants.new]
client = "pretend"
[[databases]]
path = "ROOT/tokens/all.db"
"#;

/// It is configured at first, and retires then.
const GONE: &str = "[grants.gone]\nclient = \"pretend\"\n";

/// How a command answers without a daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// As with one.
    Same,
    /// As with one, and it changes the state: each side begins with the same.
    Changes,
    /// As with one, but for the members of its JSON that tell whether one runs.
    Tells,
    /// That there is none.
    Needs,
    /// It asks neither a daemon nor the state.
    Apart,
}

use How::{Apart, Changes, Needs, Same, Tells};

/// A command, and lines that run it. `ANSWER` stands for the kept answer, `ROOT` for the
/// house, and after `<` comes what is typed.
struct Row(&'static str, &'static [(How, &'static str)]);

const TABLE: &[Row] = &[
    Row("run", &[(Apart, "")]),
    Row("init", &[(Apart, "")]),
    Row("check", &[(Same, "check --json")]),
    Row("reload", &[(Needs, "reload")]),
    Row(
        "authorize",
        &[
            (Needs, "authorize one --no-browser --device"),
            (Needs, "authorize --client pretend --link"),
            (Needs, "authorize --accept 00000000000000000000000000000000"),
            (
                Needs,
                "authorize --approve 00000000000000000000000000000000",
            ),
            (Needs, "authorize --cancel 00000000000000000000000000000000"),
            (Same, "authorize --accept 12"),
            (Same, "authorize --list"),
            (Same, "authorize --list --json"),
        ],
    ),
    Row(
        "import",
        &[
            (Changes, "import one --replace --json < RESPONSE"),
            (Changes, "import other --client pretend < RESPONSE"),
            (Changes, "import other < RESPONSE"),
            (Changes, "import one --client odd < RESPONSE"),
            (Changes, "import one < {}"),
            (Changes, "import --ndjson < {\"name\":\"x\"}"),
        ],
    ),
    Row(
        "status",
        &[
            (Tells, "status --json"),
            (Tells, "status --json one refused odd new gone --history"),
            (Same, "status none"),
            (Same, "status one none --json"),
            (Same, "status ../etc"),
        ],
    ),
    Row(
        "history",
        &[
            (Same, "history one"),
            (Same, "history refused -n 1 --json"),
            (Same, "history odd --json"),
            (Same, "history gone --json"),
            (Same, "history new"),
            (Same, "history none"),
        ],
    ),
    Row(
        "get",
        &[
            (Same, "get one"),
            (Same, "get one --json"),
            (Same, "get refused"),
            (Same, "get refused --min-valid 2d"),
            (Same, "get odd --json"),
            (Same, "get new"),
            (Same, "get gone"),
            (Same, "get none --json"),
        ],
    ),
    Row(
        "refresh",
        &[
            (Needs, "refresh one"),
            (Same, "refresh one --generation 0"),
            (Same, "refresh one --generation 0 --json"),
            (Same, "refresh refused"),
            (Same, "refresh gone"),
            (Same, "refresh new --force"),
            (Same, "refresh none --rejected"),
        ],
    ),
    Row(
        "verify",
        &[
            (Same, "verify one"),
            (Same, "verify one --json"),
            (Same, "verify refused"),
            (Same, "verify odd"),
            (Same, "verify new"),
            (Same, "verify gone"),
            (Same, "verify none --json"),
            (Needs, "verify one --refresh"),
        ],
    ),
    Row(
        "revoke",
        &[(Needs, "revoke one --yes"), (Needs, "revoke one")],
    ),
    Row("remove", &[(Needs, "remove gone --yes")]),
    Row(
        "answers",
        &[
            (Same, "answers"),
            (Same, "answers odd --json"),
            (Same, "answers one"),
            (Same, "answers none --json"),
        ],
    ),
    Row(
        "answers show",
        &[
            (Same, "answers show ANSWER"),
            (Same, "answers show ANSWER --full"),
            (Same, "answers show ANSWER --raw"),
            (Same, "answers show ff"),
        ],
    ),
    Row(
        "answers read",
        &[
            (Changes, "answers read ANSWER"),
            (Changes, "answers read ANSWER --provider ROOT/fixed.toml"),
        ],
    ),
    Row(
        "answers take",
        &[(
            Changes,
            "answers take ANSWER --access-token-at data.token --refresh-token-at data.renew",
        )],
    ),
    Row(
        "answers drop",
        &[
            (Changes, "answers drop ANSWER --yes"),
            (Changes, "answers drop ANSWER"),
            (Changes, "answers drop ff --yes"),
        ],
    ),
    Row("provider discover", &[(Apart, "")]),
    Row("provider list", &[(Same, "provider list")]),
    Row("provider show", &[(Same, "provider show odd")]),
    Row(
        "doctor",
        &[
            (Tells, "doctor --json"),
            (Needs, "doctor --accept-clock"),
            (Needs, "doctor --accept-binding one"),
            (Needs, "doctor --accept-restore"),
            (Same, "doctor --accept-new-state"),
        ],
    ),
    Row(
        "backup",
        &[
            (Changes, "backup ROOT/copy.db --json"),
            (Same, "backup"),
            (Same, "backup ROOT/secret"),
        ],
    ),
    Row("key status", &[(Same, "key status --json")]),
    Row("key rotate", &[(Changes, "key rotate --json")]),
    Row("key export", &[(Apart, "")]),
    Row("key import", &[(Apart, "")]),
];

/// What tells whether a daemon runs: it knows of itself, and sends what is due.
const OF_A_DAEMON: &[&str] = &[
    "running",
    "pid",
    "descriptors",
    "summary",
    "expires_in",
    "next_refresh_at",
    "next_refresh_in",
    "waits_for",
];
/// What is drawn or counted anew.
const NEW_EACH_TIME: &[&str] = &["commit_seq", "bytes", "id"];

/// What a command may change.
const DIRS: [&str; 3] = ["state", "key", "tokens"];

/// The commands that have none below them, by what their help lists.
fn commands(setting: &Setting, above: &[&str]) -> BTreeSet<String> {
    let help = setting.run(&[above, &["--help"]].concat()).succeeds().out;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  "));
    let names = listed.filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    let mut found = BTreeSet::new();
    // `answers` alone is one, too.
    if names.is_empty() || help.contains("[GRANT]") {
        found.insert(above.join(" "));
    }
    for name in names {
        found.extend(commands(setting, &[above, &[name]].concat()));
    }
    found
}

/// A house that has something of everything, and no daemon; and its kept answer.
async fn furnished() -> (Setting, Tiny, String) {
    let setting = Setting::new(Options::default(), &format!("{ONE}{MORE}{GONE}")).await;
    let tiny = Tiny::answering(ODD).await;
    let (token, verify) = (setting.server.token_url(), setting.server.verify_url());
    setting.house.write(
        "providers.d/pretend.toml",
        &format!(
            "name = \"pretend\"\n[token]\nurl = \"{token}\"\n[rotation]\nrotates = \"always\"\n[verify]\nurl = \"{verify}\"\n[authorize]\nurl = \"{token}\"\n"
        ),
    );
    let odd = format!("name = \"odd\"\n[token]\nurl = \"{}\"\n", tiny.url);
    setting.house.write("providers.d/odd.toml", &odd);
    let fixed = "[response]\nroot = \"data\"\naccess_token = \"token\"\nrefresh_token = \"renew\"\nexpires_in = \"ttl\"\n";
    setting.house.write("fixed.toml", &format!("{odd}{fixed}"));
    let daemon = setting.house.daemon();
    for name in ["one", "refused", "odd", "gone"] {
        setting.import(name);
    }
    setting.server.withdraw_grant("refused");
    setting.run(&["refresh", "refused", "--force"]).ends(77);
    setting.run(&["refresh", "odd", "--force"]).ends(69);
    setting.house.configure(&format!("{ONE}{MORE}"));
    setting.run(&["reload"]).succeeds();
    wait_for("the file", || setting.house.path("tokens/one").exists());
    assert_eq!(daemon.stop(), Some(0));
    let all = setting.house.json(&["answers", "--json"]);
    let id = all["answers"][0]["id"].as_str().unwrap()[..6].to_owned();
    (setting, tiny, id)
}

/// Puts the state aside, or back.
fn copy(setting: &Setting, from: &str, to: &str) {
    let script = format!(
        "rm -rf {to} copy.db && mkdir -p {to} {from} && cp -a {from}/. {to}",
        to = to,
        from = from
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", &script])
        .current_dir(setting.house.root());
    assert!(shell.status().unwrap().success());
}

/// Runs a line of the table.
fn ran(setting: &Setting, line: &str, answer: &str, response: &str) -> Ran {
    let root = setting.house.root().to_str().unwrap();
    let line = line.replace("ANSWER", answer).replace("ROOT", root);
    let (args, input) = line.split_once(" < ").unwrap_or((&line, ""));
    let args: Vec<&str> = args.split(' ').collect();
    let output = setting
        .house
        .run_with(&args, &input.replace("RESPONSE", response));
    Ran {
        code: output.status.code().expect("no signal"),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// The places of a document with their values, but for these members.
fn places(value: &Value, without: &[&str], path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if !without.contains(&name.as_str()) {
                    places(value, without, &format!("{path}.{name}"), found);
                }
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                places(value, without, &format!("{path}[{i}]"), found);
            }
        }
        value => {
            found.insert(format!("{path}: {value}"));
        }
    }
}

/// What is compared of an answer.
fn told(ran: &Ran, how: How) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let without = match how {
        Tells => OF_A_DAEMON,
        Changes => NEW_EACH_TIME,
        _ => &[],
    };
    match serde_json::from_str(&ran.out) {
        Ok(document) => places(&document, without, "", &mut found),
        Err(_) => drop(found.insert(ran.out.clone())),
    }
    // Whose state takes an import is said besides.
    let lines = ran.err.lines();
    let lines = lines.filter(|line| !line.contains("takes the import"));
    found.extend(lines.map(str::to_owned));
    // That none runs is how a look for trouble ends.
    if how != Tells {
        found.insert(format!("exit code {}", ran.code));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_alike_with_and_without_a_daemon() {
    let (setting, _tiny, answer) = furnished().await;
    let listed: Vec<String> = TABLE.iter().map(|row| row.0.to_owned()).collect();
    let unique: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(unique.len(), listed.len(), "one is listed twice");
    assert_eq!(commands(&setting, &[]), unique, "the table lacks a command");

    let response = setting.response("brought").to_string();
    let lines = || TABLE.iter().flat_map(|row| row.1);
    let of = |kinds: &'static [How]| lines().filter(|(how, _)| kinds.contains(how));
    let run = |line: &str| ran(&setting, line, &answer, &response);
    let mut faults = Vec::new();
    let mut compare = |how: How, line: &str, with: Ran, without: Ran| {
        let (with, without) = (told(&with, how), told(&without, how));
        let differ: Vec<_> = with.symmetric_difference(&without).collect();
        if !differ.is_empty() {
            faults.push(format!("{line}: {differ:#?}"));
        }
    };

    for dir in DIRS {
        copy(&setting, dir, &format!("{dir}.aside"));
    }
    let back = || {
        for dir in DIRS {
            copy(&setting, &format!("{dir}.aside"), dir);
        }
    };
    // What only looks: all of it at one daemon.
    let daemon = setting.house.daemon();
    let with: Vec<Ran> = of(&[Same, Tells]).map(|(_, line)| run(line)).collect();
    for (_, line) in of(&[Needs]) {
        let ran = run(line);
        assert!(!ran.err.contains("is not running"), "{line}: {ran:?}");
    }
    assert_eq!(daemon.stop(), Some(0));
    back();
    for ((how, line), with) in of(&[Same, Tells]).zip(with) {
        let without = run(line);
        if *how == Tells {
            let told = format!("{}{}", without.out, without.err);
            assert!(told.contains("\"running\": false"), "{line}: {told}");
        }
        compare(*how, line, with, without);
    }
    let socket = setting.house.path("run/control.sock");
    let none = format!(
        "refreshd: refreshd is not running (nobody answers at {}); start it with `refreshd run`\n",
        socket.display()
    );
    for (_, line) in of(&[Needs]) {
        let ran = run(line);
        assert_eq!((ran.code, &*ran.out, &ran.err), (69, "", &none), "{line}");
    }
    for (how, line) in of(&[Changes]) {
        back();
        let daemon = setting.house.daemon();
        let with = run(line);
        assert_eq!(daemon.stop(), Some(0));
        back();
        compare(*how, line, with, run(line));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
