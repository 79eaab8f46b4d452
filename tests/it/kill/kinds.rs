//! Pretend providers, one for each way of rotating, and their grants.

use crate::support::{House, text};
use sandbox::faults::{Fault, NowAndThen};
use sandbox::server::Server;
use sandbox::{OldValid, Options, Reuse, Rotates, Rotation};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The longest that a server keeps an exchange or its answer waiting.
pub const LONGEST_DELAY: Duration = Duration::from_millis(400);

/// A server with a way of rotating.
pub struct Kind {
    /// Names client, provider and grants.
    pub name: &'static str,
    /// The server.
    pub server: Server,
    /// How long its access tokens live.
    pub lifetime: Duration,
    /// Names of its grants here.
    pub grants: Vec<String>,
    /// What its descriptions says.
    pub rotation: Rotation,
    began: Instant,
    families: AtomicUsize,
}

impl Kind {
    /// Starts its server. Fewer than five grants: refusals of more would be
    /// taken for a broken provider.
    pub fn start(
        handle: &Handle,
        name: &'static str,
        old_valid: OldValid,
        reuse: Reuse,
        lifetime_secs: u64,
    ) -> Self {
        let rotation = Rotation {
            rotates: Rotates::Always,
            old_valid,
            reuse,
            ..Rotation::default()
        };
        Self::with(handle, name, rotation, Duration::from_secs(lifetime_secs))
    }

    /// Starts the server of any kind.
    pub fn with(
        handle: &Handle,
        name: &'static str,
        rotation: Rotation,
        lifetime: Duration,
    ) -> Self {
        let options = Options {
            access_lifetime: lifetime,
            rotation: rotation.clone(),
            ..Options::default()
        };
        let server = handle.block_on(Server::start(options)).unwrap();
        let began = Instant::now() - Duration::from_millis(server.stats().now_ms);
        Kind {
            name,
            server,
            lifetime,
            grants: (0..4).map(|n| format!("{name}-{n}")).collect(),
            rotation,
            began,
            families: AtomicUsize::new(0),
        }
    }

    /// Whether a lost answer can never cost the grant.
    pub fn forgives(&self) -> bool {
        self.rotation.old_valid != OldValid::default() || self.rotation.rotates == Rotates::Never
    }

    /// Most exchanges take a while, before they are performed or after.
    pub fn slow_down(&self) {
        let faults = [LONGEST_DELAY / 3, LONGEST_DELAY]
            .map(|delay| u64::try_from(delay.as_millis()).unwrap())
            .into_iter()
            .flat_map(|ms| [Fault::Slow { ms }, Fault::Late { ms }])
            .collect();
        self.server.set_now_and_then(NowAndThen {
            probability: 0.6,
            faults,
            spare_next: false,
        });
    }

    /// The client's part of the configuration, grants included.
    pub fn configuration(&self) -> String {
        let name = self.name;
        let mut config = format!(
            r#"
            [clients.{name}]
            provider = "{name}"
            client_id = "pretend"
            client_secret = {{ file = "ROOT/pretend-secret" }}
            [[clients.{name}.outputs]]
            path = "ROOT/tokens/{{grant}}.json"
            format = "json"
            [[clients.{name}.outputs]]
            path = "ROOT/tokens/{{grant}}"
            "#
        );
        for grant in &self.grants {
            config.push_str(&format!("[grants.{grant}]\nclient = \"{name}\"\n"));
        }
        config
    }

    /// Writes the provider's description.
    pub fn describe(&self, house: &House) {
        let old_valid = String::from(self.rotation.old_valid);
        let rotates = match self.rotation.rotates {
            Rotates::Always => "always",
            Rotates::Sometimes => "sometimes",
            Rotates::Never => "never",
        };
        let reuse = if self.rotation.reuse == Reuse::Error {
            "error"
        } else {
            "revokes"
        };
        let description = format!(
            "name = \"{}\"\n[token]\nurl = \"{}\"\n\
             [rotation]\nrotates = \"{rotates}\"\nold_valid = \"{old_valid}\"\nreuse = \"{reuse}\"\n\
             revokes_old_access = {}\n",
            self.name,
            self.server.token_url(),
            self.rotation.revokes_old_access,
        );
        house.write(&format!("providers.d/{}.toml", self.name), &description);
    }

    /// Authorizes a grant, also anew. Returns what the server calls the family.
    pub fn authorize(&self, house: &House, grant: &str) -> String {
        let number = self.families.fetch_add(1, Ordering::Relaxed);
        let family = format!("{grant}.{number}");
        let response = self.server.make_grant(&family).to_string();
        let imported = house.run_with(&["import", grant], &response);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        family
    }

    /// A moment on the server's clock.
    pub fn millis_at(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.began).as_millis()).unwrap()
    }
}
