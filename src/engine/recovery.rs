//! Finishes what a crash left, before anything is sent: an intent puts its grant in doubt,
//! and an answer that was kept beside it is adopted.

use crate::config::Config;
use crate::config::active::seat_of;
use crate::engine::EngineHandle;
use crate::engine::message::Message;
use crate::exchange::{Deck, Midway, Patience, PendingAnswer, adopt, leave};
use crate::exit::{Failure, internal};
use crate::state::{Recovered, StoreError};
use refreshd_core::Grant;
use refreshd_core::exchange::grant::{OfGrant, Verdict};
use refreshd_core::exchange::{Exchange, Step};
use refreshd_core::flight::Intent;
use refreshd_core::flight::settle::Rules;
use refreshd_core::grant::{GrantId, Policy, Presents, TokenSet};
use refreshd_core::provider::Answer;
use refreshd_core::provider::Description;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a crash left that is not settled yet.
#[derive(Default)]
pub(crate) struct Left {
    /// Flights of authorizations: their intents stay until
    /// [`crate::enroll::Enroller::finish`] settles them, which only a daemon can.
    pub(crate) enrolments: Vec<Recovered>,
    /// Flights that the store did not take.
    pub(crate) unsaved: Vec<Unsaved>,
}

/// A recovered flight that the store did not take. It is tried on, and until it is settled
/// its grant presents nothing; the others do not wait for it.
pub(crate) struct Unsaved {
    grant: Grant,
    error: StoreError,
    settling: JoinHandle<Verdict>,
    held: PendingAnswer,
    found: Found,
}

/// What was found of a flight.
#[derive(Clone, Copy)]
struct Found {
    answer: bool,
    /// A refresh token was presented.
    at_stake: bool,
}

impl Unsaved {
    /// Tells the engine of it, and when it is settled.
    pub(crate) async fn follow(self, deck: Deck, engine: EngineHandle) {
        let name = self.grant.name;
        engine.tell(Message::Unsaved(name.clone(), self.error));
        let Ok(verdict) = self.settling.await else {
            tracing::error!(grant = %name, "{name}: what was being saved waits for the next start, because of an internal error; until then nothing is presented");
            // It may be the successor of what would be presented.
            std::mem::forget(self.held);
            return;
        };
        tell(&name, &verdict, self.found);
        match deck.store.load(&self.grant.id).await {
            Ok(Some((grant, _))) => engine.tell(Message::Changed(Box::new(grant))),
            Ok(None) => {}
            Err(e) => tracing::error!(grant = %name, "{name}: cannot be read: {e}"),
        }
        drop(self.held);
    }
}

/// Settles each recovered flight of a grant.
///
/// # Errors
/// When the store cannot be read.
pub(crate) async fn finish(
    deck: &Deck,
    config: &Config,
    recovered: Vec<Recovered>,
) -> Result<Left, Failure> {
    let (enrolments, mut recovered): (Vec<_>, Vec<_>) =
        recovered.into_iter().partition(is_enrolment);
    // Where answers were rescued there may be several generations of a grant: one follows
    // the other.
    recovered.sort_by_key(|r| (r.intent.generation, r.intent.attempt));
    let mut unsaved: Vec<Unsaved> = Vec::new();
    for Recovered { intent, answer } in recovered {
        let loaded = deck.store.load(&intent.grant).await.map_err(internal)?;
        let name = intent.name.clone();
        let Some((grant, tokens)) = loaded else {
            tracing::warn!(grant = %name, "{name}: an exchange was under way of a grant that is gone");
            leave(deck, intent.flight).await;
            continue;
        };
        if unsaved.iter().any(|earlier| earlier.grant.id == grant.id) {
            tracing::error!(grant = %name, "{name}: another of its exchanges is settled at the next start");
            continue;
        }
        let superseded = grant.state.generation != intent.generation;
        let Some(description) = description(deck, config, &grant, &intent).await? else {
            if answer.is_none() && superseded {
                // Whatever became of the old refresh token, nobody needs it.
                leave(deck, intent.flight).await;
                continue;
            }
            tracing::error!(grant = %name, "{name}: an exchange was under way whose provider description is not known; it is left as it is");
            continue;
        };
        let policy = policy(config, &grant, &description);
        let rules = Rules {
            description: std::sync::Arc::new(description),
            policy,
            fingerprinter: deck.fingerprinter.clone(),
        };
        let found = Found {
            answer: answer.is_some(),
            at_stake: intent.presents != Presents::ClientCredentials,
        };
        let tokens = tokens.unwrap_or_else(TokenSet::none);
        let now = deck.clock.stamp();
        let intent = match deck.store.fence() {
            Some(_) => intent.in_restored_store(&now),
            None => intent,
        };
        let known = grant.clone();
        let settling = settle(deck, &known.id, answer.clone(), move || {
            Exchange::<OfGrant>::recovered(intent, answer, grant, tokens, rules, &now)
        });
        match settling.await {
            Ok(verdict) => tell(&name, &verdict, found),
            Err((error, settling, held)) => unsaved.push(Unsaved {
                grant: known,
                error,
                settling,
                held,
                found,
            }),
        }
    }
    allow_for_lost_time(deck).await;
    Ok(Left {
        enrolments,
        unsaved,
    })
}

