//! The other end of the control socket, for the commands.

use super::enroll::{Patience, Redirect};
use crate::engine::message::{Accept, Refreshed, Wish};
use crate::enroll::{Approve, Begin, Begun, Report};
use crate::exit::{Exit, Failure};
use crate::history::HistoryLine;
use crate::incidents::report::IncidentReport;
use crate::report::status::Status;
use crate::service::answers::KeptInFull;
use crate::service::api::{
    BackupMade, BackupRequest, Done, ImportQuery, Imported, KeptRequest, KeyProgress, KeyStatus,
    Operation, Token, TokenQuery, VerifyRequest,
};
use crate::service::verify::Verified;
use refreshd_core::grant::scopes::Scopes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;

/// The longest that anything is waited for; a copy of a large state takes its time.
const ANSWER: Duration = Duration::from_secs(3600);
/// What an answer may take beside the wait that was asked for.
const MARGIN: Duration = Duration::from_secs(1);
/// A daemon that does not answer is asked so often whether it lives …
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// … and says so within this, however busy it is.
const ALIVE: Duration = Duration::from_secs(8);

/// A connection to a running daemon; clones share it.
#[derive(Clone, Debug)]
pub struct Control {
    http: reqwest::Client,
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
        http.map(|http| Control { http })
            .map_err(|e| Failure::new(Exit::Internal, e.to_string()))
    }

    /// `GET /v1/status`, of these grants or, without a name, of all.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn status(&self, names: &[&str]) -> Result<Status, Failure> {
        let path = match names {
            [] => "status".to_owned(),
            names => format!("status?names={}", names.join(",")),
        };
        self.answer(self.http.get(url(&path))).await
    }

    /// `GET /v1/grants/NAME/incidents`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn closed_incidents(&self, name: &str) -> Result<Vec<IncidentReport>, Failure> {
        let path = format!("grants/{name}/incidents");
        self.answer(self.http.get(url(&path))).await
    }

    /// `GET /v1/grants/NAME/history`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn history(&self, name: &str, limit: u32) -> Result<Vec<HistoryLine>, Failure> {
        let path = format!("grants/{name}/history?limit={limit}");
        self.answer(self.http.get(url(&path))).await
    }

    /// `GET /v1/grants/NAME/scopes`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn scopes(&self, name: &str) -> Result<Option<Scopes>, Failure> {
        let path = format!("grants/{name}/scopes");
        self.answer(self.http.get(url(&path))).await
    }

    /// `GET /v1/grants/NAME/token`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn token(&self, name: &str, query: TokenQuery) -> Result<Token, Failure> {
        let path = format!(
            "grants/{name}/token?min_valid_ms={}&timeout_ms={}",
            query.min_valid_ms, query.timeout_ms
        );
        let limit = query.timeout().saturating_add(MARGIN);
        let request = self.http.get(url(&path));
        self.answer_within(request, limit).await
    }

    /// `POST /v1/refresh`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn refresh(&self, wish: &Wish) -> Result<Refreshed, Failure> {
        self.post("refresh", wish).await
    }

    /// `POST /v1/import`, a part of the lines at a time.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn import(&self, lines: String, query: ImportQuery) -> Result<Imported, Failure> {
        let path = format!("import?replace={}", query.replace);
        self.answer(self.http.post(url(&path)).body(lines)).await
    }

    /// `POST /v1/reload`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn reload(&self) -> Result<Done, Failure> {
        self.post("reload", &()).await
    }

    /// `POST /v1/accept`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn accept(&self, what: &Accept) -> Result<Done, Failure> {
        self.post("accept", what).await
    }

    /// `POST /v1/verify`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verified, Failure> {
        self.post("verify", request).await
    }

    /// `POST /v1/revoke`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn revoke(&self, operation: &Operation) -> Result<Done, Failure> {
        self.post("revoke", operation).await
    }

    /// `GET /v1/answers`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn answers(&self, grant: Option<&str>) -> Result<Vec<KeptInFull>, Failure> {
        let query = grant.map(|grant| format!("?grant={grant}"));
        let path = format!("answers{}", query.unwrap_or_default());
        self.answer(self.http.get(url(&path))).await
    }

    /// `POST /v1/answers/drop`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn drop_answer(&self, id: &str, became: Option<u64>) -> Result<Done, Failure> {
        let request = KeptRequest {
            grant: None,
            id: Some(id.to_owned()),
            became,
        };
        self.post("answers/drop", &request).await
    }

    /// `POST /v1/remove`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn remove(&self, operation: &Operation) -> Result<Done, Failure> {
        self.post("remove", operation).await
    }

    /// `POST /v1/backup`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn backup(&self, request: &BackupRequest) -> Result<BackupMade, Failure> {
        self.post("backup", request).await
    }

    /// `GET /v1/key`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn key(&self) -> Result<KeyStatus, Failure> {
        self.answer(self.http.get(url("key"))).await
    }

    /// `GET /v1/key/progress`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn key_progress(&self) -> Result<KeyProgress, Failure> {
        self.answer(self.http.get(url("key/progress"))).await
    }

    /// `POST /v1/enroll`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn begin_enrollment(&self, begin: &Begin) -> Result<Begun, Failure> {
        self.post("enroll", begin).await
    }

    /// `GET /v1/enroll`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn enrollments(&self) -> Result<Vec<Report>, Failure> {
        self.answer(self.http.get(url("enroll"))).await
    }

    /// `GET /v1/enroll/ID`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn enrollment(&self, id: &str, patience: Patience) -> Result<Report, Failure> {
        let path = format!("enroll/{id}?wait_ms={}", patience.wait_ms);
        self.answer(self.http.get(url(&path))).await
    }

    /// `POST /v1/enroll/ID/redirect`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn redirected(&self, id: &str, redirect: &Redirect) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/redirect"), redirect).await
    }

    /// `POST /v1/enroll/ID/accept`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn accept_enrollment(&self, id: &str) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/accept"), &()).await
    }

    /// `POST /v1/enroll/ID/approve`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn approve_enrollment(&self, id: &str, whose: &Approve) -> Result<Report, Failure> {
        self.post(&format!("enroll/{id}/approve"), whose).await
    }

    /// `DELETE /v1/enroll/ID`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn cancel_enrollment(&self, id: &str) -> Result<Report, Failure> {
        let path = format!("enroll/{id}");
        self.answer(self.http.delete(url(&path))).await
    }

    /// `POST /v1/key/rotate`.
    ///
    /// # Errors
    /// What the daemon answers.
    pub async fn rotate_key(&self) -> Result<KeyStatus, Failure> {
        self.post("key/rotate", &()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_string(body).expect("requests are plain data");
        self.answer(
            self.http
                .post(url(path))
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// An answer takes its time, as long as the daemon lives.
    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Failure> {
        self.answer_within(request, ANSWER).await
    }

    async fn answer_within<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<T, Failure> {
        let answered = async {
            let response = request.send().await?;
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
            () = self.is_silent() => return Err(silent("it takes connections and is silent")),
            () = tokio::time::sleep(limit) => {
                let limit = refreshd_core::duration::human(limit);
                return Err(silent(&format!("it took more than {limit}")));
            }
        };
        let (success, body) = answered.map_err(|e: reqwest::Error| {
            Failure::new(
                Exit::Unavailable,
                format!("refreshd did not answer: {}", e.without_url()),
            )
        })?;
        let garbled = |e: serde_json::Error| {
            Failure::new(
                Exit::Internal,
                format!("refreshd's answer is not understood ({e}); is it another version?"),
            )
        };
        if success {
            serde_json::from_slice(&body).map_err(garbled)
        } else {
            Err(serde_json::from_slice::<Failure>(&body).map_err(garbled)?)
        }
    }

    /// Returns when the daemon does not answer at all: it is asked now and then whether
    /// it lives, beside what it is really asked.
    async fn is_silent(&self) {
        let mut failed = 0;
        while failed < 3 {
            tokio::time::sleep(ASK_AGAIN).await;
            let asked = self.http.get(url("alive")).timeout(ALIVE).send().await;
            match asked {
                Ok(_) => failed = 0,
                Err(e) if e.is_timeout() => return,
                // It may be ending, and answering before it does.
                Err(_) => failed += 1,
            }
        }
    }
}

fn url(path: &str) -> String {
    format!("http://refreshd/v1/{path}")
}
