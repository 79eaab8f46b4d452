//! The outputs' reconciler over the store, and what is told of its outputs.

use super::book::StoreBook;
use crate::exchange::Deck;
use crate::incidents::Incidents;
use crate::publish::reconcile::{BookError, Trouble, What, Wiring};
use crate::publish::{Reconciler, View};
use crate::state::StoreError;
use refreshd_core::incident::{Kind, Subject};
use refreshd_core::{Grant, TokenSet};
use std::sync::Arc;

fn tell_output(incidents: &Incidents, trouble: Trouble<'_>) {
    let (place, grant) = (trouble.address.place(), trouble.grant.to_owned());
    let text =
        |error| format!("output of {grant} fails, trying again until it works: {place}: {error}");
    let subject = Subject::Output {
        place: place.clone(),
        grant: grant.clone(),
    };
    let gone = format!("output of {grant} is not configured any more, and was withdrawn");
    match trouble.what {
        What::Fails(error) => incidents.raise(&subject, Kind::OutputFailing, || text(error)),
        What::Works => {
            let works = format!("output of {grant} works again");
            // Who wrote there before this process began is not seen any more.
            incidents.disprove(&subject, Kind::ForeignWrite, "refreshd was started again");
            incidents.close(&subject, Kind::OutputFailing, &works)
        }
        What::Gone => {
            incidents.close(&subject, Kind::ForeignWrite, &gone);
            incidents.close(&subject, Kind::OutputFailing, &gone)
        }
        What::Disturbed(why) => incidents.raise(&subject, Kind::ForeignWrite, || {
            format!(
                "output of {grant} is not left alone: {place}: {why}, and refreshd wrote it again; find out who writes there, or choose another path"
            )
        }),
        What::Calm => {
            let calm = "nobody else has written there for a while";
            incidents.close(&subject, Kind::ForeignWrite, calm)
        }
    };
}

/// The outputs' reconciler over the store.
pub(super) async fn reconciler(
    deck: &Deck,
    incidents: Incidents,
    at_once: usize,
) -> Result<Reconciler, BookError> {
    let store = deck.store.clone();
    let source = move |name: String| {
        let store = store.clone();
        async move {
            let view = |(grant, tokens): (Grant, Option<TokenSet>)| {
                Some(View {
                    store_id: store.store_id().to_owned(),
                    grant,
                    // Of an import that brought a refresh token alone, there is none to show yet.
                    tokens: tokens.filter(|tokens| !tokens.access_token.is_empty())?,
                })
            };
            Ok::<_, StoreError>(store.load_named(&name).await?.and_then(view))
        }
    };
    let clock = deck.clock.clone();
    Reconciler::start(Wiring {
        store_id: deck.store.store_id().to_owned(),
        source: Arc::new(move |name| {
            let view = source(name);
            Box::pin(async move { view.await.map_err(|e| e.to_string()) })
        }),
        book: Arc::new(StoreBook(deck.store.clone())),
        clock: Arc::new(move || clock.wall()),
        trouble: Arc::new(move |trouble| tell_output(&incidents, trouble)),
        at_once,
    })
    .await
}
