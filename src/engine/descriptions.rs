//! Keeps the descriptions that intents refer to.

use crate::config::Config;
use crate::state::{Store, StoreError};

/// Descriptions are durable before any intent refers to them.
pub(crate) async fn save_descriptions(store: &Store, config: &Config) -> Result<(), StoreError> {
    for client in config.clients.values() {
        if store.description(&client.hash).await?.is_some() {
            continue;
        }
        let text =
            serde_json::to_string(&*client.description).expect("a description is plain data");
        store.put_description(&client.hash, &text).await?;
    }
    Ok(())
}
