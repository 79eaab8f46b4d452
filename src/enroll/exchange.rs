//! A code that came is presented, and presented again for as long as it was not used.

use super::{Enroller, Verdict};
use crate::config::active::{Seat, binding_of};
use crate::exchange::{Late, Midway, fly, registration};
use crate::random;
use refreshd_core::enroll::code::Unused;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage};
use refreshd_core::exchange::Exchange;
use refreshd_core::exchange::authorization::{OfAuthorization, spared};
use refreshd_core::flight::{ExchangeId, Intent};
use refreshd_core::grant::{GrantId, Presents};
use refreshd_core::provider::request::{self, TokenRequest};
use refreshd_core::secret::{Fingerprint, Secret};
use refreshd_core::time::WallTime;
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use crate::exchange::Patience;

/// A code that waits is looked at so often: the clock may have been set.
const LOOK: Duration = Duration::from_secs(5);

/// Counted as under way until it is dropped.
pub(super) struct Counted(Enroller);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.under_way.send_modify(|count| *count -= 1);
    }
}

impl Enroller {
    /// Has a received code exchanged, in a task of its own: whoever asked may go away. An
    /// earlier code of a link may still be waited for.
    pub(super) fn exchange_soon(&self, id: EnrollmentId) {
        let enroller = self.clone();
        tokio::spawn(async move {
            let Some((_, secrets)) = enroller.waiting(id).await else {
                return;
            };
            let code = enroller.code_of(&secrets);
            if enroller.busy().insert(code) {
                enroller.exchange(id, code).await;
                enroller.busy().remove(&code);
            }
        });
    }

    /// The codes that are being exchanged, each by one task.
    pub(super) fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<Fingerprint>> {
        self.0
            .busy
            .lock()
            .expect("nothing panics while it holds the set")
    }

    /// What tells a code, or a device code, from every other.
    pub(super) fn code_of(&self, secrets: &Secrets) -> Fingerprint {
        let none = Secret::new("");
        let code = secrets.code.as_ref().unwrap_or(&none);
        self.0.deck.fingerprinter.of(code)
    }

    /// An authorization whose code waits to be presented.
    async fn waiting(&self, id: EnrollmentId) -> Option<(Enrollment, Secrets)> {
        let mut patience = Patience::default();
        while !self.is_stopping() {
            match self.0.deck.store.enrollment(id).await {
                Ok(found) => return found.filter(|(it, _)| it.stage == Stage::Received),
                Err(e) => {
                    tracing::error!("a code that waits to be presented cannot be read: {e}");
                }
            }
            patience.wait().await;
        }
        None
    }

