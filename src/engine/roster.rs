//! Who is kept alive: every grant the store knows, seated with its client as the
//! configuration has it.

use crate::config::Config;
use crate::config::active::{Seat, seat_of};
use crate::engine::message::RefreshReply;
use refreshd_core::grant::Grant;
use refreshd_core::incident::Kinds;
use refreshd_core::limits::Route;
use refreshd_core::provider::request::token_origin;
use refreshd_core::time::WallTime;
use std::collections::HashMap;
use std::sync::Arc;

/// Who is to be told about a grant, and what they were told.
#[derive(Debug, Default)]
pub struct Desk {
    /// Who waits for the flight to end.
    pub waiters: Vec<RefreshReply>,
    /// The kind of trouble that was last reported, until it is over.
    pub trouble: Option<String>,
    /// The last success had something odd about it, and that was told.
    pub odd: bool,
    /// Why the database does not take what its exchange brought.
    pub unsaved: Option<String>,
    /// What was wrong with it when it was last looked at, and the end that a person
    /// alone can move; `None`: it was not looked at.
    pub watched: Option<(Kinds, Option<WallTime>)>,
}

/// All grants by name, with their desks; hosts, URL templates and clients by number.
#[derive(Debug, Default)]
pub struct Roster {
    desks: Vec<Desk>,
    by_name: HashMap<String, u32>,
    hosts: Numbers,
    templates: Numbers,
    clients: Numbers,
}

impl Roster {
    /// Gives a grant its desk; `index` is the next one.
    pub fn add(&mut self, name: &str, index: u32) {
        debug_assert_eq!(self.desks.len(), index as usize, "grants come in order");
        self.by_name.insert(name.to_owned(), index);
        self.desks.push(Desk::default());
    }

    /// The desk of an index.
    pub fn desk(&mut self, index: u32) -> &mut Desk {
        &mut self.desks[index as usize]
    }

    /// The index of a name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Forgets a name. Its index is not given to another.
    pub fn remove(&mut self, name: &str) {
        if let Some(index) = self.by_name.remove(name) {
            self.desks[index as usize] = Desk::default();
        }
    }

    /// The seat of a grant by the configuration, numbers included.
    pub fn find_seat(&mut self, grant: &Grant, config: &Config) -> Option<Seat> {
        let seat = seat_of(grant, config)?;
        let url = seat.client.description.refresh_url();
        let template = url.contains('{').then(|| self.templates.number(url));
        Some(Seat {
            route: Route {
                host: self.hosts.number(&host_of(&seat)),
                client: self.clients.number(&seat.client.name),
                template,
            },
            ..seat
        })
    }

    /// The number of a client.
    pub fn client_number(&mut self, client: &str) -> u32 {
        self.clients.number(client)
    }

    /// The name of a client's number.
    #[must_use]
    pub fn client_name(&self, number: u32) -> &str {
        self.clients.name(number)
    }

    /// The host, with its port, of a number.
    #[must_use]
    pub fn host_name(&self, number: u32) -> &str {
        self.hosts.name(number)
    }

    /// The URL template of a number.
    #[must_use]
    pub fn template_name(&self, number: u32) -> &str {
        self.templates.name(number)
    }
}

/// Names by number, numbered closely.
#[derive(Debug, Default)]
struct Numbers {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Numbers {
    /// The number of a name; the next one if it has none yet.
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let next = u32::try_from(self.names.len()).expect("fewer names than grants");
        let name: Arc<str> = Arc::from(name);
        self.names.push(name.clone());
        self.numbers.insert(name, next);
        next
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("?", |name| name)
    }
}

/// Host and port that a grant's exchanges go to, with the proxy if there is one: what
/// stands between may be what fails.
fn host_of(seat: &Seat) -> String {
    let origin = token_origin(&seat.client.description, &seat.vars);
    let host = origin.map_or_else(
        |_| seat.client.description.refresh_url().to_owned(),
        |origin| {
            origin
                .split_once("://")
                .map_or(origin.clone(), |(_, host)| host.to_owned())
        },
    );
    match &seat.client.proxy {
        Some(proxy) => format!("{host} through {proxy}"),
        None => host,
    }
}
