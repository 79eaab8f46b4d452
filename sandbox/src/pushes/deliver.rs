//! Sending pushes, and measuring how they are answered.

use super::{NewPush, Push};
use crate::codes::Asked;
use crate::log::keep;
use crate::server::Shared;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is kept of an answer's body.
const MOST_KEPT: usize = 2000;

/// A push that can be repeated.
#[derive(Clone)]
struct Sending {
    url: String,
    business_id: Option<String>,
    content_type: String,
    body: String,
}

impl Shared {
    /// Pushes, as often as is said, one after the other. `None`: there is
    /// nowhere to push to.
    pub(crate) async fn push_now(self: &Arc<Self>, new: &NewPush) -> Option<Vec<Push>> {
        let sending = self.sending(new)?;
        let mut pushes = Vec::new();
        for repetition in 0..new.times.unwrap_or(1) {
            pushes.push(self.deliver(&sending, repetition).await);
        }
        let repeats = self.world().enrollment.push_repeats;
        if repeats > 0 && pushes.last().is_some_and(|push| !push.accepted) {
            tokio::spawn(repeat(self.clone(), sending, repeats));
        }
        Some(pushes)
    }

    fn sending(&self, new: &NewPush) -> Option<Sending> {
        let (url, usual_business) = {
            let enrollment = &self.world().enrollment;
            let url = new.url.clone().or_else(|| enrollment.success_url.clone());
            (url?, enrollment.business_id.clone())
        };
        let content_type = new.content_type.as_deref().unwrap_or("application/json");
        let content_type = content_type.to_owned();
        if let Some(raw) = &new.raw {
            return Some(Sending {
                url,
                business_id: None,
                content_type,
                body: raw.clone(),
            });
        }
        let business_id = new.business_id.clone().unwrap_or(usual_business);
        let good_code = || {
            let business = Some(business_id.as_str());
            let asked = Asked::default();
            let origin = self.make_code_for(&business_id, &url, business, asked);
            origin.code
        };
        let code = new.code.clone().unwrap_or_else(good_code);
        let data = new.data.clone();
        let data = data.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let body = json!({ "code": code, "business_id": business_id, "data": data });
        Some(Sending {
            url,
            business_id: Some(business_id),
            content_type,
            body: body.to_string(),
        })
    }

    /// Sends a push once and notes what came of it.
    async fn deliver(&self, sending: &Sending, repetition: u32) -> Push {
        let (within_ms, wait_ms) = {
            let enrollment = &self.world().enrollment;
            (enrollment.push_within_ms, enrollment.push_wait_ms)
        };
        let mut push = Push {
            at_ms: self.now_ms(),
            url: sending.url.clone(),
            business_id: sending.business_id.clone(),
            repetition,
            ..Push::default()
        };
        let begun = Instant::now();
        let request = self.http().post(&sending.url);
        let request = request.header(CONTENT_TYPE, &sending.content_type);
        let answered = read(request.body(sending.body.clone()));
        let answered = tokio::time::timeout(Duration::from_millis(wait_ms), answered).await;
        push.took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answered {
            Ok(Ok((status, body))) => {
                push.accepted = status == 200 && push.took_ms <= within_ms;
                (push.status, push.body) = (Some(status), body);
            }
            Ok(Err(problem)) => push.problem = Some(problem.without_url().to_string()),
            Err(_) => push.problem = Some(format!("no answer within {wait_ms} ms")),
        }
        keep(&mut self.world().pushes, push.clone());
        push
    }
}

/// An answer's status and the first of its body.
async fn read(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let mut response = request.send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() >= MOST_KEPT {
            body.truncate(MOST_KEPT);
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((response.status().as_u16(), body))
}

/// Repeats a push until it is accepted, as webhooks are.
async fn repeat(shared: Arc<Shared>, sending: Sending, repeats: u32) {
    let pause = Duration::from_millis(shared.world().enrollment.push_repeat_ms);
    for repetition in 1..=repeats {
        tokio::time::sleep(pause).await;
        if shared.deliver(&sending, repetition).await.accepted {
            return;
        }
    }
}
