//! How many codes may be at providers at once. For each, room is put by on the disk, which
//! refreshes need too: whatever is pushed to us, most of it stays theirs.

use refreshd_core::enroll::Via;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Turns of codes that were pushed, and of all others: a flood of the one kind does
/// not let the other grow old.
pub(super) struct CodePermits {
    pushed: Semaphore,
    others: Semaphore,
}

impl CodePermits {
    /// Both together are at most a quarter of `max_flights`, or four.
    pub(super) fn new(max_flights: u16) -> Self {
        let each = (usize::from(max_flights) / 8).max(2);
        CodePermits {
            pushed: Semaphore::new(each),
            others: Semaphore::new(each),
        }
    }

    /// A turn, until it is dropped.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub(super) async fn take(&self, via: Via) -> Result<SemaphorePermit<'_>, AcquireError> {
        match via {
            Via::Push => self.pushed.acquire().await,
            Via::Redirect | Via::Link | Via::Device => self.others.acquire().await,
        }
    }

    /// No further turns, nor for those who wait.
    pub(super) fn close(&self) {
        self.pushed.close();
        self.others.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pushed_codes_take_no_turn_of_the_others() {
        let permits = CodePermits::new(1);
        let _held = [
            permits.take(Via::Push).await.unwrap(),
            permits.take(Via::Push).await.unwrap(),
        ];
        let waits = permits.take(Via::Push);
        let waits = tokio::time::timeout(std::time::Duration::from_millis(50), waits);
        assert!(waits.await.is_err(), "two at once");
        assert!(permits.take(Via::Link).await.is_ok());
        permits.close();
        assert!(permits.take(Via::Push).await.is_err());
    }
}
