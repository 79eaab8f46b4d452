//! A program that uses tokens without knowing of OAuth: it reads the file
//! before each request, about ten times a second.

use super::place::Output;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

const PERIOD: Duration = Duration::from_millis(100);
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A consumer at work.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) output: Output,
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

/// What a consumer met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) grant: String,
    /// Requests sent.
    pub(super) requests: u64,
    pub(super) ok: u64,
    pub(super) unauthorized: u64,
    /// Other answers, no answer, or a file that had been there and held no token.
    pub(super) errors: u64,
    /// The newest generation seen in the metadata.
    pub(super) generation: u64,
}

/// What `FILE.meta.json` says, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Meta {
    pub(super) generation: u64,
    #[serde(default)]
    pub(super) expires_at: Option<String>,
    #[serde(default)]
    pub(super) state: Option<serde_json::Value>,
}

impl Consumer {
    /// Starts to use a grant's token file.
    pub(super) fn start(output: Output, http: Client, resource_url: String) -> Consumer {
        let tally = Arc::new(Mutex::new(Tally {
            grant: output.grant.clone(),
            ..Tally::default()
        }));
        let work = work(output.clone(), http, resource_url, tally.clone());
        let task = tokio::spawn(work);
        Consumer {
            output,
            tally,
            task,
        }
    }

    /// What it met so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().expect("counting does not panic").clone()
    }

    /// The output's metadata, where it is there and whole.
    pub(super) fn meta(&self) -> Option<Meta> {
        let mut name = self.output.path.clone().into_os_string();
        name.push(".meta.json");
        let text = fs::read_to_string(PathBuf::from(name)).ok()?;
        let meta: Meta = serde_json::from_str(&text).ok()?;
        let mut tally = self.tally.lock().expect("counting does not panic");
        tally.generation = tally.generation.max(meta.generation);
        Some(meta)
    }

    /// Ends the work and tells what it met.
    pub(super) async fn stop(self) -> Tally {
        let _ = self.meta();
        let tally = self.tally();
        self.task.abort();
        let _ = self.task.await;
        tally
    }
}

async fn work(output: Output, http: Client, url: String, tally: Arc<Mutex<Tally>>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut seen = false;
    loop {
        ticks.tick().await;
        let Some(token) = read_token(&output) else {
            // Before the first token there is nothing to miss.
            if seen {
                count(&tally, |t| t.errors += 1);
            }
            continue;
        };
        seen = true;
        let request = http.get(&url).bearer_auth(token).timeout(REQUEST_LIMIT);
        let status = request.send().await.map(|response| response.status());
        count(&tally, |t| {
            t.requests += 1;
            match status {
                Ok(StatusCode::OK) => t.ok += 1,
                Ok(StatusCode::UNAUTHORIZED) => t.unauthorized += 1,
                _ => t.errors += 1,
            }
        });
    }
}

fn count(tally: &Mutex<Tally>, change: impl FnOnce(&mut Tally)) {
    change(&mut tally.lock().expect("counting does not panic"));
}

fn read_token(output: &Output) -> Option<String> {
    let text = fs::read_to_string(&output.path).ok()?;
    let token = if output.format == "json" {
        let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
        answer["access_token"].as_str()?.to_owned()
    } else {
        text.trim_end_matches('\n').to_owned()
    };
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::Options;
    use sandbox::server::Server;

    async fn until(consumer: &Consumer, met: impl Fn(&Tally) -> bool) {
        while !met(&consumer.tally()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_consumer_notices_every_token_that_is_missing_or_dead() {
        let server = Server::start(Options::default()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let output = Output {
            grant: "a".to_owned(),
            path: path.clone(),
            format: "json",
        };
        let http = sandbox::http::client();
        let consumer = Consumer::start(output, http, server.resource_url());
        tokio::time::sleep(PERIOD * 2).await;
        assert_eq!(consumer.tally().errors, 0, "nothing is there yet");

        let meta = r#"{"generation":7,"expires_at":"2030-01-01T00:00:00Z","state":"fresh"}"#;
        fs::write(dir.path().join("a.json.meta.json"), meta).unwrap();
        assert_eq!(consumer.meta().unwrap().generation, 7);
        fs::write(&path, server.make_grant("a").to_string()).unwrap();
        until(&consumer, |t| t.ok > 0).await;
        server.withdraw_grant("a");
        until(&consumer, |t| t.unauthorized > 0).await;
        fs::write(&path, "{}").unwrap();
        until(&consumer, |t| t.errors > 0).await;
        let tally = consumer.stop().await;
        assert_eq!((tally.generation, tally.grant.as_str()), (7, "a"));
    }
}
