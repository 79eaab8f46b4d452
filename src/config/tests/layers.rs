//! Which layer wins, and where files and directories are looked for.

use super::*;

#[test]
fn later_layers_win() {
    let main = format!(
        "[daemon]\nstate_dir = \"/a\"\nmax_flights = 1\ndrain = \"1s\"\n{CLIENT}scopes = [\"a\", \"b\"]"
    );
    let files = [
        ("refreshd.toml", main.as_str()),
        (
            "conf.d/10.toml",
            "[daemon]\nmax_flights = 10\nhistory = \"10d\"\n[clients.c]\nscopes = [\"c\"]",
        ),
        ("conf.d/20.toml", "[daemon]\nmax_flights = 20\n"),
        ("conf.d/.hidden.toml", "= ="),
        ("conf.d/README", "= ="),
    ];
    let env = [
        ("REFRESHD_DAEMON__MAX_FLIGHTS", "30"),
        ("REFRESHD_CLIENTS__C__CLIENT_ID", "12345"),
        ("REFRESHD_DAEMON__DRAIN", "2s"),
        ("REFRESHD_CONFIG", "/nowhere"),
        ("REFRESHD_LOG", "debug"),
    ];
    let case = Case {
        files: &files,
        env: &env,
        set: &[("daemon.max_flights", "40"), ("grants.\"g.1\".client", "c")],
    };
    let config = case.config();
    assert_eq!(config.daemon.state_dir, Path::new("/a"));
    assert_eq!(config.daemon.max_flights, 40);
    assert_eq!(config.daemon.history.as_secs(), 10 * 86_400);
    assert_eq!(config.daemon.drain.as_secs(), 2);
    assert_eq!(config.clients["c"].scopes, ["c"]);
    assert_eq!(config.clients["c"].client_id, "12345");
    assert_eq!(config.grants["g.1"].client, "c");
    let names: Vec<_> = config
        .files
        .iter()
        .map(|f| f.file_name().unwrap())
        .collect();
    assert_eq!(names, ["refreshd.toml", "10.toml", "20.toml"]);
}

#[test]
fn problems_of_the_environment_and_the_command_line_name_them() {
    let env = [
        ("REFRESHD_DAEMON__MAX_FLIGHTS", "many"),
        ("REFRESHD_DAEMON__DRAN", "1s"),
        ("REFRESHD_DAEMON____X", "1s"),
        ("REFRESHD_SERVICE_HOST", "10.0.0.1"),
        ("REFRESHD_GRANTS__H__VARS__A", "b"),
    ];
    let set = [("daemon.drain", "soon"), ("a b", "c")];
    let files = [("refreshd.toml", CLIENT)];
    expect(
        &Case {
            files: &files,
            env: &env,
            set: &set,
        },
        &[
            "REFRESHD_DAEMON____X: a key has no empty level => write __ between levels, once",
            "warning: REFRESHD_SERVICE_HOST is not a configuration key and is not used => write __ between levels, as in REFRESHD_DAEMON__STATE_DIR",
            "--set \"a b\" is not a dotted key => write KEY.KEY=VALUE; a name with a dot in it in quotes",
            "--set daemon.drain: daemon.drain: \"soon\" is not a duration; write a number with a unit, such as \"90s\", \"15m\", \"6h\", \"30d\" or \"1h30m\" => -",
            "REFRESHD_DAEMON__DRAN: unknown key \"dran\" in [daemon] => did you mean \"drain\"?",
            "REFRESHD_DAEMON__MAX_FLIGHTS: daemon.max_flights must be a whole number, not a string => -",
            "REFRESHD_GRANTS__H__VARS__A: grant \"h\" has no client => write client = \"…\" under [grants.h]",
        ],
    );
}

#[test]
fn no_file_at_all() {
    let sources = Sources {
        env: BTreeMap::from([("HOME".to_owned(), "/nonexistent".to_owned())]),
        ..Sources::default()
    };
    // A machine that has a configuration of its own reads that.
    if !Path::new("/etc/refreshd/refreshd.toml").exists() {
        let loaded = load(&sources);
        assert_eq!(
            loaded.problems[0].to_string(),
            "no configuration file; looked for /nonexistent/.config/refreshd/refreshd.toml and /etc/refreshd/refreshd.toml\n\
             help: name it with --config FILE or REFRESHD_CONFIG"
        );
    }
    let named = Sources {
        env: BTreeMap::from([(
            "REFRESHD_CONFIG".to_owned(),
            "/nonexistent/r.toml".to_owned(),
        )]),
        ..Sources::default()
    };
    let told = load(&named).problems[0].to_string();
    assert_eq!(
        told,
        "/nonexistent/r.toml: cannot read it: No such file or directory (os error 2)"
    );
}

#[test]
fn directories_and_keys() {
    let config = Case {
        files: &[("refreshd.toml", "")],
        ..Case::default()
    };
    let world = config.world();
    let daemon = load(&world.sources).config.unwrap().daemon;
    let dir = world.dir.path();
    assert_eq!(daemon.state_dir, dir.join("state"));
    assert_eq!(daemon.runtime_dir, dir.join("state/run"));
    assert_eq!(daemon.key, KeySource::File(dir.join("state-key/key")));
    assert_eq!((daemon.max_flights, daemon.drain.as_secs()), (64, 25));

    let env = [
        ("STATE_DIRECTORY", ""),
        ("XDG_STATE_HOME", "/xdg"),
        ("XDG_RUNTIME_DIR", "/run/user/7"),
        ("CREDENTIALS_DIRECTORY", "{dir}/creds"),
    ];
    let files = [("refreshd.toml", ""), ("creds/refreshd.key", "key")];
    let daemon = Case {
        files: &files,
        env: &env,
        ..Case::default()
    }
    .config()
    .daemon;
    assert_eq!(daemon.state_dir, Path::new("/xdg/refreshd"));
    assert_eq!(daemon.runtime_dir, Path::new("/run/user/7/refreshd"));
    assert!(
        matches!(daemon.key, KeySource::Credential(file) if file.ends_with("creds/refreshd.key"))
    );

    expect_main(
        "[daemon]\nkey = { file = \"{dir}/other/../state/key\" }\n",
        &[
            "refreshd.toml:2:16: key file other/../state/key lies inside the state directory state: a copy of it would hold the key to itself => put it elsewhere, such as state-key/key",
        ],
    );
    expect_main(
        "[daemon]\nkey = \"/k\"\nstate_dir = \"state\"",
        &[
            "refreshd.toml:2:7: daemon.key must be a table, not a string => write key = { file = \"/…\" } or key = { credential = \"name\" }",
            "refreshd.toml:3:13: daemon.state_dir must be an absolute path => begin it with /",
        ],
    );
    let none = Case {
        files: &[("refreshd.toml", "")],
        env: &[("STATE_DIRECTORY", "")],
        ..Case::default()
    };
    assert!(none.problems()[0].contains("no state directory"));
}
