//! A configuration has one state and one socket: commands find them from anywhere, make
//! none by looking, and hand nothing to somebody else.

mod every_command;
mod log;
mod looking;
mod others;
mod ownership;
mod same_answers;
mod strangers;

use crate::setting::{Ran, Setting};
use std::fs;
use std::process::Command;

/// Grant `one`, and no directories: they depend on who asks.
const ANYWHERE: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
[grants.one]
client = "pretend"
"#;

/// A setting whose configuration names no directories.
async fn anywhere() -> Setting {
    let setting = Setting::one().await;
    setting.house.write("refreshd.toml", ANYWHERE);
    fs::create_dir(setting.house.path("session")).unwrap();
    setting
}

/// A command of the user's session, which has a runtime directory.
fn in_session(setting: &Setting, args: &[&str]) -> Command {
    let mut command = setting.house.command(args);
    command.env("XDG_RUNTIME_DIR", setting.house.path("session"));
    command
}

/// `import one` from somewhere.
fn import(setting: &Setting, command: Command) -> Ran {
    let response = setting.response("one").to_string();
    setting.run_command_with(command, &response)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_daemon_by_the_state_it_holds() {
    let setting = anywhere().await;
    let house = &setting.house;
    let daemon = house.daemon_by(in_session(&setting, &["run"]));
    assert!(house.path("session/refreshd/control.sock").exists());
    import(&setting, in_session(&setting, &["import", "one"])).succeeds();
    // From cron there is no session; elsewhere the variables are nonsense, which counts as none.
    let surroundings: [&[(&str, &str)]; 4] = [
        &[],
        &[("XDG_RUNTIME_DIR", "")],
        &[
            ("XDG_RUNTIME_DIR", "relative"),
            ("XDG_STATE_HOME", "relative"),
        ],
        &[("XDG_RUNTIME_DIR", "/nonexistent")],
    ];
    for variables in surroundings {
        let mut command = house.command(&["status", "--json"]);
        command.envs(variables.iter().copied());
        let ran = setting.run_command(command).succeeds();
        assert!(
            ran.out.contains("\"running\": true"),
            "{variables:?}: {ran:?}"
        );
        let mut command = house.command(&["reload"]);
        command.envs(variables.iter().copied());
        setting.run_command(command).succeeds();
    }
    // A relative name of the configuration is the same configuration.
    let mut command = house.command(&[]);
    command = {
        let mut plain = Command::new(command.get_program());
        plain.env_clear().env("HOME", house.root());
        plain.env("REFRESHD_CONFIG", "refreshd.toml").arg("reload");
        plain.current_dir(house.root());
        plain
    };
    let ran = setting.run_command(command).succeeds();
    assert!(!ran.err.contains("another configuration"), "{ran:?}");
    // One that shares the state is told apart.
    house.write("other.toml", ANYWHERE);
    let other = house.path("other.toml").display().to_string();
    let ran = setting.run(&["status", "--config", &other]).succeeds();
    assert!(ran.err.contains("reads another configuration"), "{ran:?}");
    let args = ["import", "one", "--config", &other];
    let ran = import(&setting, house.command(&args));
    ran.fails(78, &["nothing was imported", "another configuration"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_leaves_nobody_to_be_found() {
    let setting = anywhere().await;
    let house = &setting.house;
    let daemon = house.daemon_by(in_session(&setting, &["run"]));
    import(&setting, in_session(&setting, &["import", "one"])).succeeds();
    daemon.kill();
    let socket = house.path(".local/state/refreshd/run/control.sock");
    let socket = socket.display().to_string();
    setting
        .run(&["reload"])
        .fails(69, &["refreshd is not running", &socket]);
    let ran = setting.run(&["status"]).succeeds();
    assert!(ran.out.contains("refreshd is not running"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_nowhere_is_refused_and_says_what_to_type() {
    let setting = anywhere().await;
    let house = &setting.house;
    let state = house.path(".local/state/refreshd").display().to_string();
    let ran = import(&setting, house.command(&["import", "one"]));
    let socket = format!("{state}/run/control.sock");
    ran.fails(
        69,
        &[
            &state,
            &socket,
            "nothing was imported",
            "refreshd run",
            "--create-state",
        ],
    );
    assert!(!house.path(".local").exists());

    let ran = import(
        &setting,
        house.command(&["import", "--create-state", "one"]),
    )
    .succeeds();
    assert!(ran.err.contains(&state), "{ran:?}");
    setting.run(&["get", "one"]).succeeds();
    // From now on there is one.
    import(&setting, house.command(&["import", "one", "--replace"])).succeeds();
}
