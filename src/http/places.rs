//! How many connections there are to providers: those in use take a place each, and of
//! the others only so many hosts' are kept.

use crate::descriptors::Ration;
use refreshd_core::grant::replay::CONNECT_LIMIT;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::{Origin, Url};

/// So long a connection is kept that nobody uses.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(15);
/// So many are kept of one host.
pub(super) const KEPT_OF_HOST: usize = 8;
/// They are ended a little later than they should be.
const SLACK: Duration = Duration::from_secs(5);

/// The places, and who has some.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    /// Of hosts that have some.
    hosts: Mutex<HashMap<Origin, usize>>,
    /// Hosts whose connections are kept, and since when they are unused.
    warm: Mutex<HashMap<Origin, Instant>>,
    most_warm: usize,
}

/// A place, while it lives.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    host: Origin,
    _free: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(ration: &Ration) -> Arc<Self> {
        Arc::new(Places {
            free: Arc::new(Semaphore::new(ration.exchanges.min(Semaphore::MAX_PERMITS))),
            most: ration.exchanges,
            hosts: Mutex::default(),
            warm: Mutex::default(),
            most_warm: ration.idle / KEPT_OF_HOST,
        })
    }

    /// A place for a connection. One host gets no more than half of them, so that one
    /// that hangs leaves others something.
    ///
    /// # Errors
    /// Why there is none, for people; nothing was sent.
    pub(super) async fn take(self: &Arc<Self>, url: &Url) -> Result<Place, String> {
        let host = url.origin();
        let has = self.hosts().get(&host).copied().unwrap_or_default();
        if has >= self.most.div_ceil(2) {
            return Err(format!(
                "{has} exchanges with its host have not ended, which is as many as the limit of file descriptors (ulimit -n) lets it have"
            ));
        }
        let free = self.free.clone().acquire_owned();
        let free = tokio::time::timeout(CONNECT_LIMIT, free).await;
        let Ok(Ok(free)) = free else {
            return Err(format!(
                "{} exchanges have not ended, which is as many as the limit of file descriptors (ulimit -n) allows",
                self.most
            ));
        };
        *self.hosts().entry(host.clone()).or_default() += 1;
        Ok(Place {
            places: self.clone(),
            host,
            _free: free,
        })
    }

    /// Whether a connection to this host may be kept after its exchange.
    pub(super) fn may_keep(&self, url: &Url) -> bool {
        let (host, now) = (url.origin(), Instant::now());
        let mut warm = self
            .warm
            .lock()
            .expect("nothing panics while it holds them");
        if !warm.contains_key(&host) && warm.len() >= self.most_warm {
            warm.retain(|_, used| now.duration_since(*used) < KEPT_FOR + SLACK);
        }
        let may = warm.contains_key(&host) || warm.len() < self.most_warm;
        if may {
            warm.insert(host, now);
        }
        may
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Origin, usize>> {
        self.hosts
            .lock()
            .expect("nothing panics while it holds them")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts();
        if let Some(has) = hosts.get_mut(&self.host) {
            *has -= 1;
            if *has == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: usize) -> Url {
        format!("https://h{host}.example/token").parse().unwrap()
    }

    fn places(limit: usize) -> Arc<Places> {
        Places::new(&Ration::of(limit, 0))
    }

    #[tokio::test]
    async fn a_host_that_hangs_leaves_half_to_others() {
        let places = places(128);
        let mut taken = Vec::new();
        while let Ok(place) = places.take(&url(1)).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), places.most / 2);
        while let Ok(place) = places.take(&url(taken.len())).await {
            taken.push(place);
        }
        assert_eq!(taken.len(), places.most);
        let error = places.take(&url(9999)).await.unwrap_err();
        assert!(error.contains("ulimit -n"), "{error}");
        taken.clear();
        assert!(places.hosts().is_empty());
        assert!(places.take(&url(1)).await.is_ok());
    }

    #[test]
    fn of_many_hosts_few_have_their_connections_kept() {
        let places = places(1024);
        let kept = (0..1300)
            .filter(|host| places.may_keep(&url(*host)))
            .count();
        assert_eq!(kept, Ration::of(1024, 0).idle / KEPT_OF_HOST);
        assert!(places.may_keep(&url(0)));
        assert!(!places.may_keep(&url(1299)));
    }

    #[test]
    fn with_few_descriptors_nothing_is_kept() {
        assert!(!places(64).may_keep(&url(1)));
    }
}
