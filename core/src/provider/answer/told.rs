//! Where an answer redirects to: the one fact that mends it.

use super::{header, words};
use crate::provider::Answer;

pub(super) fn redirected(answer: &Answer) -> Option<String> {
    let place = redirect(answer)?;
    Some(format!(
        "it redirects to {place}, and what is presented is not sent after a redirect; write the URL that answers into the provider's file"
    ))
}

/// Where an answer redirects to, without its query: that may hold a secret.
#[must_use]
pub fn redirect(answer: &Answer) -> Option<String> {
    let location = header(answer, "location").map(str::trim)?;
    let redirects = matches!(answer.status, 300..=303 | 305..=399) && !location.is_empty();
    redirects.then(|| words::place(location))
}
