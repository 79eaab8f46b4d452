//! How an authorization ends.

use super::{Enroller, Verdict};
use crate::engine::message::Message;
use crate::exchange::Patience;
use refreshd_core::enroll::{Enrollment, Stage};
use refreshd_core::grant::Grant;
use refreshd_core::ledger::authorization::Turn;

impl Enroller {
    /// Tells what an exchange came to; it is durable.
    pub(super) async fn conclude(&self, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::TakenIn { grant, unlearned } => {
                if unlearned {
                    tracing::warn!(grant = %name, "{name}: whose account it is could not be learned from [account] url; it is not compared");
                }
                self.published(*grant).await;
            }
            Verdict::Ended { text } => {
                tracing::warn!(grant = %name, "{name}: not authorized: {text}");
            }
            Verdict::NotStarted { text } | Verdict::Waits { text, .. } => {
                tracing::warn!(grant = %name, "{name}: {text}");
            }
            Verdict::Pending { .. } | Verdict::Unchanged => {}
        }
        self.turned();
    }

    async fn published(&self, grant: Grant) {
        tracing::info!(grant = %grant.name, "{}: authorized, generation {}, expires {}", grant.name, grant.state.generation, grant.state.expires_at.rfc3339());
        self.0.engine.tell(Message::Changed(Box::new(grant)));
        self.0.reloader.retarget(&self.0.engine).await;
    }

    /// Ends an authorization of which nothing is under way.
    pub(super) async fn end(&self, enrollment: Enrollment, stage: Stage, text: String) {
        let name = enrollment.grant.as_ref().unwrap_or(&enrollment.client);
        tracing::warn!(grant = %name, "{name}: not authorized: {text}");
        let stage = enrollment.stage_after(stage, self.0.deck.clock.wall());
        let to = Enrollment {
            stage,
            text,
            ..enrollment
        };
        self.write_down(Turn::end(to, None)).await;
    }

    /// Writes down how far an authorization has come, for as long as that takes.
    pub(super) async fn write_down(&self, turn: Turn) {
        let store = &self.0.deck.store;
        let mut patience = Patience::default();
        while let Err(e) = store.turn_enrollment(turn.clone(), None).await {
            tracing::error!(
                "how far an authorization has come could not be written down; it is tried again: {e}"
            );
            patience.wait().await;
        }
        self.turned();
    }
}
