//! What outputs may say, and what they may not lie on.

use super::*;
use std::os::unix::fs::symlink;

#[test]
fn no_output_lies_on_what_is_ours() {
    let files = [
        ("refreshd.toml", ""),
        ("secrets/c", "hunter2"),
        ("conf.d/more.toml", ""),
    ];
    let world = Case {
        files: &files,
        ..Case::default()
    }
    .world();
    let at = |name: &str| world.dir.path().join(name);
    fs::create_dir(at("state")).unwrap();
    symlink(at("secrets"), at("link")).unwrap();
    symlink(at("state"), at("to-state")).unwrap();
    fs::hard_link(at("secrets/c"), at("same")).unwrap();
    let problems = |outputs: &str| {
        let here = world.dir.path().display().to_string();
        let text = format!("{OURS}{outputs}").replace("{dir}", &here);
        fs::write(at("refreshd.toml"), text).unwrap();
        world.problems()
    };
    let on = [
        ("secrets/c", "would overwrite the client secret of c"),
        ("link/c", "would overwrite the client secret of c"),
        ("same", "would overwrite the client secret of c"),
        ("refreshd.toml", "would overwrite the configuration"),
        ("conf.d/token", "lies inside the configuration's conf.d"),
        (
            "providers.d/x.toml",
            "lies inside the configuration's providers.d",
        ),
        ("run/control.sock", "would overwrite the control socket"),
        ("key/key", "would overwrite the sealing key"),
        ("backups/token", "lies inside the directory of backups"),
        ("to-state/token", "lies inside the state directory"),
        ("out/.tmp/token", "would lie among the temporary files"),
        (".tmp", "would lie among the temporary files"),
        (
            "file/below",
            "needs a directory where grants.a.outputs[0] (grant \"a\") writes a file",
        ),
        (
            "moved.json",
            "would overwrite what grants.a.outputs[0] (grant \"a\") beside it writes",
        ),
    ];
    for (path, told) in on {
        let outputs = format!(
            "[[grants.a.outputs]]\npath = \"{{dir}}/file\"\nmeta = \"{{dir}}/moved.json\"\n[[grants.a.outputs]]\npath = \"{{dir}}/{path}\"\n"
        );
        let problems = problems(&outputs);
        let [problem] = problems.as_slice() else {
            panic!("{path}: {problems:#?}");
        };
        assert!(problem.contains(told), "{path}: {problem}");
    }
    // The runtime directory is made for them, and a neighbour of ours is nobody's.
    for path in [
        "{runtime_dir}/tokens/a",
        "{dir}/secrets/token",
        "{dir}/state-2/token",
    ] {
        let outputs = format!("[[grants.a.outputs]]\npath = \"{path}\"\n");
        let problems = problems(&outputs);
        assert!(problems.is_empty(), "{path}: {problems:#?}");
    }
}

const OURS: &str = r#"
[daemon]
state_dir = "{dir}/state"
runtime_dir = "{dir}/run"
key = { file = "{dir}/key/key" }
[backup]
dir = "{dir}/backups"
[clients.c]
provider = "retently"
client_id = "id"
client_secret = { file = "{dir}/secrets/c" }
redirect_uri = "https://www.example.com/"
[grants.a]
client = "c"
"#;

#[test]
fn outputs_have_rights_metadata_and_places_of_their_own() {
    let text = r#"
[grants.a]
client = "c"
[[grants.a.outputs]]
path = "/run/t/a"
group = "root"
owner = 12
dir_mode = "2750"
meta = "/run/m/a.json"
replace = true
[[grants.a.outputs]]
path = "/run/t/b"
group = "no-such-group-here"
owner = "no-such-user-here"
dir_mode = "2770"
meta = "relative"
[[grants.a.outputs]]
path = "/run/t/c"
dir_mode = "0600"
meta = 3
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:19:9: there is no group \"no-such-group-here\" on this machine => make it first (groupadd --system NAME), or write its number",
            "refreshd.toml:20:9: there is no user \"no-such-user-here\" on this machine => make it first (useradd --system NAME), or write its number",
            "refreshd.toml:21:12: dir_mode \"2770\" lets others write to the directory, so that they could put a file of their own in the token's place => write, for example, dir_mode = \"2750\"",
            "refreshd.toml:22:8: grants.a.outputs[1].meta must be an absolute path => begin it with /",
            "refreshd.toml:25:12: dir_mode \"0600\" is not octal digits that let the owner in => write, for example, dir_mode = \"2750\"",
            "refreshd.toml:26:8: grants.a.outputs[2].meta: meta is a path, or false for none => -",
        ],
    );
}

#[test]
fn the_machine_around_a_configuration_is_looked_at() {
    let files = [("refreshd.toml", ""), ("secrets/c", "hunter2")];
    let world = Case {
        files: &files,
        ..Case::default()
    }
    .world();
    let here = world.dir.path().display().to_string();
    let make = |name: &str, mode| {
        fs::create_dir_all(world.dir.path().join(name)).unwrap();
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(world.dir.path().join(name), mode).unwrap();
    };
    make("", 0o755);
    make("closed/below", 0o755);
    make("closed", 0o700);
    make("shared", 0o775);
    make("plain", 0o755);
    fs::write(world.dir.path().join("plain/there"), "by hand").unwrap();
    let survey = |output: &str| {
        let text = format!("{OURS}[[grants.a.outputs]]\n{output}\n").replace("{dir}", &here);
        fs::write(world.dir.path().join("refreshd.toml"), text).unwrap();
        let config = load(&world.sources).config.unwrap();
        let told = crate::config::survey(&world.sources, &config);
        let told = told
            .iter()
            .map(|problem| problem.to_string().replace(&here, "{dir}"));
        told.collect::<Vec<_>>().join("\n")
    };
    let closed = survey("path = \"{dir}/closed/below/token\"\nmode = \"0644\"");
    assert!(
        closed.contains("can enter {dir}/closed (mode 0700"),
        "{closed}"
    );
    assert!(closed.contains("chmod o+x {dir}/closed"), "{closed}");
    let group = survey("path = \"{dir}/closed/below/token\"\ngroup = 4000000123");
    assert!(
        group.contains("group 4000000123 may read it, but nobody but"),
        "{group}"
    );
    let shared = survey("path = \"{dir}/shared/token\"");
    assert!(
        shared.contains("may write in {dir}/shared (mode 0775)"),
        "{shared}"
    );
    assert!(survey("path = \"{dir}/plain/there\"").contains("replace = true"));
    assert_eq!(survey("path = \"{dir}/plain/there\"\nreplace = true"), "");
    assert_eq!(survey("path = \"{dir}/plain/new\"\nmode = \"0644\""), "");
    assert_eq!(survey("path = \"{dir}/plain/made/for/it\"\ngroup = 12"), "");
    let never = survey("path = \"{dir}/plain/there/token\"");
    assert!(
        never.contains("there is no directory") && !never.contains("warning"),
        "{never}"
    );
}
