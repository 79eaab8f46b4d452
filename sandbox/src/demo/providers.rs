//! Who takes part: the documented providers, each with pretend servers, a
//! client in the daemon's configuration, and grants.

use super::faults;
use refreshd_core::duration;
use sandbox::admin::NewGrant;
use sandbox::server::Server;
use sandbox::{Kind, Options};
use serde_json::json;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of RETM's first business.
const FIRST_SHOP: u16 = 17;

/// A provider with the grants that a client has there.
#[derive(Debug)]
pub(super) struct Provider {
    /// The client's name in the configuration.
    pub(super) client: &'static str,
    pub(super) kind: Kind,
    /// How long an access token lives by the provider's document.
    pub(super) documented: Duration,
    /// How long it lives here.
    pub(super) lifetime: Duration,
    /// One, or one for each grant where a grant says who its server is.
    pub(super) servers: Vec<Server>,
    pub(super) grants: Vec<Grant>,
    /// Its grants meet what no daemon can survive.
    pub(super) doomed: bool,
}

/// A grant, as the daemon and as its server know it.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) name: String,
    /// Its name at the server.
    pub(super) known_as: String,
    /// Which of the provider's servers.
    server: usize,
}

/// What was asked for on the command line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) lifetime: Duration,
    pub(super) grants: u16,
    pub(super) faults: bool,
}

/// Starts the servers of all five; with faults, one more for the doomed.
pub(super) async fn start(wanted: Wanted) -> io::Result<Vec<Provider>> {
    let kinds = [
        Kind::Retently,
        Kind::Reteno,
        Kind::Retm,
        Kind::Blynk,
        Kind::Vcita,
    ];
    let mut providers = Vec::new();
    for kind in kinds {
        providers.push(Provider::start(kind, wanted).await?);
    }
    if wanted.faults {
        providers.push(Provider::start_doomed(wanted).await?);
    }
    Ok(providers)
}

impl Provider {
    async fn start(kind: Kind, wanted: Wanted) -> io::Result<Provider> {
        let name = kind.name();
        let names: Vec<String> = match kind {
            // One more, so that two hosts are seen.
            Kind::Retm => (0..=wanted.grants)
                .map(|n| format!("shop-{}", FIRST_SHOP + n))
                .collect(),
            _ => (1..=wanted.grants)
                .map(|n| match n {
                    1 => name.to_owned(),
                    n => format!("{name}-{n}"),
                })
                .collect(),
        };
        let mut options = options(kind, name, wanted.lifetime);
        if wanted.faults {
            options.rotation = faults::survivable(kind, wanted.lifetime);
        }
        Provider::with(kind, name, options, names).await
    }

    /// A server that revokes everything when an old refresh token comes back.
    async fn start_doomed(wanted: Wanted) -> io::Result<Provider> {
        let options = options(Kind::Reteno, "strict", wanted.lifetime);
        let names = [faults::DEAD, faults::REVOKED].map(str::to_owned);
        let strict = Provider::with(Kind::Reteno, "strict", options, names.into()).await?;
        Ok(Provider {
            doomed: true,
            ..strict
        })
    }

    async fn with(
        kind: Kind,
        client: &'static str,
        options: Options,
        names: Vec<String>,
    ) -> io::Result<Provider> {
        // The client asks for itself: what it gets is told apart by the server alone.
        let apart = kind == Kind::Blynk;
        let mut servers = Vec::new();
        for _ in 0..if apart { names.len() } else { 1 } {
            servers.push(Server::start(options.clone()).await?);
        }
        let grants = names.into_iter().enumerate().map(|(at, name)| Grant {
            known_as: match apart {
                true => options.client_id.clone(),
                false => name.clone(),
            },
            server: if apart { at } else { 0 },
            name,
        });
        Ok(Provider {
            client,
            kind,
            documented: Options::of(kind).access_lifetime,
            lifetime: options.access_lifetime,
            grants: grants.collect(),
            servers,
            doomed: false,
        })
    }

    /// Where a grant lives.
    pub(super) fn server_of(&self, grant: &Grant) -> &Server {
        &self.servers[grant.server]
    }

    /// Where a grant's access tokens are tried.
    pub(super) fn resource_of(&self, grant: &Grant) -> String {
        let server = self.server_of(grant);
        if self.kind.has_business_hosts() {
            let (port, path) = (server.address().port(), self.kind.verify_path());
            return format!("http://{}.localhost:{port}{path}", grant.name);
        }
        server.verify_url()
    }

    /// The values of the provider's variables, as TOML has them.
    pub(super) fn vars_of(&self, grant: &Grant) -> Option<String> {
        match self.kind {
            Kind::Retm => Some(format!("business_id = \"{}\"", grant.name)),
            Kind::Blynk => {
                let address = self.server_of(grant).address();
                Some(format!("server_address = \"{address}\""))
            }
            _ => None,
        }
    }

