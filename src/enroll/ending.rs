//! How an authorization ends, and what is kept of it then.

use super::Enroller;
use super::exchange::Under;
use crate::exchange::{self, Patience};
use crate::state::Landing;
use refreshd_core::enroll::{Enrollment, Stage, Via};
use refreshd_core::kept::KeptAnswer;
use refreshd_core::provider::Answer;

/// What an exchange that brought nothing may end.
const UNDECIDED: &[Stage] = &[Stage::Open, Stage::Received, Stage::Expired, Stage::InDoubt];
/// What an answer may be kept for: it may hold the only copy of a refresh token, also
/// where somebody has given it up meanwhile.
const NOT_DONE: &[Stage] = &[
    Stage::Open,
    Stage::Received,
    Stage::Expired,
    Stage::InDoubt,
    Stage::Refused,
    Stage::Held,
];

impl Enroller {
    pub(super) async fn end_flight(
        &self,
        under: Under,
        stage: Stage,
        text: String,
        answer: Option<KeptAnswer>,
    ) {
        self.end_with(under.enrollment, stage, text, answer, under.landing)
            .await;
    }

    /// Ends an exchange after which all is as it was.
    pub(super) async fn leave(&self, landing: Landing) {
        if let Some(flight) = landing {
            exchange::leave(&self.0.deck, flight).await;
            self.0.deck.unsettled.settled(flight);
        }
    }

    pub(super) async fn end(
        &self,
        enrollment: Enrollment,
        stage: Stage,
        text: String,
        answer: Option<KeptAnswer>,
    ) {
        self.end_with(enrollment, stage, text, answer, None).await;
    }

    /// A link is good until it is spent, which it is by a token set.
    fn stage_after(&self, enrollment: &Enrollment, stage: Stage) -> Stage {
        let failed = matches!(stage, Stage::Refused | Stage::InDoubt);
        let in_time = self.0.deck.clock.wall() < enrollment.expires_at;
        match enrollment.via {
            Via::Link if failed && in_time => Stage::Open,
            _ => stage,
        }
    }

    /// Keeps an answer that changes nothing of an authorization, and ends its flight. `why`
    /// is told while the authorization goes on.
    pub(super) async fn keep_beside(&self, under: Under, why: String, answer: Answer) {
        let (landing, kept) = (under.landing, under.kept(answer));
        let told = Enrollment {
            text: why,
            ..under.enrollment
        };
        self.write_down(&[Stage::Open], told, Some(kept), landing)
            .await;
    }

    pub(super) async fn end_with(
        &self,
        enrollment: Enrollment,
        stage: Stage,
        text: String,
        answer: Option<KeptAnswer>,
        landing: Landing,
    ) {
        let name = enrollment
            .grant
            .clone()
            .unwrap_or_else(|| enrollment.client.clone());
        tracing::warn!(grant = %name, "{name}: not authorized: {text}");
        let ended = Enrollment {
            stage: self.stage_after(&enrollment, stage),
            text,
            ..enrollment
        };
        let from = match answer {
            Some(_) => NOT_DONE,
            None => UNDECIDED,
        };
        self.write_down(from, ended, answer, landing).await;
    }

    /// Writes down how far an authorization has come, for as long as that takes.
    async fn write_down(
        &self,
        from: &'static [Stage],
        enrollment: Enrollment,
        answer: Option<KeptAnswer>,
        landing: Landing,
    ) {
        let store = &self.0.deck.store;
        let mut patience = Patience::default();
        while let Err(e) = store
            .turn_enrollment(from, enrollment.clone(), answer.clone(), landing)
            .await
        {
            tracing::error!(
                "how far an authorization has come could not be written down; it is tried again: {e}"
            );
            patience.wait().await;
        }
        if let Some(flight) = landing {
            self.0.deck.unsettled.settled(flight);
        }
        self.turned();
    }
}
