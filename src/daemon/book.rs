//! The store as the outputs' book: what has been published, so that it can be
//! withdrawn when it is no longer configured.

use crate::publish::file::DirectoryRights;
use crate::publish::reconcile::{Address, BoxFuture, Noted, PublishedBook, Record};
use crate::state::{Note, PublishedOutput, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The store, seen as a book.
pub(super) struct StoreBook(pub(super) Store);

impl PublishedBook for StoreBook {
    fn record(&self, record: Record) -> BoxFuture<Result<(), String>> {
        let store = self.0.clone();
        let output = PublishedOutput {
            path: path_of(&record.address),
            grant: record.grant_id,
            name: record.grant,
        };
        Box::pin(async move { store.published(output).await.map_err(|e| e.to_string()) })
    }

    fn forget(&self, address: Address) -> BoxFuture<Result<(), String>> {
        let (store, path) = (self.0.clone(), path_of(&address));
        Box::pin(async move { store.forget_output(&path).await.map_err(|e| e.to_string()) })
    }

    fn keep_directory(
        &self,
        path: PathBuf,
        rights: DirectoryRights,
    ) -> BoxFuture<Result<(), String>> {
        keep(&self.0, Note::Directory, &path, &rights)
    }

    fn directories(&self) -> BoxFuture<Result<Noted<DirectoryRights>, String>> {
        kept(&self.0, Note::Directory)
    }

    fn keep_metadata(&self, path: PathBuf, places: Vec<PathBuf>) -> BoxFuture<Result<(), String>> {
        keep(&self.0, Note::Metadata, &path, &places)
    }

    fn metadata(&self) -> BoxFuture<Result<Noted<Vec<PathBuf>>, String>> {
        kept(&self.0, Note::Metadata)
    }

    fn list(&self) -> BoxFuture<Result<Vec<Record>, String>> {
        let store = self.0.clone();
        Box::pin(async move {
            let outputs = store.outputs().await.map_err(|e| e.to_string())?;
            let record = |o: PublishedOutput| Record {
                address: address_of(&o.path),
                grant: o.name,
                grant_id: o.grant,
            };
            Ok(outputs.into_iter().map(record).collect())
        })
    }
}

fn keep(
    store: &Store,
    note: Note,
    path: &Path,
    what: &impl Serialize,
) -> BoxFuture<Result<(), String>> {
    let (store, path) = (store.clone(), path.to_string_lossy().into_owned());
    let text = serde_json::to_string(what).map_err(|e| e.to_string());
    Box::pin(async move {
        let kept = store.keep_note(note, path, text?).await;
        kept.map_err(|e| e.to_string())
    })
}

/// What is noted, as far as it can be read.
fn kept<T: DeserializeOwned + Send + 'static>(
    store: &Store,
    note: Note,
) -> BoxFuture<Result<Noted<T>, String>> {
    let store = store.clone();
    Box::pin(async move {
        let kept = store.notes(note).await.map_err(|e| e.to_string())?;
        let read =
            |(path, text): (String, String)| Some((path.into(), serde_json::from_str(&text).ok()?));
        Ok(kept.into_iter().filter_map(read).collect())
    })
}

/// A row is kept as the database's path, a NUL, which no path holds, and its name.
fn path_of(address: &Address) -> PathBuf {
    let mut bytes = address.path().as_os_str().as_bytes().to_vec();
    if let Some(row) = address.row_name() {
        bytes.push(0);
        bytes.extend(row.as_bytes());
    }
    std::ffi::OsString::from_vec(bytes).into()
}

fn address_of(kept: &Path) -> Address {
    let bytes = kept.as_os_str().as_bytes();
    let end = bytes.iter().position(|b| *b == 0);
    match end.map(|end| bytes.split_at(end)) {
        Some((path, name)) => {
            let name = String::from_utf8_lossy(&name[1..]);
            Address::row(Path::new(OsStr::from_bytes(path)), &name)
        }
        None => Address::file(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_from_the_book() {
        for address in [
            Address::file(Path::new("/run/t/a")),
            Address::row(Path::new("/run/t/a"), "shop-1"),
        ] {
            assert_eq!(address_of(&path_of(&address)), address);
        }
    }
}
