use super::*;
use std::sync::mpsc;

#[tokio::test]
async fn a_commit_is_there_after_a_restart() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let now = applied(state.store.commit(success(&grant, 2)).await.unwrap());
    assert_eq!((now.revision, now.state.generation), (2, 2));
    drop(state);
    let store = house.open().store;
    let (found, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!(found, now);
    assert_eq!(set, Some(tokens(2)));
    assert_eq!(store.grants().await.unwrap(), [now]);
    let seen = store.last_seen().unwrap();
    assert_eq!(seen.wall, WallTime(2_000_000));
    assert_eq!(seen.boot_id, crate::clock::boot_id());
    let kinds: Vec<_> = store.events(&grant.id, 9).await.unwrap();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|e| (e.kind.as_str(), e.generation))
        .collect();
    assert_eq!(kinds, [("success", 2), ("imported", 1)]);
}

#[tokio::test]
async fn what_has_queued_up_shares_one_commit() {
    let house = House::new();
    let store = house.open().store;
    let mut grants = Vec::new();
    for number in 0..20 {
        grants.push(created(&store, &format!("g{number}"), number).await);
    }
    let before = store.commit_seq();
    let commits = (100..).zip(&grants).map(|(n, grant)| success(grant, n));
    for committed in together(&store, commits.collect()).await {
        applied(committed.unwrap());
    }
    assert_eq!(store.commit_seq(), before + 2);
}

#[tokio::test]
async fn a_command_that_fails_undoes_itself_alone() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let mut nobody_s = success(&grant, 3);
    nobody_s.base.id = GrantId("another".to_owned());
    let mut empty = success(&grant, 4);
    empty.settlement.tokens = None;
    let (nobody_s, good, empty) = tokio::join!(
        store.commit(nobody_s),
        store.commit(success(&grant, 2)),
        store.commit(empty)
    );
    assert!(matches!(nobody_s, Err(StoreError::NoSuchGrant(_))));
    assert_eq!(applied(good.unwrap()).state.generation, 2);
    // The third found the second's work.
    assert!(matches!(empty, Ok(Committed::Stale(_))));
    let (_, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!(set, Some(tokens(2)));
}

/// The commands of a transaction that fails are told; its settlements are made again.
#[tokio::test]
async fn when_the_commit_fails_its_settlements_are_made_again() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    // A foreign key that is checked at the commit makes the commit fail.
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY);
        CREATE TABLE c (p INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED);";
    store
        .write(move |s| Ok(s.conn.execute_batch(tables)?))
        .await
        .unwrap();
    let before = store.commit_seq();
    let (release, released) = mpsc::channel::<()>();
    let (start, started) = tokio::sync::oneshot::channel();
    let busy = store.write(move |_| {
        start.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    });
    // While the thread is busy these two queue up, and share a transaction.
    let both = async {
        started.await.unwrap();
        let bad = store.write(|s| Ok(s.conn.execute_batch("INSERT INTO c VALUES (1)")?));
        let good = store.commit(success(&grant, 2));
        let release = async { release.send(()).unwrap() };
        tokio::join!(bad, good, release)
    };
    let (busy, (bad, good, ())) = tokio::join!(busy, both);
    busy.unwrap();
    assert!(matches!(bad, Err(StoreError::NotDurable { .. })));
    let settled = applied(good.unwrap());
    let (found, set) = store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!((found, set), (settled, Some(tokens(2))));
    // The command before them, one of nothing, and the settlement.
    assert_eq!(store.commit_seq(), before + 3);
    let left = store.read(|s| {
        Ok(s.conn
            .query_row("SELECT count(*) FROM c", [], |r| r.get::<_, i64>(0))?)
    });
    assert_eq!(left.await.unwrap(), 0);
    assert!(store.took_last_commit());
}

