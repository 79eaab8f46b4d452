//! Published formats, read back by the programs they are for. A token is read
//! as it is, or it is not published in that format.

mod readers;

use crate::setting::{Setting, epoch};
use crate::support::{Daemon, wait_for};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use readers::Found;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// A client with an output of each format for each of its grants.
const CLIENT: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
"#;

/// Each output's name and keys.
const OUTPUTS: [(&str, &str); 6] = [
    ("raw", ""),
    ("json", "format = \"json\""),
    ("env", "format = \"env\""),
    ("bare", "format = \"env\"\nquote = \"none\""),
    ("header", "format = \"header\""),
    ("key", "format = \"header\"\nheader = \"X-Api-Key\""),
];

/// Tokens as they come and as they might, and the outputs that refuse them.
fn golden() -> Vec<(String, &'static [&'static str])> {
    let quoted = &["bare"][..];
    let long: String = ('!'..='~').filter(|c| !"'\\${".contains(*c)).collect();
    let cases: [(&str, &[&str]); 13] = [
        ("ya29.a0AfH6SMBx-q_R3vXkT", &[]),
        (
            "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2ln-bmF0_dXJl",
            &[],
        ),
        ("+/=~._-+/=~._-==", &[]),
        ("~root/planted", quoted),
        ("planted$x$HOME$1$", quoted),
        ("planted#y;z&|<>(*)", quoted),
        ("planted\"double\"`id`!1", quoted),
        ("planted%h%%n:v", quoted),
        ("two words  and = more", &["bare", "header", "key"]),
        ("planted${HOME}", &["env", "bare"]),
        ("planted\\n\\\\x\\", &["env", "bare"]),
        ("planted'quote", &["env", "bare"]),
        ("plantéd—token", &["env", "bare", "header", "key"]),
    ];
    let mut cases = cases.map(|(t, refused)| (t.to_owned(), refused)).to_vec();
    cases.push((long.repeat(50)[..4096].to_owned(), quoted));
    cases
}

/// Tokens that were imported and published by a daemon.
struct Published {
    setting: Setting,
    daemon: Daemon,
    tokens: Vec<String>,
    /// By the grant's number: what was refused, and why.
    refused: BTreeMap<usize, Vec<String>>,
}

impl Published {
    async fn new(tokens: Vec<String>) -> Self {
        let mut config = CLIENT.to_owned();
        for (name, keys) in OUTPUTS {
            config += &format!(
                "[[clients.pretend.outputs]]\npath = \"ROOT/out/{{grant}}.{name}\"\n{keys}\n"
            );
        }
        let setting = Setting::new(sandbox::Options::default(), &config).await;
        let daemon = setting.house.daemon();
        let line = |(i, token): (usize, &String)| {
            if token.len() >= 12 {
                setting.plant(token);
            }
            let response = json!({
                "access_token": token, "refresh_token": format!("planted-rt-{i}"), "expires_in": 3600,
            });
            json!({"name": grant(i), "client": "pretend", "response": response, "obtained_at": epoch()})
                .to_string()
        };
        let lines: Vec<String> = tokens.iter().enumerate().map(line).collect();
        let ran = setting.run_with(&["import", "--ndjson"], &(lines.join("\n") + "\n"));
        ran.succeeds();
        let mut published = Published {
            setting,
            daemon,
            tokens,
            refused: BTreeMap::new(),
        };
        wait_for("each output to be written or refused", || {
            published.look();
            (0..published.tokens.len()).all(|i| {
                let refused = published.refused[&i].len();
                let written = OUTPUTS
                    .iter()
                    .filter(|(name, _)| published.path(i, name).exists());
                written.count() + refused == OUTPUTS.len()
            })
        });
        published
    }

    fn look(&mut self) {
        let status = self.setting.house.json(&["status", "--json"]);
        for report in status["grants"].as_array().unwrap() {
            let name = report["grant"].as_str().unwrap();
            let number = name.strip_prefix("grant-").unwrap().parse().unwrap();
            let errors = report["output_errors"].as_array().unwrap();
            let errors = errors.iter().map(|e| e.as_str().unwrap().to_owned());
            self.refused.insert(number, errors.collect());
        }
    }

