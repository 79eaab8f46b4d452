//! Who is kept alive: every grant the store knows, seated with its client as the
//! configuration has it.

use crate::config::{Client, Config};
use crate::engine::message::RefreshReply;
use refreshd_core::grant::Grant;
use refreshd_core::grant::schedule::{Policy, Urgency};
use refreshd_core::grant::state::{Binding, GrantState, Pause};
use refreshd_core::incident::Kinds;
use refreshd_core::provider::request::token_origin;
use refreshd_core::time::WallTime;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the configuration says about a grant that is active.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Its client.
    pub client: Arc<Client>,
    /// Its schedule.
    pub policy: Policy,
    /// Values of the provider's variables, the configured ones over the stored.
    pub vars: BTreeMap<String, String>,
    /// The redirect URI, where the grant has one of its own.
    pub redirect_uri: Option<String>,
    /// The number of its endpoint, in queue and limits.
    pub lane: u32,
    /// The number of its client, in the limits.
    pub client_number: u32,
}

/// A flight that somebody wishes.
#[derive(Clone, Copy, Debug)]
pub struct Wished {
    /// How much.
    pub urgency: Urgency,
    /// From when on.
    pub at: WallTime,
}

/// A grant and what is going on with it.
#[derive(Debug)]
pub struct Entry {
    /// As last committed.
    pub grant: Grant,
    /// `None`: retired, or its client is not configured.
    pub seat: Option<Seat>,
    /// The flight that is under way and not overdue. Overdue ones may land besides.
    pub in_flight: Option<u64>,
    /// Somebody wishes the next flight.
    pub wished: Option<Wished>,
    /// How many flights in a row could not begin.
    pub grounded: u32,
    /// The configuration changed during a flight; look again when it lands.
    pub recheck: bool,
    /// Who waits for the flight to end.
    pub waiters: Vec<RefreshReply>,
    /// The kind of trouble that was last reported, until it is over.
    pub trouble: Option<String>,
    /// What was wrong with it when it was last looked at, and the end that a person
    /// alone can move; `None`: it was not looked at.
    pub watched: Option<(Kinds, Option<WallTime>)>,
}

/// All grants, by index and by name.
#[derive(Debug, Default)]
pub struct Roster {
    entries: Vec<Entry>,
    by_name: HashMap<String, u32>,
    lanes: HashMap<String, u32>,
    clients: HashMap<String, u32>,
}

impl Roster {
    /// Takes a grant in, or replaces what is known of it by a newer revision.
    /// Returns its index, and whether it is new.
    pub fn put(&mut self, grant: Grant) -> (u32, bool) {
        if let Some(&index) = self.by_name.get(&grant.name) {
            let entry = &mut self.entries[index as usize];
            if entry.grant.id != grant.id || entry.grant.revision <= grant.revision {
                entry.grant = grant;
            }
            return (index, false);
        }
        let index =
            u32::try_from(self.entries.len()).expect("fewer than four thousand million grants");
        self.by_name.insert(grant.name.clone(), index);
        self.entries.push(Entry {
            grant,
            seat: None,
            in_flight: None,
            wished: None,
            grounded: 0,
            recheck: false,
            waiters: Vec::new(),
            trouble: None,
            watched: None,
        });
        (index, true)
    }

    /// The entry of an index.
    #[must_use]
    pub fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    /// The entry of an index, to be changed.
    pub fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    /// The index of a name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// All indices.
    pub fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.entries.len()).expect("fewer than four thousand million grants")
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The seat of a grant by the configuration, numbers included.
    pub fn find_seat(&mut self, index: u32, config: &Config) -> Option<Seat> {
        let seat = seat_of(&self.entries[index as usize].grant, config)?;
        Some(Seat {
            lane: number(&mut self.lanes, seat.client.description.refresh_url()),
            client_number: number(&mut self.clients, &seat.client.name),
            ..seat
        })
    }

    /// The number of a client.
    pub fn client_number(&mut self, client: &str) -> u32 {
        number(&mut self.clients, client)
    }

    /// The name of a client's number.
    #[must_use]
    pub fn client_name(&self, number: u32) -> &str {
        self.clients
            .iter()
            .find(|(_, n)| **n == number)
            .map_or("?", |(name, _)| name)
    }

    /// How many grants go to an endpoint.
    #[must_use]
    pub fn grants_of(&self, lane: u32) -> usize {
        let there = |entry: &&Entry| entry.seat.as_ref().is_some_and(|seat| seat.lane == lane);
        self.entries.iter().filter(there).count()
    }

    /// The endpoint of a lane.
    #[must_use]
    pub fn endpoint(&self, lane: u32) -> &str {
        self.lanes
            .iter()
            .find(|(_, n)| **n == lane)
            .map_or("?", |(url, _)| url)
    }
}