#[tokio::test]
async fn a_commit_of_the_same_generation_is_left_to_be_settled_again() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let grant = created(store, "shop-17", 1).await;
    let intent = intent(store, &grant, 5);
    store.record_intent(&intent).await.unwrap();
    let event = success(&grant, 2).event;
    let noted = store
        .update_state(&grant, grant.state.clone(), event)
        .await
        .unwrap();
    let now = applied(noted);

    let mut overtaken = success(&grant, 3);
    overtaken.intent = Some(intent.clone());
    assert_eq!(
        store.commit(overtaken).await.unwrap(),
        Committed::Stale(now.clone())
    );
    assert_eq!(store.candidates(&grant.id).await.unwrap(), []);
    drop(state);

    let state = house.open();
    assert_eq!(state.recovered.len(), 1, "the intent stays");
    let (found, set) = state.store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!((found, set), (now, Some(tokens(1))));
}

/// The access token of a late answer is dead where a later request was carried out.
#[tokio::test]
async fn a_stale_commit_tells_the_grant_of_its_request() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let grant = created(store, "shop-17", 1).await;
    let now = applied(store.commit(success(&grant, 2)).await.unwrap());
    let mut late = success(&grant, 3);
    late.intent = Some(intent(store, &grant, 5));
    (late.settlement.tokens, late.settlement.state) = (None, grant.state.clone());
    late.settlement.sent = Some(Sent {
        at: WallTime(2_000_500),
        counted_per: None,
        ends_access: true,
    });
    let Committed::Stale(told) = store.commit(late).await.unwrap() else {
        panic!("it is stale");
    };
    assert!(told.state.access_dead && told.revision == now.revision + 1);
    assert_eq!(told.state.last_send, Some(WallTime(2_000_500)));
    drop(state);
    let (found, set) = house.open().store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!((found, set), (told, Some(tokens(2))));
}

#[tokio::test]
async fn a_stale_commit_changes_nothing_and_keeps_what_it_brought() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let grant = created(store, "shop-17", 1).await;
    let intent = intent(store, &grant, 5);
    store.record_intent(&intent).await.unwrap();
    let now = applied(store.commit(success(&grant, 2)).await.unwrap());

    let mut late = success(&grant, 3);
    late.intent = Some(intent.clone());
    assert_eq!(
        store.commit(late).await.unwrap(),
        Committed::Stale(now.clone())
    );
    let mut unread = success(&grant, 4);
    unread.settlement.tokens = None;
    unread.settlement.state = grant.state.clone();
    unread.settlement.unread = Some(answer("<token>"));
    unread.event.at = WallTime(2_000_001);
    store.commit(unread).await.unwrap();
    drop(state);

    let state = house.open();
    assert_eq!(state.recovered, [], "it is settled");
    let (found, set) = state.store.load(&grant.id).await.unwrap().unwrap();
    assert_eq!((found, set), (now, Some(tokens(2))));
    let kept = state.store.candidates(&grant.id).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].flight, intent.flight);
    assert_eq!(kept[0].tokens, Some(tokens(3)));
    assert_eq!(kept[0].base_generation, 1);
    assert_eq!(kept[1].answer, Some(answer("<token>")));
    state.store.forget_candidate(intent.flight).await.unwrap();
    assert_eq!(state.store.candidates(&grant.id).await.unwrap().len(), 1);
    // A token set that was ever seen is known.
    let again = state.store.import(request("shop-17", 3)).await.unwrap();
    assert!(matches!(again, Imported::Unchanged(_)));
}

#[tokio::test]
async fn an_unread_answer_is_kept_beside_the_state() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let mut commit = success(&grant, 2);
    commit.settlement.tokens = None;
    commit.settlement.state = grant.state.clone();
    commit.settlement.unread = Some(answer("<token>"));
    let intent = intent(&store, &grant, 5);
    commit.intent = Some(intent.clone());
    let again = commit.clone();
    let grant = applied(store.commit(commit).await.unwrap());
    let kept = store.unread(&grant.id).await.unwrap();
    assert_eq!(kept[0].answer, answer("<token>"));
    assert_eq!(kept[0].intent, intent);
    // Another description did no better: one row, and it says which was the last.
    let by_another = Intent {
        description: DescriptionHash("d2".to_owned()),
        ..intent
    };
    let again = Commit {
        base: grant.clone(),
        intent: Some(by_another.clone()),
        ..again
    };
    applied(store.commit(again).await.unwrap());
    let kept = store.unread(&grant.id).await.unwrap();
    assert_eq!((kept.len(), &kept[0].intent), (1, &by_another));
    store.forget_unread(kept[0].flight).await.unwrap();
    assert_eq!(store.unread(&grant.id).await.unwrap(), []);
}

