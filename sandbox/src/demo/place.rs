//! The demo's directory: the configuration that a person would write, and
//! room for state, socket and tokens.

use sandbox::server::Server;
use sandbox::{OldValid, Reuse};
use sandbox::{Options, Rotates, Rotation};
use serde_json::json;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The directory and what lies where.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) outputs: Vec<Output>,
    /// Removes the directory when dropped.
    _guard: Option<TempDir>,
}

/// Where a grant's token is published.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) grant: String,
    pub(super) path: PathBuf,
    pub(super) format: &'static str,
}

impl Place {
    /// Makes the directory and writes its files.
    pub(super) fn make(
        server: &Server,
        options: &Options,
        grants: &[String],
        keep: bool,
    ) -> io::Result<Place> {
        let guard = tempfile::Builder::new()
            .prefix("refreshd-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let root = guard.path().to_owned();
        let guard = if keep {
            let _ = guard.keep();
            None
        } else {
            Some(guard)
        };
        let outputs = grants.iter().enumerate().map(|(i, grant)| {
            let (format, ending) = [("raw", "token"), ("json", "json")][i % 2];
            let path = root.join("tokens").join(format!("{grant}.{ending}"));
            let grant = grant.clone();
            Output {
                grant,
                path,
                format,
            }
        });
        let place = Place {
            outputs: outputs.collect(),
            root,
            _guard: guard,
        };
        place.fill(server, options)?;
        Ok(place)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join("refreshd.toml")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.root.join("run/control.sock")
    }

    pub(super) fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    fn fill(&self, server: &Server, options: &Options) -> io::Result<()> {
        for dir in ["providers.d", "state", "run", "tokens", "xdg"] {
            DirBuilder::new().mode(0o700).create(self.root.join(dir))?;
        }
        let secret = options.client_secret.as_deref().unwrap_or_default();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(self.root.join("secret"))?;
        file.write_all(secret.as_bytes())?;
        let provider = self.root.join("providers.d/pretend.toml");
        fs::write(provider, provider_text(server, options))?;
        fs::write(self.config(), self.config_text(options))
    }

    fn config_text(&self, options: &Options) -> String {
        let mut text = format!(
            "[daemon]\nstate_dir = {}\nruntime_dir = {}\n\n\
             [clients.pretend]\nprovider = \"pretend\"\nclient_id = {}\nclient_secret = {{ file = {} }}\n",
            quoted_path(&self.root.join("state")),
            quoted_path(&self.root.join("run")),
            quoted(&options.client_id),
            quoted_path(&self.root.join("secret")),
        );
        for Output {
            grant,
            path,
            format,
        } in &self.outputs
        {
            let path = quoted_path(path);
            text += &format!(
                "\n[grants.{grant}]\nclient = \"pretend\"\n\
                 [[grants.{grant}.outputs]]\npath = {path}\nformat = \"{format}\"\n"
            );
        }
        text
    }
}

/// What `refreshd import --ndjson` reads: a line for each grant, which the server makes now.
pub(super) fn import_lines(server: &Server, grants: &[String]) -> String {
    let line = |name: &String| {
        let response = server.make_grant(name);
        let line = json!({ "name": name, "client": "pretend", "response": response });
        format!("{line}\n")
    };
    grants.iter().map(line).collect()
}

/// A secret for one demo.
pub(super) fn random_secret() -> String {
    let words = [(); 4].map(|()| getrandom::u64().expect("the system has random numbers"));
    words.iter().map(|word| format!("{word:016x}")).collect()
}

/// The server's facts as a provider description.
fn provider_text(server: &Server, options: &Options) -> String {
    format!(
        "name = \"pretend\"\n\n\
         [token]\nurl = {}\nbody = \"form\"\n\n[token.client]\nauth = \"basic\"\n\n\
         [lifetime]\naccess = \"{}ms\"\n\n{}\n[verify]\nurl = {}\n",
        quoted(&server.token_url()),
        options.access_lifetime.as_millis(),
        rotation_text(&options.rotation),
        quoted(&server.resource_url()),
    )
}

fn rotation_text(rotation: &Rotation) -> String {
    let rotates = match rotation.rotates {
        Rotates::Always => "always",
        Rotates::Sometimes => "sometimes",
        Rotates::Never => "never",
    };
    let reuse = match rotation.reuse {
        Reuse::Error => "error",
        Reuse::Revokes => "revokes",
    };
    let old_valid = old_valid_text(rotation.old_valid);
    let mut text = format!(
        "[rotation]\nrotates = \"{rotates}\"\nold_valid = {old_valid}\nreuse = \"{reuse}\"\n"
    );
    if let Some(max) = rotation.old_valid_max {
        text += &format!("old_valid_max = \"{}ms\"\n", max.as_millis());
    }
    text
}

fn old_valid_text(old_valid: OldValid) -> String {
    match old_valid {
        OldValid::For(window) if window.is_zero() => "\"0s\"".to_owned(),
        other => quoted(&String::from(other)),
    }
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A TOML basic string: its escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_directory_holds_a_whole_configuration() {
        let options = Options::default();
        let server = Server::start(options.clone()).await.unwrap();
        let names = ["grant-1".to_owned(), "grant-2".to_owned()];
        let place = Place::make(&server, &options, &names, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place.root), 0o700);
        assert_eq!(mode(&place.root.join("secret")), 0o400);

        let config = fs::read_to_string(place.config()).unwrap();
        assert!(!config.contains("pretend-secret"));
        assert!(config.contains("[grants.grant-2]\nclient = \"pretend\"\n"));
        let formats: Vec<_> = place.outputs.iter().map(|output| output.format).collect();
        assert_eq!(formats, ["raw", "json"]);
        let provider = fs::read_to_string(place.root.join("providers.d/pretend.toml")).unwrap();
        assert!(provider.contains(&server.token_url()));
        assert!(provider.contains("rotates = \"always\"\nold_valid = \"0s\"\nreuse = \"revokes\""));

        let lines = import_lines(&server, &names);
        let line: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(line["name"], "grant-2");
        assert!(line["response"]["refresh_token"].is_string());
        let root = place.root.clone();
        drop(place);
        assert!(!root.exists());
    }
}