/// The number of a key; the next one if it has none yet.
fn number(numbers: &mut HashMap<String, u32>, key: &str) -> u32 {
    if let Some(number) = numbers.get(key) {
        return *number;
    }
    let next = u32::try_from(numbers.len()).expect("fewer endpoints than grants");
    numbers.insert(key.to_owned(), next);
    next
}

/// The seat of a grant by the configuration, its numbers not yet set; `None` when
/// it was taken out of the configuration or its client is not there.
#[must_use]
pub fn seat_of(grant: &Grant, config: &Config) -> Option<Seat> {
    let configured = config.grants.get(&grant.name);
    if configured.is_none() && grant.state.configured {
        return None;
    }
    let client = config
        .clients
        .get(configured.map_or(&grant.client, |c| &c.client))?;
    let mut vars = grant.vars.clone();
    vars.extend(configured.map(|c| c.vars.clone()).unwrap_or_default());
    Some(Seat {
        client: client.clone(),
        policy: Policy::new(&client.description, config.schedule_of(&grant.name, client)),
        vars,
        redirect_uri: configured
            .and_then(|c| c.redirect_uri.clone())
            .or_else(|| grant.redirect_uri.clone()),
        lane: 0,
        client_number: 0,
    })
}

/// Whether something is wrong with its client in the configuration.
#[must_use]
pub fn has_broken_client(grant: &Grant, config: &Config) -> bool {
    let configured = config.grants.get(&grant.name);
    let client = configured.map_or(&grant.client, |c| &c.client);
    config.broken_clients.contains(client)
}

/// To whom the configuration would send the refresh token.
///
/// # Errors
/// When the token URL cannot be made from the grant's variables.
pub fn binding_of(seat: &Seat) -> Result<Binding, String> {
    let origin = token_origin(&seat.client.description, &seat.vars).map_err(|e| e.to_string())?;
    Ok(Binding {
        client_id: seat.client.client_id.clone(),
        origin,
    })
}

/// What has to be committed so that the grant's state agrees with the
/// configuration: that it is configured, and that its refresh token is bound to
/// where the configuration would send it. `None`: nothing.
#[must_use]
pub fn aligned(
    grant: &Grant,
    seat: &Seat,
    config: &Config,
) -> Option<(GrantState, &'static str, String)> {
    let mut state = grant.state.clone();
    state.configured |= config.grants.contains_key(&grant.name);
    state.asks_anew = seat.policy.asks_anew();
    let to = binding_of(seat).ok()?;
    let mut event = ("configured", String::new());
    match &state.binding {
        None => state.binding = Some(to),
        Some(from) if *from == to => {
            if state.pause.take().is_some() {
                event = (
                    "resumed",
                    "client and token endpoint are the old ones again".to_owned(),
                );
            }
        }
        // Nothing can go astray before there is anything.
        Some(_) if state.generation == 0 => {
            state.binding = Some(to);
            state.not_before = None;
            state.pause = None;
        }
        // Nor where the client asks for another of its own; a person's authorization
        // is not given up for a slip in the configuration.
        Some(_) if state.asks_anew && (state.own || state.presents.is_none()) => {
            state.pause = None;
            state.presents = None;
            state.expiry_unknown = true;
            // What the former endpoint asked for does not hold at another.
            state.not_before = None;
            let text = format!(
                "the client is {} at {} now; it asks for a new token set",
                to.client_id, to.origin
            );
            state.binding = Some(to);
            event = ("rebound", text);
        }
        Some(from) => {
            let text = format!(
                "its refresh token belongs to client {} at {}, the configuration now says client {} at {}",
                from.client_id, from.origin, to.client_id, to.origin
            );
            state.pause = Some(Pause::BindingChanged {
                from: from.clone(),
                to,
            });
            event = ("paused", text);
        }
    }
    (state != grant.state).then_some((state, event.0, event.1))
}

#[cfg(test)]
mod tests;
