//! A client that its provider does not accept is looked at again when its
//! secret changes where it lives: nobody has to think of a reload.

use crate::config::Config;
use crate::engine::EngineHandle;
use crate::engine::message::Message;
use crate::reload::Reloader;

/// Reloads the configuration when the credentials of a client that is not accepted have
/// changed, or when the one that the daemon should have begun with has been mended.
pub(super) async fn look(reloader: &Reloader, engine: &EngineHandle) {
    if reloader.waits_for_mending() && reloader.read().is_some() {
        tracing::info!("the configuration has been mended: reloading");
        return reload(reloader, engine).await;
    }
    let unaccepted = engine.ask(Message::UnacceptedClients).await;
    let unaccepted = unaccepted.unwrap_or_default();
    if unaccepted.is_empty() {
        return;
    }
    let Some(fresh) = reloader.read() else {
        return;
    };
    let current = reloader.config();
    let changed = unaccepted
        .iter()
        .find(|name| has_changed(&current, &fresh, name));
    if let Some(client) = changed {
        tracing::info!(
            client,
            "the credentials of client {client} have changed: reloading"
        );
        reload(reloader, engine).await;
    }
}

async fn reload(reloader: &Reloader, engine: &EngineHandle) {
    match reloader.reload(engine).await {
        Ok(done) => tracing::info!("{done}"),
        Err(failure) => {
            tracing::error!("the configuration was not reloaded, the old one stays: {failure}")
        }
    }
}

fn has_changed(current: &Config, fresh: &Config, client: &str) -> bool {
    let credentials = |config: &Config| {
        let client = config.clients.get(client)?;
        Some((client.client_id.clone(), client.client_secret.clone()))
    };
    let fresh = credentials(fresh);
    fresh.is_some() && fresh != credentials(current)
}
