use super::*;
use crate::state::DbError;
use refreshd_core::grant::Binding;
use std::fs;

/// A house whose database was put back to the state of generation 1 after the
/// grant had come to generation 4.
async fn rolled_back() -> (House, Grant, u64) {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    state.close().await.unwrap();
    let backup = fs::read(house.database()).unwrap();
    let state = house.open();
    let mut latest = grant.clone();
    for number in 2..=4 {
        latest = applied(state.store.commit(success(&latest, number)).await.unwrap());
    }
    let seq = state.store.commit_seq();
    state.close().await.unwrap();
    fs::write(house.database(), backup).unwrap();
    (house, grant, seq)
}

#[tokio::test]
async fn a_store_behind_its_stamp_is_fenced() {
    let (house, grant, stamp) = rolled_back().await;
    let state = house.open();
    let Some(Fenced::StampAhead { store, stamp: seen }) = state.store.fence() else {
        panic!("not fenced");
    };
    assert!(store < seen && seen == stamp);
    // Commits that happen all the same do not catch up with the stamp.
    let mut latest = grant;
    for number in 10..20 {
        latest = applied(state.store.commit(success(&latest, number)).await.unwrap());
    }
    state.close().await.unwrap();
    assert!(house.open().store.fence().is_some());
}

#[tokio::test]
async fn accepting_a_restore_goes_above_everything_published() {
    let (house, grant, stamp) = rolled_back().await;
    let state = house.open();
    let store = &state.store;
    let presents = store.fingerprinter().of(tokens(1).identity());
    let with_token = GrantState {
        presents: Some(presents),
        ..grant.state.clone()
    };
    let update = store.update_state(&grant, with_token, event("test"));
    applied(update.await.unwrap());
    let calm = created(store, "calm", 50).await;
    let published = BTreeMap::from([(grant.id.clone(), 4), (GrantId("gone".to_owned()), 9)]);
    let now = WallTime(9_000_000);
    let rotates = |grant: &Grant| grant.name == "shop-17";
    let grants = store
        .accept_restore(now, &published, rotates)
        .await
        .unwrap();
    assert_eq!(grants.len(), 2);
    assert_eq!(store.fence(), None);
    assert!(store.commit_seq() > stamp);

    let (found, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!((found.state.generation, set), (5, Some(tokens(1))));
    let doubt = found.state.doubt.clone().unwrap();
    assert_eq!((doubt.first_sent, doubt.presents), (WallTime(0), presents));
    let (other, set) = store.load(&calm.id).await.unwrap().unwrap();
    assert_eq!((other.state.generation, set), (2, Some(tokens(50))));
    assert_eq!(other.state.doubt, None);
    // What was under way before it is stale.
    assert!(matches!(
        store.commit(success(&calm, 51)).await,
        Ok(Committed::Stale(_))
    ));
    state.close().await.unwrap();
    assert_eq!(house.open().store.fence(), None);
}

/// The grant had moved to another client in the time that a restore has lost.
#[tokio::test]
async fn what_was_under_way_stays_bound_to_whom_it_was_asked_of() {
    let (house, grant, _) = rolled_back().await;
    let state = house.open();
    let store = &state.store;
    let since = Grant {
        state: GrantState {
            generation: 7,
            ..grant.state.clone()
        },
        revision: grant.revision + 6,
        ..grant.clone()
    };
    let elsewhere = Some(Binding {
        client_id: "new".to_owned(),
        origin: "https://as.example:443".to_owned(),
    });
    let mut held = success(&since, 3);
    held.intent = Some(intent(store, &since, 5));
    held.settlement.state.binding = elsewhere.clone();
    assert_ne!(grant.state.binding, elsewhere);
    let kept = store.commit(held).await.unwrap();
    assert!(matches!(kept, Committed::Stale(_)));
    let nothing = BTreeMap::new();
    let accepted = store.accept_restore(WallTime(9_000_000), &nothing, |_| true);
    accepted.await.unwrap();
    let (found, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!(set.unwrap().refresh_token, tokens(3).refresh_token);
    assert_eq!(found.state.binding, elsewhere);
}

/// Revisions come a second time in a store that was put back. What was under way in the
/// time that is lost used to be applied where they happened to be the same, and the
/// generation fell to what it followed on.
#[tokio::test]
async fn the_same_revision_of_another_generation_is_another_grant() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "one", 1).await;
    for (have, other) in [(1, 4), (2, 1)] {
        let current = state.store.load(&grant.id).await.unwrap().unwrap().0;
        assert_eq!(current.state.generation, have);
        let since = Grant {
            state: GrantState {
                generation: other,
                ..current.state.clone()
            },
            ..current.clone()
        };
        let number = 40 + u32::try_from(other).unwrap();
        let mut held = success(&since, number);
        held.intent = Some(intent(&state.store, &since, u8::try_from(other).unwrap()));
        let committed = state.store.commit(held).await.unwrap();
        let Committed::Stale(stays) = committed else {
            panic!("{committed:?}");
        };
        assert_eq!(stays.state.generation, have);
        let kept = state.store.candidates(&grant.id).await.unwrap();
        let kept = kept.iter().filter_map(|kept| kept.tokens.clone());
        assert!(kept.into_iter().any(|kept| kept == tokens(number)));
        let next = success(&current, 50 + number);
        assert!(matches!(
            state.store.commit(next).await,
            Ok(Committed::Applied(_))
        ));
    }
}

