//! The programs that read published files. Each takes many files and returns
//! what it found in each, so that a hundred files cost one process.

use crate::real_servers::python as servers_python;
use crate::support::text;
use crate::tiny::Tiny;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader found, a text a file.
pub(super) type Found = Vec<String>;

/// Bash, as `set -a; . FILE` and then a child's environment.
pub(super) fn bash_env(files: &[PathBuf]) -> Found {
    shell_env("bash", files)
}

/// The system's `sh`, likewise.
pub(super) fn sh_env(files: &[PathBuf]) -> Found {
    shell_env("sh", files)
}

fn shell_env(shell: &str, files: &[PathBuf]) -> Found {
    let script = r#"for f; do (set -a; . "$f"; exec printenv -0 ACCESS_TOKEN); done"#;
    between_nuls(&run(shell, ["-c", script, shell], files))
}

/// Bash, as `$(cat FILE)`.
pub(super) fn bash_raw(files: &[PathBuf]) -> Found {
    let script = r#"for f; do printf '%s\0' "$(cat "$f")"; done"#;
    between_nuls(&run("bash", ["-c", script, "bash"], files))
}

/// `node --env-file=FILE`; `None` with a node that is too old to know it.
pub(super) fn node_env_file(file: &Path) -> Option<String> {
    let mut option = std::ffi::OsString::from("--env-file=");
    option.push(file);
    let print = OsStr::new("process.stdout.write(process.env.ACCESS_TOKEN)");
    node_knows_env_files().then(|| run("node", [option.as_os_str(), OsStr::new("-e"), print], &[]))
}

/// What `--env-file` reads with, for many files in one process.
pub(super) fn node_env(files: &[PathBuf]) -> Option<Found> {
    node_knows_env_files().then(|| node("require('util').parseEnv(text).ACCESS_TOKEN", files))
}

fn node_knows_env_files() -> bool {
    let print = "process.stdout.write(typeof require('util').parseEnv)";
    let knows = run("node", ["-e", print], &[]) == "function";
    if !knows {
        eprintln!("this node has no --env-file, which came with 20.6: env is not read by node");
    }
    knows
}

/// Node, a raw file.
pub(super) fn node_raw(files: &[PathBuf]) -> Found {
    node("text", files)
}

/// Node, a JSON file.
pub(super) fn node_json(files: &[PathBuf]) -> Found {
    node("JSON.parse(text).access_token", files)
}

fn node(expression: &str, files: &[PathBuf]) -> Found {
    let script = format!(
        "const read = (text) => {expression}; const fs = require('fs'); \
         const files = process.argv.slice(1).map((f) => fs.readFileSync(f, 'utf8')); \
         process.stdout.write(JSON.stringify(files.map(read)))"
    );
    serde_json::from_str(&run("node", ["-e", &script], files)).unwrap()
}

/// Python, an env file as a shell would split it.
pub(super) fn python_shlex(files: &[PathBuf]) -> Found {
    python("[v.partition('=')[2] for v in shlex.split(text)][0]", files)
}

/// Python's most used reader of such files, which replaces `${…}` even within quotes.
pub(super) fn python_dotenv(files: &[PathBuf]) -> Found {
    python(
        "dotenv.dotenv_values(stream=io.StringIO(text))['ACCESS_TOKEN']",
        files,
    )
}

/// Python, a raw file.
pub(super) fn python_raw(files: &[PathBuf]) -> Found {
    python("text", files)
}

/// Python, a JSON file.
pub(super) fn python_json(files: &[PathBuf]) -> Found {
    python("json.loads(text)['access_token']", files)
}

fn python(expression: &str, files: &[PathBuf]) -> Found {
    let imports = if expression.starts_with("dotenv") {
        "dotenv, "
    } else {
        ""
    };
    let script = format!(
        "import {imports}io, json, shlex, sys\n\
         texts = [open(f, encoding='utf-8', newline='').read() for f in sys.argv[1:]]\n\
         json.dump([{expression} for text in texts], sys.stdout)"
    );
    let found = run(servers_python::python(), ["-c", &script], files);
    serde_json::from_str(&found).unwrap()
}

/// systemd's reader of environment files, by the one program that runs it
/// without a service manager. Unlike `EnvironmentFile=` it replaces `$x`.
pub(super) fn systemd_env(file: &Path) -> String {
    const GENERATOR: &str =
        "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator";
    let dir = tempfile::tempdir().unwrap();
    let environment_d = dir.path().join("environment.d");
    std::fs::create_dir(&environment_d).unwrap();
    std::fs::copy(file, environment_d.join("token.conf")).unwrap();
    let output = Command::new(GENERATOR)
        .env_clear()
        .env("XDG_CONFIG_HOME", dir.path())
        .output()
        .unwrap_or_else(|e| panic!("{GENERATOR}: {e}; install systemd"));
    // It quotes as a shell would read it, but leaves a leading ~ bare.
    let printed = text(&output.stdout);
    let mut lines = printed.lines();
    let line = lines
        .find(|line| line.starts_with("ACCESS_TOKEN="))
        .unwrap();
    match line.strip_prefix("ACCESS_TOKEN=").unwrap() {
        bare if !bare.starts_with('"') => bare.to_owned(),
        _ => {
            let quoted = dir.path().join("quoted");
            std::fs::write(&quoted, line).unwrap();
            bash_env(&[quoted]).remove(0)
        }
    }
}

/// `curl -H @FILE`: the value of the header `name` of each request, as the
/// server got it.
pub(super) async fn curl_header(name: &str, files: &[PathBuf]) -> Found {
    let server = Tiny::answering("{}").await;
    let mut arguments = Vec::new();
    for file in files {
        if !arguments.is_empty() {
            arguments.push("--next".to_owned());
        }
        let header = format!("@{}", file.display());
        arguments.extend(["-sS", "--noproxy", "*", "-H", &header, &server.url].map(str::to_owned));
    }
    run("curl", &arguments, &[]);
    let prefix = format!("{name}: ");
    let value = |request: String| {
        let mut values = request
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        let value = values.next().unwrap_or_default().to_owned();
        assert_eq!(values.next(), None, "two headers from one file");
        value
    };
    server.requests().into_iter().map(value).collect()
}

fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    files: &[PathBuf],
) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .args(files)
        .env_remove("ACCESS_TOKEN")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; scripts/test installs it", program.display()));
    let told = text(&output.stderr);
    assert!(output.status.success(), "{}: {told}", program.display());
    String::from_utf8(output.stdout).unwrap()
}

fn between_nuls(printed: &str) -> Found {
    let mut found: Found = printed.split('\0').map(str::to_owned).collect();
    assert_eq!(found.pop().as_deref(), Some(""), "each ends with a NUL");
    found
}
