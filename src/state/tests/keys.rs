use super::*;
use std::fs;

fn key_lines(house: &House) -> Vec<String> {
    let KeySource::File(path) = &house.key else {
        panic!("a file")
    };
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// A store with grants, a candidate and an answer that could not be read.
async fn filled(house: &House) -> (State, Vec<Grant>) {
    let state = house.open();
    let mut grants = Vec::new();
    for number in 0..250 {
        grants.push(created(&state.store, &format!("g{number:03}"), number).await);
    }
    let late = success(&grants[0], 1000);
    grants[0] = applied(state.store.commit(success(&grants[0], 1001)).await.unwrap());
    let late = Commit {
        intent: Some(intent(&state.store, &grants[1], 9)),
        ..late
    };
    assert!(matches!(
        state.store.commit(late).await,
        Ok(Committed::Stale(_))
    ));
    let mut unread = success(&grants[1], 0);
    unread.settlement.state = grants[1].state.clone();
    unread.settlement.tokens = None;
    unread.settlement.unread = Some(answer("<html>"));
    unread.intent = Some(intent(&state.store, &grants[1], 8));
    grants[1] = applied(state.store.commit(unread).await.unwrap());
    (state, grants)
}

async fn everything_opens(store: &Store, grants: &[Grant]) {
    for grant in grants {
        assert!(store.load(&grant.id).await.unwrap().unwrap().1.is_some());
    }
    assert_eq!(store.candidates(&grants[0].id).await.unwrap().len(), 1);
    assert_eq!(store.unread(&grants[1].id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn everything_is_sealed_anew_and_the_old_key_goes() {
    let house = House::new();
    let (state, grants) = filled(&house).await;
    let before = key_lines(&house);
    let printed = state.store.fingerprinter().of(&Secret::new("x"));
    let new = state.keys.rotate().await.unwrap();
    assert_eq!(key_lines(&house)[1..], before);
    let again = state.keys.rotate().await;
    assert!(matches!(again, Err(KeysError::Unfinished)));
    let uses = state.keys.survey(None).await.unwrap();
    assert_eq!((uses[0].id, uses[0].seals, uses[0].records), (new, true, 0));
    // 250 token sets, a candidate, an answer, the check and the fingerprint key.
    assert_eq!((uses[1].records, uses[1].is_needed()), (254, true));
    assert_eq!(state.keys.retire(None).await.unwrap(), []);

    let walk = state.keys.reseal(|_| ()).await.unwrap();
    assert_eq!((walk.resealed, walk.unreadable), (254, 0));
    assert!(!state.keys.is_unfinished().await.unwrap());
    assert_eq!(state.keys.retire(None).await.unwrap(), [uses[1].id]);
    let after = key_lines(&house);
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    everything_opens(&state.store, &grants).await;
    state.close().await.unwrap();
    let store = house.open().store;
    everything_opens(&store, &grants).await;
    assert_eq!(store.fingerprinter().of(&Secret::new("x")), printed);
    let known = store.import(request("g003", 3)).await.unwrap();
    assert!(matches!(known, Imported::Unchanged(_)));
}

#[tokio::test]
async fn a_rotation_that_was_cut_short_is_gone_on_with() {
    let house = House::new();
    let (state, grants) = filled(&house).await;
    state.keys.rotate().await.unwrap();
    let part = state.store.walk(Walk::default(), true).await.unwrap();
    assert!(!part.done && part.resealed == 100);
    drop(state);
    let state = house.open();
    assert!(state.keys.is_unfinished().await.unwrap());
    everything_opens(&state.store, &grants).await;
    let walk = state.keys.reseal(|_| ()).await.unwrap();
    assert_eq!(walk.resealed, 154);
    assert_eq!(state.keys.retire(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_kept_of_an_exchange_is_sealed_anew() {
    let house = House::new();
    let (state, mut grants) = filled(&house).await;
    let intent = intent(&state.store, &grants[2], 7);
    let body = answer("{}");
    state.store.record_intent(&intent).await.unwrap();
    state.store.keep_answer(&intent, &body).await.unwrap();
    state.keys.rotate().await.unwrap();
    state.keys.reseal(|_| ()).await.unwrap();
    assert_eq!(state.keys.retire(None).await.unwrap().len(), 1);
    drop(state);
    let state = house.open();
    assert_eq!(state.recovered[0].intent, intent);
    assert_eq!(state.recovered[0].answer, Some(body));
    let commit = Commit {
        intent: Some(intent),
        was_kept: true,
        ..success(&grants[2], 2000)
    };
    grants[2] = applied(state.store.commit(commit).await.unwrap());
    drop(state);
    let state = house.open();
    assert_eq!(state.recovered, []);
    everything_opens(&state.store, &grants).await;
}

/// It lies there until the database takes it.
#[tokio::test]
async fn what_was_rescued_keeps_its_key() {
    let house = House::new();
    let (state, grants) = filled(&house).await;
    let intent = intent(&state.store, &grants[2], 7);
    state.store.rescue(&[(intent, answer("{}"))]).unwrap();
    state.keys.rotate().await.unwrap();
    state.keys.reseal(|_| ()).await.unwrap();
    assert_eq!(state.keys.retire(None).await.unwrap(), []);
    drop(state);
    let state = house.open();
    assert_eq!(state.recovered[0].answer, Some(answer("{}")));
    state.keys.reseal(|_| ()).await.unwrap();
    assert_eq!(state.keys.retire(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_retained_backup_keeps_its_key() {
    let house = House::new();
    let (state, _) = filled(&house).await;
    let dir = house.root.path().join("backups");
    backups::prepare(&dir).unwrap();
    let copy = |at| {
        let (store, path) = (state.store.clone(), backups::path_at(&dir, WallTime(at)));
        async move { store.copy_to(&path, false, WallTime(at)).await.unwrap() }
    };
    let first = copy(0).await;
    state.keys.rotate().await.unwrap();
    state.keys.reseal(|_| ()).await.unwrap();
    let second = copy(5000).await;
    assert!(first.keys.is_disjoint(&second.keys));
    assert_eq!(state.keys.retire(Some(&dir)).await.unwrap(), []);
    let uses = state.keys.survey(Some(&dir)).await.unwrap();
    assert_eq!(uses[1].backups, [first.path]);
    // One that cannot be read may need any key.
    backups::prune(&dir, 1).unwrap();
    fs::write(backups::path_at(&dir, WallTime(1000)), "?").unwrap();
    assert_eq!(state.keys.retire(Some(&dir)).await.unwrap(), []);
    backups::prune(&dir, 1).unwrap();
    assert_eq!(state.keys.retire(Some(&dir)).await.unwrap().len(), 1);
    assert_eq!(key_lines(&house).len(), 1);
}

#[tokio::test]
async fn credentials_and_foreign_files_are_not_written() {
    let house = House::new();
    let (state, _) = filled(&house).await;
    let KeySource::File(path) = &house.key else {
        panic!("a file")
    };
    let changed = format!("{}\n", "ab".repeat(32));
    fs::write(path, &changed).unwrap();
    let refused = state.keys.rotate().await;
    assert!(matches!(refused, Err(KeysError::Key(KeyError::Changed(_)))));
    assert_eq!(fs::read_to_string(path).unwrap(), changed);
    let credential = Keys {
        source: KeySource::Credential(path.clone()),
        ..state.keys.clone()
    };
    let refused = credential.rotate().await;
    assert!(matches!(
        refused,
        Err(KeysError::Key(KeyError::ReadOnly(_)))
    ));
    assert!(!credential.is_unfinished().await.unwrap());
}
