//! The words of a pasted text, and the ways to read it.

use url::form_urlencoded;

/// A run of characters without white space, quotes or brackets around.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// It is the first of its line.
    begins_line: bool,
    /// It is the only one of its line.
    alone: bool,
}

/// Whether a word belongs to the address before it.
pub(super) enum GoesOn {
    Yes,
    No,
    Unclear,
}

impl Word<'_> {
    pub(super) fn is_a_line(&self) -> bool {
        self.alone
    }

    /// After an address that is whole as it stands.
    pub(super) fn goes_on(&self, code_is_last: bool) -> GoesOn {
        let begins_address = self.text.contains("://") || self.text.starts_with("code=");
        let of_query = self.text.contains(['&', '=', '%']);
        let of_words = self.text.chars().all(|c| c.is_alphabetic() || is_tail(c));
        // Without a digit or a capital within, it may be a word of some language.
        let capitals = self.text.chars().skip(1).any(char::is_uppercase);
        let is_language = of_words && !capitals;
        match (self.begins_line && self.alone, is_language) {
            _ if begins_address => GoesOn::No,
            // The code is not touched by what follows another parameter.
            _ if !code_is_last => GoesOn::No,
            _ if of_query => GoesOn::Yes,
            (true, false) => GoesOn::Yes,
            (true, true) => GoesOn::Unclear,
            (false, true) => GoesOn::No,
            (false, false) => GoesOn::Unclear,
        }
    }
}

/// The text without what terminals put around it, and without invisible characters; lines
/// end with a line feed.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    // Terminals that show control characters write ESC as ^[.
    let text = text.replace("^[[200~", "").replace("^[[201~", "");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // ECMA-48 §5.4: parameters, then a final byte.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\r' | '\n' | '\u{2028}' | '\u{2029}' | '\u{0b}' | '\u{0c}' => plain.push('\n'),
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            c if c.is_whitespace() => plain.push(' '),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    entities(plain)
}

/// HTML's `&amp;`, also where it was escaped twice: no parameter's name begins so.
fn entities(mut text: String) -> String {
    for _ in 0..4 {
        let next = text
            .replace("&amp;", "&")
            .replace("&#38;", "&")
            .replace("&#x26;", "&");
        if next == text {
            break;
        }
        text = next;
    }
    for (entity, c) in [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&lt;", "<"),
        ("&gt;", ">"),
    ] {
        text = text.replace(entity, c);
    }
    text
}

/// The text as it stands, and as mails (quoted-printable) and links to links (encoded once
/// or twice more) have it, if it may be so.
pub(super) fn readings(text: &str) -> Vec<String> {
    let mut readings = vec![text.to_owned()];
    if text.contains("=3D") || text.contains("=3d") {
        readings.push(unquoted(text));
    }
    let mut deeper = text.to_owned();
    for _ in 0..3 {
        let is_encoded = ["code%", "error%", "state%"]
            .iter()
            .any(|name| deeper.contains(name));
        if !is_encoded {
            break;
        }
        deeper = percent_decoded(&deeper);
        readings.push(deeper.clone());
    }
    readings
}

/// RFC 2045 §6.7.
fn unquoted(text: &str) -> String {
    let text = text.replace("= \n", "=\n").replace("=\n", "");
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'=');
        match hex.and_then(hex_byte) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    let hex = digits.iter().all(u8::is_ascii_hexdigit);
    u8::from_str_radix(text, 16).ok().filter(|_| hex)
}

/// Percent-decoding alone: a plus stays one.
pub(super) fn percent_decoded(text: &str) -> String {
    // One pair without a name: neither `&` nor `=` may end it.
    let one = text
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    form_urlencoded::parse(one.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}

/// A value that was encoded twice: no code has `%2F` in it as it is.
pub(super) fn decoded_again(value: &str) -> Option<String> {
    let mut parts = value.split('%').skip(1).peekable();
    parts.peek()?;
    let encoded = parts.all(|part| part.as_bytes().get(..2).and_then(hex_byte).is_some());
    encoded.then(|| percent_decoded(value))
}

/// What clings to an address in a sentence or in marked-up text.
pub(super) fn is_tail(c: char) -> bool {
    ".,;:!?)]}>*_~'\"|\\…".contains(c)
}

/// A code without what clings to it; codes may end in some of that.
pub(super) fn without_tail(code: &str) -> &str {
    let code = match code.contains(['(', '[', '{']) {
        true => code,
        false => code.trim_end_matches([')', ']', '}']),
    };
    // A JWT without a signature ends with its second dot.
    match code.matches('.').count() {
        2 => code.trim_end_matches([',', ';', '\\']),
        _ => code.trim_end_matches([',', ';', '.', '\\']),
    }
}

/// White space, quotes, brackets and boxes end a word.
pub(super) fn split(text: &str) -> Vec<Word<'_>> {
    let is_border = |c: char| {
        c.is_whitespace()
            || "<>\"'`“”„‟«»‘’‚‹›".contains(c)
            || ('\u{2500}'..='\u{257f}').contains(&c)
    };
    let mut words = Vec::new();
    for line in text.split('\n') {
        let of_line = line
            .split(is_border)
            .map(trimmed)
            .filter(|word| !word.is_empty());
        let of_line: Vec<&str> = of_line.collect();
        for (i, word) in of_line.iter().enumerate() {
            words.push(Word {
                text: word,
                begins_line: i == 0,
                alone: of_line.len() == 1,
            });
        }
    }
    words
}

/// Without brackets and marks before it (`(https://…`, `**code=…`), a `\` at the end of a
/// line, and a table's border.
fn trimmed(word: &str) -> &str {
    let word = word.trim_start_matches(['(', '[', '{', '*', '|']);
    // Markdown's [text](address).
    let word = word.split_once("](").map_or(word, |(_, address)| address);
    word.trim_end_matches(['\\', '|'])
}
