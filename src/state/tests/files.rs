use super::*;
use std::fs;

/// Names of the files in which any of the texts occurs.
fn files_with(dir: &Path, needles: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if needles.iter().any(|needle| text.contains(needle)) {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn no_secret_is_in_any_file() {
    let house = House::new();
    let state = house.open();
    let store = &state.store;
    let mut set = request("shop-17", 1);
    set.tokens.code = Some(Secret::new("secret-code"));
    let extra = ("id_token".to_owned(), Secret::new("secret-extra"));
    set.tokens.extra.extend([extra]);
    let Imported::Created(grant) = store.import(set).await.unwrap() else {
        panic!("not created");
    };
    let intent = intent(store, &grant, 5);
    store.record_intent(&intent).await.unwrap();
    let body = answer("{\"access_token\":\"secret-answer\"}");
    store.keep_answer(&intent, &body).await.unwrap();
    store.rescue(&[(intent.clone(), body.clone())]).unwrap();
    let mut commit = success(&grant, 2);
    commit.intent = Some(intent.clone());
    let now = applied(store.commit(commit).await.unwrap());
    store.commit(success(&grant, 3)).await.unwrap(); // a candidate
    let mut unread = success(&now, 4);
    unread.settlement.tokens = None;
    unread.settlement.state = now.state.clone();
    unread.settlement.unread = Some(body);
    applied(store.commit(unread).await.unwrap());

    let secrets = ["access-token-", "refresh-token-", "secret-"];
    let key = fs::read_to_string(house.root.path().join("keys/seal.key")).unwrap();
    let needles: Vec<&str> = secrets.iter().copied().chain([key.trim()]).collect();
    let none: Vec<PathBuf> = Vec::new();
    // While it runs everything is in the log; at the end, in the database.
    assert_eq!(files_with(&house.dir(), &needles), none);
    assert!(files_with(&house.dir(), &["shop-17"]).contains(&house.dir().join("refreshd.db-wal")));
    state.close().await.unwrap();
    assert_eq!(files_with(&house.dir(), &needles), none);
    assert!(files_with(&house.dir(), &["shop-17"]).contains(&house.database()));
}
