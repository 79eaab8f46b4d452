//! The last sound configuration, kept beside the state: what a boot serves by where the
//! files are broken. All its layers and provider files are in it, as values: no comment,
//! and no secret, since those stand nowhere but where they live.

use super::layer::Layer;
use super::sources::{Gathered, Sources, gather_parsed};
use super::{Config, Loaded, Secrets, load_with};
use figment::value::Value;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the state directory.
const FILE: &str = "last-sound-configuration.json";
/// Others are not understood, and not used.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastSound {
    format: u32,
    /// When it was last taken over, as RFC 3339 has it.
    pub at: String,
    /// The main file: another configuration's is none of ours.
    main: PathBuf,
    state_dir: PathBuf,
    files: Vec<PathBuf>,
    layers: Vec<Kept>,
    providers: Vec<Kept>,
}

/// A file, variable or option, and what stood there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    values: serde_json::Value,
}

impl LastSound {
    /// What was just loaded; `None` unless it is sound, and from files.
    #[must_use]
    pub fn of(loaded: &Loaded, config: &Config, sources: &Sources, at: String) -> Option<Self> {
        loaded.config.as_ref()?;
        let layers = loaded.gathered.layers.iter().skip(1);
        let providers = loaded.gathered.providers.iter();
        let kept = |layer: &Arc<Layer>| {
            let values = serde_json::to_value(&layer.values).ok()?;
            let name = layer.name();
            Some(Kept { name, values })
        };
        Some(LastSound {
            format: FORMAT,
            at,
            main: main_file(sources)?,
            state_dir: config.daemon.state_dir.clone(),
            files: loaded.gathered.files.clone(),
            layers: layers.map(kept).collect::<Option<_>>()?,
            providers: providers
                .map(|(_, layer)| kept(layer.as_ref()?))
                .collect::<Option<_>>()?,
        })
    }

    /// Writes it beside the state, whole or not at all. Where the same configuration had
    /// its state elsewhere, what was kept there is of the past.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, sources: &Sources) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        let path = self.state_dir.join(FILE);
        let beside = self.state_dir.join(format!("{FILE}.new"));
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&beside)?;
        let written = file
            .write_all(&bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            let _left = fs::remove_file(&beside);
        }
        written?;
        fs::File::open(&self.state_dir)?.sync_all()?;
        for dir in sources.usual_state_dirs() {
            if dir != self.state_dir && read(&dir).is_some_and(|old| old.main == self.main) {
                let _stays = fs::remove_file(dir.join(FILE));
            }
        }
        Ok(())
    }

    /// What the same main file was when it was last sound, if that is known. Where its
    /// state lies is taken from what of the configuration can be read.
    #[must_use]
    pub fn find(sources: &Sources) -> Option<Self> {
        let main = main_file(sources)?;
        let gathered = gather_parsed(sources);
        let written = gathered.layers.iter().rev().find_map(|layer| {
            let daemon = layer.values.get("daemon")?.as_dict()?;
            daemon.get("state_dir")?.as_str().map(PathBuf::from)
        });
        let scanned = || {
            let text = fs::read_to_string(&main).ok()?;
            text.lines().find_map(state_dir_in)
        };
        let dirs = match written.or_else(scanned) {
            Some(dir) => vec![dir],
            None => sources.usual_state_dirs(),
        };
        let mut kept = dirs.iter().filter_map(|dir| {
            let kept = read(dir)?;
            (kept.main == main && kept.state_dir == *dir).then_some(kept)
        });
        kept.next()
    }

    /// Reads and checks it as the files were. Secrets and certificates are read where they
    /// live now; a client whose are not there is served, and not refreshed.
    #[must_use]
    pub fn load(self, sources: &Sources, secrets: Secrets) -> Loaded {
        let sources = Sources {
            last_sound: Some(Arc::new(self)),
            ..sources.clone()
        };
        load_with(&sources, secrets)
    }

    /// Its layers, above the defaults.
    pub(super) fn gathered(&self) -> Gathered {
        let layer = |kept: &Kept| {
            let values = Value::serialize(&kept.values).ok()?.into_dict()?;
            Some(Arc::new(Layer::kept(kept.name.clone(), values)))
        };
        let layers: Vec<_> = self.layers.iter().map(layer).collect();
        let providers = self.providers.iter();
        let providers: Vec<_> = providers
            .map(|kept| (PathBuf::from(&kept.name), layer(kept)))
            .collect();
        Gathered {
            complete: layers.iter().all(Option::is_some)
                && providers.iter().all(|(_, layer)| layer.is_some()),
            layers: layers.into_iter().flatten().collect(),
            files: self.files.clone(),
            providers,
        }
    }
}

