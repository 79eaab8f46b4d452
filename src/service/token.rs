//! A token that works: `get` and `refresh`.

use super::api::{Token, TokenQuery};
use super::offline::{Offline, not_running};
use super::{Host, Running, Service};
use crate::config::active::{has_retired, seat_of};
use crate::engine::declined;
use crate::engine::message::{Look, Message, NotRefreshed, Refreshed, Wish};
use crate::exit::{Exit, Failure, internal, no_such_grant, retired};
use crate::state::fence_text;
use refreshd_core::grant::schedule::{Urgency, wish};
use refreshd_core::grant::{Grant, GrantId, GrantState};
use refreshd_core::scheduler::Declined;
use refreshd_core::time::WallTime;
use std::time::{Duration, Instant};

/// The longest that a request waits for a refresh.
const WAIT_CAP: Duration = Duration::from_secs(600);
/// A refresh that is asked for by itself is waited for so long.
const REFRESH: Duration = Duration::from_secs(60);

impl Service {
    /// `refreshd get`.
    ///
    /// # Errors
    /// When there is no such grant, or its token does not serve and cannot be replaced now.
    pub async fn token(&self, name: &str, query: TokenQuery) -> Result<Token, Failure> {
        let clock = &self.deck.clock;
        let begun = Instant::now();
        let left = || query.timeout().saturating_sub(begun.elapsed());
        let mut look = self.look(name).await?;
        if look.suspect {
            // What comes of the exchange is told by the grant's state afterwards.
            let _settled = self.refresh_within(wish_for(&look), left()).await;
            look = self.look(name).await?;
        }
        if !serves(&look, query, clock.wall()) {
            let refreshed = self.refresh_within(wish_for(&look), left()).await;
            refreshed.map_err(|e| not_good_enough(&look, query, clock.wall(), e))?;
            look = self.look(name).await?;
            if !serves(&look, query, clock.wall()) {
                return Err(Failure::new(
                    Exit::TempFail,
                    format!("{name}: the new access token does not live as long as asked"),
                ));
            }
        }
        let loaded = self.deck.store.load(&look.grant.id).await;
        match loaded.map_err(internal)? {
            Some((grant, Some(tokens))) => Ok(Token::new(&grant, &tokens)),
            _ => Err(Failure::new(
                Exit::NoGrant,
                format!("{name} has no token set"),
            )),
        }
    }

    /// `refreshd refresh`.
    ///
    /// # Errors
    /// When it is not refreshed, and why.
    pub async fn refresh(&self, wish: Wish) -> Result<Refreshed, Failure> {
        self.refresh_within(wish, REFRESH).await
    }

    /// The same, waited for so long.
    pub(super) async fn refresh_within(
        &self,
        wish: Wish,
        timeout: Duration,
    ) -> Result<Refreshed, Failure> {
        match &self.host {
            Host::Daemon(running) => running.refresh(wish, timeout).await,
            Host::Command(offline) => {
                let found = self.find(&wish.grant).await?;
                let found = found.ok_or_else(|| no_such_grant(&wish.grant))?;
                match self.declines(&found, &wish) {
                    Some(answer) => answer.map_err(|why| failure(&wish.grant, why)),
                    None => Err(not_running(&offline.config)),
                }
            }
        }
    }

    /// What the daemon would answer to a wish, where waiting for it to run does not help.
    fn declines(&self, look: &Look, wished: &Wish) -> Option<Result<Refreshed, NotRefreshed>> {
        let (grant, now) = (&look.grant, self.deck.clock.wall());
        let stale = |generation| generation < grant.state.generation;
        let fence = self.deck.store.fence().map(|fenced| fence_text(&fenced));
        let seat = seat_of(grant, &self.config());
        let why = match &seat {
            _ if wished.generation.is_some_and(stale) => Declined::Fulfilled,
            _ if fence.is_some() => Declined::Fenced,
            None if look.retired => Declined::Retired,
            None => return None,
            Some(seat) => {
                let denied = wish(&grant.state, &seat.policy, wished.urgency, now);
                Declined::Denied(denied.err()?)
            }
        };
        let nobody = |_| String::new();
        let answer = declined(grant, why, fence.as_deref(), nobody);
        Some(answer).filter(|answer| matches!(answer, Ok(_) | Err(NotRefreshed::NeedsPerson(_))))
    }

