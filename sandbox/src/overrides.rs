//! What a client's configuration must say so that the provider's real file
//! leads here.

use crate::server::Server;
use crate::{Kind, OldValid, Options, Reading, Reuse, Rotates, Rotation};
use std::time::Duration;

impl Server {
    /// The lines that go under `[clients.NAME.override]`: where the endpoints
    /// are, the lifetimes, and what else was chosen to be otherwise than the
    /// provider's file has it.
    ///
    /// Variables stay variables: grants of RETM set `business_id`, those of the
    /// Organization API set `server_address` to [`Server::address`].
    #[must_use]
    pub fn override_toml(&self) -> String {
        let options = self.options();
        let mut lines = vec![
            format!("token.url = {}", quoted(&self.described_token_url())),
            format!("verify.url = {}", quoted(&self.verify_url())),
            duration_line("lifetime.access", options.access_lifetime),
        ];
        let authorize = self.authorize_url();
        lines.extend(authorize.map(|url| format!("authorize.url = {}", quoted(&url))));
        // The Organization API's file says that it ends with the access token.
        let refresh = options.refresh_left();
        let refresh = refresh.filter(|_| options.kind != Kind::Blynk);
        lines.extend(refresh.map(|life| duration_line("lifetime.refresh", life)));
        if options.kind == Kind::Reteno && options.reading == Reading::Query {
            lines.push("token.body = \"query\"".to_owned());
            lines.push("token.client.auth = \"query\"".to_owned());
        }
        if options.rotation != Options::of(options.kind).rotation {
            lines.extend(rotation_lines(&options.rotation));
        }
        lines.join("\n") + "\n"
    }

    fn described_token_url(&self) -> String {
        let kind = self.options().kind;
        if kind == Kind::Blynk {
            return format!("http://{{server_address}}{}", kind.token_path());
        }
        self.token_url()
    }
}

fn rotation_lines(rotation: &Rotation) -> Vec<String> {
    let rotates = match rotation.rotates {
        Rotates::Always => "always",
        Rotates::Sometimes => "sometimes",
        Rotates::Never => "never",
    };
    let reuse = match rotation.reuse {
        Reuse::Error => "error",
        Reuse::Revokes => "revokes",
    };
    let mut lines = vec![
        format!("rotation.rotates = {}", quoted(rotates)),
        match rotation.old_valid {
            OldValid::For(window) => duration_line("rotation.old_valid", window),
            other => format!("rotation.old_valid = {}", quoted(&String::from(other))),
        },
        format!("rotation.reuse = {}", quoted(reuse)),
        format!(
            "rotation.revokes_old_access = {}",
            rotation.revokes_old_access
        ),
    ];
    let max = rotation.old_valid_max;
    lines.extend(max.map(|max| duration_line("rotation.old_valid_max", max)));
    lines
}

fn duration_line(key: &str, duration: Duration) -> String {
    match duration.as_millis() {
        0 => format!("{key} = \"0s\""),
        ms => format!("{key} = \"{ms}ms\""),
    }
}

/// A TOML basic string: its escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is plain data")
}
