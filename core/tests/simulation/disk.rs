//! What survives a crash, as the store and the journal keep it.

use crate::provider::number;
use refreshd_core::flight::{Answer, FlightId, Intent};
use refreshd_core::grant::{Grant, TokenSet};
use std::collections::BTreeSet;

pub(crate) struct Slot {
    pub(crate) intent: Intent,
    pub(crate) answer: Option<Answer>,
}

pub(crate) struct Disk {
    pub(crate) grant: Grant,
    pub(crate) tokens: TokenSet,
    pub(crate) slots: Vec<Slot>,
    pub(crate) candidates: Vec<TokenSet>,
    /// Numbers of the refresh tokens that have been durable anywhere on it.
    pub(crate) durable: BTreeSet<u64>,
}

impl Disk {
    pub(crate) fn slot(&self, flight: FlightId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.intent.flight == flight)
    }

    /// Writes an answer down; an overdue flight has given its slot back and gets another.
    pub(crate) fn record(&mut self, intent: &Intent, answer: Answer) {
        self.note(&answer);
        let same = |slot: &&mut Slot| slot.intent.flight == intent.flight;
        if let Some(slot) = self.slots.iter_mut().find(same) {
            slot.answer = Some(answer);
        } else {
            let intent = intent.clone();
            self.slots.push(Slot {
                intent,
                answer: Some(answer),
            });
        }
    }

    pub(crate) fn free(&mut self, flight: FlightId) {
        self.slots.retain(|slot| slot.intent.flight != flight);
    }

    /// The number of the refresh token that is presented next.
    pub(crate) fn presents(&self) -> u64 {
        let token = self.tokens.refresh_token.as_ref();
        number(token.expect("the grant has a refresh token").expose())
    }

    fn note(&mut self, answer: &Answer) {
        let body = serde_json::from_slice::<serde_json::Value>(&answer.body);
        let readable = body
            .ok()
            .filter(|_| answer.complete && answer.status == 200);
        if let Some(token) = readable
            .as_ref()
            .and_then(|body| body["refresh_token"].as_str())
        {
            self.durable.insert(number(token));
        }
    }

    pub(crate) fn note_tokens(&mut self, tokens: &TokenSet) {
        if let Some(token) = &tokens.refresh_token {
            self.durable.insert(number(token.expose()));
        }
    }
}
