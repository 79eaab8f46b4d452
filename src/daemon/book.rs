//! The store as the outputs' book: what has been published, so that it can be
//! withdrawn when it is no longer configured.

use crate::publish::file::DirectoryRights;
use crate::publish::reconcile::{Address, BoxFuture, PublishedBook, Record};
use crate::state::{PublishedOutput, Store};
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
        let store = self.0.clone();
        let rights = serde_json::to_string(&rights).expect("two numbers become JSON");
        Box::pin(async move {
            let path = path.to_string_lossy().into_owned();
            let kept = store.keep_directory(path, rights).await;
            kept.map_err(|e| e.to_string())
        })
    }

    fn directories(&self) -> BoxFuture<Result<Vec<(PathBuf, DirectoryRights)>, String>> {
        let store = self.0.clone();
        Box::pin(async move {
            let kept = store.directories().await.map_err(|e| e.to_string())?;
            let read = |(path, rights): (String, String)| {
                Some((path.into(), serde_json::from_str(&rights).ok()?))
            };
            Ok(kept.into_iter().filter_map(read).collect())
        })
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
