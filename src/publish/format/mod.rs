//! What an output's bytes are. A format is one file here; none of them ever
//! shows a refresh token.

mod env;
mod header;
mod json;
mod raw;

use super::View;
use crate::config::Format;
use refreshd_core::time::WallTime;
use zeroize::Zeroizing;

/// Why a token set has no form in an output's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// What the format's readers would end the token at, or replace.
    #[error(
        "the access token holds {what}, which readers of the {format} format would misread; {remedy}"
    )]
    Unfit {
        /// The format.
        format: &'static str,
        /// The kind of character; never the token.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An empty file reads as a broken one.
    #[error("the access token is empty; nothing is published in its place")]
    Empty,
}

fn unfit(format: &'static str, what: &'static str, remedy: &'static str) -> FormatError {
    FormatError::Unfit {
        format,
        what,
        remedy,
    }
}

/// The bytes to publish; they are wiped when dropped.
///
/// # Errors
/// When a reader of the format would misread the token.
pub fn render(
    format: &Format,
    view: &View,
    now: WallTime,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    if view.tokens.access_token.is_empty() {
        return Err(FormatError::Empty);
    }
    match format {
        Format::Raw { newline } => raw::render(view, *newline),
        Format::Json => Ok(json::render(view, now)),
        Format::Env { variable, quote } => env::render(view, variable, *quote),
        Format::Header { name, scheme } => header::render(view, name, scheme),
    }
}

/// Whether `existing` already says what would be published. What goes stale
/// by itself (`expires_in`) does not count.
#[must_use]
pub fn same(format: &Format, existing: &[u8], view: &View) -> bool {
    match format {
        Format::Json => json::same(existing, view),
        // No other format tells the time, so any will do.
        _ => {
            render(format, view, view.grant.state.issued_at).is_ok_and(|wanted| *wanted == existing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Quote, Scheme};
    use crate::publish::testing::{NOW, view};
    use std::time::Duration;

    fn all() -> [Format; 5] {
        let variable = "ACCESS_TOKEN".to_owned();
        let name = "Authorization".to_owned();
        [
            Format::Raw { newline: true },
            Format::Raw { newline: false },
            Format::Json,
            Format::Env {
                variable,
                quote: Quote::Single,
            },
            Format::Header {
                name,
                scheme: Scheme::OfToken,
            },
        ]
    }

    #[test]
    fn no_format_shows_more_than_the_access_token() {
        for format in all() {
            let bytes = render(&format, &view(1, "at-1"), NOW).unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(text.contains("at-1"));
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_empty_token_is_not_published() {
        for format in all() {
            assert_eq!(
                render(&format, &view(1, ""), NOW).err(),
                Some(FormatError::Empty)
            );
        }
    }

    #[test]
    fn time_alone_is_no_difference() {
        let later = NOW + Duration::from_secs(60);
        for format in all() {
            let bytes = render(&format, &view(1, "at-1"), NOW).unwrap();
            let mut newer = view(1, "at-1");
            assert!(same(&format, &bytes, &newer), "{format:?}");
            assert!(same(
                &format,
                &render(&format, &newer, later).unwrap(),
                &newer
            ));
            newer.tokens.access_token = refreshd_core::secret::Secret::new("at-2");
            assert!(!same(&format, &bytes, &newer), "{format:?}");
        }
    }
}
