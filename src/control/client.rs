//! Whom the commands ask: the daemon at its socket, or a service in their own process. The
//! same requests go either way.

use super::router::Routes;
use crate::connections::Answer as _;
use crate::engine::message::{Accept, Refreshed, Wish};
use crate::enroll::{Approve, Begin, Begun, Report};
use crate::exit::{Exit, Failure};
use crate::history::HistoryLine;
use crate::report::status::Status;
use crate::service::answers::KeptInFull;
use crate::service::api::{
    BackupMade, BackupRequest, Done, ImportQuery, Imported, KeptRequest, KeyProgress, KeyStatus,
    Operation, Patience, Redirect, StatusQuery, Token, TokenQuery, VerifyRequest,
};
use crate::service::{Service, Verified};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The longest that anything is waited for; a copy of a large state takes its time.
const ANSWER: Duration = Duration::from_secs(3600);
/// What an answer may take beside the wait that was asked for.
const MARGIN: Duration = Duration::from_secs(1);
/// A daemon that does not answer is asked so often whether it lives …
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// … and says so within this, however busy it is.
const ALIVE: Duration = Duration::from_secs(8);

/// Whom a command asks; clones share it. A function asks what it names, and fails as it is
/// answered.
#[derive(Clone)]
pub struct Control {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Socket(reqwest::Client),
    Own(Routes, Arc<Service>),
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.way {
            Way::Socket(_) => "Control(socket)",
            Way::Own(..) => "Control(own process)",
        })
    }
}

impl Control {
    /// To the daemon that listens at a socket; nothing is sent yet. Whose it is has
    /// been looked at by [`daemon`](super::find::daemon).
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn to(socket: &Path) -> Result<Self, Failure> {
        crate::http::install_tls();
        let http = reqwest::Client::builder()
            .unix_socket(socket.to_owned())
            // Plain HTTP: no authorities are needed, and a small image has none.
            .tls_certs_only([])
            .no_proxy()
            // One that is kept may be closed at the moment of the next request.
            .pool_max_idle_per_host(0)
            .build();
        let http = http.map_err(|e| Failure::new(Exit::Internal, e.to_string()))?;
        Ok(Control {
            way: Way::Socket(http),
        })
    }

    /// To a service in this process.
    #[must_use]
    pub fn own(service: Service) -> Self {
        let service = Arc::new(service);
        Control {
            way: Way::Own(Routes::to(service.clone()), service),
        }
    }

    /// Lets go of what was opened for it.
    ///
    /// # Errors
    /// When the state cannot be closed.
    pub async fn close(self) -> Result<(), Failure> {
        match self.way {
            Way::Socket(_) => Ok(()),
            Way::Own(_, service) => service.close().await,
        }
    }

    /// `GET /v1/status`.
    pub async fn status(&self, query: &StatusQuery) -> Result<Status, Failure> {
        let names = query.names.as_ref().map(|names| format!("&names={names}"));
        let path = format!(
            "status?history={}{}",
            query.history,
            names.unwrap_or_default()
        );
        self.get(&path).await
    }

    /// `GET /v1/grants/NAME/history`.
    pub async fn history(&self, name: &str, limit: u32) -> Result<Vec<HistoryLine>, Failure> {
        let path = format!("grants/{name}/history?limit={limit}");
        self.get(&path).await
    }

    /// `GET /v1/grants/NAME/token`.
    pub async fn token(&self, name: &str, query: TokenQuery) -> Result<Token, Failure> {
        let path = format!(
            "grants/{name}/token?min_valid_ms={}&timeout_ms={}",
            query.min_valid_ms, query.timeout_ms
        );
        let limit = query.timeout().saturating_add(MARGIN);
        self.ask(Method::GET, &path, String::new(), limit).await
    }

    /// `POST /v1/refresh`.
    pub async fn refresh(&self, wish: &Wish) -> Result<Refreshed, Failure> {
        self.post("refresh", wish).await
    }

    /// `POST /v1/import`, a part of the lines at a time.
    pub async fn import(&self, lines: String, query: ImportQuery) -> Result<Imported, Failure> {
        let path = format!("import?replace={}", query.replace);
        self.ask(Method::POST, &path, lines, ANSWER).await
    }

    /// `POST /v1/reload`.
    pub async fn reload(&self) -> Result<Done, Failure> {
        self.post("reload", &()).await
    }

    /// `POST /v1/accept`.
    pub async fn accept(&self, what: &Accept) -> Result<Done, Failure> {
        self.post("accept", what).await
    }

