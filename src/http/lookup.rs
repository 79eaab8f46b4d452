//! One look-up of a name at a time, on threads of its own: a name that a slow resolver
//! hangs on holds neither those who ask for another nor the threads that write outputs.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::thread;
use tokio::sync::{Semaphore, oneshot};

/// At the most so many names are looked up at a time; further ones wait. It is more than
/// exchanges can begin while a resolver hangs: one name does not hold up another.
const MOST: usize = 512;

/// What a look-up found; errors by kind and words, for all who wait for it.
type Found = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

static SYSTEM: LazyLock<Lookups> = LazyLock::new(|| Lookups::new(by_system));

/// The look-ups under way.
struct Lookups {
    resolve: fn(&str) -> io::Result<Vec<SocketAddr>>,
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<Found>>>>,
    threads: Semaphore,
}

/// The addresses of a name, by the system's resolver.
///
/// # Errors
/// When it has none, or no thread can be started.
pub(super) async fn lookup(host: &str) -> io::Result<Vec<SocketAddr>> {
    SYSTEM.lookup(host).await
}

fn by_system(host: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((host, 0).to_socket_addrs()?.collect())
}

impl Lookups {
    fn new(resolve: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Self {
        Lookups {
            resolve,
            waiting: Mutex::default(),
            threads: Semaphore::new(MOST),
        }
    }

    async fn lookup(&'static self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let (reply, found) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            let all = waiting.entry(host.to_owned()).or_default();
            // Who gave up waiting is answered in vain; the look-up goes on.
            all.push(reply);
            all.len() == 1
        };
        if is_first {
            tokio::spawn(self.look(host.to_owned()));
        }
        let gone = |_| (io::ErrorKind::Other, "the look-up ended early".to_owned());
        let found = found.await.map_err(gone).and_then(|found| found);
        found.map_err(|(kind, words)| io::Error::new(kind, words))
    }

    /// Looks a name up on a thread, and tells all who wait for it by then.
    async fn look(&'static self, host: String) {
        let place = self.threads.acquire().await.expect("it is never closed");
        let name = host.clone();
        let started = thread::Builder::new()
            .name("lookup".to_owned())
            .spawn(move || {
                let _place = place;
                let found = (self.resolve)(&name);
                self.tell(&name, &found.map_err(told));
            });
        if let Err(e) = started {
            self.tell(&host, &Err(told(e)));
        }
    }

    fn tell(&self, host: &str, found: &Found) {
        let all = self.waiting().remove(host).unwrap_or_default();
        for reply in all {
            let _gave_up = reply.send(found.clone());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<oneshot::Sender<Found>>>> {
        self.waiting.lock().expect("nothing panics under this lock")
    }
}

fn told(error: io::Error) -> (io::ErrorKind, String) {
    (error.kind(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

    /// `slow` takes until it is let through; other names are found at once.
    fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
        if host == "slow" {
            ASKED.fetch_add(1, Ordering::SeqCst);
            let gate = GATE.lock().unwrap().take().expect("it is asked once");
            gate.recv().unwrap();
        }
        match host {
            "nowhere" => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            _ => Ok(vec![(Ipv4Addr::LOCALHOST, 0).into()]),
        }
    }

    #[tokio::test]
    async fn a_slow_name_is_looked_up_once_and_holds_up_no_other() {
        static LOOKUPS: LazyLock<Lookups> = LazyLock::new(|| Lookups::new(resolve));
        let (open, gate) = mpsc::channel();
        *GATE.lock().unwrap() = Some(gate);
        let slow = [(); 3].map(|()| tokio::spawn(LOOKUPS.lookup("slow")));
        // All three wait before another name is found.
        while LOOKUPS.waiting().get("slow").map_or(0, Vec::len) < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(LOOKUPS.lookup("quick").await.unwrap().len(), 1);
        let error = LOOKUPS.lookup("nowhere").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::NotFound, "no such name".to_owned())
        );
        open.send(()).unwrap();
        for found in slow {
            assert_eq!(found.await.unwrap().unwrap().len(), 1);
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    }
}
