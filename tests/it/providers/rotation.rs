//! Refreshing over and over, in every reading of the documents.

use super::Place;
use crate::support::text;
use sandbox::{Flow, Kind, Options, Reading, Verdict};

/// Authorizes, refreshes five times, and looks at what the server saw.
async fn five_generations(options: Options, more: &str) {
    let kind = options.kind;
    let place = Place::new(options, more).await;
    let daemon = place.house.daemon();
    place.authorize();
    place.works_at(1);
    for generation in 2..=6 {
        let refreshed = place.force();
        assert!(
            refreshed.status.success(),
            "{kind:?}: {}",
            text(&refreshed.stderr)
        );
        place.works_at(generation);
    }
    let seen = place.server.presentations();
    assert_eq!(seen.len(), 5, "{seen:?}");
    for (number, seen) in seen.iter().enumerate() {
        assert_eq!(seen.verdict, Verdict::Issued, "{kind:?}: {seen:?}");
        assert_eq!(seen.flow, Some(Flow::RefreshToken));
        assert_eq!(seen.refresh, Some(number), "always the last one received");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn retently() {
    five_generations(Options::of(Kind::Retently), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reteno_as_its_sample_has_it() {
    five_generations(Options::of(Kind::Reteno), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reteno_as_its_text_has_it() {
    let options = Options {
        reading: Reading::Query,
        ..Options::of(Kind::Reteno)
    };
    five_generations(options, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retm_with_a_host_for_each_business() {
    five_generations(Options::of(Kind::Retm), "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retm_staging() {
    five_generations(Options::of(Kind::RetmStaging), "").await;
}