    fn path(&self, i: usize, output: &str) -> PathBuf {
        self.setting
            .house
            .path(&format!("out/{}.{output}", grant(i)))
    }

    /// The files of an output, and the tokens that stand in them.
    fn files(&self, output: &str) -> (Vec<PathBuf>, Vec<String>) {
        let paths = self.tokens.iter().enumerate();
        paths
            .map(|(i, token)| (self.path(i, output), token.clone()))
            .filter(|(path, _)| path.exists())
            .unzip()
    }

    /// Whether an output of a grant was refused, with a message that names the
    /// file and says what to do.
    fn is_refused(&self, i: usize, output: &str) -> bool {
        let path = self.path(i, output).display().to_string();
        let error = self.refused[&i]
            .iter()
            .find(|e| e.starts_with(&format!("{path}: ")));
        if let Some(error) = error {
            assert!(error.contains("the access token holds "), "{error}");
            assert!(error.contains("publish it as json"), "{error}");
            assert!(!PathBuf::from(path).exists());
        }
        error.is_some()
    }

    /// Every reader finds every token that was published for it.
    fn read_by_all(&self) {
        let check = |output: &str, reader: &str, read: &dyn Fn(&[PathBuf]) -> Option<Found>| {
            let (files, tokens) = self.files(output);
            let Some(found) = read(&files) else { return };
            assert_eq!(found.len(), tokens.len(), "{reader}");
            for (found, token) in found.iter().zip(&tokens) {
                assert_eq!(found, token, "{output} as {reader} reads it");
            }
        };
        for output in ["env", "bare"] {
            check(output, "bash", &|files| Some(readers::bash_env(files)));
            check(output, "sh", &|files| Some(readers::sh_env(files)));
            check(output, "node", &readers::node_env);
            check(output, "shlex", &|files| Some(readers::python_shlex(files)));
            check(output, "python-dotenv", &|files| {
                Some(readers::python_dotenv(files))
            });
        }
        check("raw", "bash", &|files| Some(readers::bash_raw(files)));
        check("raw", "node", &|files| Some(readers::node_raw(files)));
        check("raw", "python", &|files| Some(readers::python_raw(files)));
        check("json", "node", &|files| Some(readers::node_json(files)));
        check("json", "python", &|files| Some(readers::python_json(files)));
    }

    async fn sent_by_curl(&self) {
        let (files, tokens) = self.files("header");
        let sent = readers::curl_header("Authorization", &files).await;
        let expected: Vec<String> = tokens.iter().map(|t| format!("Bearer {t}")).collect();
        assert_eq!(sent, expected);
        let (files, tokens) = self.files("key");
        assert_eq!(readers::curl_header("X-Api-Key", &files).await, tokens);
    }
}

