//! Metadata as a provider file. Values are written by the TOML library, comments
//! from printable text alone, so that no member can add a line of its own.

use super::{Discovered, DiscoveryError};
use refreshd_core::name;
use refreshd_core::provider::description::check_endpoint;
use refreshd_core::text::printable;
use serde_json::Value;
use url::Url;

/// The file, and what its reader should look at.
struct Draft<'a> {
    discovered: &'a Discovered,
    origin: url::Origin,
    text: String,
}

impl Discovered {
    /// A provider file for review, under the name, or one made from the host.
    ///
    /// # Errors
    /// When the document has no token endpoint that can be used.
    pub fn provider_file(&self, wanted: Option<&str>) -> Result<String, DiscoveryError> {
        let issuer = Url::parse(&self.issuer).map_err(|e| self.unusable(e.to_string()))?;
        let token = match self.endpoint("token_endpoint") {
            Ok(Some(url)) => url,
            Ok(None) => return Err(self.unusable("it has no token_endpoint".to_owned())),
            Err(why) => return Err(self.unusable(format!("token_endpoint: {why}"))),
        };
        let mut draft = Draft {
            discovered: self,
            origin: issuer.origin(),
            text: String::new(),
        };
        draft.head(wanted, &issuer);
        draft.authorize();
        draft.device();
        draft.token(&token);
        draft.refresh();
        draft.rotation();
        draft.revoke();
        draft.verify();
        Ok(draft.text)
    }

    fn unusable(&self, why: String) -> DiscoveryError {
        DiscoveryError::Document {
            url: self.url.to_string(),
            why,
        }
    }

    /// An endpoint that requests may go to. `{` would begin a variable.
    fn endpoint(&self, member: &str) -> Result<Option<Url>, String> {
        let text = match self.members.get(member) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err("it is not a text".to_owned()),
        };
        let url = Url::parse(text).map_err(|e| format!("it is not a URL: {e}"))?;
        check_endpoint(&url)?;
        match url.as_str().contains(['{', '}']) {
            true => Err("it holds braces".to_owned()),
            false => Ok(Some(url)),
        }
    }

    /// A list of texts; `None`: it is not there.
    fn list(&self, member: &str) -> Option<Vec<&str>> {
        let list = self.members.get(member)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }
}

