//! The configuration: raw layers become a validated [`Config`], and nothing
//! after that checks again. [`load`] reads defaults, `refreshd.toml`,
//! `conf.d/*.toml`, the environment and the command line, and tells every
//! [`Problem`] at once.

pub mod active;
mod check;
mod enroll;
mod extract;
mod ids;
mod last_sound;
mod layer;
mod lookup;
mod odd_text;
mod pattern;
mod problem;
mod provider_files;
mod raw;
mod secret_source;
mod source_text;
mod sources;
pub mod standby;
#[cfg(test)]
mod tests;

pub use check::{Loaded, Secrets, grant_places, load, load_with, survey};
pub use enroll::{Enroll, Push};
pub use ids::{group_name, group_number, user_name, user_number};
pub use last_sound::LastSound;
pub use lookup::{DATABASE_SUFFIXES, SOCKET, meta_beside};
use lookup::{filled_path, filled_vars};
pub use pattern::Pattern;
pub use problem::{Problem, Severity, Spot, render};
pub use provider_files::{
    description_in, description_of, embedded_provider_files, known_provider_names, provider_names,
};
pub use secret_source::of_text as secret_of_text;
pub use sources::{Sources, own_provider_files, system_name};

use crate::net::Network;
use refreshd_core::provider::description::{Description, DescriptionHash, Schedule};
use refreshd_core::secret::Secret;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// A configuration that has passed every check.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files it was read from, in the order of their layers.
    pub files: Vec<PathBuf>,
    /// How many errors are in them. The daemon never runs with any; commands go on with
    /// what is sound.
    pub errors: usize,
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[backup]`.
    pub backup: Option<Backup>,
    /// `[enroll]`.
    pub enroll: Enroll,
    /// `[clients.NAME]`.
    pub clients: BTreeMap<String, Arc<Client>>,
    /// Clients that stand there, and with which something is wrong. The daemon never
    /// runs with any; commands that need no client do.
    pub broken_clients: BTreeSet<String>,
    /// `[grants.NAME]`.
    pub grants: BTreeMap<String, GrantConfig>,
    /// `[[databases]]`.
    pub databases: Vec<Arc<Database>>,
}

/// `[daemon]`.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Where the private state lives.
    pub state_dir: PathBuf,
    /// The configuration names it: it is the same whoever asks, from wherever.
    pub state_is_named: bool,
    /// Where the control socket lives.
    pub runtime_dir: PathBuf,
    /// The sealing key.
    pub key: KeySource,
    /// The most exchanges at once.
    pub max_flights: u16,
    /// How long history rows are kept.
    pub history: Duration,
    /// How long a stop waits for flights that are under way.
    pub drain: Duration,
}

/// `[backup]`: copies of the store that are made by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where they are kept.
    pub dir: PathBuf,
    /// When one is made: seconds, minutes, hours, days, months, weekdays, in UTC.
    pub schedule: String,
    /// How many are kept.
    pub keep: usize,
}

/// Where the sealing key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file of ours, outside the state directory; made when no database exists yet.
    File(PathBuf),
    /// A systemd credential, by the path where systemd put it; never made.
    Credential(PathBuf),
}

/// `[clients.NAME]`: our registration at a provider.
#[derive(Clone, Debug)]
pub struct Client {
    /// NAME.
    pub name: String,
    /// The provider's description, with the client's overrides laid over it.
    pub description: Arc<Description>,
    /// Its hash.
    pub hash: DescriptionHash,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`, read from where it lives; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// `redirect_uri`.
    pub redirect_uri: Option<String>,
    /// `scopes`.
    pub scopes: Vec<String>,
    /// Outputs of every grant of this client; `{grant}` stands in the path.
    pub outputs: Vec<Output>,
    /// Schedule keys, over the provider's.
    pub schedule: Schedule,
    /// `proxy`, for this client's exchanges alone.
    pub proxy: Option<Proxy>,
    /// `ca_file`: certificate authorities trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `allow_networks`: where its token endpoint may lie besides the open Internet.
    pub allow_networks: Vec<Network>,
    /// `push`: how what the provider posts to us is taken.
    pub push: Push,
    /// Why nothing may be sent for it now, though it is served: by the last sound
    /// configuration, where a secret or certificate of it cannot be read.
    pub lacks: Option<String>,
}

