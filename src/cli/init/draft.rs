//! The text of the files. Values are written by the TOML library, so that no answer
//! can add a line of its own.

use super::plan::{NewClient, Plan};
use super::secret::Keep;
use refreshd_core::provider::description::Auth;
use std::fmt::Write as _;
use std::path::Path;

/// A configuration with a client and a grant. `adds`: it stands beside another.
pub(super) fn configuration(plan: &Plan, adds: bool) -> String {
    let mut text = match adds {
        true => "# Added by `refreshd init`. After a change: `refreshd check`, then `refreshd reload`.\n".to_owned(),
        false => "# The configuration of refreshd, written by `refreshd init`.\n\
                  # After a change: `refreshd check`, then `refreshd reload`. docs/configuration.md explains every key.\n\
                  # More clients and grants may stand here, or in files of their own in conf.d/ beside this one\n\
                  # (`refreshd init --add`).\n"
            .to_owned(),
    };
    if let Some(new) = &plan.new_client {
        client(&mut text, &plan.client, new);
    }
    grant(&mut text, plan);
    text
}

fn client(text: &mut String, name: &str, new: &NewClient) {
    let table = key(name);
    line(text, "\n# Our registration at the provider.");
    line(text, &format!("[clients.{table}]"));
    line(
        text,
        &format!("provider      = {}", value(&new.provider.name)),
    );
    line(text, &format!("client_id     = {}", value(&new.client_id)));
    match &new.secret {
        Keep::Nowhere => {}
        Keep::Variable(name) => {
            line(text, "# In the environment of the daemon.");
            line(
                text,
                &format!("client_secret = {{ env = {} }}", value(name)),
            );
        }
        Keep::Credential(name) => {
            line(text, "# LoadCredential= in the unit says where it lies.");
            line(
                text,
                &format!("client_secret = {{ credential = {} }}", value(name)),
            );
        }
        Keep::There(path) | Keep::Write(path, _) => {
            line(text, "# Only the user that refreshd runs as may read it.");
            line(
                text,
                &format!("client_secret = {{ file = {} }}", path_value(path)),
            );
        }
    }
    if let Some(uri) = &new.redirect_uri {
        line(
            text,
            "# As it is registered at the provider, to the letter.",
        );
        line(text, &format!("redirect_uri  = {}", value(uri)));
    }
    if !new.scopes.is_empty() {
        line(text, &format!("scopes        = {}", list(&new.scopes)));
    }
    if !new.allow_networks.is_empty() {
        line(
            text,
            "# Where the provider may lie besides the open Internet.",
        );
        line(
            text,
            &format!("allow_networks = {}", list(&new.allow_networks)),
        );
    }
    if let Some(file) = &new.ca_file {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        line(text, &format!("ca_file       = {}", path_value(&file)));
    }
    let secretless = matches!(new.secret, Keep::Nowhere);
    if secretless && new.provider.description.token.client.auth != Auth::None {
        line(text, "\n# The provider gave no client secret.");
        line(text, &format!("[clients.{table}.override.token.client]"));
        line(text, "auth = \"none\"");
    }
}

fn grant(text: &mut String, plan: &Plan) {
    let table = key(&plan.grant);
    line(text, "\n# One authorization, which refreshd keeps alive.");
    line(text, &format!("[grants.{table}]"));
    line(text, &format!("client = {}", value(&plan.client)));
    if !plan.vars.is_empty() {
        let vars = plan
            .vars
            .iter()
            .map(|(name, var)| format!("{} = {}", key(name), value(var)));
        let vars: Vec<String> = vars.collect();
        line(text, &format!("vars   = {{ {} }}", vars.join(", ")));
    }
    let Some(output) = &plan.output else {
        return;
    };
    line(
        text,
        "\n# The file that other programs read the access token from.",
    );
    line(text, &format!("[[grants.{table}.outputs]]"));
    line(text, &format!("path   = {}", path_value(output)));
    if let Some(group) = &plan.group {
        line(text, "# Its programs may read it, too.");
        line(text, &format!("group  = {}", value(group)));
    }
    line(
        text,
        "# format = \"json\"      # or \"env\", \"header\"; without it, the bare token",
    );
}

/// A provider file from what is known of a token endpoint.
pub(super) fn provider(
    name: &str,
    token: &str,
    authorize: Option<&str>,
    asks_itself: bool,
) -> String {
    let mut text = String::new();
    line(
        &mut text,
        "# Written by `refreshd init`. docs/configuration.md explains what else may stand here.",
    );
    line(&mut text, &format!("name = {}", value(name)));
    if let Some(url) = authorize {
        line(&mut text, "\n[authorize]");
        line(&mut text, &format!("url = {}", value(url)));
        line(
            &mut text,
            "# pkce = \"none\"          # where the server refuses PKCE",
        );
    }
    line(&mut text, "\n[token]");
    line(&mut text, &format!("url = {}", value(token)));
    line(
        &mut text,
        "# body = \"json\"          # where the server does not take a form",
    );
    line(&mut text, "\n[token.client]");
    line(
        &mut text,
        "# How the client proves who it is: basic, or body where the server wants it there.",
    );
    line(&mut text, "auth = \"basic\"");
    if asks_itself {
        line(&mut text, "\n[refresh]");
        line(&mut text, "# The client asks anew whenever a token ends.");
        line(&mut text, "with = \"client_credentials\"");
    } else {
        line(&mut text, "\n[rotation]");
        line(
            &mut text,
            "# Not known: until it is said here, each refresh token is taken to be good for one use,",
        );
        line(&mut text, "# and using it twice to revoke all.");
        line(
            &mut text,
            "# rotates = \"never\"      # where refreshes return no new refresh token",
        );
    }
    text
}

fn line(text: &mut String, line: &str) {
    let _infallible = writeln!(text, "{line}");
}

fn value(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn path_value(path: &Path) -> String {
    value(&path.display().to_string())
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| value(item)).collect();
    format!("[{}]", items.join(", "))
}

fn key(name: &str) -> String {
    toml_edit::Key::new(name).display_repr().into_owned()
}