    /// `POST /v1/verify`.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verified, Failure> {
        self.post("verify", request).await
    }

    /// `POST /v1/revoke`.
    pub async fn revoke(&self, operation: &Operation) -> Result<Done, Failure> {
        self.post("revoke", operation).await
    }

    /// `GET /v1/answers`.
    pub async fn answers(&self, grant: Option<&str>) -> Result<Vec<KeptInFull>, Failure> {
        let query = grant.map(|grant| format!("?grant={grant}"));
        let path = format!("answers{}", query.unwrap_or_default());
        self.get(&path).await
    }

    /// `POST /v1/answers/drop`.
    pub async fn drop_answer(&self, id: &str, became: Option<u64>) -> Result<Done, Failure> {
        let request = KeptRequest {
            grant: None,
            id: Some(id.to_owned()),
            became,
        };
        self.post("answers/drop", &request).await
    }

    /// `POST /v1/remove`.
    pub async fn remove(&self, operation: &Operation) -> Result<Done, Failure> {
        self.post("remove", operation).await
    }

    /// `POST /v1/backup`.
    pub async fn backup(&self, request: &BackupRequest) -> Result<BackupMade, Failure> {
        self.post("backup", request).await
    }

    /// `GET /v1/key`.
    pub async fn key(&self) -> Result<KeyStatus, Failure> {
        self.get("key").await
    }

    /// `GET /v1/key/progress`.
    pub async fn key_progress(&self) -> Result<KeyProgress, Failure> {
        self.get("key/progress").await
    }

    /// `POST /v1/enroll`.
    pub async fn begin_enrollment(&self, begin: &Begin) -> Result<Begun, Failure> {
        self.post("enroll", begin).await
    }

    /// `GET /v1/enroll`.
    pub async fn enrollments(&self) -> Result<Vec<Report>, Failure> {
        self.get("enroll").await
    }

    /// `GET /v1/enroll/ID`.
    pub async fn enrollment(&self, id: &str, patience: Patience) -> Result<Report, Failure> {
        let path = format!("enroll/{id}?wait_ms={}", patience.wait_ms);
        self.get(&path).await
    }

    /// `POST /v1/enroll/ID/redirect`.
    pub async fn redirected(&self, id: &str, redirect: &Redirect) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/redirect"), redirect).await
    }

    /// `POST /v1/enroll/ID/accept`.
    pub async fn accept_enrollment(&self, id: &str) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/accept"), &()).await
    }

    /// `POST /v1/enroll/ID/approve`.
    pub async fn approve_enrollment(&self, id: &str, whose: &Approve) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/approve"), whose).await
    }

    /// `DELETE /v1/enroll/ID`.
    pub async fn cancel_enrollment(&self, id: &str) -> Result<Report, Failure> {
        let path = format!("enroll/{id}");
        self.ask(Method::DELETE, &path, String::new(), ANSWER).await
    }

    /// `POST /v1/key/rotate`.
    pub async fn rotate_key(&self) -> Result<KeyStatus, Failure> {
        self.post("key/rotate", &()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, String::new(), ANSWER).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_string(body).expect("requests are plain data");
        self.ask(Method::POST, path, body, ANSWER).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
        limit: Duration,
    ) -> Result<T, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://refreshd/v1/{path}"))
            .header("content-type", "application/json");
        let garbled = |e: &dyn fmt::Display| {
            Failure::new(
                Exit::Internal,
                format!("refreshd's answer is not understood ({e}); is it another version?"),
            )
        };
        let unfit = |e: axum::http::Error| Failure::new(Exit::Internal, e.to_string());
        let (success, body) = match &self.way {
            Way::Socket(http) => {
                let request = request.body(body).map_err(unfit)?;
                answer_within(http, request, limit).await?
            }
            Way::Own(routes, _) => {
                let request = request.body(Body::from(body)).map_err(unfit)?;
                let response = routes.answer(request).await;
                let success = response.status().is_success();
                let body = to_bytes(response.into_body(), usize::MAX).await;
                (success, body.map_err(|e| garbled(&e))?)
            }
        };
        if success {
            serde_json::from_slice(&body).map_err(|e| garbled(&e))
        } else {
            Err(serde_json::from_slice::<Failure>(&body).map_err(|e| garbled(&e))?)
        }
    }
}

/// Whether it succeeded, and the body. An answer takes its time, as long as the daemon lives.
async fn answer_within(
    http: &reqwest::Client,
    request: Request<String>,
    limit: Duration,
) -> Result<(bool, Bytes), Failure> {
    let answered = async {
        let response = http.execute(request.try_into()?).await?;
        let success = response.status().is_success();
        Ok((success, response.bytes().await?))
    };
    let silent = |why: &str| {
        Failure::new(
            Exit::Unavailable,
            format!("refreshd did not answer: {why}; see whether it is stopped or hangs"),
        )
    };
    let answered = tokio::select! {
        answered = answered => answered,
        () = is_silent(http) => return Err(silent("it takes connections and is silent")),
        () = tokio::time::sleep(limit) => {
            let limit = refreshd_core::duration::human(limit);
            return Err(silent(&format!("it took more than {limit}")));
        }
    };
    answered.map_err(|e: reqwest::Error| {
        Failure::new(
            Exit::Unavailable,
            format!("refreshd did not answer: {}", e.without_url()),
        )
    })
}

/// Returns when the daemon does not answer at all: it is asked now and then whether
/// it lives, beside what it is really asked.
async fn is_silent(http: &reqwest::Client) {
    let mut failed = 0;
    while failed < 3 {
        tokio::time::sleep(ASK_AGAIN).await;
        let alive = http.get("http://refreshd/v1/alive").timeout(ALIVE);
        match alive.send().await {
            Ok(_) => failed = 0,
            Err(e) if e.is_timeout() => return,
            // It may be ending, and answering before it does.
            Err(_) => failed += 1,
        }
    }
}
