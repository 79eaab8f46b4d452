//! How much of what is not ours is looked at. One bucket for each path that takes
//! pushes, so their number is that of the clients; whose are the pushes does not count,
//! since behind a proxy all come from one address.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

/// So many at once …
const MOST: f64 = 20.0;
/// … and so many a second after that.
const A_SECOND: f64 = 1.0;

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<HashMap<String, Bucket>>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Buckets {
    /// Whether there is one left for a client's path.
    pub(super) fn take(&self, client: &str) -> bool {
        let now = Instant::now();
        let mut buckets = self.0.lock().expect("nothing panics while it holds them");
        let full = || Bucket {
            left: MOST,
            at: now,
        };
        let bucket = buckets.entry(client.to_owned()).or_insert_with(full);
        bucket.take(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * A_SECOND).min(MOST);
        self.at = now;
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let begun = Instant::now();
        let mut bucket = Bucket {
            left: MOST,
            at: begun,
        };
        let taken = (0..100).filter(|_| bucket.take(begun)).count();
        assert_eq!(taken, 20);
        let later = begun + Duration::from_secs(3);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 3);
        let much_later = begun + Duration::from_secs(86_400);
        assert_eq!((0..100).filter(|_| bucket.take(much_later)).count(), 20);
    }

    #[test]
    fn paths_do_not_share_one() {
        let buckets = Buckets::default();
        while buckets.take("a") {}
        assert!(buckets.take("b"));
    }
}