    /// Presents a code, and again for as long as it was not used and lives. What is left
    /// at a stop waits in the store.
    async fn exchange(&self, id: EnrollmentId, code: Fingerprint) {
        let (mut tries, mut again_at) = (0, None);
        while let Some((enrollment, secrets)) = self.waiting(id).await {
            if self.code_of(&secrets) != code {
                return;
            }
            again_at = again_at.max(enrollment.code.again_at);
            let left = again_at.map(|at: WallTime| at.since(self.0.deck.clock.wall()));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                tokio::time::sleep(left.min(LOOK)).await;
                continue;
            }
            let Some(until) = self.present_code(enrollment, secrets, tries).await else {
                return;
            };
            again_at = Some(until);
            tries += 1;
        }
    }

    /// Presents the code of an authorization once. Until when it waits to be presented
    /// again, if it does.
    async fn present_code(
        &self,
        enrollment: Enrollment,
        secrets: Secrets,
        tries: u32,
    ) -> Option<WallTime> {
        let _counted = self.count().ok()?;
        let Some(code) = secrets.code.clone() else {
            let text = "its code is not there any more; authorize again".to_owned();
            self.end(enrollment, Stage::Refused, text).await;
            return None;
        };
        let begun = self.terms(&enrollment).and_then(|(seat, terms)| {
            let request = request::authorization_code(
                &seat.client.description,
                &registration(&seat),
                &seat.vars,
                &code,
                secrets.verifier.as_ref(),
            );
            Ok((seat, terms, request.map_err(|e| e.to_string())?))
        });
        let (seat, terms, request) = match begun {
            Ok(begun) => begun,
            Err(text) => return self.not_presented(enrollment, &text, tries).await,
        };
        let name = self.name_of(&enrollment).unwrap_or_default();
        let known = enrollment.clone();
        let intent = self.intent(&enrollment, &code, &seat);
        let authorization = (enrollment, secrets);
        let exchange = Exchange::<OfAuthorization>::new(intent, authorization, terms, tries);
        match self.fly(&seat, exchange, request).await {
            Verdict::NotStarted { text } => self.not_presented(known, &text, tries).await,
            Verdict::Waits { until, text } => {
                tracing::warn!(grant = %name, "{name}: {text}");
                Some(until)
            }
            verdict => {
                self.conclude(&name, verdict).await;
                None
            }
        }
    }

    /// Nothing of a code has left. Until when it waits.
    async fn not_presented(
        &self,
        enrollment: Enrollment,
        why: &str,
        tries: u32,
    ) -> Option<WallTime> {
        let config = self.0.reloader.config();
        let client = config.clients.get(&enrollment.client);
        let description = client.map(|client| &*client.description);
        let now = self.0.deck.clock.wall();
        let because = (&Unused::NotSent, why);
        let (turn, until) = spared(&enrollment, because, tries, description, now);
        let name = self.name_of(&enrollment).unwrap_or_default();
        tracing::warn!(grant = %name, "{name}: {}", turn.to.text);
        match until {
            Some(_) => {
                if let Err(e) = self.0.deck.store.turn_enrollment(turn, None).await {
                    tracing::warn!("how a code waits could not be written down: {e}");
                }
                self.turned();
            }
            None => self.write_down(turn).await,
        }
        until
    }

    /// One exchange of a code, or of a device code.
    pub(super) async fn fly(
        &self,
        seat: &Seat,
        exchange: Exchange<OfAuthorization>,
        request: TokenRequest,
    ) -> Verdict {
        let via = exchange.subject().enrollment().via;
        let pass = match self.0.permits.take(via).await {
            Ok(pass) => Mutex::new(Some(pass)),
            Err(e) => {
                let text = e.to_string();
                return Verdict::NotStarted { text };
            }
        };
        // One that is overdue does not keep others from the provider.
        let midway = |what| {
            if let Midway::Overdue(..) = what {
                pass.lock().expect("nothing panics under this lock").take();
                self.turned();
            }
        };
        let (deck, mut late) = (&self.0.deck, Late::default());
        let verdict = fly(deck, &seat.client, exchange, request, &mut late, &midway).await;
        self.turned();
        verdict
    }

    /// Counts an exchange, which a stop then waits for.
    ///
    /// # Errors
    /// When the daemon stops: nothing more is presented.
    pub(super) fn count(&self) -> Result<Counted, String> {
        let counted = Counted(self.clone());
        self.0.under_way.send_modify(|count| *count += 1);
        match self.is_stopping() {
            true => Err("refreshd is stopping".to_owned()),
            false => Ok(counted),
        }
    }

    pub(super) fn intent(&self, enrollment: &Enrollment, code: &Secret, seat: &Seat) -> Intent {
        let sent = self.0.deck.clock.stamp();
        Intent {
            flight: ExchangeId(random::bytes()),
            grant: GrantId(String::new()),
            name: enrollment.grant.clone().unwrap_or_default(),
            revision: 0,
            generation: 0,
            attempt: 1,
            first_sent: sent.wall,
            sent,
            presents: Presents::Code(self.0.deck.fingerprinter.of(code)),
            description: seat.client.hash.clone(),
            roll: u64::from_le_bytes(random::bytes()),
            binding: binding_of(seat).ok(),
        }
    }
}
