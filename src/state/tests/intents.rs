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

async fn begun(state: &State, intent: &Intent) -> SlotRef {
    let slot = state.journal.record_intent(intent).await.unwrap();
    state.store.record_intent(intent).await.unwrap();
    slot
}

#[tokio::test]
async fn an_intent_is_there_from_its_beginning_to_its_settlement() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    let slot = begun(&state, &intent).await;
    assert_eq!(rows(&state.store).await, [(intent.clone(), false)]);
    drop(state);

    let state = house.open();
    assert_eq!(state.disagreements, Vec::<String>::new());
    assert_eq!(state.recovered.len(), 1);
    assert_eq!(rows(&state.store).await, [(intent.clone(), false)]);
    let overdue = Commit {
        intent: Some(intent.clone()),
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
        slot: Some(slot),
        ..success(&grant, 2)
    };
    applied(state.store.commit(ended).await.unwrap());
    assert_eq!(rows(&state.store).await, []);
    drop(state);
    let state = house.open();
    assert_eq!(state.disagreements, Vec::<String>::new());
    assert_eq!(state.recovered, []);
}

#[tokio::test]
async fn what_had_nothing_to_commit_leaves_no_intent() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    let slot = begun(&state, &intent).await;
    state.store.settle(intent.flight, slot).await.unwrap();
    assert_eq!(rows(&state.store).await, []);
}

#[tokio::test]
async fn a_grant_is_not_taken_away_from_under_its_answer() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    let slot = begun(&state, &intent).await;
    let refused = state.store.remove(&grant).await;
    assert!(matches!(refused, Err(StoreError::UnderWay(name)) if name == "shop-17"));
    let nobody_s = Intent {
        flight: FlightId([6; 16]),
        grant: GrantId("another".to_owned()),
        ..intent.clone()
    };
    let refused = state.store.record_intent(&nobody_s).await.unwrap_err();
    assert!(refused.is_of_one(), "{refused}");
    state.store.settle(intent.flight, slot).await.unwrap();
    assert!(state.store.remove(&grant).await.unwrap());
}

#[tokio::test]
async fn a_row_without_a_record_is_told() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let alone = intent(&state.store, &grant, 5);
    state.store.record_intent(&alone).await.unwrap();
    // A process may have ended between record and row.
    let never_sent = intent(&state.store, &grant, 6);
    state.journal.record_intent(&never_sent).await.unwrap();
    let changed = intent(&state.store, &grant, 7);
    begun(&state, &changed).await;
    execute(
        &state.store,
        "UPDATE intents SET intent = json_set(intent, '$.attempt', 9)
             WHERE hex(flight) LIKE '07%'",
    )
    .await;
    drop(state);
    let state = house.open();
    let told = &state.disagreements;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("only a row"), "{told:?}");
    assert!(told[1].contains("attempt: 9"), "{told:?}");
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

/// What was on its way as the store was taken over stands in the journal alone.
#[tokio::test]
async fn the_rows_follow_a_journal_of_the_schema_before() {
    let house = House::new();
    let state = house.open();
    let grant = created(&state.store, "shop-17", 1).await;
    let intent = intent(&state.store, &grant, 5);
    let slot = state.journal.record_intent(&intent).await.unwrap();
    let brought = answer("{}");
    let recorded = state
        .journal
        .record_answer(Some(slot), &intent, &brought)
        .await;
    recorded.unwrap();
    drop(state);
    let old = rusqlite::Connection::open(house.database()).unwrap();
    old.execute_batch("DROP TABLE intents; PRAGMA user_version = 7")
        .unwrap();
    old.close().unwrap();
    for _ in 0..2 {
        let state = house.open();
        assert_eq!(state.disagreements, Vec::<String>::new());
        assert_eq!(rows(&state.store).await, [(intent.clone(), false)]);
    }
}
