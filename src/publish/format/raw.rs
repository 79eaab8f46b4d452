//! `raw`: the access token's bytes, without a line feed unless asked for:
//! readers that forget to trim send it on in a header.

use super::{FormatError, unfit};
use crate::publish::View;
use zeroize::Zeroizing;

pub(super) fn render(view: &View, newline: bool) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let token = view.tokens.access_token.expose();
    if token.chars().any(char::is_control) {
        return Err(unfit("raw", "a control character", "publish it as json"));
    }
    if token.trim() != token {
        return Err(unfit("raw", "a space at an end", "publish it as json"));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(token.len() + 1));
    bytes.extend_from_slice(token.as_bytes());
    if newline {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;
    use crate::publish::format::same;
    use crate::publish::testing::view;

    #[test]
    fn the_bytes_and_nothing_else() {
        assert_eq!(render(&view(1, "at-1"), false).unwrap().as_slice(), b"at-1");
        assert_eq!(
            render(&view(1, "at-1"), true).unwrap().as_slice(),
            b"at-1\n"
        );
    }

    #[test]
    fn what_readers_would_misread_is_refused() {
        for bad in ["at\n", "a\tt", "a\0t", "a\u{85}t"] {
            let error = render(&view(1, bad), false).unwrap_err().to_string();
            assert!(
                error.contains("holds a control character"),
                "{bad:?}: {error}"
            );
        }
        // Readers that trim would send another token.
        for bad in [" at", "at ", "at\u{2003}"] {
            let error = render(&view(1, bad), false).unwrap_err().to_string();
            assert!(
                error.contains("holds a space at an end"),
                "{bad:?}: {error}"
            );
        }
    }

    #[test]
    fn a_line_feed_is_a_difference() {
        let format = Format::Raw { newline: false };
        assert!(same(&format, b"at-1", &view(1, "at-1")));
        assert!(!same(&format, b"at-1\n", &view(1, "at-1")));
        assert!(!same(&format, b"at-", &view(1, "at-1")));
    }
}
