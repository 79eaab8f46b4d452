//! Text from outside, made fit to be shown: control characters escaped, length
//! bounded. Everything a provider sends passes through here before it reaches a
//! log, a terminal, a database column or a JSON answer.

/// The most characters of a provider's text that are shown.
pub const SHOWN: usize = 200;

/// Escapes control characters (terminal escapes, line breaks, bidirectional
/// overrides) and cuts after [`SHOWN`] characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(escape).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Escapes control characters in the whole of a text, for who asked to see all of it.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.chars().flat_map(escape).collect()
}

/// Bytes in hexadecimal, as identities are shown.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _never_fails = write!(text, "{byte:02x}");
    }
    text
}

/// So many of something, with the plural of what English makes regular: `1 grant`,
/// `2 grants`.
#[must_use]
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Whether a text can name a header or an authentication scheme: a token of
/// RFC 9110 §5.6.2.
#[must_use]
pub fn is_http_token(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fits)
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let hidden = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let escaped = hidden.then(|| c.escape_default());
    let plain = (!hidden).then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(counted(0, "grant"), "0 grants");
        assert_eq!(counted(1, "grant"), "1 grant");
        assert_eq!(counted(2, "grant"), "2 grants");
    }

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(printable("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(printable("naïve"), "naïve");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), SHOWN + 1);
    }

    #[test]
    fn http_tokens() {
        assert!(["X-Api-Key", "DPoP", "a~b"].into_iter().all(is_http_token));
        for bad in ["", "a b", "a:", "Bearer ", "(a)", "a\n", "é"] {
            assert!(!is_http_token(bad), "{bad:?}");
        }
    }
}
