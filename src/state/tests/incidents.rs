use super::*;
use refreshd_core::incident::{Incident, Kind, Subject};

const DAY: i64 = 86_400_000;

fn incident(id: u64, closed_at: Option<i64>) -> Incident {
    Incident {
        id,
        kind: Kind::InDoubt,
        subject: Subject::Grant("shop-17".to_owned()),
        text: "no answer came".to_owned(),
        opened_at: WallTime(1000),
        ends_at: None,
        reminded_at: None,
        reminders: 0,
        closed: closed_at.map(|at| (WallTime(at), "generation 2 came".to_owned())),
    }
}

#[tokio::test]
async fn rows_come_back_as_they_were_kept() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    assert_eq!(store.open_incidents().await.unwrap(), (vec![], 0));
    let output = Incident {
        kind: Kind::OutputFailing,
        subject: Subject::Output {
            place: "/run/shop-17".to_owned(),
            grant: "shop-17".to_owned(),
        },
        ends_at: Some(WallTime(9000)),
        reminded_at: Some(WallTime(4_600_000)),
        reminders: 1,
        ..incident(2, None)
    };
    let all = vec![incident(1, None), output.clone()];
    store.keep_incidents(all.clone()).await.unwrap();
    drop(state);
    let state = house.open();
    let store = &state.store;
    assert_eq!(store.open_incidents().await.unwrap(), (all, 2));
    // Written again, after a commit that was thought to have failed: nothing doubles.
    let over = vec![incident(1, Some(5000))];
    for _ in 0..2 {
        store.keep_incidents(over.clone()).await.unwrap();
    }
    assert_eq!(store.open_incidents().await.unwrap(), (vec![output], 2));
    assert_eq!(store.closed_incidents("shop-17", 5).await.unwrap(), over);
    assert_eq!(store.closed_incidents("other", 5).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_over_is_kept_for_a_while_and_no_number_comes_again() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let mut rows: Vec<Incident> = (1..=10_050)
        .map(|id| incident(id, Some(100 * DAY)))
        .collect();
    rows[0] = incident(1, None);
    rows[1] = incident(2, Some(9 * DAY));
    store.keep_incidents(rows).await.unwrap();
    let now = WallTime(100 * DAY);
    assert_eq!(store.prune_incidents(now).await.unwrap(), 1 + 48);
    assert_eq!(store.prune_incidents(now).await.unwrap(), 0);
    let kept = store.closed_incidents("shop-17", 20_000).await.unwrap();
    assert_eq!((kept.len(), kept[0].id), (10_000, 10_050));
    assert_eq!(
        store.prune_incidents(WallTime(300 * DAY)).await.unwrap(),
        10_000
    );
    let open = vec![incident(1, None)];
    assert_eq!(store.open_incidents().await.unwrap(), (open, 10_050));
}

/// What a healthy refresh writes has no trace of it.
#[tokio::test]
async fn a_token_that_another_grant_has_had_is_seen_in_the_state() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    created(store, "one", 1).await;
    let two = created(store, "two", 2).await;
    let shared = applied(store.commit(success(&two, 1)).await.unwrap());
    assert_eq!(shared.state.shared_with.as_deref(), Some("one"));
    let read = store.grant_by_name("two").await.unwrap().unwrap();
    assert_eq!(read, shared);
    let healthy = applied(store.commit(success(&shared, 3)).await.unwrap());
    assert_eq!(healthy.state.shared_with, None);
    let text = serde_json::to_string(&healthy.state).unwrap();
    assert!(!text.contains("shared_with"), "{text}");
}
