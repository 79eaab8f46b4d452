//! `env`: one line `NAME='value'`. Within single quotes bash, other shells,
//! node and systemd read every byte as it is; without them shells and node cut
//! at `#` and replace `$x`. What even quotes do not carry to all of them is refused.

use super::{FormatError, unfit};
use crate::config::Quote;
use crate::publish::View;
use zeroize::Zeroizing;

const FORMAT: &str = "env";

pub(super) fn render(
    view: &View,
    variable: &str,
    quote: Quote,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let token = view.tokens.access_token.expose();
    let around = match quote {
        Quote::Single => {
            check_quoted(token)?;
            "'"
        }
        Quote::None => {
            check_bare(token)?;
            ""
        }
    };
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(variable.len() + token.len() + 4));
    for part in [variable, "=", around, token, around, "\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(bytes)
}

/// Printable ASCII without what ends the quotes, and without what python-dotenv
/// (and older systemd) still replaces within them: backslashes and `${…}`.
fn check_quoted(token: &str) -> Result<(), FormatError> {
    let remedy = "publish it as json or raw";
    let what = if token.chars().any(char::is_control) {
        "a control character"
    } else if !token.is_ascii() {
        "a character beyond ASCII"
    } else if token.contains('\'') {
        "a single quote"
    } else if token.contains('\\') {
        "a backslash"
    } else if token.contains("${") {
        "\"${\""
    } else {
        return Ok(());
    };
    Err(unfit(FORMAT, what, remedy))
}

/// The alphabet of bearer tokens (RFC 6750 §2.1), which no reader gives a
/// meaning, but for a `~` at the start: to a shell that is a home directory.
fn check_bare(token: &str) -> Result<(), FormatError> {
    let remedy = "take quote = \"none\" out, or publish it as json or raw";
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !token.bytes().all(is_plain) {
        let what = "something else than letters, digits and - . _ ~ + / =";
        return Err(unfit("unquoted env", what, remedy));
    }
    if token.starts_with('~') {
        return Err(unfit("unquoted env", "a ~ at its start", remedy));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::view;
    use proptest::prelude::*;

    fn text(token: &str, quote: Quote) -> Result<String, FormatError> {
        let bytes = render(&view(1, token), "ACCESS_TOKEN", quote)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn one_line_as_documented() {
        assert_eq!(
            text(r#"a+/=~._-$x #y"`z"#, Quote::Single).unwrap(),
            "ACCESS_TOKEN='a+/=~._-$x #y\"`z'\n"
        );
        assert_eq!(
            text("a+/=~._-Z9", Quote::None).unwrap(),
            "ACCESS_TOKEN=a+/=~._-Z9\n"
        );
    }

    #[test]
    fn what_readers_would_misread_is_refused() {
        let cases = [
            ("it's", "a single quote"),
            ("a\nb", "a control character"),
            ("a\rb", "a control character"),
            ("a\tb", "a control character"),
            ("a\0b", "a control character"),
            ("a\u{7f}b", "a control character"),
            ("a\u{85}b", "a control character"),
            ("é", "a character beyond ASCII"),
            ("a\u{2028}b", "a character beyond ASCII"),
            ("a\\b", "a backslash"),
            ("a${x}", "\"${\""),
        ];
        for (token, what) in cases {
            let error = text(token, Quote::Single).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "the access token holds {what}, which readers of the env format would misread; publish it as json or raw"
                )
            );
            assert!(text(token, Quote::None).is_err(), "{token:?}");
        }
    }

    #[test]
    fn what_would_need_quotes_is_refused_without_them() {
        for token in ["a$x", "a#y", "a b", "a`b", "a\"b", "a:b", "a%b", "~", "~x"] {
            let error = text(token, Quote::None).unwrap_err().to_string();
            assert!(error.contains("take quote = \"none\" out"), "{error}");
            assert!(text(token, Quote::Single).is_ok(), "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_refused_stands_between_the_quotes_alone(token in "\\PC{0,40}|[ -~\n\t]{0,40}") {
            if let Ok(text) = text(&token, Quote::Single) {
                let inner = text.strip_prefix("ACCESS_TOKEN='").unwrap().strip_suffix("'\n").unwrap();
                prop_assert_eq!(inner, &token);
                prop_assert!(inner.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'\'' && b != b'\\'));
            }
        }
    }
}
