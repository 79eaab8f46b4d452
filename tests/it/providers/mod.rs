//! The documented providers: the real daemon with the provider files that come
//! with it, against servers that enforce what each document says. There is no
//! account at any of the five to test with, so pretend servers stand in.

mod begins_by_itself;
mod faults;
mod imports;
mod lapsed;
mod nothing_to_refresh;
mod rotation;

use crate::resource::Asker;
use crate::support::{House, text, wait_for};
use sandbox::admin::NewGrant;
use sandbox::server::Server;
use sandbox::{DEFAULT_REDIRECT_URI, Kind, Options};
use serde_json::{Value, json};
use std::process::Output;

/// A house with the grant `one` at a provider.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) house: House,
}

/// What a grant of this kind needs besides its client.
fn vars(server: &Server) -> String {
    match server.options().kind {
        Kind::Retm => "vars = { business_id = \"shop-17\" }".to_owned(),
        Kind::Blynk => format!("vars = {{ server_address = \"{}\" }}", server.address()),
        _ => String::new(),
    }
}

impl Place {
    /// Grant `one`, configured and not yet authorized. `more` goes below `[clients.c]`.
    pub(crate) async fn new(options: Options, more: &str) -> Place {
        let server = Server::start(options).await.unwrap();
        let house = House::new(&Place::config(&server, more));
        house.secret("pretend-secret", "pretend-secret");
        Place { server, house }
    }

    fn config(server: &Server, more: &str) -> String {
        let (kind, vars) = (server.options().kind.name(), vars(server));
        let overrides = server.override_toml();
        format!(
            "[clients.c]\nprovider = \"{kind}\"\nclient_id = \"pretend\"\n\
             client_secret = {{ file = \"ROOT/pretend-secret\" }}\nredirect_uri = \"{DEFAULT_REDIRECT_URI}\"\n{more}\n\
             [clients.c.override]\n{overrides}\n\
             [grants.one]\nclient = \"c\"\n{vars}\n[[grants.one.outputs]]\npath = \"ROOT/tokens/one\"\n"
        )
    }

    /// A line for `import --ndjson`: a grant that a person authorizes now.
    pub(crate) fn line(&self) -> Value {
        let new = NewGrant {
            business_id: Some("shop-17".to_owned()),
            ..NewGrant::default()
        };
        let begun = self.server.begin_grant("one", &new);
        json!({
            "name": "one", "response": begun.answer, "code": begun.origin.code, "obtained_at": epoch(),
        })
    }

    /// Imports such a grant.
    pub(crate) fn authorize(&self) {
        let imported = self.import(&self.line());
        assert!(imported.status.success(), "{}", text(&imported.stderr));
    }

    /// Imports a line.
    pub(crate) fn import(&self, line: &Value) -> Output {
        // Two authorizations may come within one second.
        let args = ["import", "--ndjson", "--replace"];
        self.house.run_with(&args, &line.to_string())
    }

    /// Refreshes at once, against all caution.
    pub(crate) fn force(&self) -> Output {
        let args = ["refresh", "one", "--force", "--accept-risk"];
        self.house.run(&args)
    }

    pub(crate) fn status(&self) -> Value {
        self.house.status("one")
    }

    /// Waits until that generation, or a later one, is published and works.
    pub(crate) fn works_at(&self, generation: u64) {
        wait_for(&format!("generation {generation} in the file"), || {
            let meta = std::fs::read_to_string(self.house.path("tokens/.one.meta.json"));
            let meta: Option<Value> = meta.ok().and_then(|m| serde_json::from_str(&m).ok());
            meta.is_some_and(|meta| meta["generation"].as_u64() >= Some(generation))
        });
        assert_eq!(self.resource(), 200, "{:?}", self.server.presentations());
    }

    /// What the provider's own resource says to the token in the file.
    pub(crate) fn resource(&self) -> u16 {
        let token = std::fs::read_to_string(self.house.path("tokens/one")).unwrap();
        let url = self.server.verify_url();
        std::thread::spawn(move || Asker::new().status(&url, &token))
            .join()
            .unwrap()
    }
}

pub(crate) fn epoch() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