/// `proxy`: who passes exchanges on, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Scheme, host and port alone.
    pub url: Url,
    /// `user` and `password`.
    pub login: Option<(String, Secret)>,
}

impl Hash for Proxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A special scheme's URL has a path, which says nothing here.
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

/// `[grants.NAME]`.
#[derive(Clone, Debug)]
pub struct GrantConfig {
    /// NAME.
    pub name: String,
    /// The client it belongs to.
    pub client: String,
    /// `vars`.
    pub vars: BTreeMap<String, String>,
    /// `redirect_uri`, where it differs from the client's.
    pub redirect_uri: Option<String>,
    /// Outputs besides the client's.
    pub outputs: Vec<Output>,
    /// Schedule keys, over the client's.
    pub schedule: Schedule,
}

/// `[[grants.NAME.outputs]]` or `[[clients.NAME.outputs]]`: where a token set is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The file; on a client, with `{grant}` in it.
    pub path: PathBuf,
    /// What is written.
    pub format: Format,
    /// Its mode; `None`: 0640 with a group or in a setgid directory, else 0600.
    pub mode: Option<u32>,
    /// Its group, by number; `None`: that of a setgid directory, else the daemon's.
    pub group: Option<u32>,
    /// Its owner, by number; `None`: the daemon's user.
    pub owner: Option<u32>,
    /// The mode of the directory that it is in, where the daemon makes that one.
    pub dir_mode: Option<u32>,
    /// Where stands what is no secret about it.
    pub meta: MetaPlace,
    /// Whether a file that the daemon did not write may be replaced.
    pub replace: bool,
    /// What becomes of the file when the token is dead.
    pub when_dead: WhenDead,
}

/// Where an output's metadata stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaPlace {
    /// In `.NAME.meta.json` beside the file NAME.
    Beside,
    /// In this file; on a client, with `{grant}` in it.
    At(PathBuf),
    /// Nowhere.
    Absent,
}

/// `[[databases]]`: a SQLite database with a row for each of its grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The database; `-wal` and `-shm` stand beside it.
    pub path: PathBuf,
    /// The group that may read it, by number; `None`: that of a setgid directory, else nobody's.
    pub group: Option<u32>,
    /// Its mode; `None`: 0640 with a group, else 0600.
    pub mode: Option<u32>,
    /// Which grants have a row.
    pub grants: Vec<Pattern>,
    /// How readers come by what is new.
    pub publish: PublishBy,
    /// What becomes of the row when the token is dead.
    pub when_dead: WhenDead,
}

/// How readers of a database come by what is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishBy {
    /// They share the file with the writer, by SQLite's write-ahead log.
    #[default]
    Wal,
    /// A new file takes the place of the old one.
    Rename,
}

/// What an output writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The access token's bytes.
    Raw {
        /// With a line feed at the end.
        newline: bool,
    },
    /// A JSON object that begins as RFC 6749 §5.1 has it.
    Json,
    /// `NAME='value'`, for shells and whatever reads files of variables.
    Env {
        /// NAME.
        variable: String,
        /// What stands around the value.
        quote: Quote,
    },
    /// An HTTP header, for `curl -H @FILE`.
    Header {
        /// The header's name.
        name: String,
        /// What stands before the token.
        scheme: Scheme,
    },
}

/// What stands around a value in an `env` file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quote {
    /// Single quotes.
    #[default]
    Single,
    /// Nothing, for `docker --env-file`, which takes quotes for a part of the value.
    None,
}

/// What stands before the token in a `header` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The type that the provider gave the token: `Bearer` as a rule.
    OfToken,
    /// Always this.
    Fixed(String),
    /// Nothing.
    Absent,
}

/// What becomes of a file whose token is dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDead {
    /// It stays; `refreshd status` says so.
    #[default]
    Leave,
    /// It is removed.
    Withdraw,
}
