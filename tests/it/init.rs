//! `refreshd init`: from nothing to a configuration that is sound, by options and by
//! questions at a terminal, as root and as another user.

mod home;
mod session;

use crate::support::{fed, text};
use home::Home;
use rustix::termios::{LocalModes, tcgetattr};
use sandbox::Options;
use sandbox::server::Server;
use serde_json::Value;
use session::Session;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Command, Output};

const SECRET: &str = "planted-init-secret-77c1";

#[track_caller]
fn ends(output: &Output, code: i32) -> (String, String) {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(
        !out.contains(SECRET) && !err.contains(SECRET),
        "{out}\n{err}"
    );
    (out, err)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

const BY_OPTIONS: [&str; 12] = [
    "init",
    "--provider",
    "retently",
    "--client-id",
    "my-id",
    "--secret-from",
    "-",
    "--redirect-uri",
    "https://www.example.com/",
    "--grant",
    "surveys",
    "--yes",
];

#[test]
fn options_alone_make_a_sound_configuration_for_a_user() {
    let home = Home::of(65534);
    let (out, err) = ends(&home.run_with(&BY_OPTIONS, &format!("{SECRET}\n")), 0);
    assert_eq!(err, "");
    assert!(
        out.contains("the configuration is sound: 1 client, 1 grant\n"),
        "{out}"
    );
    assert!(out.ends_with("  refreshd authorize surveys\n"), "{out}");
    let secret = home.path("home/.config/refreshd/secrets/retently");
    assert_eq!(
        (home.read(&secret).as_str(), mode(&secret)),
        (SECRET, 0o600)
    );
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 65534);
    assert_eq!(mode(secret.parent().unwrap()), 0o700);
    let written = home.read(&home.config());
    let output = home.path("home/.local/share/refreshd/tokens/surveys");
    assert!(
        written.contains(&format!("path   = \"{}\"", output.display())),
        "{written}"
    );
    assert!(
        written
            .lines()
            .filter(|line| line.starts_with("# "))
            .count()
            > 4,
        "{written}"
    );
    // No other command needs to be told where that is.
    let (out, _) = ends(&home.run(&["check"]), 0);
    assert!(out.contains("sound"), "{out}");
    let files = [
        ".config/refreshd/refreshd.toml",
        ".config/refreshd/secrets/retently",
    ];
    assert_eq!(home.files(), files);
}

#[test]
fn what_is_there_is_not_overwritten_and_may_be_added_to() {
    let home = Home::of(65534);
    ends(&home.run_with(&BY_OPTIONS, SECRET), 0);
    let before = home.read(&home.config());
    let args = [
        "init",
        "--provider",
        "retm",
        "--client-id",
        "id",
        "--no-secret",
        "--var",
        "business_id=shop-17",
        "--grant",
        "shop-17",
        "--yes",
    ];
    let (_, err) = ends(&home.run(&args), 73);
    assert!(err.contains("`refreshd init --add`"), "{err}");
    assert_eq!(home.files().len(), 2);

    let add = [&args[..], &["--add", "--json"]].concat();
    let (out, _) = ends(&home.run(&add), 0);
    let done: Value = serde_json::from_str(&out).unwrap();
    let file = home.path("home/.config/refreshd/conf.d/shop-17.toml");
    assert_eq!(done["files"], serde_json::json!([file]));
    assert_eq!(
        (&done["sound"], &done["grant"]),
        (&true.into(), &"shop-17".into())
    );
    assert_eq!(done["next"][1], "refreshd authorize shop-17");
    assert_eq!(home.read(&home.config()), before);
    // Another grant of a client that is there needs nothing but what differs.
    let another = [
        "init",
        "--add",
        "--client",
        "retm",
        "--var",
        "business_id=shop-18",
        "--grant",
        "shop-18",
        "--yes",
    ];
    let (out, _) = ends(&home.run(&another), 0);
    assert!(out.contains("2 clients, 3 grants"), "{out}");
    // None is made twice.
    let (_, err) = ends(&home.run(&another), 64);
    assert!(err.contains("there is a grant shop-18 already"), "{err}");
    let (_, err) = ends(
        &home.run_with(
            &[
                &BY_OPTIONS[..],
                &["--add", "--client", "r2", "--secret-file"],
                &[home
                    .path("home/.config/refreshd/secrets/retently")
                    .to_str()
                    .unwrap()],
            ]
            .concat(),
            SECRET,
        ),
        73,
    );
    assert!(err.contains("is not overwritten"), "{err}");
}

