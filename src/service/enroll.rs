//! `refreshd authorize`.

use super::Service;
use super::api::{Patience, Redirect};
use crate::enroll::{Approve, Begin, Begun, Report, Word, parse_id, report_of};
use crate::exit::{Exit, Failure, internal};
use refreshd_core::enroll::{EnrollmentId, callback, paste};
use std::time::Duration;

/// The longest that a request waits for an authorization to turn.
const WAIT_CAP: Duration = Duration::from_secs(60);

impl Service {
    /// Begins one.
    ///
    /// # Errors
    /// When no daemon runs, or it cannot be begun.
    pub async fn begin_enrollment(&self, what: Begin) -> Result<Begun, Failure> {
        self.daemon()?.enroller.begin(what).await
    }

    /// Those under way, and the latest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn enrollments(&self) -> Result<Vec<Report>, Failure> {
        let (store, config) = (&self.deck.store, self.config());
        let mut reports = Vec::new();
        for enrollment in store.enrollments().await.map_err(internal)? {
            reports.push(report_of(enrollment, store, &config).await);
        }
        Ok(reports)
    }

    /// One as it is, after it has turned or after so long.
    ///
    /// # Errors
    /// When no daemon runs, or there is none.
    pub async fn enrollment(&self, id: &str, patience: Patience) -> Result<Report, Failure> {
        let wait = Duration::from_millis(patience.wait_ms).min(WAIT_CAP);
        self.daemon()?.enroller.wait(read_id(id)?, wait).await
    }

    /// Takes what the browser was sent back with.
    ///
    /// # Errors
    /// When no daemon runs, or it is not for this one.
    pub async fn redirected(&self, id: &str, redirect: &Redirect) -> Result<Report, Failure> {
        let text = redirect.query.expose();
        let data = |why: String| Failure::new(Exit::Data, why);
        let query = match redirect.by_hand {
            true => paste::read(text, None).map_err(|e| data(e.to_string()))?,
            false => redirect.query.clone(),
        };
        let word = Word {
            callback: callback::read(query.expose()).map_err(|e| data(e.to_string()))?,
            expected: Some(read_id(id)?),
            by_hand: redirect.by_hand,
        };
        self.daemon()?.enroller.receive(word).await
    }

    /// Takes in a token set that is held.
    ///
    /// # Errors
    /// When no daemon runs, or none is held there.
    pub async fn accept_enrollment(&self, id: &str) -> Result<Report, Failure> {
        self.daemon()?.enroller.accept(read_id(id)?).await
    }

    /// Lets in a push that came without our state.
    ///
    /// # Errors
    /// When no daemon runs, or none waits there.
    pub async fn approve_enrollment(&self, id: &str, whose: Approve) -> Result<Report, Failure> {
        self.daemon()?.enroller.approve(read_id(id)?, whose).await
    }

    /// Gives one up.
    ///
    /// # Errors
    /// When no daemon runs, or there is none.
    pub async fn cancel_enrollment(&self, id: &str) -> Result<Report, Failure> {
        self.daemon()?.enroller.cancel(read_id(id)?).await
    }
}

/// The id that a person has written.
pub(crate) fn read_id(text: &str) -> Result<EnrollmentId, Failure> {
    parse_id(text).ok_or_else(|| {
        let text =
            "an authorization's id has 32 hexadecimal digits; see `refreshd authorize --list`";
        Failure::new(Exit::Usage, text)
    })
}