/// A provider that answers nonsense for months fills no disk, and costs no token.
#[tokio::test]
async fn of_many_unread_answers_pages_go_and_tokens_stay() {
    let house = House::new();
    let store = house.open().store;
    let mut grant = created(&store, "shop-17", 1).await;
    let token = r#"{"data":{"renew":"rt-2"}}"#;
    let most = u8::try_from(refreshd_core::kept::MOST).unwrap();
    for number in 1..=most + 5 {
        let mut commit = success(&grant, 2);
        commit.settlement.tokens = None;
        commit.settlement.state = grant.state.clone();
        let page = format!("<html>busy, {number}</html>");
        let body = if number == 1 { token } else { &page };
        commit.settlement.unread = Some(answer(body));
        commit.event.at = WallTime(2_000_000 + i64::from(number));
        commit.intent = Some(intent(&store, &grant, number));
        grant = applied(store.commit(commit).await.unwrap());
    }
    let kept = store.unread(&grant.id).await.unwrap();
    assert_eq!(kept.len(), usize::from(most));
    assert_eq!(kept[0].answer.body, token.as_bytes());
    let last = format!("<html>busy, {}</html>", most + 5);
    assert_eq!(kept.last().unwrap().answer.body, last.as_bytes());
}

/// What its grant cannot take is kept as it came, and is adopted by the next start.
#[tokio::test]
async fn an_answer_that_was_kept_raw_is_handed_out_with_its_intent() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    state.store.record_intent(&intent).await.unwrap();
    let body = answer("{\"access_token\":\"access-token-2\"}");
    state.store.keep_answer(&intent, &body).await.unwrap();
    assert_eq!(state.store.unread(&grant.id).await.unwrap(), []);
    drop(state);
    let state = house.open();
    let found = &state.recovered[0];
    assert_eq!((&found.intent, &found.answer), (&intent, &Some(body)));
    let commit = Commit {
        intent: Some(intent.clone()),
        was_kept: true,
        ..success(&grant, 2)
    };
    applied(state.store.commit(commit).await.unwrap());
    drop(state);
    let state = house.open();
    assert_eq!(state.recovered, []);
    assert_eq!(state.store.unread(&grant.id).await.unwrap(), []);
}

/// What the store did not take before a stop is in a file of its own.
#[tokio::test]
async fn an_answer_that_was_rescued_is_handed_out_with_its_intent() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let one = intent(&state.store, &grant, 5);
    let two = intent(&state.store, &grant, 6);
    state.store.record_intent(&one).await.unwrap();
    let body = answer("{\"access_token\":\"access-token-2\"}");
    let rescued = [(one.clone(), body.clone()), (two.clone(), answer(""))];
    state.store.rescue(&rescued).unwrap();
    drop(state);
    for _ in 0..2 {
        let state = house.open();
        assert!(!house.dir().join("rescue").exists());
        assert_eq!(state.recovered[0].intent, one);
        assert_eq!(state.recovered[0].answer, Some(body.clone()));
    }
    // One whose intent is gone is settled at the next start all the same, and at each after
    // it until it is.
    let state = house.open();
    state.store.rescue(&rescued[1..]).unwrap();
    drop(state);
    for _ in 0..2 {
        let state = house.open();
        let second = state.recovered.iter().find(|it| it.intent == two);
        assert_eq!(second.unwrap().answer, Some(answer("")));
    }
}

