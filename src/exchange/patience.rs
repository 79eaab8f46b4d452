//! How long a failed step of an exchange waits for its next try.

use refreshd_core::backoff::Backoff;
use std::time::Duration;

const WAITS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// Waits that grow from 250 ms to 30 s.
#[derive(Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Whether it is not the first try.
    pub(super) fn has_waited(&self) -> bool {
        self.0 > 0
    }

    pub(crate) async fn wait(&mut self) {
        self.0 += 1;
        tokio::time::sleep(WAITS.wait(self.0 - 1)).await;
    }
}
