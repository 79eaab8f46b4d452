//! Cases as data: files, environment and command line in, all problems out.

mod checks;
mod enroll;
mod five;
mod layers;
mod networks;
mod outputs;
mod providers;
mod secrets;
mod syntax;

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A client that is in order, for files that are about something else.
const CLIENT: &str = r#"
[clients.c]
provider = "retently"
client_id = "id"
client_secret = { env = "SECRET" }
redirect_uri = "https://example.com/"
"#;

#[derive(Default)]
struct Case<'a> {
    /// Name and text; `{dir}` stands for the directory they are in.
    files: &'a [(&'a str, &'a str)],
    env: &'a [(&'a str, &'a str)],
    set: &'a [(&'a str, &'a str)],
}

struct World {
    dir: tempfile::TempDir,
    sources: Sources,
}

impl Case<'_> {
    fn world(&self) -> World {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().display().to_string();
        for (name, text) in self.files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.replace("{dir}", &here)).unwrap();
            let mode = if name.contains("open") { 0o644 } else { 0o600 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), b.replace("{dir}", &here));
        let mut env = BTreeMap::from([
            ("SECRET".to_owned(), "hunter2".to_owned()),
            ("STATE_DIRECTORY".to_owned(), format!("{here}/state:/other")),
        ]);
        env.extend(self.env.iter().map(owned));
        let sources = Sources {
            file: Some(dir.path().join("refreshd.toml")),
            env,
            set: self.set.iter().map(owned).collect(),
            ..Sources::default()
        };
        World { dir, sources }
    }

    /// Every problem as `file:line:column: message => remedy`, without the directory.
    fn problems(&self) -> Vec<String> {
        self.world().problems()
    }

    fn config(&self) -> Config {
        let loaded = load(&self.world().sources);
        let told: Vec<String> = loaded.problems.iter().map(Problem::to_string).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
        loaded.config.unwrap()
    }
}

impl World {
    /// As [`Case::problems`].
    fn problems(&self) -> Vec<String> {
        let loaded = load(&self.sources);
        let errors = loaded
            .problems
            .iter()
            .any(|p| p.severity == Severity::Error);
        assert_eq!(loaded.config.is_none(), errors, "{:?}", loaded.problems);
        for problem in &loaded.problems {
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
        let here = format!("{}/", self.dir.path().display());
        let line = |problem: &Problem| {
            let remedy = problem.remedy.as_deref().unwrap_or("-");
            let mut head = problem.clone();
            let spot = head.spot.take();
            head.remedy = None;
            let mut text = head.to_string();
            if let Some(spot) = spot {
                let file = head.file.as_ref().unwrap().display().to_string();
                let at = format!("{file}:{}:{}:", spot.line, spot.column);
                text = text.replacen(&format!("{file}:"), &at, 1);
            }
            format!("{text} => {remedy}")
                .replace(&here, "")
                .replace(here.trim_end_matches('/'), "{dir}")
        };
        loaded.problems.iter().map(line).collect()
    }
}

#[track_caller]
fn expect(case: &Case<'_>, expected: &[&str]) {
    let problems = case.problems();
    assert_eq!(problems, expected, "got:\n{}", problems.join("\n"));
}

/// The problems of one `refreshd.toml`.
#[track_caller]
fn expect_main(text: &str, expected: &[&str]) {
    let files = [("refreshd.toml", text)];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        expected,
    );
}

/// The problems of one `refreshd.toml` that begins with [`CLIENT`], seven lines long.
#[track_caller]
fn expect_after_client(text: &str, expected: &[&str]) {
    expect_main(&format!("{CLIENT}{text}"), expected);
}
