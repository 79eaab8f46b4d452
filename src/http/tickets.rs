//! TLS sessions to resume. A connection of its own for each presentation of a refresh
//! token means a handshake each; a TLS 1.3 ticket spares most of it, and is good once.
//! rustls keeps eight a server, which are used up at once where many exchanges are under
//! way. A resumed connection is as fresh as any other; no early data is ever sent.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// At most so many tickets of a server; with more exchanges at once the rest shake hands
/// in full.
const OF_SERVER: usize = 256;
/// At most so many in all: some kilobytes each.
const IN_ALL: usize = 2048;
/// Of so many servers the rest is remembered (TLS 1.2 sessions, key exchange groups).
const SERVERS: usize = 1024;
/// The library's unit: it counts tickets, eight a server.
const OF_LIBRARY: usize = 8 * SERVERS;

/// Tickets by server, the newest taken first; everything else is the library's.
pub(super) struct Tickets {
    tls13: Mutex<Kept>,
    rest: ClientSessionMemoryCache,
}

#[derive(Default)]
struct Kept {
    servers: HashMap<ServerName<'static>, VecDeque<Tls13ClientSessionValue>>,
    count: usize,
}

impl Tickets {
    pub(super) fn new() -> Tickets {
        Tickets {
            tls13: Mutex::default(),
            rest: ClientSessionMemoryCache::new(OF_LIBRARY),
        }
    }

    fn tls13(&self) -> MutexGuard<'_, Kept> {
        self.tls13.lock().expect("nothing panics under this lock")
    }
}

impl Kept {
    fn insert(&mut self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.count >= IN_ALL {
            // Rare, and what is lost is speed alone.
            *self = Kept::default();
        }
        let tickets = self.servers.entry(server).or_default();
        if tickets.len() >= OF_SERVER {
            tickets.pop_front();
            self.count -= 1;
        }
        tickets.push_back(ticket);
        self.count += 1;
    }

    fn take(&mut self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let tickets = self.servers.get_mut(server)?;
        let ticket = tickets.pop_back();
        self.count -= usize::from(ticket.is_some());
        if tickets.is_empty() {
            self.servers.remove(server);
        }
        ticket
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.tls13().count)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.rest.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.rest.kx_hint(server)
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.rest.set_tls12_session(server, value);
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.rest.tls12_session(server)
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.rest.remove_tls12_session(server);
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tls13().insert(server, value);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13().take(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::Resumption;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig,
        ServerConnection,
    };
    use std::sync::Arc;

    fn configs(tickets: usize) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        crate::http::install_tls();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let mut server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        server.send_tls13_tickets = tickets;
        // Its own memory holds 256 sessions.
        server.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        let mut client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::store(Arc::new(Tickets::new()));
        (Arc::new(client), Arc::new(server))
    }

    fn connection(client: &Arc<ClientConfig>) -> ClientConnection {
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(client.clone(), name).unwrap()
    }

    fn shake_hands(mut client: ClientConnection, server: &Arc<ServerConfig>) -> HandshakeKind {
        let mut server = ServerConnection::new(server.clone()).unwrap();
        for _ in 0..4 {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut bytes = bytes.as_slice();
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        client.handshake_kind().unwrap()
    }

    /// The library's own store had eight of them.
    #[test]
    fn many_connections_at_once_resume() {
        let (client, server) = configs(40);
        let first = shake_hands(connection(&client), &server);
        assert_eq!(first, HandshakeKind::Full);
        let at_once: Vec<_> = (0..30).map(|_| connection(&client)).collect();
        let kinds = at_once.into_iter().map(|one| shake_hands(one, &server));
        let kinds: Vec<HandshakeKind> = kinds.collect();
        assert_eq!(kinds, [HandshakeKind::Resumed; 30]);
    }
}
