//! What an answer to a code says, and what becomes of it.

use super::exchange::{Spared, Under};
use super::{Enroller, id_text};
use crate::config::active::Seat;
use crate::history::short_id;
use crate::state::Wanted;
use refreshd_core::enroll::{Stage, code};
use refreshd_core::kept::KeptAnswer;
use refreshd_core::provider::Answer;
use refreshd_core::provider::answer::{self, Outcome};

impl Enroller {
    /// Reads the answer to a code, which is durable, and commits what it says.
    ///
    /// # Errors
    /// Where it says that nothing was done: the code may be presented again.
    pub(super) async fn conclude_code(
        &self,
        under: Under,
        seat: &Seat,
        answer: Answer,
    ) -> Result<(), Spared> {
        match code::unused(&seat.client.description, &answer) {
            Some((unused, text)) => Err(Spared {
                unused,
                text,
                landing: under.landing,
            }),
            None => {
                self.conclude(under, seat, answer).await;
                Ok(())
            }
        }
    }

    /// Reads an answer that is durable, and commits what it says.
    pub(super) async fn conclude(&self, under: Under, seat: &Seat, answer: Answer) {
        let outcome = answer::read(&seat.client.description, &answer);
        let kept = under.kept(answer);
        let (stage, text) = match outcome {
            Outcome::Success(success) => {
                let wanted = Wanted::ByExchange;
                return self.take_in(under, seat, *success, kept, wanted).await;
            }
            Outcome::Lost { text, .. } => (Stage::InDoubt, in_doubt(&text)),
            Outcome::Unread { text, may_hold, .. } => {
                let (stage, text) = unread(&under, &kept, &text, may_hold);
                return self.end_flight(under, stage, text, Some(kept)).await;
            }
            Outcome::InvalidGrant { text } => (
                Stage::Refused,
                format!(
                    "the provider does not take the code: {text}; it may have been too old, or used already: authorize again"
                ),
            ),
            Outcome::InvalidClient { text } => (
                Stage::Refused,
                format!(
                    "the provider does not take the client: {text}; see client_id and client_secret of client {}",
                    seat.client.name
                ),
            ),
            Outcome::AskedToWait { text, .. }
            | Outcome::Unavailable { text, .. }
            | Outcome::InteractionRequired { text }
            | Outcome::TooEarly { text }
            | Outcome::Refused { text } => (
                Stage::Refused,
                format!("the provider refused: {text}; authorize again"),
            ),
        };
        self.end_flight(under, stage, text, None).await;
    }
}

pub(super) fn in_doubt(text: &str) -> String {
    format!(
        "whether the provider took the code is not known ({text}); a code is presented once: authorize again"
    )
}

/// What a person is told of an answer that is kept since it could not be read, and how the
/// authorization ends. Where nothing in it may be a token, there is nothing to wait for.
fn unread(under: &Under, kept: &KeptAnswer, text: &str, may_hold: bool) -> (Stage, String) {
    let answer = short_id(kept.flight);
    match may_hold {
        true => (
            Stage::Held,
            format!(
                "{text}; the answer is kept, since it may hold the only copy of a refresh token: see `refreshd answers show {answer}`. Mend the provider's description and take it in with `refreshd authorize --accept {}`, or take its tokens by hand with `refreshd answers take {answer}`",
                id_text(under.enrollment.id)
            ),
        ),
        false => (
            Stage::InDoubt,
            format!(
                "{text}; nothing in it looks like a token. The answer is kept (`refreshd answers show {answer}`); a code is presented once: authorize again"
            ),
        ),
    }
}
