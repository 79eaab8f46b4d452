//! What an output's bytes are. A format is one file here; none of them ever
//! shows a refresh token.

mod json;
mod raw;

use super::View;
use crate::config::Format;
use refreshd_core::time::WallTime;
use zeroize::Zeroizing;

/// Why a token set has no form in an output's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Readers of a plain file end a token at a line break, or refuse it.
    #[error(
        "the access token holds a control character, which readers of the raw format would misread; publish it as json"
    )]
    ControlCharacter,
    /// An empty file reads as a broken one.
    #[error("the access token is empty; nothing is published in its place")]
    Empty,
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
    }
}

/// Whether `existing` already says what would be published. What goes stale
/// by itself (`expires_in`) does not count.
#[must_use]
pub fn same(format: &Format, existing: &[u8], view: &View) -> bool {
    match format {
        Format::Raw { newline } => {
            raw::render(view, *newline).is_ok_and(|wanted| *wanted == existing)
        }
        Format::Json => json::same(existing, view),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::{NOW, view};

    #[test]
    fn no_format_shows_more_than_the_access_token() {
        for format in [Format::Raw { newline: true }, Format::Json] {
            let bytes = render(&format, &view(1, "at-1"), NOW).unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(text.contains("at-1"));
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_empty_token_is_not_published() {
        for format in [Format::Raw { newline: false }, Format::Json] {
            assert_eq!(
                render(&format, &view(1, ""), NOW).err(),
                Some(FormatError::Empty)
            );
        }
    }
}
