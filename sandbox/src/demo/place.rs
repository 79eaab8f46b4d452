//! The demo's directory: the configuration that a person would write, and
//! room for state, socket and tokens.

use super::providers::Provider;
use super::tokens::TokenFile;
use sandbox::{DEFAULT_REDIRECT_URI, Options};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The directory and what lies where.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    /// By grant.
    pub(super) files: BTreeMap<String, TokenFile>,
    /// Removes the directory when dropped.
    _guard: Option<TempDir>,
}

impl Place {
    /// Makes the directory and writes its files.
    pub(super) fn make(providers: &[Provider], keep: bool) -> io::Result<Place> {
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
        let grants = providers.iter().flat_map(|provider| &provider.grants);
        let tokens = root.join("tokens");
        let files = grants.enumerate().map(|(n, grant)| {
            let file = TokenFile::nth(n, &tokens, &grant.name);
            (grant.name.clone(), file)
        });
        let place = Place {
            files: files.collect(),
            root,
            _guard: guard,
        };
        place.fill(providers)?;
        Ok(place)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join("refreshd.toml")
    }

    pub(super) fn runtime_dir(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.runtime_dir().join("control.sock")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.root.join("tokens")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.tokens().join("tokens.db")
    }

    pub(super) fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    fn secret(&self, client: &str) -> PathBuf {
        self.root.join("secrets").join(client)
    }

    fn fill(&self, providers: &[Provider]) -> io::Result<()> {
        for dir in ["secrets", "state", "run", "tokens", "xdg"] {
            DirBuilder::new().mode(0o700).create(self.root.join(dir))?;
        }
        for provider in providers {
            let Options { client_secret, .. } = provider.servers[0].options();
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(self.secret(provider.client))?;
            file.write_all(client_secret.as_deref().unwrap_or_default().as_bytes())?;
        }
        fs::write(self.config(), self.config_text(providers))
    }

    fn config_text(&self, providers: &[Provider]) -> String {
        let mut text = format!(
            "[daemon]\nstate_dir = {}\nruntime_dir = {}\n",
            quoted_path(&self.root.join("state")),
            quoted_path(&self.runtime_dir()),
        );
        for provider in providers {
            text += &self.client_text(provider);
        }
        let path = quoted_path(&self.database());
        text +=
            &format!("\n# A row for each grant.\n[[databases]]\npath = {path}\ngrants = [\"*\"]\n");
        text
    }

    fn client_text(&self, provider: &Provider) -> String {
        let (client, server) = (provider.client, &provider.servers[0]);
        let mut text = format!(
            "\n[clients.{client}]\nprovider = \"{}\"\nclient_id = {}\nclient_secret = {{ file = {} }}\n\
             redirect_uri = {}\n\n\
             # The provider's own file holds, but for where the pretend server is and how it differs.\n\
             [clients.{client}.override]\n{}",
            provider.kind.name(),
            quoted(&server.options().client_id),
            quoted_path(&self.secret(client)),
            quoted(DEFAULT_REDIRECT_URI),
            server.override_toml(),
        );
        for grant in &provider.grants {
            let (name, file) = (&grant.name, &self.files[&grant.name]);
            let vars = provider.vars_of(grant);
            let vars = vars.map_or(String::new(), |vars| format!("vars = {{ {vars} }}\n"));
            text += &format!(
                "\n[grants.{name}]\nclient = \"{client}\"\n{vars}\
                 [[grants.{name}.outputs]]\npath = {}\nformat = \"{}\"\n",
                quoted_path(&file.path),
                file.format,
            );
        }
        text
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
    use super::super::providers::{Wanted, start};
    use super::super::tokens::FORMATS;
    use super::*;
    use refreshd::config::{Loaded, Sources, load, render};
    use std::collections::BTreeSet;
    use std::time::Duration;

    async fn place(faults: bool) -> (Vec<Provider>, Place) {
        let wanted = Wanted {
            lifetime: Duration::from_secs(20),
            grants: 1,
            faults,
        };
        let providers = start(wanted).await.unwrap();
        let place = Place::make(&providers, false).unwrap();
        (providers, place)
    }

    #[tokio::test]
    async fn the_directory_holds_a_whole_configuration() {
        let (providers, place) = place(true).await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place.root), 0o700);
        assert_eq!(mode(&place.secret("retm")), 0o400);
        let config = fs::read_to_string(place.config()).unwrap();
        for provider in &providers {
            let options = provider.servers[0].options();
            assert!(!config.contains(options.client_secret.as_ref().unwrap()));
        }
        for line in [
            "vars = { business_id = \"shop-18\" }",
            "rotation.old_valid = \"until-used\"",
            "rotation.old_valid = \"forever\"",
            "[grants.doomed-revoked]\nclient = \"strict\"",
            "lifetime.refresh = \"300000ms\"",
        ] {
            assert!(config.contains(line), "{line} is not in\n{config}");
        }
        let root = place.root.clone();
        drop(place);
        assert!(!root.exists());
    }

    /// The daemon's own check: every embedded provider file takes its override.
    #[tokio::test]
    async fn the_daemon_takes_the_configuration() {
        for faults in [false, true] {
            let (_servers, place) = place(faults).await;
            let sources = Sources {
                file: Some(place.config()),
                ..Sources::default()
            };
            let Loaded {
                config, problems, ..
            } = load(&sources);
            assert!(problems.is_empty(), "{}", render(&problems));
            assert_eq!(config.unwrap().grants.len(), place.files.len());
        }
    }

    #[tokio::test]
    async fn every_format_is_seen() {
        let (_servers, place) = place(false).await;
        let formats: BTreeSet<&str> = place.files.values().map(|file| file.format).collect();
        assert_eq!(formats.len(), FORMATS.len());
    }
}
