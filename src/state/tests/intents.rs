use super::*;

/// The intents that stand as rows, and which of them are overdue.
async fn rows(store: &Store) -> Vec<(Intent, bool)> {
    let rows = store.read(|s| {
        let mut statement = s
            .conn
            .prepare("SELECT intent, overdue FROM intents ORDER BY flight")?;
        let rows = statement.query_map([], |row| Ok((records::from_json(row, 0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    });
    rows.await.unwrap()
}

#[tokio::test]
async fn an_intent_is_there_from_its_beginning_to_its_settlement() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    state.store.record_intent(&intent).await.unwrap();
    assert_eq!(rows(&state.store).await, [(intent.clone(), false)]);
    drop(state);

    let state = house.open();
    assert_eq!(state.recovered.len(), 1);
    assert_eq!(rows(&state.store).await, [(intent.clone(), false)]);
    let overdue = Commit {
        intent: Some(intent.clone()),
        ends: false,
        ..success(&grant, 2)
    };
    let overdue = Commit {
        settlement: Settlement {
            tokens: None,
            state: grant.state.clone(),
            ..overdue.settlement
        },
        ..overdue
    };
    let grant = applied(state.store.commit(overdue).await.unwrap());
    assert_eq!(rows(&state.store).await, [(intent.clone(), true)]);
    let ended = Commit {
        intent: Some(intent),
        ..success(&grant, 2)
    };
    applied(state.store.commit(ended).await.unwrap());
    assert_eq!(rows(&state.store).await, []);
    drop(state);
    let state = house.open();
    assert_eq!(state.recovered, []);
}

#[tokio::test]
async fn what_had_nothing_to_commit_leaves_no_intent() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    state.store.record_intent(&intent).await.unwrap();
    state.store.end(intent.flight).await.unwrap();
    assert_eq!(rows(&state.store).await, []);
}

#[tokio::test]
async fn a_grant_is_not_taken_away_from_under_its_answer() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    state.store.record_intent(&intent).await.unwrap();
    let refused = state.store.remove(&grant).await;
    assert!(matches!(refused, Err(StoreError::UnderWay(name)) if name == "shop-17"));
    let nobody_s = Intent {
        flight: ExchangeId([6; 16]),
        grant: GrantId("another".to_owned()),
        ..intent.clone()
    };
    let refused = state.store.record_intent(&nobody_s).await.unwrap_err();
    assert!(refused.is_of_one(), "{refused}");
    state.store.end(intent.flight).await.unwrap();
    assert!(state.store.remove(&grant).await.unwrap());
}

/// An intent that was told to have failed may count after a kill: nothing begins before
/// another commit has taken its place.
#[tokio::test]
async fn nothing_begins_before_a_failed_intent_is_overwritten() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let grant = created(store, "shop-17", 1).await;
    // A foreign key that is checked at the commit makes it fail.
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY);
        CREATE TABLE c (p INTEGER REFERENCES p DEFERRABLE INITIALLY DEFERRED);";
    execute(store, tables).await;
    let before = store.commit_seq();
    let first = intent(store, &grant, 5);
    let (begins, fails) = together(
        store,
        store.record_intent(&first),
        store.write(|s| Ok(s.conn.execute_batch("INSERT INTO c VALUES (1)")?)),
    )
    .await;
    assert!(matches!(begins, Err(StoreError::NotDurable { .. })));
    fails.unwrap_err();
    assert_eq!(rows(store).await, []);
    // The command that they waited behind, and a commit of nothing else.
    assert_eq!(store.commit_seq(), before + 2);
    store.record_intent(&first).await.unwrap();
    assert_eq!(rows(store).await, [(first, false)]);
    assert_eq!(store.commit_seq(), before + 3);
}

/// Two things that share a transaction.
async fn together<A, B>(
    store: &Store,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (start, started) = tokio::sync::oneshot::channel();
    let busy = store.write(move |_| {
        start.send(()).unwrap();
        released.recv().unwrap();
        Ok(())
    });
    let both = async {
        started.await.unwrap();
        let release = async { release.send(()).unwrap() };
        let (one, other, ()) = tokio::join!(one, other, release);
        (one, other)
    };
    let (busy, both) = tokio::join!(busy, both);
    busy.unwrap();
    both
}

async fn execute(store: &Store, sql: &'static str) {
    let run = |s: &writer::Session<'_>| Ok(s.conn.execute_batch(sql)?);
    store.write(run).await.unwrap();
}
