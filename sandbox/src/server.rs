//! The server: state, routes, start and stop.

use crate::faults::{Fault, NowAndThen, Plan, Queued};
use crate::log::{Log, Presentation};
use crate::rotation::{Ended, Rules};
use crate::stats::{ResourceStats, Stats};
use crate::token_endpoint::answer_body;
use crate::tokens::Registry;
use crate::wire::{Fate, Wires};
use crate::{Options, admin, resource, token_endpoint};
use axum::Router;
use axum::routing::{get, post};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server. Dropping it closes its port and lets open requests end.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    began: Instant,
    world: Mutex<World>,
}

/// What changes while the server runs.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) faults: Plan,
    pub(crate) log: Log,
    pub(crate) resource: ResourceStats,
    pub(crate) token_requests: u64,
}

impl Server {
    /// Starts a server on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(options: Options) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            began: Instant::now(),
            world: Mutex::default(),
        });
        let service = router(shared.clone()).into_make_service_with_connect_info::<Fate>();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let serve = axum::serve(Wires(listener), service);
            // A dropped sender counts as a stop.
            let until = async { drop(stopped.await) };
            let _ = serve.with_graceful_shutdown(until).await;
        });
        Ok(Server {
            shared,
            address,
            stop: Some(stop),
            task,
        })
    }

    /// Closes the port and waits for open requests to end.
    pub async fn stop(mut self) {
        self.stop.take();
        let _ = (&mut self.task).await;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of this server; `path` begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.url("/token")
    }

    /// The resource that wants a living access token.
    #[must_use]
    pub fn resource_url(&self) -> String {
        self.url("/resource")
    }

    /// Makes a grant and returns its first answer (RFC 6749 §5.1). A grant of
    /// the same name is replaced.
    #[must_use]
    pub fn make_grant(&self, name: &str) -> serde_json::Value {
        self.shared.make_grant(name)
    }

    /// Withdraws a grant, as its person can: all its tokens die. False: no such grant.
    pub fn withdraw_grant(&self, name: &str) -> bool {
        self.shared.world().registry.end(name, Ended::Withdrawn)
    }

    /// Lets the next token request (of that grant) meet a fault.
    pub fn queue_fault(&self, grant: Option<&str>, fault: Fault) {
        let grant = grant.map(str::to_owned);
        self.shared.world().faults.queue(Queued { grant, fault });
    }

    /// Lets token requests meet faults now and then.
    pub fn set_now_and_then(&self, now_and_then: NowAndThen) {
        self.shared.world().faults.now_and_then(now_and_then);
    }

    /// Forgets all faults that are to come.
    pub fn clear_faults(&self) {
        self.shared.world().faults.clear();
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The token requests so far, oldest first.
    #[must_use]
    pub fn presentations(&self) -> Vec<Presentation> {
        self.shared.world().log.entries()
    }
}

impl Shared {
    /// The changing part, locked.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no handler panics with the lock")
    }

    /// Milliseconds since the server began.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Makes a grant and returns its first answer.
    pub(crate) fn make_grant(&self, name: &str) -> serde_json::Value {
        let options = &self.options;
        let rules = Rules {
            rotation: options.rotation.clone(),
            rotates_every: options.rotates_every,
            access_ms: millis(options.access_lifetime),
            refresh_ms: options.refresh_lifetime.map(millis),
            refresh_from: options.refresh_from,
        };
        let mut world = self.world();
        let issue = world.registry.begin(name, rules, self.now_ms());
        answer_body(options, &issue, false)
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> Stats {
        let world = self.world();
        let faults = world.faults.counts().iter();
        Stats {
            now_ms: self.now_ms(),
            grants: world.registry.stats(),
            faults: faults.map(|(k, n)| ((*k).to_owned(), *n)).collect(),
            faults_waiting: world.faults.waiting(),
            token_requests: world.token_requests,
            resource: world.resource,
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/token", post(token_endpoint::token))
        .route("/resource", get(resource::resource))
        .nest("/admin", admin::router())
        .with_state(shared)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
