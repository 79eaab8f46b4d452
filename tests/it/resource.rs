//! Asks a resource whether it takes an access token, from ordinary threads.

use serde_json::Value;
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// A client of protected resources with a runtime of its own.
pub struct Asker {
    runtime: Runtime,
    client: reqwest::Client,
}

impl Asker {
    /// A client for one thread.
    pub fn new() -> Self {
        Asker {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            client: sandbox::http::client(),
        }
    }

    /// The status with which the resource answers a bearer of this token.
    pub fn status(&self, url: &str, token: &str) -> u16 {
        let asking = async {
            let answer = self.client.get(url).bearer_auth(token).send().await?;
            let status = answer.status().as_u16();
            // Read to its end, so that the connection is used again.
            answer.bytes().await.map(|_| status)
        };
        self.runtime.block_on(asking).unwrap()
    }
}

/// The content of a published `json` file; `None` while there is none.
pub fn published(path: &Path) -> Option<(u64, String)> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        Err(e) => panic!("{}: {e}", path.display()),
    };
    let value: Value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|e| panic!("{} is torn: {} bytes: {e}", path.display(), bytes.len()));
    let generation = value["generation"].as_u64().unwrap();
    Some((
        generation,
        value["access_token"].as_str().unwrap().to_owned(),
    ))
}