#[test]
fn what_is_missing_or_wrong_is_told_and_nothing_is_written() {
    let home = Home::of(65534);
    let (_, err) = ends(&home.run(&["init"]), 64);
    for option in ["--provider", "--client-id", "--grant"] {
        assert!(err.contains(option), "{option}: {err}");
    }
    let retm = ["init", "--yes", "--provider", "retm", "--client-id", "id"];
    let (_, err) = ends(&home.run(&retm), 64);
    for option in ["--secret-from", "--var business_id=VALUE"] {
        assert!(err.contains(option), "{option}: {err}");
    }
    let retm = [&retm[..], &["--no-secret"]].concat();
    for (more, code, needle) in [
        (&["--provider-name"][..], 64, "--provider-name"),
        (
            &["--var", "business_id=Not A Label"],
            64,
            "--var business_id=VALUE: ",
        ),
        (
            &["--var", "shop=17"],
            64,
            "unknown variable shop; its provider has business_id",
        ),
        (
            &["--var", "business_id=a", "--grant", "No Name"],
            64,
            "--grant NAME: ",
        ),
        (
            &["--var", "business_id=a", "--redirect-uri", "here"],
            64,
            "--redirect-uri URI: ",
        ),
        (
            &["--var", "business_id=a", "--output", "here"],
            64,
            "begin it with /",
        ),
        (
            &["--var", "business_id=a", "--output", "/etc/passwd"],
            64,
            "is there already",
        ),
        (
            &["--var", "business_id=a", "--output", "/etc/token"],
            64,
            "you may not write to /etc",
        ),
        (
            &["--var", "business_id=a", "--group", "no-such-group"],
            64,
            "there is no group",
        ),
        (
            &["--var", "business_id=a", "--group", "0"],
            64,
            "you are not in that group",
        ),
        (&["--client-secret", SECRET], 64, "can be read by everyone"),
        (&["--add"], 64, "to add to"),
    ] {
        let (_, err) = ends(&home.run(&[&retm[..], more].concat()), code);
        assert!(err.contains(needle), "{more:?}: {err}");
    }
    let (_, err) = ends(
        &home.run(&[
            "init",
            "--yes",
            "--provider",
            "retentli",
            "--client-id",
            "id",
        ]),
        64,
    );
    assert!(err.contains("did you mean \"retently\"?"), "{err}");
    let (_, err) = ends(
        &home.run_with(&BY_OPTIONS, &format!("{SECRET}\nsecond line\n")),
        65,
    );
    assert!(err.contains("control character"), "{err}");
    let dry = [&BY_OPTIONS[..], &["--dry-run"]].concat();
    let (out, _) = ends(&home.run_with(&dry, SECRET), 0);
    assert!(
        out.contains("[clients.retently]") && out.contains("(not shown)"),
        "{out}"
    );
    assert_eq!(home.files(), [""; 0]);
}