fn grant(i: usize) -> String {
    format!("grant-{i}")
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_tokens_are_read_back_by_real_readers_or_refused() {
    let golden = golden();
    let tokens = golden.iter().map(|(token, _)| token.clone()).collect();
    let published = Published::new(tokens).await;
    for (i, (token, refused)) in golden.iter().enumerate() {
        for (output, _) in OUTPUTS {
            let expected = refused.contains(&output);
            assert_eq!(
                published.is_refused(i, output),
                expected,
                "{output} {token}"
            );
            if expected || output == "json" {
                continue;
            }
            let bytes = match output {
                "raw" => token.clone(),
                "env" => format!("ACCESS_TOKEN='{token}'\n"),
                "bare" => format!("ACCESS_TOKEN={token}\n"),
                "header" => format!("Authorization: Bearer {token}\n"),
                _ => format!("X-Api-Key: {token}\n"),
            };
            let file = std::fs::read_to_string(published.path(i, output)).unwrap();
            assert_eq!(file, bytes);
        }
    }
    published.read_by_all();
    published.sent_by_curl().await;
    for output in ["env", "bare"] {
        let (files, tokens) = published.files(output);
        for (file, token) in files.iter().zip(&tokens) {
            if let Some(found) = readers::node_env_file(file) {
                assert_eq!(found, *token, "{output} by node --env-file");
            }
            if !token.contains('$') {
                assert_eq!(readers::systemd_env(file), *token, "{output} by systemd");
            }
        }
    }
    assert_eq!(published.daemon.stop(), Some(0));
}

/// Two hundred tokens of kinds that a provider could think of.
fn random_tokens() -> Vec<String> {
    let kinds = prop_oneof![
        3 => "[A-Za-z0-9._~+/=-]{1,80}",
        4 => "[ -~]{1,60}",
        2 => "[$'\"\\\\`#{}~ a-c]{1,12}",
        1 => "\\PC{1,20}",
    ];
    // Of blanks alone is none, the import says, and none has what stands for bytes that
    // are no character.
    let kinds = kinds.prop_filter("blank", |token| !token.trim().is_empty());
    let kinds = kinds.prop_filter("garbled", |token| !token.contains('\u{fffd}'));
    let mut runner = TestRunner::default();
    let mut token = || kinds.new_tree(&mut runner).unwrap().current();
    (0..200).map(|_| token()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_tokens_are_read_back_by_real_readers_or_refused() {
    let published = Published::new(random_tokens()).await;
    for (i, token) in published.tokens.iter().enumerate() {
        let printable = token.bytes().all(|b| (b' '..=b'~').contains(&b));
        let graphic = printable && !token.contains(' ');
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"._~+/=-".contains(c);
        let fits = [
            ("raw", token.trim() == token),
            ("json", true),
            (
                "env",
                printable && !token.contains(['\'', '\\']) && !token.contains("${"),
            ),
            ("bare", !token.contains(is_odd) && !token.starts_with('~')),
            ("header", graphic),
            ("key", graphic),
        ];
        for (output, fits) in fits {
            assert_eq!(published.is_refused(i, output), !fits, "{output} {token:?}");
        }
    }
    published.read_by_all();
    published.sent_by_curl().await;
    assert_eq!(published.daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_let_in_with_a_published_header() {
    let config = format!(
        "{CLIENT}[grants.one]\nclient = \"pretend\"\n[[grants.one.outputs]]\npath = \"ROOT/one\"\nformat = \"header\"\n"
    );
    let setting = Setting::new(sandbox::Options::default(), &config).await;
    let (daemon, _) = setting.daemon_with_one();
    setting.run(&["refresh", "one", "--force"]).succeeds();
    let line = format!("Authorization: Bearer {}\n", setting.token("one"));
    let path = setting.house.path("one");
    wait_for("the file", || {
        std::fs::read_to_string(&path).is_ok_and(|file| file == line)
    });
    let curl = |header: &str| {
        let url = setting.server.resource_url();
        let output = Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
            ])
            .args(["-H", header, &url])
            .output()
            .expect("curl is there; scripts/test installs it");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl(&format!("@{}", path.display())), "200");
    assert_eq!(curl("Authorization: Bearer none"), "401");
    assert_eq!(daemon.stop(), Some(0));
}

/// Names that bash keeps for itself, as the bash of this machine says.
#[tokio::test(flavor = "multi_thread")]
async fn no_variable_of_the_shell_is_overwritten() {
    let output = Command::new("bash")
        .args(["--norc", "-c", "compgen -v"])
        .env_clear()
        .output()
        .unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let mut config = format!("{CLIENT}[grants.one]\nclient = \"pretend\"\n");
    for name in names.lines() {
        config += &format!(
            "[[grants.one.outputs]]\npath = \"ROOT/{name}\"\nformat = \"env\"\nvariable = \"{name}\"\n"
        );
    }
    let setting = Setting::new(sandbox::Options::default(), &config).await;
    let ran = setting.run(&["check"]);
    assert!(names.lines().count() > 30, "{names}");
    for name in names.lines() {
        ran.fails(78, &[&format!("{name:?} has a meaning of its own")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_leaves_the_others_their_file() {
    let tokens = ["planted-plain-token", "planted'quoted'token"];
    let published = Published::new(tokens.map(str::to_owned).to_vec()).await;
    let status = |i| published.setting.house.status(&grant(i));
    assert_eq!(status(0)["output_errors"], Value::Array(vec![]));
    assert_eq!(status(1)["output_errors"].as_array().unwrap().len(), 2);
    assert_eq!(status(1)["state"], "fresh");
    assert_eq!(published.files("json").1, tokens);
    assert_eq!(published.files("env").1, tokens[..1]);
    assert_eq!(published.daemon.stop(), Some(0));
}
