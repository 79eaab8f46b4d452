//! A program that uses tokens without knowing of OAuth: before each request it
//! reads the file, and the next time the database, about ten times a second.

use super::tokens::{self, TokenFile};
use reqwest::{Client, StatusCode};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

const PERIOD: Duration = Duration::from_millis(100);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// What a consumer reads, and what it uses the token for.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) grant: String,
    pub(super) file: TokenFile,
    pub(super) database: PathBuf,
    pub(super) resource_url: String,
}

/// A consumer at work.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) errand: Errand,
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

/// What a consumer met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Requests sent, with a token from either place.
    pub(super) consumer_requests: u64,
    /// Those with a token from the database.
    pub(super) from_database: u64,
    pub(super) http_200: u64,
    pub(super) http_401: u64,
    /// Other answers, no answer, a place that held a token and holds none now,
    /// or a row that is older than the last.
    pub(super) consumer_errors: u64,
}

/// What became of reading a place.
enum Found {
    Token(String),
    /// Before the first token there is nothing to miss.
    NotYet,
    Wrong,
}

/// What was seen before.
#[derive(Debug, Default)]
struct Seen {
    file: bool,
    generation: Option<i64>,
}

impl Tally {
    /// Both together.
    pub(super) fn plus(self, other: Tally) -> Tally {
        Tally {
            consumer_requests: self.consumer_requests + other.consumer_requests,
            from_database: self.from_database + other.from_database,
            http_200: self.http_200 + other.http_200,
            http_401: self.http_401 + other.http_401,
            consumer_errors: self.consumer_errors + other.consumer_errors,
        }
    }
}

impl Consumer {
    /// Starts to use a grant's tokens.
    pub(super) fn start(errand: Errand, http: Client) -> Consumer {
        let tally = Arc::default();
        let task = tokio::spawn(work(errand.clone(), http, Arc::clone(&tally)));
        Consumer {
            errand,
            tally,
            task,
        }
    }

    /// What it met so far.
    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock().expect("counting does not panic")
    }

    /// Ends the work and tells what it met.
    pub(super) async fn stop(self) -> (String, Tally) {
        let tally = self.tally();
        self.task.abort();
        let _ = self.task.await;
        (self.errand.grant, tally)
    }
}

async fn work(errand: Errand, http: Client, tally: Arc<Mutex<Tally>>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen = Seen::default();
    for turn in 0_u64.. {
        ticks.tick().await;
        let by_database = turn % 2 == 1;
        let found = match by_database {
            true => seen.row(&errand).await,
            false => seen.file(&errand.file),
        };
        let token = match found {
            Found::Token(token) => token,
            Found::NotYet => continue,
            Found::Wrong => {
                count(&tally, |t| t.consumer_errors += 1);
                continue;
            }
        };
        let request = http.get(&errand.resource_url).bearer_auth(token);
        let answer = request.timeout(REQUEST_LIMIT).send().await;
        let status = answer.map(|response| response.status());
        count(&tally, |t| {
            t.consumer_requests += 1;
            t.from_database += u64::from(by_database);
            match status {
                Ok(StatusCode::OK) => t.http_200 += 1,
                Ok(StatusCode::UNAUTHORIZED) => t.http_401 += 1,
                _ => t.consumer_errors += 1,
            }
        });
    }
}

impl Seen {
    fn file(&mut self, file: &TokenFile) -> Found {
        match file.read() {
            Some(token) => {
                self.file = true;
                Found::Token(token)
            }
            None if self.file => Found::Wrong,
            None => Found::NotYet,
        }
    }

    async fn row(&mut self, errand: &Errand) -> Found {
        let (database, grant) = (errand.database.clone(), errand.grant.clone());
        let reading = tokio::task::spawn_blocking(move || tokens::read_row(&database, &grant));
        match reading.await.expect("reading does not panic") {
            Ok(Some(row)) if self.generation.is_some_and(|last| row.generation < last) => {
                Found::Wrong
            }
            Ok(Some(row)) => {
                self.generation = Some(row.generation);
                Found::Token(row.access_token)
            }
            Ok(None) | Err(_) if self.generation.is_some() => Found::Wrong,
            Ok(None) | Err(_) => Found::NotYet,
        }
    }
}

fn count(tally: &Mutex<Tally>, change: impl FnOnce(&mut Tally)) {
    change(&mut tally.lock().expect("counting does not panic"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;
    use sandbox::Options;
    use sandbox::server::Server;
    use std::fs;

    async fn until(consumer: &Consumer, met: impl Fn(&Tally) -> bool) {
        while !met(&consumer.tally()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn work_on(dir: &std::path::Path) -> (Server, Consumer) {
        let server = Server::start(Options::default()).await.unwrap();
        let errand = Errand {
            grant: "a".to_owned(),
            file: TokenFile::nth(1, dir, "a"),
            database: dir.join("tokens.db"),
            resource_url: server.resource_url(),
        };
        let consumer = Consumer::start(errand, sandbox::http::client());
        tokio::time::sleep(PERIOD * 3).await;
        assert_eq!(consumer.tally(), Tally::default(), "nothing is there yet");
        (server, consumer)
    }

    #[tokio::test]
    async fn a_consumer_notices_every_token_that_is_missing_or_dead() {
        let dir = tempfile::tempdir().unwrap();
        let (server, consumer) = work_on(dir.path()).await;
        let path = consumer.errand.file.path.clone();
        fs::write(&path, server.make_grant("a").to_string()).unwrap();
        until(&consumer, |t| t.http_200 > 0).await;
        server.withdraw_grant("a");
        until(&consumer, |t| t.http_401 > 0).await;
        fs::write(&path, "{}").unwrap();
        until(&consumer, |t| t.consumer_errors > 0).await;
        let (grant, tally) = consumer.stop().await;
        assert_eq!((grant.as_str(), tally.from_database), ("a", 0));
    }

    #[tokio::test]
    async fn a_consumer_notices_a_row_that_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (server, consumer) = work_on(dir.path()).await;
        let token = server.make_grant("a")["access_token"].to_string();
        let database = Connection::open(&consumer.errand.database).unwrap();
        let rows = format!(
            "CREATE TABLE tokens (name TEXT, access_token TEXT, generation INTEGER);
             INSERT INTO tokens VALUES ('a', '{}', 2);",
            token.trim_matches('"')
        );
        database.execute_batch(&rows).unwrap();
        until(&consumer, |t| t.from_database > 0).await;
        let older = "UPDATE tokens SET generation = 1";
        database.execute_batch(older).unwrap();
        until(&consumer, |t| t.consumer_errors > 0).await;
        assert_eq!(consumer.stop().await.1.http_401, 0);
    }
}