    /// Whether anything is ever refreshed.
    pub(super) fn refreshes(&self) -> bool {
        self.kind != Kind::Vcita
    }

    /// `48h as 20s`.
    pub(super) fn scale(&self) -> String {
        let documented = human(self.documented);
        match self.lifetime == self.documented {
            true => documented,
            false => format!("{documented} as {}", human(self.lifetime)),
        }
    }

    /// What `refreshd import --ndjson` reads: a line for each grant, which the
    /// server makes now. A client that asks for itself brings nothing.
    pub(super) fn import_lines(&self) -> String {
        if self.kind == Kind::Blynk {
            return String::new();
        }
        self.grants.iter().map(|g| self.import_line(g)).collect()
    }

    fn import_line(&self, grant: &Grant) -> String {
        let server = self.server_of(grant);
        let begun = server.begin_grant(&grant.known_as, &NewGrant::default());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        // Said, so that the token is known to be young and is not replaced at once.
        let obtained_at = now.map_or(0.0, |now| now.as_secs_f64());
        let mut line = json!({
            "name": grant.name, "client": self.client,
            "response": begun.answer, "obtained_at": obtained_at,
        });
        if self.kind == Kind::Reteno {
            line["code"] = begun.origin.code.into();
            line["redirect_uri"] = begun.origin.redirect_uri.into();
        }
        format!("{line}\n")
    }
}

/// The documented server with its access tokens living that long. Twenty years
/// stay twenty: there is nothing to see of them sooner.
fn options(kind: Kind, client: &str, lifetime: Duration) -> Options {
    let documented = Options::of(kind);
    let factor = documented.access_lifetime.as_secs_f64() / lifetime.as_secs_f64();
    let scaled = match kind {
        Kind::Vcita => documented,
        _ => documented.scaled(factor),
    };
    Options {
        client_id: format!("demo-{client}"),
        client_secret: Some(random_secret()),
        ..scaled
    }
}

/// `48h`, as the documents say it, rather than `2d`; `20s`.
pub(super) fn human(duration: Duration) -> String {
    let hours = duration.as_secs() / 3600;
    match hours {
        24..=72 if duration.as_secs().is_multiple_of(3600) => format!("{hours}h"),
        _ => duration::human(duration).replace(' ', ""),
    }
}

/// A secret for one demo.
fn random_secret() -> String {
    let words = [(); 4].map(|()| getrandom::u64().expect("the system has random numbers"));
    words.iter().map(|word| format!("{word:016x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(grants: u16, faults: bool) -> Wanted {
        Wanted {
            lifetime: Duration::from_secs(20),
            grants,
            faults,
        }
    }

    #[tokio::test]
    async fn all_five_take_part_and_two_businesses() {
        let providers = start(wanted(1, false)).await.unwrap();
        let names: Vec<&str> = providers
            .iter()
            .flat_map(|p| p.grants.iter().map(|g| g.name.as_str()))
            .collect();
        let expected = ["retently", "reteno", "shop-17", "shop-18", "blynk", "vcita"];
        assert_eq!(names, expected);
        let scales: Vec<String> = providers.iter().map(Provider::scale).collect();
        let expected = ["6h as 20s", "48h as 20s", "1h as 20s", "24h as 20s", "20y"];
        assert_eq!(scales, expected);
        let shop = &providers[2].grants[1];
        let url = providers[2].resource_of(shop);
        assert!(url.starts_with("http://shop-18.localhost:"), "{url}");
    }

    #[tokio::test]
    async fn lines_bring_what_the_provider_wants_again() {
        let providers = start(wanted(1, true)).await.unwrap();
        let line = |at: usize| -> serde_json::Value {
            let lines = providers[at].import_lines();
            serde_json::from_str(lines.lines().next().unwrap()).unwrap()
        };
        assert!(line(0)["code"].is_null());
        assert!(line(0)["response"]["refresh_token"].is_string());
        assert!(line(1)["code"].is_string() && line(1)["redirect_uri"].is_string());
        assert_eq!(providers[3].import_lines(), "", "it asks for itself");
        assert!(line(4)["response"]["refresh_token"].is_null());
        assert_eq!(line(5)["name"], faults::DEAD);
        assert_eq!(providers[5].import_lines().lines().count(), 2);
    }

    #[tokio::test]
    async fn each_organization_has_a_server_of_its_own() {
        let providers = start(wanted(3, false)).await.unwrap();
        let blynk = &providers[3];
        let vars: Vec<_> = blynk.grants.iter().map(|g| blynk.vars_of(g)).collect();
        assert_eq!(blynk.servers.len(), 3);
        assert!(vars[0] != vars[1] && vars[1] != vars[2], "{vars:?}");
        assert_eq!(providers[2].grants.len(), 4);
    }
}
