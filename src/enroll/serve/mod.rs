//! What the daemon serves over TCP, behind its owner's https proxy: links for whoever
//! may approve, the callback that they end at, and pushes. All of it is open to the
//! world, so nothing is believed, everything is bounded, and no refresh waits for it.

mod body;
mod bucket;
mod callback;
mod connections;
mod cookie;
mod link;
pub(crate) mod page;
mod push;
pub(crate) mod returned;
mod routes;

use super::Enroller;
use crate::config::{Config, Enroll};
use crate::exit::{Exit, Failure};
use bucket::Buckets;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the pages and pushes need.
struct Web {
    enroller: Enroller,
    /// As it was at the start: a proxy in front was set up for it.
    enroll: Enroll,
    buckets: Buckets,
}

/// Takes the configured address; `None`: none is.
///
/// # Errors
/// When it cannot be had.
pub(crate) fn bind(enroll: &Enroll) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = enroll.listen else {
        return Ok(None);
    };
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    });
    bound.map_err(|e| {
        let remedy = match e.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: end it, or choose another",
            io::ErrorKind::PermissionDenied => "ports below 1024 are root's: choose another",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another",
            _ => "choose another",
        };
        let text = format!("cannot listen on {address} ([enroll] listen): {e}; {remedy}");
        Failure::new(Exit::CannotCreate, text)
    })
}

/// Serves until `stop` turns or is gone; so many connections at once.
///
/// # Errors
/// When the socket cannot be waited on.
pub(crate) fn start(
    listener: TcpListener,
    enroller: Enroller,
    config: &Config,
    places: usize,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    tracing::info!("links and pushes are taken on {address}");
    let enroll = config.enroll.clone();
    for client in config.clients.values() {
        let path = format!("push/{}", client.push.path);
        if enroller.client_of_push(&client.push.path).is_some() {
            let url = enroll.public(&path);
            let url = url.unwrap_or_else(|| format!("http://{address}/{path}"));
            tracing::info!(client = %client.name, "{}: its provider is to push to {url}", client.name);
        }
    }
    let web = Web {
        enroller,
        enroll,
        buckets: Buckets::default(),
    };
    Ok(tokio::spawn(connections::serve(
        listener,
        Arc::new(web),
        places,
        stop,
    )))
}
