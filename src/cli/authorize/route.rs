//! How the provider's word is to come back: to a port of ours, to the daemon, or by
//! the person's hands.

use super::Authorize;
use super::listener::Listener;
use crate::cli::Context;
use crate::exit::{Exit, Failure};
use refreshd_core::enroll::Via;
use refreshd_core::provider::description::is_loopback;
use url::Url;

/// The way that was chosen.
pub(super) struct Route {
    pub(super) via: Via,
    /// Named to the provider; `None`: the configured one, or none at all.
    pub(super) redirect_uri: Option<String>,
    /// Where we listen.
    pub(super) listener: Option<Listener>,
    /// Why the person has to paste, where they did not ask to.
    pub(super) why_paste: Option<String>,
}

impl Route {
    /// By the flags, and by what the provider knows of us.
    pub(super) fn choose(command: &Authorize, context: &Context) -> Result<Route, Failure> {
        let elsewhere = |via| Route {
            via,
            redirect_uri: None,
            listener: None,
            why_paste: None,
        };
        if command.device {
            return Ok(elsewhere(Via::Device));
        }
        if command.link {
            return Ok(elsewhere(Via::Link));
        }
        let config = context.sound_config()?;
        let grant = command
            .grant
            .as_ref()
            .and_then(|name| config.grants.get(name));
        let client = grant.map(|g| &g.client).or(command.client.as_ref());
        let client = client.and_then(|name| config.clients.get(name));
        let authorize = client.and_then(|c| c.description.authorize.as_ref());
        let pushed = client.is_some_and(|c| c.description.pushes_codes());
        // It asks for itself, or on a device: nobody is sent back.
        if pushed || (client.is_some() && authorize.is_none()) {
            return Ok(elsewhere(Via::Redirect));
        }
        let configured = grant
            .and_then(|g| g.redirect_uri.clone())
            .or_else(|| client.and_then(|c| c.redirect_uri.clone()));
        match configured {
            Some(uri) => Route::configured(command, &uri),
            None => Route::ours(command),
        }
    }

    /// The provider is to send the person to a redirect URI that it knows.
    pub(super) fn configured(command: &Authorize, uri: &str) -> Result<Route, Failure> {
        let url = Url::parse(uri).ok();
        let ours = url.as_ref().filter(|url| url.scheme() == "http");
        let ours = ours.filter(|url| url.host().is_some_and(|host| is_loopback(&host)));
        let mut route = Route {
            via: Via::Redirect,
            redirect_uri: Some(uri.to_owned()),
            listener: None,
            why_paste: None,
        };
        match ours {
            _ if command.paste => {}
            Some(url) => {
                let port = url.port_or_known_default().unwrap_or(80);
                if command.port.is_some_and(|wanted| wanted != port) {
                    let text =
                        format!("the configured redirect_uri {uri} has another port than --port");
                    return Err(Failure::new(Exit::Usage, text));
                }
                route.listener = Some(Listener::bind(port, url.path(), url.host_str())?);
            }
            None => {
                route.why_paste = Some(format!(
                    "You will be sent to {uri}, which this command cannot listen at. Paste that page's whole address here afterwards."
                ));
            }
        }
        Ok(route)
    }

    /// RFC 8252 §7.3: any port of the loopback interface.
    fn ours(command: &Authorize) -> Result<Route, Failure> {
        const PATH: &str = "/callback";
        let listener = Listener::bind(command.port.unwrap_or(0), PATH, Some("127.0.0.1"))?;
        let redirect_uri = Some(format!("http://127.0.0.1:{}{PATH}", listener.port()));
        Ok(Route {
            via: Via::Redirect,
            redirect_uri,
            // Pasting, the browser finds nobody there, and shows the address all the same.
            listener: (!command.paste).then_some(listener),
            why_paste: None,
        })
    }
}
