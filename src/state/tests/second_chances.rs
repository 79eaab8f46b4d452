//! What a refused grant tries before a person is asked.

use super::*;
use refreshd_core::grant::Presents;
use refreshd_core::grant::state::Refusal;
use refreshd_core::secret::Fingerprint;

/// A grant at token set 2, with a late answer's token set 3, and refused.
async fn refused(store: &Store) -> Grant {
    let first = created(store, "shop-17", 1).await;
    let current = applied(store.commit(success(&first, 2)).await.unwrap());
    let mut late = success(&first, 3);
    late.intent = Some(intent(store, &first, 5));
    let stale = store.commit(late).await.unwrap();
    assert!(matches!(stale, Committed::Stale(_)));
    let state = GrantState {
        refusal: Some(Refusal {
            provisional: false,
            interaction: false,
            at: WallTime(9),
            times: 1,
            text: String::new(),
        }),
        ..current.state.clone()
    };
    let update = store.update_state(&current, state, event("invalid-grant"));
    applied(update.await.unwrap())
}

#[tokio::test]
async fn a_late_answers_refresh_token_takes_the_refused_ones_place_once() {
    let house = House::new();
    let store = house.open().store;
    let grant = refused(&store).await;
    let chances = store.second_chances().await.unwrap();
    assert_eq!(chances, std::slice::from_ref(&grant.id));
    let take = |revision| store.take_second_chance(&grant.id, revision, WallTime(10));
    assert_eq!(take(1).await.unwrap(), None, "of another revision");
    let now = take(grant.revision).await.unwrap().unwrap();
    assert_eq!(now.state.generation, grant.state.generation);
    assert!(now.state.refusal.is_none());
    let (_, set) = store.load(&grant.id).await.unwrap().unwrap();
    let set = set.unwrap();
    assert_eq!(set.refresh_token, tokens(3).refresh_token);
    assert_eq!(
        set.access_token,
        tokens(2).access_token,
        "what is served stays"
    );
    let fingerprint = store
        .fingerprinter()
        .of(set.refresh_token.as_ref().unwrap());
    assert_eq!(now.state.presents, Some(fingerprint));
    // The refused one is kept, and not tried again.
    let kept = store.candidates(&grant.id).await.unwrap();
    assert_eq!((kept.len(), kept[0].refused), (1, true));
    assert_eq!(kept[0].tokens, Some(tokens(2)));
    assert_eq!(store.second_chances().await.unwrap(), []);
    assert_eq!(take(now.revision).await.unwrap(), None);
}

/// An earlier exchange was answered at last, and its token set took the place of what
/// the second chance had brought: that was gone, whatever it was worth.
#[tokio::test]
async fn a_second_chance_that_another_answer_takes_the_place_of_is_kept() {
    for refused_too in [false, true] {
        let house = House::new();
        let store = house.open().store;
        let grant = refused(&store).await;
        let take = |revision| store.take_second_chance(&grant.id, revision, WallTime(10));
        let mut now = take(grant.revision).await.unwrap().unwrap();
        if refused_too {
            let state = GrantState {
                refusal: grant.state.refusal.clone(),
                ..now.state.clone()
            };
            let update = store.update_state(&now, state, event("invalid-grant"));
            now = applied(update.await.unwrap());
        }
        let mut late = success(&now, 4);
        let mut sent = intent(&store, &now, 7);
        sent.presents = Presents::RefreshToken(Fingerprint([2; 16]));
        late.intent = Some(sent);
        late.settlement.state.presents = Some(Fingerprint([4; 16]));
        late.settlement.state.refusal = None;
        applied(store.commit(late).await.unwrap());
        let kept = store.candidates(&grant.id).await.unwrap();
        let token = |kept: &Candidate| kept.tokens.clone().and_then(|set| set.refresh_token);
        let found = kept
            .iter()
            .find(|kept| token(kept) == tokens(3).refresh_token);
        assert_eq!(found.map(|kept| kept.refused), Some(refused_too));
        let tries = !store.second_chances().await.unwrap().is_empty();
        assert_eq!(tries, !refused_too);
    }
}

#[tokio::test]
async fn what_an_import_replaced_is_not_tried_by_itself() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let import = ImportRequest {
        replace: true,
        ..request("shop-17", 2)
    };
    store.import(import).await.unwrap();
    assert_eq!(store.candidates(&grant.id).await.unwrap().len(), 1);
    assert_eq!(store.second_chances().await.unwrap(), []);
}