/// Settles a flight, or hands back what goes on trying once it could not be saved. Whatever
/// is wrong with it, the start goes on: its grant waits, with what was kept.
async fn settle(
    deck: &Deck,
    grant: &GrantId,
    kept: Option<Answer>,
    begin: impl FnOnce() -> (Exchange<OfGrant>, Step<OfGrant>) + Send + 'static,
) -> Result<Verdict, (StoreError, JoinHandle<Verdict>, PendingAnswer)> {
    let held = deck.late_answers.came(grant);
    let (failed, mut failures) = mpsc::unbounded_channel();
    let deck = deck.clone();
    let mut settling = tokio::spawn(async move {
        let midway = |what| {
            if let Midway::Unsaved(error) = what {
                let _followed = failed.send(error);
            }
        };
        adopt(&deck, None, begin(), kept.as_ref(), &midway).await
    });
    let settled = tokio::select! {
        biased;
        settled = &mut settling => settled,
        Some(error) = failures.recv() => return Err((error, settling, held)),
    };
    settled.map_err(|error| {
        let never = tokio::spawn(std::future::pending());
        (StoreError::Panicked(error.to_string()), never, held)
    })
}

/// Says what became of a recovered flight.
fn tell(name: &str, verdict: &Verdict, found: Found) {
    match verdict {
        Verdict::Landed { kind, grant, .. } if found.answer => {
            tracing::info!(grant = %name, "{name}: an answer from before the last stop was adopted: {}, generation {}", kind.word(), grant.state.generation);
        }
        // Whatever became of the old refresh token, nobody needs it.
        Verdict::Superseded { .. } if !found.answer => {}
        Verdict::Superseded { .. } => {
            tracing::info!(grant = %name, "{name}: an answer from before the last stop came too late; it is kept");
        }
        _ if !found.at_stake => {
            tracing::info!(grant = %name, "{name}: refreshd stopped before the answer was saved; the client asks anew");
        }
        _ => {
            tracing::info!(grant = %name, "{name}: in doubt: refreshd stopped before the answer was saved")
        }
    }
}

/// Whether a code was presented. No grant of the store is named there: the authorization
/// is found by the code.
fn is_enrolment(recovered: &Recovered) -> bool {
    matches!(recovered.intent.presents, Presents::Code(_))
}

/// Before anything is sent, and until it is durable: a window that is thought to be
/// open, and is over, could cost a grant.
async fn allow_for_lost_time(deck: &Deck) {
    let mut patience = Patience::default();
    loop {
        match deck.store.allow_for_lost_time(deck.clock.wall()).await {
            Ok(None) => return,
            Ok(Some(grants)) => {
                return tracing::error!(
                    "the machine was started anew with a wall clock before the last time that was seen: nobody knows how long \
                     that was. For {grants} grants, what may be over counts as over; if the clock is right now, run `refreshd doctor --accept-clock`"
                );
            }
            Err(e) => tracing::error!(
                "lost time cannot be allowed for yet; nothing is sent before that: {e}"
            ),
        }
        patience.wait().await;
    }
}

/// The description that the intent names, as it was then.
async fn description(
    deck: &Deck,
    config: &Config,
    grant: &Grant,
    intent: &Intent,
) -> Result<Option<Description>, Failure> {
    let stored = deck
        .store
        .description(&intent.description)
        .await
        .map_err(internal)?;
    let recorded = stored.and_then(|text| serde_json::from_str(&text).ok());
    Ok(recorded.or_else(|| seat_of(grant, config).map(|seat| (*seat.client.description).clone())))
}

fn policy(config: &Config, grant: &Grant, description: &Description) -> Policy {
    seat_of(grant, config).map_or_else(
        || Policy::new(description, description.schedule.clone()),
        |seat| seat.policy,
    )
}
