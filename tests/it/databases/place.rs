//! A house with shops whose tokens are published in a database for a group.

use crate::resource::Asker;
use crate::setting::Setting;
use crate::support::{Daemon, wait_for};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sandbox::{OldValid, Options, Rotates, Rotation};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// The group of the database.
pub(super) const GROUP: u32 = 65533;
/// A user, and its own group, that owns nothing.
pub(super) const READER: u32 = 65534;

/// Grants of one client, and no output.
pub(super) const GRANTS: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
[grants.shop-1]
client = "pretend"
[grants.shop-2]
client = "pretend"
[grants.other]
client = "pretend"
"#;

/// A database of the shops.
pub(super) const SHOPS: &str = r#"
[[databases]]
path = "ROOT/tokens/shops.db"
group = 65533
grants = ["shop-*"]
"#;

pub(super) struct Place {
    runtime: Runtime,
    pub(super) setting: Setting,
}

impl Place {
    /// Grants at a provider where a lost answer does not hurt.
    pub(super) fn new(databases: &str) -> Place {
        let runtime = Runtime::new().unwrap();
        let rotation = Rotation {
            rotates: Rotates::Always,
            old_valid: OldValid::Forever,
            ..Rotation::default()
        };
        let options = Options {
            rotation,
            ..Options::default()
        };
        let config = format!("{GRANTS}{databases}");
        let setting = runtime.block_on(Setting::new(options, &config));
        let url = setting.server.token_url();
        setting.house.write(
            "providers.d/pretend.toml",
            &format!(
                "name = \"pretend\"\n[token]\nurl = \"{url}\"\n[rotation]\nrotates = \"always\"\nold_valid = \"forever\"\n"
            ),
        );
        Place { runtime, setting }
    }

    /// Lets the readers of the group in, and nobody else. False where only root could.
    pub(super) fn open_to_group(&self) -> bool {
        if !rustix::process::geteuid().is_root() {
            return false;
        }
        let tokens = self.setting.house.path("tokens");
        fs::create_dir(&tokens).unwrap();
        chown(&tokens, None, Some(GROUP)).unwrap();
        for (path, mode) in [(self.setting.house.path(""), 0o755), (tokens, 0o750)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        true
    }

    /// A daemon with both shops and the other grant imported.
    pub(super) fn daemon(&self) -> Daemon {
        let daemon = self.setting.house.daemon();
        for grant in ["shop-1", "shop-2", "other"] {
            self.setting.import(grant);
        }
        daemon
    }

    pub(super) fn database(&self) -> PathBuf {
        self.setting.house.path("tokens/shops.db")
    }

    /// Name, generation and token of each row; none while there is no database.
    pub(super) fn rows(&self) -> Vec<(String, u64, String)> {
        let read = || {
            let conn =
                Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let mut statement =
                conn.prepare("SELECT name, generation, access_token FROM tokens ORDER BY name")?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            };
            statement
                .query_map([], row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().unwrap_or_default()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.rows().into_iter().map(|row| row.0).collect()
    }

    /// Waits until the database has what the daemon holds of these grants, and no others.
    pub(super) fn wait_for_rows(&self, grants: &[&str]) {
        wait_for("the rows", || {
            let rows = self.rows();
            rows.len() == grants.len()
                && (rows.iter().zip(grants)).all(|((name, generation, _), grant)| {
                    name == grant && *generation == self.generation(grant)
                })
        });
    }

    pub(super) fn generation(&self, grant: &str) -> u64 {
        self.setting.house.status(grant)["generation"]
            .as_u64()
            .unwrap()
    }

    /// Refreshes a grant now.
    pub(super) fn rotate(&self, grant: &str) {
        self.setting.run(&["refresh", grant, "--force"]).succeeds();
    }

    /// The resource takes each of these.
    pub(super) fn all_work(&self, tokens: &[String]) {
        let asker = Asker::new();
        for token in tokens {
            let url = self.setting.server.resource_url();
            assert_eq!(asker.status(&url, token), 200);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The server lives as long as its runtime.
        let _inside = self.runtime.enter();
    }
}