/// A half of it would be worse than nothing.
#[test]
fn what_was_written_is_taken_back_when_the_rest_cannot_be() {
    let home = Home::of(65534);
    let config = home.path("home/.config/refreshd");
    fs::create_dir_all(config.join("secrets")).unwrap();
    chown(config.join("secrets"), Some(65534), Some(65534)).unwrap();
    let (_, err) = ends(&home.run_with(&BY_OPTIONS, SECRET), 73);
    assert!(err.contains("nothing was written"), "{err}");
    assert_eq!(home.files(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provider_is_found_by_its_issuer_or_token_url() {
    let server = Server::start(Options::default()).await.unwrap();
    let home = Home::of(65534);
    let token = server.token_url();
    let base = ["init", "--yes", "--client-id", "pretend"];
    let own = [
        "--token-url",
        &token,
        "--client-credentials",
        "--provider-name",
        "pretend",
    ];
    let own = [&base[..], &own, &["--grant", "own", "--no-output"]].concat();
    let (_, err) = ends(&home.run(&[&own[..], &["--no-secret"]].concat()), 64);
    assert!(err.contains("needs a secret"), "{err}");
    assert_eq!(home.files(), [""; 0]);
    let from = [&own[..], &["--secret-from", "-"]].concat();
    let (out, _) = ends(&home.run_with(&from, SECRET), 0);
    // Nobody has to authorize what asks for itself.
    assert!(out.ends_with("  refreshd status own\n"), "{out}");
    let file = home.path("home/.config/refreshd/providers.d/pretend.toml");
    assert!(home.read(&file).contains(&token), "{}", home.read(&file));
    let args = [
        &base[..],
        &[
            "--add",
            "--token-url",
            "http://token.example.com/",
            "--grant",
            "b",
        ],
    ]
    .concat();
    ends(&home.run(&args), 64);
    let issuer = token.rsplit_once("/token").unwrap().0.to_owned();
    let rest = ["--secret-env", "SECRET", "--grant", "c", "--dry-run"];
    let args = [&base[..], &["--add", "--issuer", &issuer], &rest].concat();
    let (out, _) = ends(&home.run(&args), 0);
    assert!(out.contains(&token) && out.contains("[grants.c]"), "{out}");
    // Where nobody answers, the token URL is the other way.
    let nobody = ["--add", "--issuer", "http://127.0.0.1:1"];
    let args = [&base[..], &nobody, &rest].concat();
    let (_, err) = ends(&home.run(&args), 69);
    assert!(err.contains("--token-url"), "{err}");
}

#[test]
fn questions_at_a_terminal_lead_from_nothing_to_a_sound_configuration() {
    let home = Home::of(65534);
    let session = Session::begin(&home, &["init"]);
    // A wrong answer is asked again.
    session.answer("token endpoint: ", "retentli");
    session.wait("did you mean \"retently\"?");
    session.answer("token endpoint: ", "retently");
    session.answer("Client id, as the provider gave it: ", "");
    session.wait("an answer is needed");
    session.answer("Client id, as the provider gave it: ", "my-id");
    session.wait("the provider gave none): ");
    let echo = tcgetattr(&session.line)
        .unwrap()
        .local_modes
        .contains(LocalModes::ECHO);
    assert!(!echo, "a secret would be shown");
    session.answer("the provider gave none): ", &format!("{SECRET} "));
    session.answer("File to keep it in", "");
    session.answer(
        "Redirect URI, as it is registered at the provider: ",
        "https://www.example.com/",
    );
    session.answer("Name of the grant", "Surveys!");
    session.wait("is not a name");
    session.answer("Name of the grant", "surveys");
    session.answer("Group whose programs may read it", "");
    session.answer("File that other programs read the token from", "relative");
    session.wait("begin it with /");
    session.answer("File that other programs read the token from", "");
    session.answer("Write these? [Y/n] ", "y");
    session.wait("the configuration is sound: 1 client, 1 grant");
    session.wait("refreshd authorize surveys");
    let (code, shown) = session.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    let secret = home.path("home/.config/refreshd/secrets/retently");
    assert_eq!(
        (home.read(&secret).as_str(), mode(&secret)),
        (SECRET, 0o600)
    );
}

#[test]
fn giving_up_writes_nothing_and_leaves_the_terminal_as_it_was() {
    let home = Home::of(65534);
    let session = Session::begin(
        &home,
        &["init", "--provider", "retently", "--client-id", "my-id"],
    );
    session.wait("the provider gave none): ");
    session.type_in(b"half\x03");
    session.wait("nothing was written");
    let modes = tcgetattr(&session.line).unwrap().local_modes;
    assert!(modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
    assert_eq!(session.end().0, Some(64));

    let session = Session::begin(
        &home,
        &[
            "init",
            "--provider",
            "retm",
            "--client-id",
            "my-id",
            "--no-secret",
        ],
    );
    session.wait("business_id, which the provider needs of each grant: ");
    session.type_in(b"\x04");
    session.wait("the input has ended; nothing was written");
    assert_eq!(session.end().0, Some(64));
    assert_eq!(home.files(), [""; 0]);
}

/// Below /etc/refreshd the service's user and group get what they have to read.
#[test]
fn root_writes_for_the_service() {
    let house = tempfile::tempdir().unwrap();
    let etc = house.path().join("etc");
    fs::create_dir_all(etc.join("refreshd-is-not-here")).unwrap();
    // A file system of its own, in which /etc is what this test says.
    fs::write(
        etc.join("passwd"),
        "root:x:0:0::/root:/bin/sh\nrefreshd:x:497:498::/var/lib/refreshd:/bin/false\n",
    )
    .unwrap();
    fs::write(etc.join("group"), "root:x:0:\nrefreshd:x:498:\n").unwrap();
    let script = format!(
        "mount --bind {etc} /etc && exec {refreshd} \"$@\"",
        etc = etc.display(),
        refreshd = env!("CARGO_BIN_EXE_refreshd"),
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "sh"])
        .args(BY_OPTIONS);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", house.path());
    let (out, _) = ends(&fed(command, SECRET), 0);
    assert!(
        out.contains("/etc/refreshd/secrets/retently (the client secret, mode 0400, of refreshd)"),
        "{out}"
    );
    let owned = |path: &str| {
        let metadata = fs::metadata(etc.join(path)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    assert_eq!(owned("refreshd"), (0, 498, 0o750));
    assert_eq!(owned("refreshd/refreshd.toml"), (0, 498, 0o640));
    assert_eq!(owned("refreshd/secrets"), (0, 498, 0o2750));
    assert_eq!(owned("refreshd/secrets/retently"), (497, 498, 0o400));
    let written = fs::read_to_string(etc.join("refreshd/refreshd.toml")).unwrap();
    assert!(
        written.contains("path   = \"/run/refreshd/tokens/surveys\""),
        "{written}"
    );
}
