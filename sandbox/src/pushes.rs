//! RETM's pushes: a code brought to the client's success endpoint, and how it answered.

mod deliver;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `POST /admin/pushes`: one or many pushes, honest or not. All members are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewPush {
    /// The body as it is; then `code`, `business_id` and `data` are not looked at.
    pub raw: Option<String>,
    /// Where to; [`Enrollment::success_url`](crate::Enrollment::success_url) unless said.
    pub url: Option<String>,
    /// The code; a new good one of that business unless said.
    pub code: Option<String>,
    /// The business; [`Enrollment::business_id`](crate::Enrollment::business_id) unless said.
    pub business_id: Option<String>,
    /// What an install link would have carried; `{}` unless said.
    pub data: Option<Value>,
    /// How many times the very same body is sent, one after the other; once unless said.
    pub times: Option<u32>,
    /// The content type; `application/json` unless said.
    pub content_type: Option<String>,
}

/// One push to a success endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// When it was sent, in milliseconds since the server began.
    pub at_ms: u64,
    /// Where to.
    pub url: String,
    /// The business in it.
    pub business_id: Option<String>,
    /// How often this push had been sent before.
    pub repetition: u32,
    /// The answer's status; `None`: there was none.
    pub status: Option<u16>,
    /// How long the answer took, or how long it was waited for.
    pub took_ms: u64,
    /// It was a 200 and in time.
    pub accepted: bool,
    /// The first of the answer's body.
    pub body: String,
    /// Why there was no answer.
    pub problem: Option<String>,
}