/// A file of ours alone: what somebody else may write says nothing.
fn read(state_dir: &Path) -> Option<LastSound> {
    let path = state_dir.join(FILE);
    let found = fs::symlink_metadata(&path).ok()?;
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(state_dir).ok()?.uid();
    let is_ours = found.uid() == own || found.uid() == owner;
    if !found.is_file() || !is_ours || found.mode() & 0o022 != 0 {
        return None;
    }
    let kept: LastSound = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    (kept.format == FORMAT).then_some(kept)
}

fn main_file(sources: &Sources) -> Option<PathBuf> {
    std::path::absolute(sources.main_file().ok()?).ok()
}

/// Of a file that cannot be parsed: `state_dir = "…"` on a line of its own.
fn state_dir_in(line: &str) -> Option<PathBuf> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    if key != "state_dir" && key != "daemon.state_dir" {
        return None;
    }
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (dir, _) = value[1..].split_once(quote)?;
    (dir.starts_with('/') && !dir.contains('\\')).then(|| dir.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::os::unix::fs::PermissionsExt;

    const PROVIDER: &str = "name = \"p\"\n[token]\nurl = \"https://a.example/token\"\n";

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Place(tempfile::tempdir().unwrap());
            for dir in ["state", "home", "providers.d"] {
                fs::create_dir(place.0.path().join(dir)).unwrap();
            }
            place.write("providers.d/p.toml", PROVIDER);
            place.write("secret", "s3cret");
            let mode = fs::Permissions::from_mode(0o400);
            fs::set_permissions(place.0.path().join("secret"), mode).unwrap();
            place.write("refreshd.toml", &place.main("state"));
            place
        }

        fn main(&self, state: &str) -> String {
            let root = self.0.path().display();
            format!(
                "# not for others: hunter2\n[daemon]\nstate_dir = \"{root}/{state}\"\n[clients.c]\nprovider = \"p\"\nclient_id = \"id\"\nclient_secret = {{ file = \"{root}/secret\" }}\n[grants.a]\nclient = \"c\"\n[[grants.a.outputs]]\npath = \"{root}/token\"\n"
            )
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn sources(&self) -> Sources {
            let home = self.0.path().join("home").display().to_string();
            Sources {
                file: Some(self.0.path().join("refreshd.toml")),
                env: [("HOME".to_owned(), home)].into(),
                set: vec![("daemon.drain".to_owned(), "7s".to_owned())],
                last_sound: None,
            }
        }

        fn keep(&self) -> Config {
            let loaded = load(&self.sources());
            let config = loaded.config.clone().expect("it is sound");
            let at = "2026-01-02T03:04:05Z".to_owned();
            let last = LastSound::of(&loaded, &config, &self.sources(), at).unwrap();
            last.keep(&self.sources()).unwrap();
            config
        }

        fn found(&self) -> Option<Loaded> {
            Some(LastSound::find(&self.sources())?.load(&self.sources(), Secrets::Read))
        }

        fn kept(&self) -> PathBuf {
            self.0.path().join("state").join(FILE)
        }
    }

    #[test]
    fn it_is_found_whatever_was_broken_and_says_the_same() {
        let place = Place::new();
        let config = place.keep();
        let half = place.main("state").replace("[clients.c]", "[clients.c");
        let breaks: [(&str, &dyn Fn()); 4] = [
            ("syntax", &|| place.write("refreshd.toml", &half)),
            ("a key", &|| {
                place.write("refreshd.toml", &(place.main("state") + "nope = 1\n"));
            }),
            ("a file besides", &|| {
                fs::create_dir(place.0.path().join("conf.d")).unwrap();
                place.write("conf.d/x.toml", "[");
            }),
            ("the provider", &|| {
                fs::remove_file(place.0.path().join("providers.d/p.toml")).unwrap();
            }),
        ];
        for (what, break_it) in breaks {
            break_it();
            assert!(load(&place.sources()).config.is_none(), "{what}");
            let found = place.found().expect(what);
            assert!(found.problems.is_empty(), "{what}: {:?}", found.problems);
            let found = found.config.expect(what);
            assert_eq!(found.clients["c"].hash, config.clients["c"].hash);
            assert_eq!(
                found.clients["c"].client_secret,
                config.clients["c"].client_secret
            );
            assert_eq!(found.grants["a"].outputs, config.grants["a"].outputs);
            assert_eq!(found.daemon.drain.as_secs(), 7);
            assert_eq!(found.daemon.state_dir, config.daemon.state_dir);
            assert_eq!(found.files, config.files);
        }
    }

    #[test]
    fn neither_secrets_nor_comments_are_kept_and_others_cannot_read_it() {
        let place = Place::new();
        place.keep();
        let text = fs::read_to_string(place.kept()).unwrap();
        assert!(
            !text.contains("s3cret") && !text.contains("hunter2"),
            "{text}"
        );
        assert_eq!(fs::metadata(place.kept()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_client_whose_secret_is_gone_is_served_and_not_sent_for() {
        let place = Place::new();
        place.keep();
        fs::remove_file(place.0.path().join("secret")).unwrap();
        let config = place.found().unwrap().config.unwrap();
        let lacks = config.clients["c"].lacks.as_deref().unwrap();
        assert!(lacks.contains("cannot read secret file"), "{lacks}");
        assert_eq!(config.grants["a"].outputs.len(), 1);
    }

    #[test]
    fn what_is_not_this_configurations_is_not_used() {
        let place = Place::new();
        assert!(place.found().is_none());
        place.keep();
        // Another state: that of the past would present tokens of the past.
        place.write("refreshd.toml", &(place.main("elsewhere") + "["));
        assert!(place.found().is_none());
        // Another file.
        place.write("other.toml", &(place.main("state") + "["));
        let other = Sources {
            file: Some(place.0.path().join("other.toml")),
            ..place.sources()
        };
        assert!(LastSound::find(&other).is_none());
        // One that others may write.
        place.write("refreshd.toml", &(place.main("state") + "["));
        assert!(place.found().is_some());
        fs::set_permissions(place.kept(), fs::Permissions::from_mode(0o622)).unwrap();
        assert!(place.found().is_none());
        // Half of one.
        fs::remove_file(place.kept()).unwrap();
        fs::write(place.kept(), "{\"format\": 1").unwrap();
        assert!(place.found().is_none());
    }

    #[test]
    fn of_a_state_that_was_moved_the_old_place_is_forgotten() {
        let place = Place::new();
        let usual = place.0.path().join("home/.local/state/refreshd");
        fs::create_dir_all(&usual).unwrap();
        let text = place.main("state");
        let moved = text.replace("/state\"", "/home/.local/state/refreshd\"");
        place.write("refreshd.toml", &moved);
        place.keep();
        place.write("refreshd.toml", "[");
        assert!(place.found().is_some());
        place.write("refreshd.toml", &text);
        place.keep();
        place.write("refreshd.toml", "[");
        assert!(place.found().is_none());
    }

    #[test]
    fn the_state_is_found_in_a_file_that_cannot_be_parsed() {
        let dir = |line| state_dir_in(line).map(|dir| dir.display().to_string());
        let found = Some("/a b".to_owned());
        assert_eq!(dir("state_dir = \"/a b\" # here"), found);
        assert_eq!(dir("  daemon.state_dir='/a b'"), found);
        for line in [
            "# state_dir = \"/x\"",
            "state_dir = x",
            "state_dir",
            "a = \"/x\"",
            "state_dir = \"x\"",
        ] {
            assert_eq!(dir(line), None, "{line}");
        }
    }
}
