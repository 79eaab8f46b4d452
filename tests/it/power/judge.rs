//! Opens what a loss of power left, with the code that opens it after a real
//! one, and holds it against what had been promised by then.

use super::disk::Disk;
use super::fate::Fate;
use refreshd::config::{self, Config, Sources};
use refreshd::opening::{self, Access, Make};
use refreshd::service::Service;
use refreshd::service::api::StatusQuery;
use refreshd_core::flight::ExchangeId;
use refreshd_core::secret::Fingerprinter;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The directories that a loss of power is about.
pub(super) const LEFT: [&str; 3] = ["state", "key", "backups"];

/// What must be there from some moment on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Must {
    /// A byte of this flight may have left: it is settled, or in doubt.
    Know(ExchangeId),
    /// The answer of this flight was on disk: it is adopted.
    Adopt(ExchangeId),
    /// A grant's generation has been shown to somebody.
    Reach(String, u64),
    /// A backup was said to be made. The next one takes its place.
    Keep(String),
}

/// What was found.
pub(super) struct Found {
    pub(super) grants: BTreeMap<String, Standing>,
    /// Flights that are settled: what they came to, newest word first.
    pub(super) settled: BTreeMap<ExchangeId, Vec<String>>,
    pub(super) fingerprinter: Fingerprinter,
    backups: Vec<String>,
}

/// How a grant stands.
#[derive(Debug)]
pub(super) struct Standing {
    id: String,
    pub(super) generation: u64,
    tokens: (String, Option<String>),
}

/// What a token set is known by: the id of its grant, and its generation.
type Known = BTreeMap<(String, u64), (String, Option<String>)>;

/// See the module.
pub(super) struct Judge {
    pub(super) root: TempDir,
    config: Arc<Config>,
    pub(super) config_file: PathBuf,
    runtime: Runtime,
    /// The token set of each generation, as it was first seen.
    known: Known,
    /// What flights came to in the end.
    pub(super) outcomes: BTreeMap<ExchangeId, Vec<String>>,
}

