//! Makes real directories of what a loss of power leaves.

use super::disk::{Disk, Id, ROOT};
use super::fate::Fate;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

impl Disk {
    /// Writes what is left to an empty directory; `wanted` says which names of the root.
    pub(super) fn lay_out(&self, into: &Path, wanted: &[&str], fate: &mut dyn Fate) {
        let mut top = self.listing(ROOT, fate);
        top.retain(|name, _| wanted.contains(&name.as_str()));
        self.lay_out_names(into, &top, fate);
    }

    fn lay_out_names(&self, into: &Path, names: &BTreeMap<String, Id>, fate: &mut dyn Fate) {
        for (name, &id) in names {
            let path = into.join(name);
            if self.is_directory(id) {
                fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
                let names = self.listing(id, fate);
                self.lay_out_names(&path, &names, fate);
            } else {
                write_sparse(&path, &self.content(id, fate));
            }
        }
    }
}

const BLOCK: usize = 4096;

/// Zeros are left out, as in the file systems that know holes.
fn write_sparse(path: &Path, bytes: &[u8]) {
    let zeros = [0; BLOCK];
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    let mut from = 0;
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        if block == &zeros[..block.len()] {
            file.write_all_at(&bytes[from..index * BLOCK], from as u64)
                .unwrap();
            from = (index + 1) * BLOCK;
        }
    }
    if from < bytes.len() {
        file.write_all_at(&bytes[from..], from as u64).unwrap();
    }
}
