//! Reads the journal's slots as the dead process left them, apart from the
//! daemon's own reading: was the intent there, was the answer?

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const BLOCK: u64 = 4096;
const SLOT: u64 = BLOCK + 256 * 1024 + 3 * BLOCK;

/// The flights that stand in the journal, and whether their answers do.
pub(super) fn flights(state: &Path) -> BTreeMap<[u8; 16], bool> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("journal-") || name.contains('.') {
            continue;
        }
        let file = fs::File::open(&path).unwrap();
        let slots = (file.metadata().unwrap().len() - BLOCK) / SLOT;
        for slot in 0..slots {
            let start = BLOCK + slot * SLOT;
            let intent = region(&file, start, b"rfshint1");
            let answer = region(&file, start + BLOCK, b"rfshans1");
            if let Some(flight) = intent {
                found.entry(flight).or_insert(false);
            }
            if let Some(flight) = answer {
                found.insert(flight, true);
            }
        }
    }
    found
}

fn region(file: &fs::File, start: u64, magic: &[u8; 8]) -> Option<[u8; 16]> {
    let mut bytes = [0; 24];
    file.read_exact_at(&mut bytes, start).unwrap();
    bytes
        .starts_with(magic)
        .then(|| bytes[8..].try_into().unwrap())
}
