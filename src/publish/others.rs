//! What another state of refreshd has published where this configuration publishes.
//! Beside a first start that tells of a state that was lost, or that is elsewhere: its
//! refresh tokens would be given up, and new ones brought into the wrong place.

use super::meta::read_meta;
use crate::config::{Client, Config, Output};
use crate::publish::database::rows_of_others;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

/// A file system that takes longer hangs, and is not waited for.
const HANGS: Duration = Duration::from_secs(5);

/// The places, for a person, where another store than this one has published a token;
/// with `None`, any store. Left out are grants whose client can ask for a token set by
/// itself: they lose nothing with a state. What cannot be read, or not in time, says
/// nothing.
#[must_use]
pub fn places(config: &Config, store_id: Option<&str>) -> Vec<String> {
    let (config, store_id) = (config.clone(), store_id.map(str::to_owned));
    let (sender, looked) = mpsc::channel();
    let look = move || sender.send(look(&config, store_id.as_deref()));
    let begun = std::thread::Builder::new().spawn(look);
    match begun.map(|_| looked.recv_timeout(HANGS)) {
        Ok(Ok(places)) => places,
        _ => {
            tracing::warn!("the outputs cannot be read: whose they are is not known");
            Vec::new()
        }
    }
}

fn look(config: &Config, store_id: Option<&str>) -> Vec<String> {
    let mut places = Vec::new();
    for (name, client) in grants(config) {
        let outputs = config.outputs_of(&name, client);
        let others = outputs.iter().filter(|output| {
            read_meta(output).is_some_and(|meta| Some(meta.store_id.as_str()) != store_id)
        });
        places.extend(others.map(|output| output.path.display().to_string()));
    }
    for database in &config.databases {
        let path = database.path.display();
        let rows = rows_of_others(&database.path, store_id);
        let rows = rows.iter().filter(|name| row_loses(config, name));
        places.extend(rows.map(|name| format!("{path} (row {name})")));
    }
    places
}

/// The grants that lose something with a state: those that are configured, and those
/// that were added to a client, as far as its outputs tell of them.
fn grants(config: &Config) -> BTreeMap<String, &Client> {
    let losing = config.clients.values().filter(|client| loses(client));
    let mut grants = BTreeMap::new();
    for client in losing {
        for template in &client.outputs {
            let added = filled(template).into_iter();
            let added = added.filter(|name| !config.grants.contains_key(name));
            grants.extend(added.map(|name| (name, &**client)));
        }
    }
    for (name, grant) in &config.grants {
        let client = config.clients.get(&grant.client);
        let client = client.filter(|client| loses(client));
        grants.extend(client.map(|client| (name.clone(), &**client)));
    }
    grants
}

fn loses(client: &Client) -> bool {
    !client.description.refresh.asks_anew()
}

/// Whose a row is that no configured grant has is not known.
fn row_loses(config: &Config, name: &str) -> bool {
    match config.grants.get(name) {
        Some(grant) => (config.clients.get(&grant.client)).is_some_and(|client| loses(client)),
        None => config.clients.values().any(|client| loses(client)),
    }
}

/// The names that stand for `{grant}` in a client's output, by what is there.
fn filled(template: &Output) -> Vec<String> {
    // The topmost one: what is below it is not there under that name.
    let above = template.path.ancestors();
    let Some((dir, before, after)) = above.filter_map(around).last() else {
        return Vec::new();
    };
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let grant = |name: String| {
        let grant = name.strip_prefix(before)?.strip_suffix(after)?;
        refreshd_core::name::is_valid(grant).then(|| grant.to_owned())
    };
    names.filter_map(grant).collect()
}

/// Where a path's last name holds `{grant}`: the directory, and what is around it.
fn around(path: &Path) -> Option<(&Path, &str, &str)> {
    let (before, after) = path.file_name()?.to_str()?.split_once("{grant}")?;
    Some((path.parent()?, before, after))
}