#[tokio::test]
async fn a_published_generation_ahead_fences_over_restarts() {
    let house = House::new();
    let state = house.open();
    let reason = Fenced::PublishedAhead {
        grant: "shop-17".to_owned(),
        published: 4,
        store: 1,
    };
    state.store.set_fenced(reason.clone()).await.unwrap();
    state.close().await.unwrap();
    let store = house.open().store;
    assert_eq!(store.fence(), Some(reason));
    let published = BTreeMap::new();
    let accepted = store.accept_restore(WallTime(1), &published, |_| true);
    accepted.await.unwrap();
    assert_eq!(store.fence(), None);
}

#[tokio::test]
async fn a_new_store_begins_only_where_nothing_is_left_of_an_old_one() {
    let (house, ..) = rolled_back().await;
    fs::remove_file(house.database()).unwrap();
    let told = house.try_open().unwrap_err();
    assert!(
        matches!(told, OpenError::Db(DbError::Gone { .. })),
        "{told}"
    );
    let old = house.root.path().join("old");
    fs::create_dir(&old).unwrap();
    for name in ["state/stamp", "keys/seal.key.used-by"] {
        let path = house.root.path().join(name);
        fs::rename(&path, old.join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(house.open().store.fence(), None);
}

#[tokio::test]
async fn an_accepted_clock_is_remembered() {
    let house = House::new();
    let state = house.open();
    assert_eq!(state.store.last_seen(), None);
    state.store.remember_time(WallTime(500)).await.unwrap();
    state.store.remember_time(WallTime(400)).await.unwrap();
    drop(state);
    let state = house.open();
    let seen = |state: &State| state.last_seen().map(|seen| seen.wall);
    assert_eq!(seen(&state), Some(WallTime(500)));
    state.store.accept_time(WallTime(300)).await.unwrap();
    drop(state);
    assert_eq!(seen(&house.open()), Some(WallTime(300)));
}

#[tokio::test]
async fn what_was_under_way_is_dated_by_the_clock_that_was_accepted_since() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let mut intent = intent(&state.store, &grant, 5);
    intent.sent.boot_id = crate::clock::boot_id();
    state.store.record_intent(&intent).await.unwrap();
    state.store.accept_time(WallTime(1_000_000)).await.unwrap();
    // As another boot would.
    let later = WallTime(9_000_000);
    state.store.remember_time(later).await.unwrap();
    drop(state);
    let found = house.open().recovered.remove(0).intent;
    assert!(found.sent.wall < WallTime(1_000_000));
    assert_eq!(found.first_sent, found.sent.wall);
}

#[tokio::test]
async fn time_that_was_lost_is_allowed_for_once_and_first() {
    let house = House::new();
    let state = house.open();
    let mut with_token = request("shop-17", 1);
    let print = state.store.fingerprinter();
    with_token.state.presents = with_token
        .tokens
        .refresh_token
        .as_ref()
        .map(|t| print.of(t));
    let Imported::Created(grant) = state.store.import(with_token).await.unwrap() else {
        panic!("it is new");
    };
    let allowed = |store: &Store| {
        let store = store.clone();
        async move {
            store
                .allow_for_lost_time(WallTime(3_000_000))
                .await
                .unwrap()
        }
    };
    assert_eq!(allowed(&state.store).await, None);
    drop(state);
    // The last boot's clock stood far ahead of this one's.
    let ahead = clock::reading().wall + std::time::Duration::from_secs(86_400);
    let other_boot = |conn: &rusqlite::Connection| {
        let boot = format!("{} 5 another-boot", ahead.0);
        let changed = conn.execute(
            "UPDATE meta SET value = CASE key WHEN 'last_seen' THEN ?1 ELSE ?2 END
             WHERE key IN ('last_seen', 'last_seen_boot')",
            (ahead.0, boot),
        );
        assert_eq!(changed.unwrap(), 2);
    };
    other_boot(&rusqlite::Connection::open(house.database()).unwrap());
    let state = house.open();
    assert_eq!(state.last_seen().map(|seen| seen.wall), Some(ahead));
    // The process ends before it could allow for it, and the next one is of this boot.
    state
        .store
        .remember_time(ahead + std::time::Duration::from_secs(1))
        .await
        .unwrap();
    drop(state);
    let state = house.open();
    assert_eq!(allowed(&state.store).await, Some(1));
    let (after, _) = state.store.load(&grant.id).await.unwrap().unwrap();
    assert!(after.state.expiry_unknown && after.revision > grant.revision);
    assert_eq!(allowed(&state.store).await, None);
    drop(state);
    assert_eq!(allowed(&house.open().store).await, None);
}

/// All in one transaction, they would keep everyone waiting, and the log would grow with them.
#[tokio::test]
async fn a_restore_is_accepted_by_lots_and_the_fence_goes_with_the_last() {
    let house = House::new();
    let state = house.open();
    let count = u32::try_from(lots::LOT + 5).unwrap();
    for number in 0..count {
        created(&state.store, &format!("g{number}"), number).await;
    }
    state.store.set_fenced(Fenced::OtherMachine).await.unwrap();
    let before = state.store.commit_seq();
    let nothing = BTreeMap::new();
    let accepted = state.store.accept_restore(WallTime(1), &nothing, |_| true);
    let grants = accepted.await.unwrap();
    assert_eq!(grants.len(), count as usize);
    assert!(grants.iter().all(|grant| grant.state.generation == 2));
    // Two lots, and one more for the stamp.
    assert_eq!(state.store.commit_seq() - before, 3);
    state.close().await.unwrap();
    assert_eq!(house.open().store.fence(), None);
}
