//! The lines that lead a provider's file to the sandbox, read by the daemon itself.

use sandbox::server::Server;
use sandbox::{Kind, OldValid, Options, Reading, Reuse};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// What `refreshd check` says to a configuration with one grant.
async fn check(options: Options) -> (bool, String) {
    let server = Server::start(options).await.unwrap();
    let kind = server.options().kind;
    let dir = tempfile::tempdir().unwrap();
    let vars = match kind {
        Kind::Retm => "vars = { business_id = \"shop-17\" }\n".to_owned(),
        Kind::Blynk => format!("vars = {{ server_address = \"{}\" }}\n", server.address()),
        _ => String::new(),
    };
    let declared = match kind {
        Kind::Retm => "[vars.business_id]\nformat = \"dns-label\"\n",
        Kind::Blynk => "[vars.server_address]\nformat = \"host\"\n",
        _ => "",
    };
    let name = kind.name();
    fs::create_dir(dir.path().join("providers.d")).unwrap();
    if kind != Kind::Retently {
        // As small as can be: the real file may come or change, the override stays good.
        let text = format!("name = \"{name}\"\n[token]\nurl = \"https://x/\"\n{declared}");
        fs::write(dir.path().join(format!("providers.d/{name}.toml")), text).unwrap();
    }
    let config = dir.path().join("refreshd.toml");
    let root = dir.path().display();
    let text = format!(
        "[daemon]\nstate_dir = \"{root}/state\"\nruntime_dir = \"{root}/run\"\n\
         [clients.c]\nprovider = \"{name}\"\nclient_id = \"pretend\"\n\
         client_secret = {{ env = \"SECRET\" }}\nredirect_uri = \"https://shop.example/back\"\n\
         [clients.c.override]\n{}[grants.g]\nclient = \"c\"\n{vars}",
        server.override_toml()
    );
    fs::write(&config, &text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
    let command = command.args(["refreshd", "--config"]).arg(&config);
    let output = command.arg("check").env("SECRET", "s").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    (output.status.success(), format!("{text}\n{err}"))
}

#[tokio::test]
async fn the_daemon_takes_every_override() {
    for kind in Kind::ALL {
        let (good, said) = check(Options::of(kind).scaled(1000.0)).await;
        assert!(good, "{said}");
    }
}

#[tokio::test]
async fn what_was_chosen_is_told() {
    let mut options = Options {
        reading: Reading::Query,
        ..Options::of(Kind::Reteno)
    };
    options.rotation.old_valid = OldValid::UntilUsed;
    options.rotation.old_valid_max = Some(Duration::from_secs(60));
    options.rotation.reuse = Reuse::Error;
    let (good, said) = check(options.scaled(8640.0)).await;
    assert!(good, "{said}");
    for line in [
        "lifetime.access = \"20000ms\"",
        "lifetime.refresh = \"300000ms\"",
        "token.body = \"query\"",
        "rotation.old_valid = \"until-used\"",
        "rotation.reuse = \"error\"",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    let (_, said) = check(Options::of(Kind::Retently)).await;
    assert!(
        !said.contains("rotation."),
        "the file's own facts hold: {said}"
    );
}
