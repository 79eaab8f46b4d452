//! What the daemon serves over TCP: links and callbacks, by a browser of few words, and
//! pushes, by a pretend RETM that pushes for real.

mod begins;
mod bounds;
mod businesses;
mod killed;
mod links;
mod nonsense;
mod pushes;
mod quarantine;
mod speed;

use crate::support::{Daemon, House, wait_for};
use refreshd::control::client::Control;
use refreshd::enroll::{Begin, Begun, Report};
use refreshd::exit::Failure;
use refreshd_core::enroll::{Stage, Via};
use sandbox::server::Server;
use sandbox::{Auto, Enrollment, Kind, NewPush, Options, Push};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use url::Url;

/// A house that listens, beside a provider.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) house: House,
    pub(crate) address: SocketAddr,
    pub(crate) http: reqwest::Client,
}

/// An address of this machine that nobody else in these tests takes.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let ip = [
        127,
        71,
        (std::process::id() % 250) as u8,
        NEXT.fetch_add(1, Ordering::Relaxed),
    ];
    let listener = TcpListener::bind(SocketAddr::from((ip, 0))).unwrap();
    listener.local_addr().unwrap()
}

/// Grant `one` of a business.
pub(crate) const ONE: &str = "[grants.one]\nclient = \"c\"\nvars = { business_id = \"shop-17\" }\n";

impl Place {
    /// Client `c` at RETM; `more` stands at the end of the configuration.
    pub(crate) async fn retm(more: &str) -> Place {
        Self::new(Options::of(Kind::Retm), "", more).await
    }

    /// Client `c` at a provider; `below_client` stands right below it.
    pub(crate) async fn new(options: Options, below_client: &str, more: &str) -> Place {
        let address = free_address();
        let server = Server::start(options).await.unwrap();
        server.set_enrollment(Enrollment {
            auto: Auto::Allow,
            success_url: Some(format!("http://{address}/push/c")),
            push_wait_ms: 30_000,
            ..Enrollment::default()
        });
        let place = Place {
            house: House::new(""),
            server,
            address,
            http: sandbox::http::client(),
        };
        place.house.secret("pretend-secret", "pretend-secret");
        place.configure(
            &format!("listen = \"{address}\"\npublic_url = \"http://{address}\"\n"),
            below_client,
            more,
        );
        place
    }

    pub(crate) fn configure(&self, enroll: &str, below_client: &str, more: &str) {
        let kind = self.server.options().kind;
        let (provider, overrides) = match kind {
            Kind::Generic => ("generic", String::new()),
            _ => {
                let overrides = self.server.override_toml();
                (kind.name(), format!("[clients.c.override]\n{overrides}"))
            }
        };
        if kind == Kind::Generic {
            let (authorize, token) = (
                self.server.authorize_url().unwrap(),
                self.server.token_url(),
            );
            self.house.write(
                "providers.d/generic.toml",
                &format!("name = \"generic\"\n[authorize]\nurl = \"{authorize}\"\n[token]\nurl = \"{token}\"\n"),
            );
        }
        self.house.configure(&format!(
            "[enroll]\n{enroll}\n[clients.c]\nprovider = \"{provider}\"\nclient_id = \"pretend\"\n\
             client_secret = {{ file = \"ROOT/pretend-secret\" }}\n{below_client}\n{overrides}\n\
             [[clients.c.outputs]]\npath = \"ROOT/tokens/{{grant}}\"\n{more}\n"
        ));
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn control(&self) -> Control {
        let connected = Control::to(&self.house.path("run/control.sock"));
        connected.expect("a client")
    }

    /// Begins an authorization; its id, and where the person is to go.
    pub(crate) async fn begin(
        &self,
        grant: Option<&str>,
        via: Via,
    ) -> Result<(String, Url), Failure> {
        let begin = Begin {
            client: grant.is_none().then(|| "c".to_owned()),
            grant: grant.map(str::to_owned),
            via,
            redirect_uri: None,
            reload: false,
        };
        match self.control().begin_enrollment(&begin).await? {
            Begun::Visit { id, url, .. } => Ok((id, url.parse().unwrap())),
            other => panic!("{other:?}"),
        }
    }

    /// Begins an installation; its id, and what its link carries.
    pub(crate) async fn install(&self, grant: Option<&str>) -> (String, Value) {
        let (id, url) = self.begin(grant, Via::Redirect).await.unwrap();
        let mut query = url.query_pairs();
        let state = query.find(|(name, _)| name == "state").unwrap().1;
        (id, json!({ "state": state }))
    }

    /// RETM pushes for a business, with a new code unless one is said.
    pub(crate) async fn push(&self, business: &str, data: &Value, code: Option<&str>) -> Push {
        let new = NewPush {
            business_id: Some(business.to_owned()),
            data: Some(data.clone()),
            code: code.map(str::to_owned),
            ..NewPush::default()
        };
        self.server.push(&new).await.unwrap().remove(0)
    }

    pub(crate) async fn report(&self, id: &str) -> Report {
        let patience = refreshd::service::api::Patience { wait_ms: 0 };
        self.control().enrollment(id, patience).await.unwrap()
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self, id: &str) -> Report {
        for _ in 0..600 {
            let patience = refreshd::service::api::Patience { wait_ms: 100 };
            let report = self.control().enrollment(id, patience).await.unwrap();
            if report.stage.is_over() {
                return report;
            }
        }
        panic!("{id} is not over");
    }

    /// Waits until it is done, and its token is published and works.
    pub(crate) async fn done(&self, id: &str, grant: &str) -> Report {
        let report = self.over(id).await;
        assert_eq!(report.stage, Stage::Done, "{report:?}");
        assert_eq!(report.grant.as_deref(), Some(grant));
        self.works(grant).await;
        report
    }

    pub(crate) async fn works(&self, grant: &str) {
        let path = self.house.path(&format!("tokens/{grant}"));
        wait_for("the token file", || path.exists());
        let token = std::fs::read_to_string(path).unwrap();
        let asked = self.http.get(self.server.verify_url()).bearer_auth(token);
        assert_eq!(asked.send().await.unwrap().status(), 200);
    }

    /// How many token requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.server.presentations().len()
    }

    /// Posts to a path; status and body.
    pub(crate) async fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> (u16, String) {
        let request = self.http.post(self.url(path)).header("content-type", kind);
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    pub(crate) fn daemon(&self) -> Daemon {
        self.house.daemon()
    }
}