/// The file stays where the database takes nothing, and what stands in it is settled once.
#[tokio::test]
async fn a_rescue_file_stays_until_the_database_has_it() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let one = intent(&state.store, &grant, 5);
    let two = intent(&state.store, &grant, 6);
    for intent in [&one, &two] {
        state.store.record_intent(intent).await.unwrap();
    }
    let brought = answer("{\"access_token\":\"access-token-2\"}");
    state
        .store
        .rescue(&[(one.clone(), brought.clone())])
        .unwrap();
    execute(&state.store, POISONED_ANSWERS.to_owned()).await;
    drop(state);

    let state = house.open();
    assert!(house.dir().join("rescue").exists());
    let found = state.recovered.iter().find(|it| it.intent == one);
    assert_eq!(found.unwrap().answer, Some(brought));
    let commit = Commit {
        intent: Some(one.clone()),
        ..success(&grant, 2)
    };
    applied(state.store.commit(commit).await.unwrap());
    // Another one that is rescued takes nothing of it away.
    state.store.rescue(&[(two.clone(), answer(""))]).unwrap();
    execute(&state.store, "DROP TRIGGER poison".to_owned()).await;
    drop(state);
    let state = house.open();
    assert!(!house.dir().join("rescue").exists());
    let found: Vec<_> = state.recovered.iter().map(|it| &it.intent).collect();
    assert_eq!(
        found,
        [&two],
        "what was settled meanwhile is not settled again"
    );
    assert_eq!(state.recovered[0].answer, Some(answer("")));
}

const POISONED_ANSWERS: &str = "CREATE TRIGGER poison BEFORE INSERT ON answers
     BEGIN SELECT RAISE(ABORT, 'poisoned'); END;";

#[tokio::test]
async fn what_a_grant_has_had_is_no_second_chance() {
    let house = House::new();
    let store = house.open().store;
    let old = created(&store, "shop-17", 1).await;
    let now = applied(store.commit(success(&old, 2)).await.unwrap());
    applied(store.commit(success(&now, 3)).await.unwrap());
    // The record of the first refresh comes back after a power loss.
    let mut again = success(&old, 2);
    again.intent = Some(intent(&store, &old, 5));
    assert!(matches!(
        store.commit(again).await.unwrap(),
        Committed::Stale(_)
    ));
    assert_eq!(store.candidates(&old.id).await.unwrap(), []);
    assert_eq!(store.second_chances().await.unwrap(), []);
}

#[tokio::test]
async fn a_token_of_another_grant_is_not_lost_at_a_commit() {
    let house = House::new();
    let store = house.open().store;
    let one = created(&store, "one", 1).await;
    let two = created(&store, "two", 2).await;
    applied(store.commit(success(&two, 1)).await.unwrap());
    let (_, set) = store.load(&two.id).await.unwrap().unwrap();
    assert_eq!(set, Some(tokens(1)));
    let told = &store.events(&two.id, 1).await.unwrap()[0].text;
    assert!(told.contains("grant one"), "{told}");
    // It still counts as the first one's.
    let again = store.import(request("one", 1)).await.unwrap();
    assert!(matches!(again, Imported::Unchanged(g) if g.id == one.id));
}

#[tokio::test]
async fn a_state_can_change_without_a_flight() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let state = GrantState {
        failures: 3,
        ..grant.state.clone()
    };
    let update = || store.update_state(&grant, state.clone(), event("paused"));
    assert_eq!(applied(update().await.unwrap()).state.failures, 3);
    assert!(matches!(update().await.unwrap(), Committed::Stale(_)));
    assert_eq!(store.events(&grant.id, 9).await.unwrap().len(), 2);
    let missing = Grant {
        id: GrantId("nobody".to_owned()),
        ..grant.clone()
    };
    let refused = store
        .update_state(&missing, state.clone(), event("paused"))
        .await;
    assert!(matches!(refused, Err(StoreError::NoSuchGrant(_))));
}

#[tokio::test]
async fn pruning_keeps_seeds_and_the_latest_fingerprints() {
    let house = House::new();
    let store = house.open().store;
    let mut grant = created(&store, "shop-17", 1).await;
    for number in 2..=40 {
        let mut commit = success(&grant, number);
        commit.event.at = WallTime(i64::from(number));
        grant = applied(store.commit(commit).await.unwrap());
    }
    let pruned = store.prune(WallTime(11)).await.unwrap();
    assert_eq!(
        pruned,
        Pruned {
            events: 9,
            fingerprints: 7
        }
    );
    for (number, known) in [(1, true), (8, false), (9, true), (40, true)] {
        let mut request = request("other", number);
        request.obtained_at = Some(WallTime(1));
        let refused = store.import(request).await.is_err();
        assert_eq!(refused, known, "token set {number}");
    }
    store.integrity_check().await.unwrap();
    store.checkpoint().await.unwrap();
}

