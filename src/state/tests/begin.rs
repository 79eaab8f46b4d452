//! Grants that begin by themselves.

use super::*;

fn asking() -> GrantState {
    GrantState {
        configured: true,
        asks_anew: true,
        ..GrantState::default()
    }
}

#[tokio::test]
async fn a_grant_begins_without_tokens_and_its_first_flight_brings_them() {
    let house = House::new();
    let store = house.open().store;
    let begin = |client: &'static str| store.begin("sensors", client, asking(), WallTime(5));
    let grant = begin("blynk").await.unwrap();
    assert_eq!((grant.state.generation, grant.revision), (0, 1));
    let loaded = store.load(&grant.id).await.unwrap();
    assert_eq!(loaded, Some((grant.clone(), None)));
    // A failed first try has a state and still no tokens.
    let failed = GrantState {
        failures: 1,
        ..grant.state.clone()
    };
    let failed = store.update_state(&grant, failed, event("unanswered"));
    let grant = applied(failed.await.unwrap());
    assert_eq!(store.load(&grant.id).await.unwrap().unwrap().1, None);
    let grant = applied(store.commit(success(&grant, 1)).await.unwrap());
    assert_eq!(grant.state.generation, 1);
    assert_eq!(begin("other").await.unwrap(), grant, "it is there already");
    drop(store);
    let store = house.open().store;
    let found = store.load(&grant.id).await.unwrap();
    assert_eq!(found, Some((grant, Some(tokens(1)))));
}

#[tokio::test]
async fn one_that_has_begun_can_be_imported_all_the_same() {
    let house = House::new();
    let store = house.open().store;
    let begun = store
        .begin("shop-17", "retm", asking(), WallTime(5))
        .await
        .unwrap();
    let imported = store.import(request("shop-17", 1)).await.unwrap();
    let Imported::Reauthorized(grant) = imported else {
        panic!("{imported:?}");
    };
    assert_eq!((grant.id, grant.state.generation), (begun.id, 1));
}

#[tokio::test]
async fn an_authorization_that_the_client_s_own_asking_replaces_is_kept() {
    let house = House::new();
    let store = house.open().store;
    let mut grant = created(&store, "shop-17", 1).await;
    for number in [2, 3] {
        let mut asked = success(&grant, number);
        asked.settlement.state.own = true;
        grant = applied(store.commit(asked).await.unwrap());
    }
    let kept = store.candidates(&grant.id).await.unwrap();
    let kept: Vec<_> = kept.into_iter().map(|kept| kept.tokens).collect();
    assert_eq!(
        kept,
        [Some(tokens(1))],
        "and not what the client got itself"
    );
}
