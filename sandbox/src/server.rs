//! The server: state, routes, start and stop.

use crate::codes::Codes;
use crate::devices::Devices;
use crate::faults::{Fault, NowAndThen, Outage, Plan, Queued};
use crate::log::{Log, Presentation, keep};
use crate::rotation::Rules;
use crate::stats::{ResourceStats, Stats};
use crate::tokens::Registry;
use crate::wire::{Fate, Wires};
use crate::{Enrollment, Kind, Options, Push, Visit};
use crate::{admin, authorize, device_page, install, metadata, resource, token_endpoint};
use axum::Router;
use axum::routing::{get, post};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server. Dropping it closes its port and lets open requests end.
#[derive(Debug)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    address: SocketAddr,
    began: Instant,
    http: OnceLock<reqwest::Client>,
    world: Mutex<World>,
}

/// What changes while the server runs.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) codes: Codes,
    pub(crate) faults: Plan,
    pub(crate) log: Log,
    pub(crate) resource: ResourceStats,
    pub(crate) token_requests: u64,
    pub(crate) enrollment: Enrollment,
    pub(crate) visits: Vec<Visit>,
    pub(crate) pushes: Vec<Push>,
    pub(crate) devices: Devices,
}

impl Server {
    /// Starts a server on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(options: Options) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let world = World {
            enrollment: options.enrollment.clone(),
            ..World::default()
        };
        let shared = Arc::new(Shared {
            options,
            address,
            began: Instant::now(),
            http: OnceLock::new(),
            world: Mutex::new(world),
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
        self.shared.address
    }

    /// A URL of this server; `path` begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.shared.url(path)
    }

    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// The token endpoint. Where each business has a host of its own, the
    /// business stands there as `{business_id}`, as in a provider's file.
    #[must_use]
    pub fn token_url(&self) -> String {
        let kind = self.shared.options.kind;
        if kind.has_business_hosts() {
            return self.token_url_of("{business_id}");
        }
        self.url(kind.token_path())
    }

    /// The token endpoint on the host of a business.
    #[must_use]
    pub fn token_url_of(&self, business_id: &str) -> String {
        let (port, path) = (self.address().port(), self.shared.options.kind.token_path());
        format!("http://{business_id}.localhost:{port}{path}")
    }

    /// The resource that wants a living access token.
    #[must_use]
    pub fn resource_url(&self) -> String {
        self.url("/resource")
    }

    /// The same, where the provider's document has it.
    #[must_use]
    pub fn verify_url(&self) -> String {
        self.url(self.shared.options.kind.verify_path())
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

    /// Begins an outage of all but `/admin`, or ends it.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.shared.world().faults.set_outage(outage);
    }

    /// Forgets all faults that are to come; an outage ends.
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

    /// A URL of this server; `path` begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the server itself calls others with.
    pub(crate) fn http(&self) -> &reqwest::Client {
        self.http.get_or_init(crate::http::client)
    }

    /// Notes a visit to an authorization page.
    pub(crate) fn visited(&self, visit: Visit) {
        keep(&mut self.world().visits, visit);
    }

    /// Milliseconds since the server began.
    pub(crate) fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// The rules of a new token set.
    pub(crate) fn rules(&self) -> Rules {
        let options = &self.options;
        Rules {
            rotation: options.rotation.clone(),
            rotates_every: options.rotates_every,
            access_ms: millis(options.access_left()),
            refresh_ms: options.refresh_left().map(millis),
            refresh_from: options.refresh_from,
        }
    }

    /// How long a code is good.
    pub(crate) fn code_ms(&self) -> u64 {
        millis(self.options.code_lifetime)
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
            outage: world.faults.outage(),
            token_requests: world.token_requests,
            resource: world.resource,
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let kind = shared.options.kind;
    let mut router = Router::new()
        .route(kind.token_path(), post(token_endpoint::token))
        .route("/resource", get(resource::resource));
    router = match kind.verify_path() {
        "/resource" => router,
        path if path.ends_with("/userinfo") => router.route(path, get(resource::userinfo)),
        path => router.route(path, get(resource::resource)),
    };
    router = router.route("/userinfo", get(resource::userinfo));
    if let Some(path) = kind.authorize_path() {
        let page = if kind.pushes_codes() {
            get(install::show).post(install::decide)
        } else {
            get(authorize::show).post(authorize::decide)
        };
        router = router.route(path, page);
    }
    if kind == Kind::Generic {
        router = router
            .route("/revoke", post(token_endpoint::revoke))
            .route("/device_authorization", post(token_endpoint::device))
            .route("/device", get(device_page::show).post(device_page::decide))
            .route(metadata::OAUTH, get(metadata::metadata))
            .route(metadata::OPENID, get(metadata::metadata))
            .route(metadata::JWKS, get(metadata::keys));
    }
    router
        .nest("/admin", admin::router())
        .fallback(resource::nothing_there)
        .with_state(shared)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
