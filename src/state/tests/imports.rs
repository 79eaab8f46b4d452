use super::*;
use refreshd_core::grant::state::{Doubt, Refusal};
use refreshd_core::ledger::import::NotImported;

/// What an import comes to, in a word.
fn verdict(result: Result<Imported, ImportRefusal>) -> &'static str {
    match result {
        Ok(Imported::Created(_)) => "created",
        Ok(Imported::Reauthorized(_)) => "reauthorized",
        Ok(Imported::Unchanged(_)) => "unchanged",
        Err(ImportRefusal::Refused(NotImported::Name(_))) => "name",
        Err(ImportRefusal::Refused(NotImported::OtherGrant { other, .. })) => {
            assert_eq!(other, "shop-17");
            "other grant"
        }
        Err(ImportRefusal::Refused(NotImported::OtherClient { .. })) => "other client",
        Err(ImportRefusal::Refused(NotImported::OtherBusiness { .. })) => "other business",
        Err(ImportRefusal::Refused(NotImported::Older { .. })) => "older",
        Err(ImportRefusal::Refused(NotImported::NothingToRefresh { .. })) => "nothing to refresh",
        Err(ImportRefusal::Store(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn the_rules() {
    const OLDER: Option<i64> = Some(999_999);
    const SAME: Option<i64> = Some(1_000_000);
    const NEWER: Option<i64> = Some(1_000_001);
    // The store: grant shop-17 of client retm, imported as token set 1, since
    // rotated to 2 and 3, issued at 1,000,000.
    let table = [
        // name, client, token set, obtained at, replace: verdict
        ("shop-18", "retm", 9, None, false, "created"),
        ("shop-18", "retm", 9, OLDER, false, "created"),
        ("Shop", "retm", 9, None, true, "name"),
        ("shop-17", "retm", 3, None, false, "unchanged"),
        ("shop-17", "retm", 2, None, false, "unchanged"),
        ("shop-17", "retm", 1, None, false, "unchanged"),
        ("shop-17", "retm", 1, NEWER, true, "unchanged"),
        ("shop-18", "retm", 3, None, false, "other grant"),
        ("shop-18", "retm", 1, NEWER, true, "other grant"),
        ("shop-18", "other", 2, None, true, "other grant"),
        ("shop-17", "retm", 9, None, false, "reauthorized"),
        ("shop-17", "retm", 9, NEWER, false, "reauthorized"),
        ("shop-17", "retm", 9, SAME, false, "older"),
        ("shop-17", "retm", 9, OLDER, false, "older"),
        ("shop-17", "retm", 9, OLDER, true, "reauthorized"),
        ("shop-17", "other", 9, NEWER, false, "other client"),
        ("shop-17", "other", 3, NEWER, false, "other client"),
        ("shop-17", "other", 9, OLDER, true, "reauthorized"),
    ];
    for row in table {
        let (name, client, number, obtained, replace, expected) = row;
        let house = House::new();
        let store = house.open().store;
        let mut grant = created(&store, "shop-17", 1).await;
        for number in [2, 3] {
            grant = applied(store.commit(success(&grant, number)).await.unwrap());
        }
        let got = store
            .import(ImportRequest {
                client: client.to_owned(),
                obtained_at: obtained.map(WallTime),
                replace,
                ..request(name, number)
            })
            .await;
        let changed = matches!(got, Ok(Imported::Reauthorized(_)));
        assert_eq!(verdict(got), expected, "{row:?}");
        let (found, set) = store.load(&grant.id).await.unwrap().unwrap();
        if changed {
            assert_eq!(
                (found.id, found.revision, found.state.generation),
                (grant.id, 4, 4)
            );
            assert_eq!((found.client.as_str(), set), (client, Some(tokens(number))));
        } else {
            assert_eq!((found, set), (grant, Some(tokens(3))), "{row:?}");
        }
    }
}

#[tokio::test]
async fn another_authorization_ends_doubt_and_refusal() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let presents = store.fingerprinter().of(tokens(1).identity());
    let broken = GrantState {
        doubt: Some(Doubt {
            first_sent: WallTime(1),
            last_sent: WallTime(1),
            presents,
            presentations: 1,
            unread: false,
            relic: false,
        }),
        refusal: Some(Refusal {
            provisional: false,
            interaction: false,
            at: WallTime(2),
            times: 1,
            text: String::new(),
        }),
        failures: 4,
        ..grant.state.clone()
    };
    let update = store.update_state(&grant, broken, event("refused"));
    applied(update.await.unwrap());
    let Imported::Reauthorized(now) = store.import(request("shop-17", 2)).await.unwrap() else {
        panic!("not authorized again");
    };
    assert_eq!(
        (&now.state.doubt, &now.state.refusal, now.state.failures),
        (&None, &None, 0)
    );
    // The flight that was under way meanwhile does not overwrite it.
    let late = store.commit(success(&grant, 3)).await.unwrap();
    assert_eq!(late, Committed::Stale(now));
    let kinds: Vec<_> = store.events(&grant.id, 9).await.unwrap();
    let kinds: Vec<_> = kinds.iter().rev().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["imported", "refused", "reauthorized", "success"]);
}

#[tokio::test]
async fn a_wrong_code_can_be_mended() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let with_code = |code: &str, replace| {
        let mut request = request("shop-17", 1);
        request.tokens.code = Some(Secret::new(code));
        request.replace = replace;
        request
    };
    assert_eq!(
        verdict(store.import(with_code("right", false)).await),
        "unchanged"
    );
    assert_eq!(
        verdict(store.import(with_code("right", true)).await),
        "reauthorized"
    );
    assert_eq!(
        verdict(store.import(with_code("right", true)).await),
        "unchanged"
    );
    let (_, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!(set.unwrap().code, Some(Secret::new("right")));
}

#[tokio::test]
async fn a_refresh_token_is_not_given_up_for_none_and_what_is_replaced_is_kept() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let without = |replace| {
        let mut request = request("shop-17", 7);
        request.tokens.refresh_token = None;
        request.replace = replace;
        request
    };
    assert_eq!(
        verdict(store.import(without(false)).await),
        "nothing to refresh"
    );
    assert_eq!(store.candidates(&grant.id).await.unwrap(), []);
    assert_eq!(verdict(store.import(without(true)).await), "reauthorized");
    let kept = store.candidates(&grant.id).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].tokens, Some(tokens(1)));
}