#[tokio::test]
async fn descriptions_and_outputs_are_remembered() {
    let house = House::new();
    let store = house.open().store;
    let grant = created(&store, "shop-17", 1).await;
    let hash = DescriptionHash("d1".to_owned());
    store.put_description(&hash, "{}").await.unwrap();
    store.put_description(&hash, "{}").await.unwrap();
    assert_eq!(
        store.description(&hash).await.unwrap().as_deref(),
        Some("{}")
    );
    let path = Path::new("/run/refreshd/tokens/shop-17");
    store.published(output(path, &grant)).await.unwrap();
    store.published(output(path, &grant)).await.unwrap();
    let outputs = store.outputs().await.unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(
        (outputs[0].path.as_path(), &outputs[0].grant),
        (path, &grant.id)
    );
    store.forget_output(path).await.unwrap();
    assert_eq!(store.outputs().await.unwrap(), []);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let house = House::new();
    let state = house.open();
    let store = state.store.clone();
    state.close().await.unwrap();
    assert!(matches!(store.grants().await, Err(StoreError::Closed)));
}

fn output(path: &Path, grant: &Grant) -> crate::state::PublishedOutput {
    crate::state::PublishedOutput {
        path: path.to_owned(),
        grant: grant.id.clone(),
        name: grant.name.clone(),
    }
}

/// Commits that queue up behind a command, and so share a transaction.
async fn together(store: &Store, commits: Vec<Commit>) -> Vec<Result<Committed, StoreError>> {
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let busy = store.clone();
    let blocking = tokio::spawn(async move {
        let wait = move |_: &writer::Session<'_>| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        };
        busy.write(wait).await.unwrap();
    });
    tokio::task::yield_now().await;
    has_started.recv().unwrap();
    let tasks: Vec<_> = commits
        .into_iter()
        .map(|commit| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(commit).await })
        })
        .collect();
    // Each task has been polled once, and so has queued its commit.
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    blocking.await.unwrap();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

async fn execute(store: &Store, sql: String) {
    let run = move |s: &writer::Session<'_>| Ok(s.conn.execute_batch(&sql)?);
    store.write(run).await.unwrap();
}

/// Whatever SQLite undoes of it: the statement, or the whole transaction.
#[tokio::test]
async fn a_commit_that_breaks_off_fails_alone() {
    for undone in ["ABORT", "FAIL", "ROLLBACK"] {
        let house = House::new();
        let store = house.open().store;
        let mut grants = Vec::new();
        for number in 0..9 {
            grants.push(created(&store, &format!("g{number}"), number).await);
        }
        let poison = format!(
            "CREATE TRIGGER poison BEFORE UPDATE ON grants WHEN NEW.name IN ('g3', 'g7')
             BEGIN SELECT RAISE({undone}, 'poisoned'); END;"
        );
        execute(&store, poison).await;
        let before = store.commit_seq();
        let commits = (100..).zip(&grants).map(|(n, grant)| success(grant, n));
        let results = together(&store, commits.collect()).await;
        for (grant, result) in grants.iter().zip(results) {
            let poisoned = grant.name == "g3" || grant.name == "g7";
            match result {
                Ok(committed) => {
                    assert!(!poisoned, "{undone}: {}", grant.name);
                    assert_eq!(applied(committed).state.generation, 2);
                }
                Err(error) => {
                    assert!(poisoned && error.is_of_one(), "{undone}: {error}");
                    assert!(error.to_string().contains("poisoned"), "{error}");
                }
            }
            let events = store.events(&grant.id, 9).await.unwrap();
            assert_eq!(events.len(), 1 + usize::from(!poisoned), "{}", grant.name);
        }
        assert!(store.took_last_commit(), "{undone}: the others can write");
        assert_eq!(store.commit_seq(), before + 2, "{undone}");
        execute(&store, "DROP TRIGGER poison".to_owned()).await;
        let again = store.commit(success(&grants[3], 103)).await.unwrap();
        assert_eq!(applied(again).state.generation, 2);
    }
}