impl Judge {
    pub(super) fn new(config_file: &Path) -> Self {
        let root = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm"),
            false => tempfile::tempdir(),
        };
        let root = root.unwrap();
        let sources = Sources {
            file: Some(config_file.to_owned()),
            set: settings(root.path()),
            ..Sources::default()
        };
        let loaded = config::load(&sources);
        let config = loaded.config.expect("it was good enough for the daemon");
        Judge {
            root,
            config: Arc::new(config),
            config_file: config_file.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            known: Known::new(),
            outcomes: BTreeMap::new(),
        }
    }

    pub(super) fn left(&self) -> PathBuf {
        self.root.path().join("left")
    }

    /// Makes the directories as a loss of power leaves them.
    pub(super) fn lay_out(&self, disk: &Disk, fate: &mut dyn Fate) {
        let left = self.left();
        if left.exists() {
            fs::remove_dir_all(&left).unwrap();
        }
        fs::create_dir(&left).unwrap();
        disk.lay_out(&left, &LEFT, fate);
    }

    /// Opens what was laid out, recovers, closes, and opens again.
    pub(super) fn open(&self) -> Result<Found, String> {
        self.runtime.block_on(async {
            // The outputs lie on another disk, and are those of the end.
            let access = Access::Write(Make::Anew);
            let service = Service::offline(self.config.clone(), access).await;
            let service = service.map_err(|e| format!("opens: {}", e.message))?;
            let status = service.status(&StatusQuery::default()).await;
            let status = status.map_err(|e| e.message)?;
            if let Some(fence) = status.notices.iter().find(|n| n.contains("accept-restore")) {
                return Err(format!("not-fenced: {fence}"));
            }
            let closed = service.close().await;
            closed.map_err(|e| format!("closes: {}", e.message))?;
            // It holds the lock.
            drop(service);
            self.look().await
        })
    }

    async fn look(&self) -> Result<Found, String> {
        let mut state = opening::open(&self.config, Make::Anew);
        // Where another test starts a process, that one has our lock until it is another program.
        while state
            .as_ref()
            .is_err_and(|e| e.message.contains("another refreshd"))
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
            state = opening::open(&self.config, Make::Anew);
        }
        let mut state = state.map_err(|e| format!("opens-again: {}", e.message))?;
        let recovered = std::mem::take(&mut state.recovered);
        if let Some(left) = recovered.first() {
            return Err(format!(
                "settled-once: {:?} is under way again",
                left.intent
            ));
        }
        let store = &state.store;
        let text = |e: refreshd::state::StoreError| format!("reads: {e}");
        store.integrity_check().await.map_err(text)?;
        let mut found = Found {
            grants: BTreeMap::new(),
            settled: BTreeMap::new(),
            fingerprinter: store.fingerprinter(),
            backups: self.backups()?,
        };
        for grant in store.grants().await.map_err(text)? {
            let (grant, tokens) = store.load(&grant.id).await.map_err(text)?.expect("there");
            let tokens = tokens.ok_or_else(|| format!("reads: {} has no tokens", grant.name))?;
            for event in store.events(&grant.id, 10_000).await.map_err(text)? {
                if let Some(flight) = event.flight {
                    found.settled.entry(flight).or_default().push(event.kind);
                }
            }
            let refresh = tokens.refresh_token.as_ref();
            let standing = Standing {
                id: grant.id.0.clone(),
                generation: grant.state.generation,
                tokens: (
                    tokens.access_token.expose().to_owned(),
                    refresh.map(|t| t.expose().to_owned()),
                ),
            };
            found.grants.insert(grant.name.clone(), standing);
        }
        state.close().await.map_err(text)?;
        Ok(found)
    }

    /// The backups that have their names; each must be whole.
    fn backups(&self) -> Result<Vec<String>, String> {
        let Ok(entries) = fs::read_dir(self.left().join("backups")) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with('.') {
                continue;
            }
            let sound = || {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
                let conn = Connection::open_with_flags(entry.path(), flags)?;
                conn.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
            };
            match sound() {
                Ok(said) if said == "ok" => names.push(name),
                other => return Err(format!("backup-whole: {name}: {other:?}")),
            }
        }
        Ok(names)
    }

    /// Holds what was found against what must be; what is wrong begins with the
    /// name of what was broken.
    pub(super) fn judge<'a>(
        &mut self,
        found: &Found,
        musts: impl Iterator<Item = &'a Must>,
        teaches: bool,
    ) -> Result<(), String> {
        for (name, standing) in &found.grants {
            let key = (standing.id.clone(), standing.generation);
            match self.known.get(&key) {
                Some(known) if *known == standing.tokens => {}
                Some(_) => {
                    let generation = standing.generation;
                    return Err(format!("one-token-set-a-generation: {name} {generation}"));
                }
                None if teaches => drop(self.known.insert(key, standing.tokens.clone())),
                None => return Err(format!("from-nowhere: {name} {standing:?}")),
            }
        }
        let mut last_backup = None;
        for must in musts {
            match must {
                Must::Know(flight) if !found.settled.contains_key(flight) => {
                    return Err(format!("intent-before-byte: {flight:?} is not known"));
                }
                Must::Adopt(flight) => self.is_adopted(found, *flight)?,
                Must::Reach(name, generation) => {
                    let reached = found.grants.get(name).map(|grant| grant.generation);
                    if reached < Some(*generation) {
                        return Err(format!(
                            "durable-before-publish: {name} is at {reached:?}, and was at {generation}"
                        ));
                    }
                }
                Must::Know(_) => {}
                Must::Keep(name) => last_backup = Some(name),
            }
        }
        match last_backup {
            // The one that takes its place may be there before that is said.
            Some(name) if !found.backups.iter().any(|b| b >= name) => {
                Err(format!("backup-kept: {name}, found {:?}", found.backups))
            }
            _ => Ok(()),
        }
    }

    fn is_adopted(&self, found: &Found, flight: ExchangeId) -> Result<(), String> {
        let wanted = self.outcomes.get(&flight).and_then(|words| words.first());
        let words = found.settled.get(&flight).map_or(&[][..], |words| words);
        match wanted {
            Some(wanted) if !words.contains(wanted) => Err(format!(
                "answer-adopted: {flight:?} came to {wanted}, and here to {words:?}"
            )),
            None => Err(format!("answer-adopted: {flight:?} never came to anything")),
            Some(_) => Ok(()),
        }
    }
}

/// Where the configuration finds what was laid out below a directory.
pub(super) fn settings(root: &Path) -> Vec<(String, String)> {
    let at = |name: &str| root.join("left").join(name).display().to_string();
    vec![
        ("daemon.state_dir".to_owned(), at("state")),
        ("daemon.runtime_dir".to_owned(), at("run")),
        ("daemon.key.file".to_owned(), at("key/key")),
    ]
}
