//! Which provider: one that is known, or a file for one that is not, from its own
//! metadata or from its token URL.

use super::ask::{Asker, Question};
use super::home::Home;
use super::{Init, block_on, output};
use crate::config::{Sources, description_in, description_of, provider_names};
use crate::discovery::{discover, name_of};
use crate::exit::{Exit, Failure};
use crate::http::probe::Reach;
use refreshd_core::name;
use refreshd_core::provider::Description;
use refreshd_core::provider::description::check_endpoint;
use url::Url;

/// The provider that was chosen.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) description: Description,
    /// The text of its file, where that is still to be written.
    pub(super) file: Option<String>,
}

impl Chosen {
    /// By the options, or by asking.
    pub(super) fn choose(
        init: &Init,
        sources: &Sources,
        home: &Home,
        asker: &mut Asker,
    ) -> Result<Option<Chosen>, Failure> {
        let wrong =
            |option: &str, why: String| Failure::new(Exit::Usage, format!("{option}: {why}"));
        if let Some(issuer) = &init.issuer {
            let text = discovered(init, issuer)?;
            return Chosen::of_file(text, home)
                .map(Some)
                .map_err(|why| wrong("--issuer", why));
        }
        if let Some(url) = &init.token_url {
            let text = drafted(
                init,
                url,
                init.authorize_url.as_deref(),
                init.client_credentials,
            );
            let chosen = text.and_then(|text| Chosen::of_file(text, home));
            return chosen.map(Some).map_err(|why| wrong("--token-url", why));
        }
        let known = provider_names(sources).join(", ");
        let text =
            format!("Provider: one of {known}; or the URL of another's issuer or token endpoint");
        let question = Question {
            text: &text,
            option: "--provider NAME, --issuer URL or --token-url URL",
            default: None,
            needed: true,
        };
        let interactive = asker.is_interactive();
        let mut url = None;
        let found = asker.find(&question, init.provider.as_deref(), |answer| {
            if interactive && answer.contains("://") {
                let parsed = Url::parse(answer).map_err(|e| e.to_string())?;
                check_endpoint(&parsed)?;
                url = Some(answer.to_owned());
                return Ok(None);
            }
            let description = description_of(sources, answer)?;
            Ok(Some(Chosen {
                name: answer.to_owned(),
                description,
                file: None,
            }))
        })?;
        match url {
            Some(url) => Chosen::of_url(init, sources, home, asker, &url).map(Some),
            None => Ok(found.flatten()),
        }
    }

    /// A URL that was typed: it is an issuer's if metadata lie there.
    fn of_url(
        init: &Init,
        sources: &Sources,
        home: &Home,
        asker: &mut Asker,
        url: &str,
    ) -> Result<Chosen, Failure> {
        let found = discovered(init, url).map_err(|e| e.message);
        let chosen = found.and_then(|text| Chosen::of_file(text, home)).or_else(|why| {
            output::note(&format!("  {why}"));
            if !asker.agrees("Is it the token endpoint itself?", false).map_err(|e| e.message)? {
                return Err(String::new());
            }
            let question = Question {
                text: "Authorization endpoint, to which people are sent (empty: the client asks for tokens itself)",
                option: "--authorize-url URL",
                default: None,
                needed: false,
            };
            let authorize = asker.find(&question, None, |answer| endpoint(answer).map(|()| answer.to_owned()));
            let authorize = authorize.map_err(|e| e.message)?;
            let text = drafted(init, url, authorize.as_deref(), authorize.is_none())?;
            Chosen::of_file(text, home)
        });
        match chosen {
            Ok(chosen) => Ok(chosen),
            Err(why) => {
                if !why.is_empty() {
                    output::note(&format!("  {why}"));
                }
                // The next answer may be a better one.
                let again = Chosen::choose(init, sources, home, asker)?;
                again.ok_or_else(|| Failure::new(Exit::Usage, "no provider was named"))
            }
        }
    }

    /// A file that is to be written; it must not be there.
    fn of_file(text: String, home: &Home) -> Result<Chosen, String> {
        let (name, description) = description_in(&text)?;
        let file = home.dir().join("providers.d").join(format!("{name}.toml"));
        if file.symlink_metadata().is_ok() {
            let file = file.display();
            return Err(format!(
                "{file} is there already: use it by --provider {name}, or choose another --provider-name"
            ));
        }
        Ok(Chosen {
            name,
            description,
            file: Some(text),
        })
    }

    /// Whether requests to it carry the redirect URI, so that one must be configured.
    pub(super) fn wants_redirect_uri(&self) -> bool {
        let description = &self.description;
        let token = description.token.params.values();
        let refresh = description.refresh.params.values();
        let authorize = description.authorize.iter().flat_map(|a| a.params.values());
        let mut values = token.chain(refresh).chain(authorize);
        values.any(|value| value.contains("{redirect_uri}"))
    }
}

fn endpoint(url: &str) -> Result<(), String> {
    let parsed = Url::parse(url).map_err(|e| format!("it is not a URL: {e}"))?;
    check_endpoint(&parsed)
}

/// The draft from a server's own metadata.
fn discovered(init: &Init, issuer: &str) -> Result<String, Failure> {
    let reach = Reach {
        allowed: init.allow_network.clone(),
        ca_file: init.ca_file.clone(),
    };
    let failed = |e: crate::discovery::DiscoveryError| {
        Failure::new(
            Exit::Unavailable,
            format!("{e}; if the server tells no metadata, give its --token-url"),
        )
    };
    let found = block_on(async { discover(issuer, &reach).await.map_err(failed) })?;
    found
        .provider_file(init.provider_name.as_deref())
        .map_err(failed)
}

/// The draft from what is known of a token endpoint.
fn drafted(
    init: &Init,
    token: &str,
    authorize: Option<&str>,
    asks_itself: bool,
) -> Result<String, String> {
    endpoint(token)?;
    authorize.map_or(Ok(()), endpoint)?;
    let url = Url::parse(token).map_err(|e| e.to_string())?;
    let mut origin = url.clone();
    origin.set_path("");
    let name = init
        .provider_name
        .clone()
        .unwrap_or_else(|| name_of(&origin));
    if !name::is_valid(&name) {
        return Err(format!("{name:?} is not a provider's name: {}", name::RULE));
    }
    Ok(super::draft::provider(&name, token, authorize, asks_itself))
}