    /// A grant as it is.
    ///
    /// # Errors
    /// When there is none, or it has no token set yet and a person has to get one.
    pub(super) async fn look(&self, name: &str) -> Result<Look, Failure> {
        match self.find(name).await? {
            Some(look) if !look.retired => Ok(look),
            Some(look) => Err(retired(&look.grant)),
            None if self.config().grants.contains_key(name) => Err(Failure::new(
                Exit::NoPermission,
                format!(
                    "{name} has no token set yet; get one with `refreshd authorize {name}`, or bring one with `refreshd import {name}`"
                ),
            )),
            None => Err(no_such_grant(name)),
        }
    }

    async fn find(&self, name: &str) -> Result<Option<Look>, Failure> {
        let offline = match &self.host {
            Host::Daemon(running) => {
                let message = |reply| Message::Look(name.to_owned(), reply);
                return running.ask(message).await;
            }
            Host::Command(offline) => offline,
        };
        let grant = self.deck.store.grant_by_name(name).await;
        let grant = grant.map_err(internal)?;
        Ok(grant.or_else(|| offline.to_begin(name)).map(|grant| Look {
            retired: has_retired(&grant, &offline.config),
            suspect: false,
            grant,
        }))
    }
}

impl Running {
    async fn refresh(&self, wish: Wish, timeout: Duration) -> Result<Refreshed, Failure> {
        let name = wish.grant.clone();
        let Ok(_wait) = self.waits.try_acquire() else {
            let text = format!("{name}: too many commands wait for refreshes already; try again");
            return Err(Failure::new(Exit::TempFail, text));
        };
        let asked = self.ask(|reply| Message::Refresh(wish, reply));
        let answer = tokio::time::timeout(timeout.min(WAIT_CAP), asked).await;
        let answer = answer.map_err(|_| {
            Failure::new(
                Exit::TempFail,
                format!("{name}: the refresh has not ended yet; it goes on"),
            )
        })?;
        answer?.map_err(|why| failure(&name, why))
    }
}

impl Offline {
    /// A configured grant whose client asks for its first token set, once a daemon runs.
    fn to_begin(&self, name: &str) -> Option<Grant> {
        let configured = self.config.grants.get(name)?;
        let client = self.config.clients.get(&configured.client)?;
        let begins = client.description.refresh.asks_anew();
        begins.then(|| Grant {
            id: GrantId(String::new()),
            name: name.to_owned(),
            client: client.name.clone(),
            vars: configured.vars.clone(),
            redirect_uri: None,
            revision: 0,
            state: GrantState {
                configured: true,
                asks_anew: true,
                ..GrantState::default()
            },
        })
    }
}

fn failure(name: &str, why: NotRefreshed) -> Failure {
    match why {
        NotRefreshed::Unknown => no_such_grant(name),
        NotRefreshed::Later(text) => Failure::new(Exit::TempFail, text),
        NotRefreshed::Unavailable(text) => Failure::new(Exit::Unavailable, text),
        NotRefreshed::NeedsPerson(text) => Failure::new(Exit::NoPermission, text),
    }
}

fn wish_for(look: &Look) -> Wish {
    Wish {
        grant: look.grant.name.clone(),
        urgency: Urgency::Wish,
        generation: Some(look.grant.state.generation),
    }
}

/// Whether the token at hand is what was asked for.
fn serves(look: &Look, query: TokenQuery, now: WallTime) -> bool {
    let state = &look.grant.state;
    state.is_alive(now) && now + query.min_valid() <= state.expires_at
}

/// A refused refresh is a person's matter; anything else may pass.
fn not_good_enough(look: &Look, query: TokenQuery, now: WallTime, failure: Failure) -> Failure {
    let name = &look.grant.name;
    let exit = if failure.exit == Exit::NoPermission {
        Exit::NoPermission
    } else {
        Exit::TempFail
    };
    let message = if look.grant.state.generation == 0 {
        format!("{name} has no token set yet: {}", failure.message)
    } else if look.grant.state.is_alive(now) {
        let min_valid = refreshd_core::duration::human(query.min_valid());
        format!(
            "{name}: the access token lives, but less than {min_valid}: {}",
            failure.message
        )
    } else {
        format!("{name}: the access token is over: {}", failure.message)
    };
    Failure::new(exit, message)
}