/// A name made from a host: `login.example.com`, `localhost-8080`.
pub(crate) fn name_of(issuer: &Url) -> String {
    let host = issuer.host_str().unwrap_or_default().to_lowercase();
    let port = issuer.port().map_or_else(String::new, |p| format!("-{p}"));
    let path = issuer.path().trim_matches('/').replace('/', "-");
    let path = if path.is_empty() {
        path
    } else {
        format!("-{path}")
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let name: String = format!("{host}{port}{path}")
        .to_lowercase()
        .chars()
        .filter(|c| fits(*c))
        .take(63)
        .collect();
    match name::is_valid(&name) {
        true => name,
        false => "discovered".to_owned(),
    }
}

impl Draft<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A comment, whatever stands in the text.
    fn comment(&mut self, text: &str) {
        for line in text.split('\n') {
            // What a person reads here may be longer than what providers say.
            let safe: String = line
                .chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect();
            self.line(&format!("# {safe}"));
        }
    }

    fn value(&mut self, key: &str, value: &str) {
        let value = toml_edit::Value::from(value).to_string();
        self.line(&format!("{key} = {value}"));
    }

    /// A table with a URL, or why there is none. True: there is one.
    fn table(&mut self, table: &str, member: &str) -> bool {
        match self.discovered.endpoint(member) {
            Ok(None) => false,
            Err(why) => {
                self.line("");
                let why = printable(&why);
                self.comment(&format!(
                    "WARNING: {member} cannot be used and is left out: {why}"
                ));
                false
            }
            Ok(Some(url)) => {
                self.line("");
                self.line(&format!("[{table}]"));
                self.url(member, &url);
                true
            }
        }
    }

    fn url(&mut self, member: &str, url: &Url) {
        if url.origin() != self.origin {
            let origin = printable(&url.origin().ascii_serialization());
            self.comment(&format!(
                "WARNING: the {member} is not at the issuer but at {origin}; make sure that it is the provider's."
            ));
        }
        self.value("url", url.as_str());
    }

    fn head(&mut self, wanted: Option<&str>, issuer: &Url) {
        let (asked, url) = (
            printable(&self.discovered.issuer),
            printable(self.discovered.url.as_str()),
        );
        self.comment(&format!(
            "What {asked} says of itself in\n{url}.\nFor review: read it, add what it cannot know, and save it in providers.d/."
        ));
        let name = wanted.map_or_else(|| name_of(issuer), str::to_owned);
        self.value("name", &name);
        let docs = self.discovered.members.get("service_documentation");
        let docs = docs
            .and_then(Value::as_str)
            .and_then(|d| Url::parse(d).ok());
        if let Some(docs) = docs.filter(|docs| docs.scheme() == "https") {
            self.value("docs", docs.as_str());
        }
        if let Some(scopes) = self.discovered.list("scopes_supported") {
            let shown: Vec<String> = scopes.iter().take(40).map(|s| printable(s)).collect();
            self.comment(&format!("Scopes it names: {}", shown.join(" ")));
        }
    }

    fn authorize(&mut self) {
        if !self.table("authorize", "authorization_endpoint") {
            return;
        }
        match self.discovered.list("code_challenge_methods_supported") {
            Some(methods) if methods.contains(&"S256") => self.value("pkce", "S256"),
            Some(methods) if methods.contains(&"plain") => {
                self.comment(
                    "It announces PKCE, but only as plain, which is weak: ask it for S256.",
                );
                self.value("pkce", "plain");
            }
            Some(_) => {
                self.comment("It announces PKCE, but with no method that refreshd knows.");
                self.value("pkce", "none");
            }
            None => {
                self.comment("It does not announce PKCE (RFC 8414 §2). Many take it all the same: try \"S256\".");
                self.value("pkce", "none");
            }
        }
        let scopes = self.discovered.list("scopes_supported");
        if scopes.is_some_and(|scopes| scopes.contains(&"offline_access")) {
            self.comment("A refresh token is given for the scope offline_access, and only if the person is asked\n(OpenID Connect Core §11): add offline_access to the client's scopes.");
            self.line("params = { prompt = \"consent\" }");
        }
        let named = "authorization_response_iss_parameter_supported";
        if self.discovered.members.get(named) == Some(&Value::Bool(true)) {
            self.comment("Redirects say whom they are from (RFC 9207); others are refused.");
            let issuer = self.discovered.issuer.clone();
            self.value("issuer", &issuer);
        }
    }

    /// The device flow (RFC 8628).
    fn device(&mut self) {
        if self.table("device", "device_authorization_endpoint") {
            self.comment("For `refreshd authorize NAME --device`.");
        }
    }

    fn token(&mut self, url: &Url) {
        self.line("");
        self.line("[token]");
        self.url("token_endpoint", url);
        self.line("");
        self.line("[token.client]");
        let methods = self
            .discovered
            .list("token_endpoint_auth_methods_supported");
        // RFC 8414 §2: without the member it is Basic.
        let methods = methods.unwrap_or_else(|| vec!["client_secret_basic"]);
        let known = [
            ("client_secret_basic", "basic"),
            ("client_secret_post", "body"),
            ("none", "none"),
        ];
        let found = known.iter().find(|(method, _)| methods.contains(method));
        match found {
            Some((_, auth)) => self.value("auth", auth),
            None => {
                let named: Vec<String> = methods.iter().take(10).map(|m| printable(m)).collect();
                self.comment(&format!(
                    "WARNING: it names no way to authenticate that refreshd has ({}); this is a guess.",
                    named.join(", ")
                ));
                self.value("auth", "basic");
            }
        }
    }

    fn refresh(&mut self) {
        let Some(types) = self.discovered.list("grant_types_supported") else {
            return;
        };
        if types.contains(&"refresh_token") {
            return;
        }
        self.line("");
        if types.contains(&"client_credentials") && !types.contains(&"authorization_code") {
            self.line("[refresh]");
            self.value("with", "client_credentials");
            return;
        }
        self.comment("WARNING: grant_types_supported has no refresh_token. If it gives none (some want the scope\noffline_access), nothing can be refreshed: [refresh] with = \"none\".");
    }

    fn rotation(&mut self) {
        self.line("");
        self.comment("No metadata tell what becomes of a refresh token that was presented. This is the most careful\nreading: after a lost answer the refresh token is held back. Look into the provider's documentation\n(is the old one void at once? does presenting it again revoke everything?) and write what it says.\nLifetimes that answers do not state go into [lifetime].");
        self.line("[rotation]");
        self.value("rotates", "sometimes");
        self.value("old_valid", "0s");
        self.value("reuse", "revokes");
    }

    fn revoke(&mut self) {
        if !self.table("revoke", "revocation_endpoint") {
            return;
        }
        let methods = |member| self.discovered.list(member);
        let own = methods("revocation_endpoint_auth_methods_supported");
        if own.is_some() && own != methods("token_endpoint_auth_methods_supported") {
            self.comment("WARNING: it names other ways to authenticate here than at the token endpoint, whose way is used.");
        }
    }

    fn verify(&mut self) {
        if self.table("verify", "userinfo_endpoint") {
            self.comment("The userinfo endpoint; it takes tokens with the scope openid. Another harmless GET will do as well.\nWhere answers bring no id token, [account] with this url tells whose account it was.");
        }
    }
}
