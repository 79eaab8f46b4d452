//! `refreshd authorize` at servers that were written elsewhere, with people who log in
//! and decide on the servers' own pages.

mod authlib;
mod devices;
mod django;
mod openid;

use super::pages::Site;
use super::python::RealServer;
use crate::authorize::{Authorizing, Ended};
use crate::browser::Browser;
use crate::http::Http;
use crate::resource::published;
use crate::support::{House, text, wait_for};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use url::Url;

/// What the command's own page says in the end.
const CLOSE: &str = "You can close this window.";

/// A server, a house with the grant `one` that nobody has authorized, and a browser.
struct Scene {
    server: RealServer,
    site: &'static Site,
    house: House,
    browser: Browser,
    http: Http,
}

impl Scene {
    /// The `web` client (confidential) or the `native` one (public), and what the
    /// provider's description has beyond the endpoints for codes.
    fn new(
        site: &'static Site,
        options: &[&str],
        client: &str,
        more: impl Fn(&RealServer) -> String,
    ) -> Self {
        let scene = Scene::bare(site, options, client, "");
        let server = &scene.server;
        let params: Vec<String> = site
            .more
            .iter()
            .map(|(name, value)| format!("{name} = {value:?}"))
            .collect();
        let described = format!(
            "name = \"real\"\n[authorize]\nurl = {:?}\nissuer = {:?}\nparams = {{ {} }}\n\
             [token]\nurl = {:?}\n[rotation]\nrotates = \"always\"\nold_valid = \"0s\"\n{}",
            server.member("authorize_url"),
            server.member("issuer"),
            params.join(", "),
            server.member("token_url"),
            more(server)
        );
        scene.house.write("providers.d/real.toml", &described);
        scene
    }

    /// The same with what the server says of itself, but for what that cannot know.
    fn discovered(site: &'static Site, client: &str) -> Self {
        let params = |(name, value)| {
            format!("authorize.params.{name} = {value:?}\ndevice.params.{name} = {value:?}\n")
        };
        let overrides: String = site.more.iter().copied().map(params).collect();
        let scene = Scene::bare(site, &[], client, &overrides);
        let issuer = scene.server.member("issuer");
        let args = ["provider", "discover", issuer, "--name", "real"];
        let found = scene.house.run(&args);
        assert!(found.status.success(), "{}", text(&found.stderr));
        let found = text(&found.stdout);
        assert!(found.contains(&format!("issuer = {issuer:?}")), "{found}");
        scene.house.write("providers.d/real.toml", &found);
        scene
    }

    /// All but the provider's description.
    fn bare(site: &'static Site, options: &[&str], client: &str, overrides: &str) -> Self {
        let server = RealServer::start(site.script, options);
        let (secret, auth) = match client {
            "web" => ("client_secret = { file = \"ROOT/real-secret\" }", "basic"),
            _ => ("", "none"),
        };
        let scopes: Vec<&str> = site.scope.split(' ').collect();
        let house = House::new(&format!(
            r#"
            [clients.real]
            provider = "real"
            client_id = "{}"
            {secret}
            scopes = {scopes:?}
            [clients.real.override]
            token.client.auth = {auth:?}
            {overrides}
            [grants.one]
            client = "real"
            [[grants.one.outputs]]
            path = "ROOT/tokens/one.json"
            format = "json""#,
            server.member(&format!("{client}_client_id"))
        ));
        house.secret("real-secret", server.member("web_client_secret"));
        Scene {
            server,
            site,
            house,
            browser: Browser::start(),
            http: Http::new(),
        }
    }

    /// Begins to authorize `one`.
    fn begin(&self, args: &[&str]) -> Authorizing {
        let mut all = vec!["authorize", "one", "--no-browser"];
        all.extend(args);
        Authorizing::start(&self.house, &all)
    }

    /// Goes to an address as this person, and agrees.
    fn approve(&self, url: &Url, name: &str) {
        self.browser.forget();
        self.browser.go(url.as_str());
        let password = self.server.member("password");
        self.site.approve(&self.browser, name, password);
    }

    /// Goes to an address as this person, and does not.
    fn refuse(&self, url: &Url, name: &str) {
        self.browser.forget();
        self.browser.go(url.as_str());
        let password = self.server.member("password");
        self.site.refuse(&self.browser, name, password);
    }

    /// Authorizes `one` from begin to end, as this person; what the command said.
    fn authorize(&self, name: &str) -> Ended {
        let begun = self.begin(&[]);
        self.approve(&begun.url, name);
        self.browser.wait_for_text(CLOSE);
        begun.end()
    }

    fn file(&self) -> PathBuf {
        self.house.path("tokens/one.json")
    }

    /// The published token once this generation is there.
    fn token(&self, generation: u64) -> String {
        let mut token = None;
        wait_for("the generation's file", || {
            token = published(&self.file()).filter(|(at, _)| *at == generation);
            token.is_some()
        });
        token.unwrap().1
    }

    /// Whose the published token of a generation is; the server takes it.
    fn owner(&self, generation: u64) -> String {
        let token = self.token(generation);
        let url = self.server.member("userinfo_url");
        let (status, person) = self.http.json(url, Some(&token));
        assert_eq!(status, 200, "{person}");
        person["sub"].as_str().unwrap().to_owned()
    }

    /// Refreshes; the generation then.
    fn refresh(&self) -> Value {
        let refreshed = self.house.json(&["refresh", "one", "--force", "--json"]);
        refreshed["generation"].clone()
    }

    /// The latest authorization.
    fn latest(&self) -> Value {
        self.house.json(&["authorize", "--list", "--json"])[0].clone()
    }
}

/// Reads the token file all the time: it is whole, and its generation never falls.
struct Reader {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Reader {
    fn of(path: &Path) -> Self {
        let (path, ends) = (path.to_owned(), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                let Some((generation, _)) = published(&path) else {
                    assert_eq!(seen, 0, "a file that was there is gone");
                    continue;
                };
                assert!(generation >= seen, "generation {generation} after {seen}");
                seen = generation;
            }
            seen
        });
        Reader { ends, thread }
    }

    /// The last generation that it saw.
    fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
