//! What happened to a grant, as people and programs are shown it.

use crate::state::{EventRow, Store, StoreError};
use refreshd_core::flight::ExchangeId;
use serde::{Deserialize, Serialize};

/// One thing that happened to a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When, in RFC 3339.
    pub at: String,
    /// One word: what an exchange came to (`success`, `in-doubt`, …), or what else it was
    /// (`imported`, `restored`, …).
    pub kind: String,
    /// The grant's generation after it.
    pub generation: u64,
    /// The exchange, by which `refreshd answers` names what is kept of it.
    pub exchange: Option<String>,
    /// A sentence, printable; often empty.
    pub text: String,
}

impl HistoryLine {
    fn of(event: EventRow) -> HistoryLine {
        HistoryLine {
            at: event.at.rfc3339(),
            kind: event.kind,
            generation: event.generation,
            exchange: event.flight.map(short_id),
            text: event.text,
        }
    }

    /// For people.
    #[must_use]
    pub fn line(&self) -> String {
        let text = match self.text.is_empty() {
            true => String::new(),
            false => format!("  {}", self.text.trim_start()),
        };
        let (at, generation) = (&self.at, self.generation);
        let exchange = self.exchange.as_deref().unwrap_or("-");
        format!(
            "{at}  {generation:>6}  {exchange:<8}  {:<20}{text}",
            self.kind
        )
        .trim_end()
        .to_owned()
    }
}

/// The latest that happened to the grant of that name, newest first; `None`: there is no
/// such grant.
///
/// # Errors
/// When the store cannot be read.
pub async fn of(
    store: &Store,
    name: &str,
    limit: u32,
) -> Result<Option<Vec<HistoryLine>>, StoreError> {
    let Some(grant) = store.grant_by_name(name).await? else {
        return Ok(None);
    };
    let events = store.events(&grant.id, limit).await?;
    Ok(Some(events.into_iter().map(HistoryLine::of).collect()))
}

/// The id of an exchange, and of what is kept of it, as short as people have it.
#[must_use]
pub fn short_id(flight: ExchangeId) -> String {
    flight.short()
}

/// The id in full.
pub(crate) fn id_of(flight: ExchangeId) -> String {
    flight.hex()
}
