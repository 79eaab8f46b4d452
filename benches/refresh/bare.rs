//! The other side of the comparison: as many tasks as the daemon has flights
//! post the same request over and over and do nothing with the answers. It runs
//! as a process of its own, as the daemon does.

use crate::child::Child;
use crate::endpoint::Endpoint;
use std::path::Path;
use std::process::Command;

/// Starts this program again as the bare loop.
pub(crate) fn start(endpoint: &Endpoint, kept: bool, authority: &Path, flights: u16) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command
        .args(["--bare", &endpoint.url, if kept { "kept" } else { "fresh" }])
        .arg(flights.to_string());
    if endpoint.authority.is_some() {
        command.arg(authority);
    }
    Child::spawn(&mut command)
}

/// The loop itself, until the process is killed.
pub(crate) fn run(args: &[String]) {
    let [url, kept, flights, authority @ ..] = args else {
        panic!("--bare URL kept|fresh FLIGHTS [CA]");
    };
    let _first = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = client(kept == "kept", authority.first());
        let tasks: Vec<_> = (0..flights.parse().expect("a number"))
            .map(|_| tokio::spawn(post(client.clone(), url.clone())))
            .collect();
        for task in tasks {
            task.await.expect("a loop that goes on");
        }
    });
}

/// Built as the daemon builds its own.
fn client(kept: bool, authority: Option<&String>) -> reqwest::Client {
    let mut builder = reqwest::Client::builder()
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent("refreshd/bench")
        .tcp_nodelay(true)
        .no_proxy();
    if !kept {
        builder = builder.pool_max_idle_per_host(0);
    }
    if let Some(path) = authority {
        let pem = std::fs::read(path).expect("the authority's file");
        let authority = reqwest::Certificate::from_pem(&pem).expect("an authority");
        builder = builder.tls_certs_merge([authority]);
    }
    builder.build().expect("a client")
}

async fn post(client: reqwest::Client, url: String) {
    loop {
        let response = client
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .basic_auth("bench", Some("secret"))
            .body(format!(
                "grant_type=refresh_token&refresh_token=rt-{:0>100}",
                0
            ))
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        response.bytes().await.expect("a body");
    }
}
