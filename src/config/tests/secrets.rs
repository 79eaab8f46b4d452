//! Secrets: where they are read from, and that no message shows one.

use super::*;

#[test]
fn malformed_lines_show_no_secret() {
    for text in [
        "[clients.c]\nclient_secret = hunter2\n",
        "[clients.c]\nclient_secret = \"hunter2\n",
        "[clients.c]\nx = { a = 1, client_secret = \"hunter2\" ]\n",
        "[clients.c]\nclient_secret = \"\"\"\nhunter2 \\q\n\"\"\"\n",
        "[clients.c]\nclient_secret =\n hunter2\n",
    ] {
        let files = [("refreshd.toml", text)];
        let problems = Case {
            files: &files,
            ..Case::default()
        }
        .problems();
        assert!(problems[0].contains("malformed TOML"), "{problems:?}");
    }
}

#[test]
fn literal_secrets_are_refused_and_not_shown() {
    expect_main(
        "[clients.c]\nprovider = \"retently\"\nclient_id = \"id\"\nredirect_uri = \"https://a/\"\nclient_secret = \"hunter2\"\n",
        &[
            "refreshd.toml:5:17: clients.c.client_secret: a secret does not stand in the configuration itself => \
           write { file = \"/…\" }, { env = \"NAME\" } or { credential = \"name\" }",
        ],
    );
    // The others are on the line of a secret, or hold one under a misspelt key.
    for text in [
        "clients.c = { client_secret = \"hunter2\", provder = 5 }",
        "[clients.c]\nclient_secrt = \"hunter2\"",
        "[clients.c]\nclient_secret = { value = \"hunter2\" }",
        "[clients.c]\nclient_secret = [\"hunter2\"]",
        "[clients.c]\npasswort = \"\"\"\nhunter2\"\"\"",
        "[clients.c]\nproxy = \"http://u:hunter2@proxy:1\"",
        "[clients.c]\nproxy = \"http://u#hunter2@proxy:1\"",
        "[clients.c]\nproxy = { url = \"http://u:hunter2@proxy:1\" }",
        "[clients.c]\nproxy = { url = \"http://p\", user = \"u\", password = \"hunter2\" }",
        "[clients.c]\nproxy = { url = \"http://p\", user = \"u\", pasword = \"hunter2\" }",
        "[clients.c]\nproxy = [\"http://u:hunter2@proxy:1\"]",
        "[clients.c.proxy]\nurl = 5\npassword = { value = \"hunter2\" }",
        "[clients.c.override.token.headers]\nAuthorization = 5\nX-Api-Key = [\"hunter2\"]",
    ] {
        let files = [("refreshd.toml", text)];
        assert!(
            !Case {
                files: &files,
                ..Case::default()
            }
            .problems()
            .is_empty()
        );
    }
    let env = [("REFRESHD_CLIENTS__C__CLIENT_SECRET", "hunter2")];
    let set = [("clients.d.client_secret", "hunter2")];
    let problems = Case {
        files: &[("refreshd.toml", "")],
        env: &env,
        set: &set,
    }
    .problems();
    assert!(
        problems[0].starts_with("--set clients.d.client_secret: ")
            || problems[0].starts_with("REFRESHD_"),
        "{problems:?}"
    );
}

#[test]
fn a_secret_is_cut_from_the_shown_line() {
    let files = [("refreshd.toml", "[clients.c]\nclient_secrt = \"hunter2\"\n")];
    let loaded = load(
        &Case {
            files: &files,
            ..Case::default()
        }
        .world()
        .sources,
    );
    let unknown = |p: &&Problem| p.message.starts_with("unknown key");
    let shown = loaded.problems.iter().find(unknown).unwrap().to_string();
    assert!(
        shown.contains("\n2 | client_secrt = …\n  | ^^^^^^^^^^^^\n"),
        "{shown}"
    );
}

#[test]
fn secret_files() {
    let client = |name: &str, secret: &str| {
        format!(
            "[clients.{name}]\nprovider = \"retently\"\nclient_id = \"id\"\nredirect_uri = \"https://a/\"\nclient_secret = {secret}\n"
        )
    };
    let text = [
        client("a", "{ file = \"{dir}/open\" }"),
        client("b", "{ file = \"{dir}/missing\" }"),
        client("c", "{ file = \"{dir}\" }"),
        client("d", "{ file = \"{dir}/empty\" }"),
        client("e", "{ file = \"{dir}/lines\" }"),
        client("f", "{ env = \"NOT_SET\" }"),
        client("g", "{ credential = \"g\" }"),
        client("h", "{ env = \"SECRET\", file = \"{dir}/good\" }"),
        client("i", "{ file = \"good\" }"),
    ]
    .concat();
    let files = [
        ("refreshd.toml", text.as_str()),
        ("open", "hunter2"),
        ("good", "hunter2"),
        ("empty", "\n"),
        ("lines", "hunter2\nx\n"),
    ];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        &[
            "refreshd.toml:5:17: secret file open can be read by everyone (mode 0644) => chmod 0400 open; in Kubernetes, defaultMode: 0440 on the volume",
            "refreshd.toml:10:17: cannot read secret file missing: No such file or directory (os error 2) => create it, with mode 0400",
            "refreshd.toml:15:17: secret file {dir} is not a regular file => -",
            "refreshd.toml:20:17: the secret in empty is empty => -",
            "refreshd.toml:25:17: the secret in lines holds a control character, such as a line break => write the secret alone, on one line; one line feed at the end is fine",
            "refreshd.toml:30:17: environment variable NOT_SET is not set => -",
            "refreshd.toml:35:17: credential \"g\" cannot be had: CREDENTIALS_DIRECTORY is not set => write LoadCredential=g:/… into the unit",
            "refreshd.toml:40:17: name one of file, env and credential => write { file = \"/…\" }, { env = \"NAME\" } or { credential = \"name\" }",
            "refreshd.toml:45:17: secret file good must be an absolute path => begin it with /",
        ],
    );
}

#[test]
fn a_secret_for_a_public_client_is_odd() {
    expect_after_client(
        "override = { token = { client = { auth = \"none\" } } }\n",
        &[
            "refreshd.toml:5:17: warning: client \"c\" has a client_secret, but auth = \"none\" sends none => take one of them out",
        ],
    );
}

/// A configuration with secrets where none belong; they all say `hunter2`.
const LEAKY: &str = r#"[daemon]
drain = "5s"
[clients.a]
provider = "retently"
client_secret = "hunter2"
client_id = "id"
[clients.b]
proxy = "http://u:hunter2@proxy:1"
client_secret = { value = "hunter2", file = "/none" }
[clients.b.override.token]
headers = { Authorization = "Basic hunter2", Accept = "x" }
[clients.c]
client_secret = """
hunter2"""
[clients.c.proxy]
url = "socks5://u:hunter2@proxy"
password = "hunter2"
[clients.d]
schedule = { lead = "1m" }
"#;

/// One slip of the finger, anywhere: nothing panics, nothing leaks.
#[test]
fn slips_leak_nothing() {
    for at in 0..LEAKY.len() {
        for removed in 0..2 {
            for inserted in ["", "x", "\"", "'", "=", "#", "]", "}", "\n"] {
                let (before, after) = (&LEAKY[..at], &LEAKY[at + removed..]);
                let text = format!("{before}{inserted}{after}");
                let files = [("refreshd.toml", text.as_str())];
                // `problems` looks for the secret.
                let problems = Case {
                    files: &files,
                    ..Case::default()
                }
                .problems();
                assert!(!problems.is_empty(), "{text}");
            }
        }
    }
}
