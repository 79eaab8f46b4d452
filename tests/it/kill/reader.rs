//! Reads the published files all the time: each is always there, whole, and
//! never older than before.

use crate::resource::published;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `at_` and 32 bytes in Base64.
const TOKEN_LENGTH: usize = 3 + 43;

/// What was seen of one grant.
#[derive(Default)]
struct Seen {
    generation: u64,
    token: String,
    earlier: BTreeSet<String>,
}

/// Reads until told to stop; how many times it went through the files.
pub fn read_on(directory: &Path, grants: &[String], done: &AtomicBool) -> usize {
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        for grant in grants {
            let seen = seen.entry(grant).or_default();
            read_json(&directory.join(format!("{grant}.json")), seen);
            read_raw(&directory.join(grant), seen);
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    rounds
}

fn read_json(file: &Path, seen: &mut Seen) {
    // The metadata first: it is written last, so the file is at least as new.
    let in_metadata = metadata_generation(file);
    let name = file.display();
    let Some((generation, token)) = published(file) else {
        assert_eq!((seen.generation, in_metadata), (0, None), "{name} is gone");
        return;
    };
    check_token(file, &token);
    assert!(
        generation >= seen.generation.max(in_metadata.unwrap_or(0)),
        "{name}: generation {generation} after {}, metadata {in_metadata:?}",
        seen.generation
    );
    seen.generation = generation;
}

fn metadata_generation(file: &Path) -> Option<u64> {
    let name = file.file_name()?.to_str()?;
    let path = file.with_file_name(format!(".{name}.meta.json"));
    let bytes = std::fs::read(&path).ok()?;
    let value: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|e| panic!("{} is torn: {e}", path.display()));
    value["generation"].as_u64()
}

fn read_raw(file: &Path, seen: &mut Seen) {
    let Ok(token) = std::fs::read_to_string(file) else {
        assert!(seen.token.is_empty(), "{} is gone", file.display());
        return;
    };
    check_token(file, &token);
    if token == seen.token {
        return;
    }
    let is_old = seen.earlier.contains(&token);
    assert!(!is_old, "{} has an earlier token again", file.display());
    seen.earlier
        .insert(std::mem::replace(&mut seen.token, token));
}

fn check_token(file: &Path, token: &str) {
    let whole = token.starts_with("at_") && token.len() == TOKEN_LENGTH;
    assert!(whole, "{} holds {} bytes", file.display(), token.len());
}
