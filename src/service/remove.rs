//! `refreshd remove`: a grant that is no longer configured is deleted.

use super::api::{Done, Operation};
use super::{Running, Service};
use crate::config::grant_places;
use crate::engine::message::Message;
use crate::exit::{Exit, Failure};
use std::time::Duration;

/// How long outputs may take to be withdrawn while somebody waits.
const WITHDRAWAL: Duration = Duration::from_secs(10);

impl Service {
    /// `refreshd remove`; where it is not confirmed, what to ask its operator.
    ///
    /// # Errors
    /// When no daemon runs, it cannot be removed, or its outputs are not withdrawn yet.
    pub async fn remove(&self, operation: &Operation) -> Result<Done, Failure> {
        let running = self.daemon()?;
        let (name, meant) = (&operation.grant, operation.confirmed);
        if self.config().grants.contains_key(name) {
            return Err(running.still_configured(name));
        }
        let message = |reply| Message::Remove(name.clone(), meant, reply);
        running.after_exchange(name, message).await?;
        match meant {
            true => running.withdraw(name).await,
            false => Ok(Done::told(format!(
                "remove {name}? its tokens and its history are deleted and its outputs withdrawn; the authorization itself is not revoked"
            ))),
        }
    }
}

impl Running {
    /// Which line to take out first.
    fn still_configured(&self, name: &str) -> Failure {
        let places = grant_places(self.reloader.sources(), name);
        let text = match places.is_empty() {
            true => format!(
                "{name} is in the configuration that is in force, and in no file any more; run `refreshd reload`, then this again"
            ),
            false => format!(
                "{name} is in the configuration: take it out of {}, run `refreshd reload`, then this again",
                places.join(" and ")
            ),
        };
        Failure::new(Exit::Data, text)
    }

    /// The outputs of a grant that was removed.
    async fn withdraw(&self, name: &str) -> Result<Done, Failure> {
        self.reloader.retarget(&self.engine).await;
        let left = self.reloader.withdrawn(name, WITHDRAWAL).await;
        if left.is_empty() {
            return Ok(Done::told(format!(
                "{name}: removed, and nothing of it is published any more"
            )));
        }
        let text = format!(
            "{name}: removed from the state; not withdrawn yet, which is tried until it works: {}",
            left.join("; ")
        );
        Err(Failure::new(Exit::CannotCreate, text))
    }
}
