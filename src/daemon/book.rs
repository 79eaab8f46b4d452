//! The store as the outputs' book: what has been published, so that it can be
//! withdrawn when it is no longer configured.

use crate::publish::reconcile::{BoxFuture, PublishedBook, Record};
use crate::state::{PublishedOutput, Store};
use std::path::PathBuf;

/// The store, seen as a book.
pub(super) struct StoreBook(pub(super) Store);

impl PublishedBook for StoreBook {
    fn record(&self, record: Record) -> BoxFuture<Result<(), String>> {
        let store = self.0.clone();
        let output = PublishedOutput {
            path: record.path,
            grant: record.grant_id,
            name: record.grant,
        };
        Box::pin(async move { store.published(output).await.map_err(|e| e.to_string()) })
    }

    fn forget(&self, path: PathBuf) -> BoxFuture<Result<(), String>> {
        let store = self.0.clone();
        Box::pin(async move { store.forget_output(&path).await.map_err(|e| e.to_string()) })
    }

    fn list(&self) -> BoxFuture<Result<Vec<Record>, String>> {
        let store = self.0.clone();
        Box::pin(async move {
            let outputs = store.outputs().await.map_err(|e| e.to_string())?;
            let record = |o: PublishedOutput| Record {
                path: o.path,
                grant: o.name,
                grant_id: o.grant,
            };
            Ok(outputs.into_iter().map(record).collect())
        })
    }
}
