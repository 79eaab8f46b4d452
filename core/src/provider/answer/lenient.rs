//! JSON as servers really write it (RFC 8259 and what falls short of it): a reader
//! that loses nothing for a slip in a member which nobody needs. What it cannot know
//! it never makes up: a text with wrong characters in it has U+FFFD in their place, and
//! a member whose value was cut off is not there.

use serde_json::{Map, Number, Value};
use zeroize::Zeroize;

/// In the place of what is no character: an unpaired surrogate, an unknown escape.
pub(super) const WRONG: char = char::REPLACEMENT_CHARACTER;

/// Deeper than this nothing is kept: no token lies there.
const DEEPEST: usize = 64;

/// An object that was read.
pub(super) struct Found {
    pub(super) map: Map<String, Value>,
    /// Where it ends.
    pub(super) end: usize,
    /// The text ended before it did; what was cut off in it is left out.
    pub(super) cut: bool,
    /// It is not as RFC 8259 has it.
    pub(super) flawed: bool,
}

/// Reads the object that begins at `at`, where a `{` must be; `None`: there is none.
pub(super) fn object(text: &str, at: usize) -> Option<Found> {
    let mut reader = Reader {
        text,
        at: at + 1,
        cut: false,
        flawed: false,
    };
    let map = reader.members(1).ok()?;
    Some(Found {
        map,
        end: reader.at,
        cut: reader.cut,
        flawed: reader.flawed,
    })
}

pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The text is over.
    Cut,
    /// It is no JSON.
    Wrong,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    cut: bool,
    flawed: bool,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Result<char, Stop> {
        let next = self.peek().ok_or(Stop::Cut)?;
        self.at += next.len_utf8();
        Ok(next)
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        let strict = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let loose = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        self.flawed |= loose.len() < strict.len();
        self.at = self.text.len() - loose.len();
    }

    /// Members up to the closing bracket, or to where the text ends.
    fn members(&mut self, depth: usize) -> Result<Map<String, Value>, Stop> {
        let mut map = Map::new();
        match self.fill(&mut map, depth) {
            Ok(()) => Ok(map),
            Err(Stop::Cut) => {
                self.cut = true;
                Ok(map)
            }
            Err(Stop::Wrong) => {
                map.values_mut().for_each(wipe);
                Err(Stop::Wrong)
            }
        }
    }

    fn fill(&mut self, map: &mut Map<String, Value>, depth: usize) -> Result<(), Stop> {
        let mut first = true;
        while !self.ends(&mut first, '}')? {
            let name = self.name()?;
            self.blanks();
            if self.next()? != ':' {
                return Err(Stop::Wrong);
            }
            self.blanks();
            let value = self.value(depth)?;
            // The last of several wins, as with most readers.
            if let Some(mut replaced) = map.insert(name, value) {
                self.flawed = true;
                wipe(&mut replaced);
            }
            if self.cut {
                break;
            }
        }
        Ok(())
    }

    fn values(&mut self, depth: usize) -> Result<Vec<Value>, Stop> {
        let mut values = Vec::new();
        let mut first = true;
        let filled = loop {
            match self.ends(&mut first, ']') {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(stop) => break Err(stop),
            }
            match self.value(depth) {
                Ok(value) => values.push(value),
                Err(stop) => break Err(stop),
            }
            if self.cut {
                break Ok(());
            }
        };
        match filled {
            Ok(()) => Ok(values),
            Err(Stop::Cut) => {
                self.cut = true;
                Ok(values)
            }
            Err(Stop::Wrong) => {
                values.iter_mut().for_each(wipe);
                Err(Stop::Wrong)
            }
        }
    }

    /// Goes past commas; whether the closing bracket follows, and past that too.
    fn ends(&mut self, first: &mut bool, closing: char) -> Result<bool, Stop> {
        self.blanks();
        let mut commas = 0;
        while self.peek() == Some(',') {
            self.at += 1;
            commas += 1;
            self.blanks();
        }
        let wanted = usize::from(!*first);
        let over = self.peek().ok_or(Stop::Cut)? == closing;
        if over {
            self.at += closing.len_utf8();
        } else if commas < wanted {
            return Err(Stop::Wrong);
        }
        self.flawed |= commas != if over { 0 } else { wanted };
        *first = false;
        Ok(over)
    }

    fn name(&mut self) -> Result<String, Stop> {
        match self.peek().ok_or(Stop::Cut)? {
            quote @ ('"' | '\'') => self.quoted(quote),
            c if c.is_ascii_alphabetic() || matches!(c, '_' | '$') => {
                self.flawed = true;
                self.word().map(str::to_owned)
            }
            _ => Err(Stop::Wrong),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        match self.peek().ok_or(Stop::Cut)? {
            '{' | '[' if depth >= DEEPEST => {
                self.flawed = true;
                self.skip().map(|()| Value::Null)
            }
            '{' => {
                self.at += 1;
                self.members(depth + 1).map(Value::Object)
            }
            '[' => {
                self.at += 1;
                self.values(depth + 1).map(Value::Array)
            }
            quote @ ('"' | '\'') => self.quoted(quote).map(Value::String),
            _ => {
                let word = self.word()?;
                let strict = matches!(word, "null" | "true" | "false") || is_number(word);
                let value = plain(word).ok_or(Stop::Wrong)?;
                self.flawed |= !strict;
                Ok(value)
            }
        }
    }

    /// A number or a literal. Where the text ends behind it, more may have followed.
    fn word(&mut self) -> Result<&'t str, Stop> {
        let text: &'t str = self.text;
        let rest = &text[self.at..];
        let of_word = |c: char| c.is_ascii_alphanumeric() || "+-._$".contains(c);
        let end = rest.find(|c| !of_word(c)).ok_or(Stop::Cut)?;
        self.at += end;
        if end == 0 {
            return Err(Stop::Wrong);
        }
        Ok(&rest[..end])
    }

    fn quoted(&mut self, quote: char) -> Result<String, Stop> {
        self.flawed |= quote != '"';
        self.at += quote.len_utf8();
        let mut text = String::new();
        let read = self.characters(quote, &mut text);
        if read.is_err() {
            text.zeroize();
        }
        read.map(|()| text)
    }

    fn characters(&mut self, quote: char, text: &mut String) -> Result<(), Stop> {
        loop {
            // So that no copy of a long text is left behind by its growing.
            let rest = &self.text[self.at..];
            let plain = rest
                .find(|c: char| c == quote || c == '\\' || c.is_control() || c == WRONG)
                .ok_or(Stop::Cut)?;
            text.push_str(&rest[..plain]);
            self.at += plain;
            match self.next()? {
                '\\' => {
                    let escaped = self.escaped()?;
                    text.push(escaped);
                }
                c if c == quote => return Ok(()),
                other => {
                    self.flawed |= other < ' ' || other == WRONG;
                    text.push(other);
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Stop> {
        Ok(match self.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => self.unit()?,
            '\'' => {
                self.flawed = true;
                '\''
            }
            _ => {
                self.flawed = true;
                WRONG
            }
        })
    }

    /// `\uXXXX`, and the other half of a pair.
    fn unit(&mut self) -> Result<char, Stop> {
        let Some(high) = self.hex()? else {
            return Ok(self.wrong());
        };
        if let Some(c) = char::from_u32(high) {
            return Ok(c);
        }
        let before = self.at;
        if (0xd800..0xdc00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            if let Some(low) = self.hex()?.filter(|low| (0xdc00..0xe000).contains(low)) {
                let both = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(both).unwrap_or(WRONG));
            }
            self.at = before;
        }
        Ok(self.wrong())
    }

    fn wrong(&mut self) -> char {
        self.flawed = true;
        WRONG
    }

    fn hex(&mut self) -> Result<Option<u32>, Stop> {
        let rest = &self.text[self.at..];
        let digits = rest.bytes().take(4).take_while(u8::is_ascii_hexdigit);
        let count = digits.count();
        if count == rest.len() && count < 4 {
            return Err(Stop::Cut);
        }
        self.at += count;
        Ok((count == 4)
            .then(|| u32::from_str_radix(&rest[..4], 16).ok())
            .flatten())
    }

    /// Goes past a value with all that is in it.
    fn skip(&mut self) -> Result<(), Stop> {
        let mut depth = 0_usize;
        loop {
            match self.peek().ok_or(Stop::Cut)? {
                '"' => {
                    self.quoted('"')?.zeroize();
                    continue;
                }
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                _ => {}
            }
            self.next()?;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// A word as a value; `None`: it is none. The digits of a number stay as they were
/// written: where they would not, it is kept as a text, for it may be a token.
fn plain(word: &str) -> Option<Value> {
    match word {
        "null" | "undefined" | "None" | "nil" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        "NaN" | "Infinity" | "-Infinity" | "+Infinity" | "inf" | "-inf" => {
            return Some(Value::Null);
        }
        _ => {}
    }
    let whole = || word.parse::<i64>().map(Number::from).ok();
    let large = || word.parse::<u64>().map(Number::from).ok();
    let real = || word.parse().ok().and_then(Number::from_f64);
    let number = whole().or_else(large).or_else(real);
    match number.filter(|number| number.to_string() == word) {
        Some(number) => Some(Value::Number(number)),
        None => looks_like_a_number(word).then(|| Value::String(word.to_owned())),
    }
}

fn looks_like_a_number(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    let odd = |c: char| !(c.is_ascii_digit() || ".eE+-".contains(c));
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && !digits.contains(odd)
}

/// RFC 8259 §6, however large.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Option<(Value, bool, bool)> {
        let found = object(text, 0)?;
        Some((Value::Object(found.map), found.cut, found.flawed))
    }

    #[test]
    fn slips_cost_only_the_member_in_which_they_are() {
        let cases = [
            (r#"{"a":"x","n":.5}"#, json!({"a":"x","n":".5"})),
            (r#"{"a":"x","n":NaN}"#, json!({"a":"x","n":null})),
            (r#"{"a":"x","n":-Infinity,}"#, json!({"a":"x","n":null})),
            (r#"{"a":"x","n":[1,2,],}"#, json!({"a":"x","n":[1,2]})),
            (r#"{,"a":"x",,"n":1}"#, json!({"a":"x","n":1})),
            (
                "{\"a\":\"x\",\"n\":\"b\u{1}\n\"}",
                json!({"a":"x","n":"b\u{1}\n"}),
            ),
            (r#"{"a":"x","n":"\ud83d"}"#, json!({"a":"x","n":"\u{fffd}"})),
            (
                r#"{"a":"x","n":"\ude00\ud83dz"}"#,
                json!({"a":"x","n":"\u{fffd}\u{fffd}z"}),
            ),
            (
                r#"{"a":"x","n":"\q\u12"}"#,
                json!({"a":"x","n":"\u{fffd}\u{fffd}"}),
            ),
            (
                r"{'a':'x','n':True,'m':None}",
                json!({"a":"x","n":true,"m":null}),
            ),
            (r#"{a:"x",n:007}"#, json!({"a":"x","n":"007"})),
            ("{\u{a0}\"a\":\"x\"}", json!({"a":"x"})),
            (r#"{"a":"y","a":"x"}"#, json!({"a":"x"})),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Some((expected, false, true)), "{text}");
        }
    }

    #[test]
    fn digits_stay_as_they_were_written() {
        for digits in ["12345678901234567890123", "1.50", "1E5", "-0", "1e400"] {
            let text = format!(r#"{{"a":{digits}}}"#);
            assert_eq!(read(&text), Some((json!({ "a": digits }), false, false)));
        }
        assert_eq!(
            read(r#"{"a":18446744073709551615,"b":0.5}"#),
            Some((json!({"a":u64::MAX,"b":0.5}), false, false))
        );
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let cases = [
            (r#"{"a":"x","n":"Jürg"#, json!({"a":"x"})),
            (r#"{"a":"x","n":36"#, json!({"a":"x"})),
            (r#"{"a":"x","n":tr"#, json!({"a":"x"})),
            (r#"{"a":"x","n"#, json!({"a":"x"})),
            (r#"{"a":"x""#, json!({"a":"x"})),
            (r#"{"a":"x"#, json!({})),
            (r#"{"a":{"b":["x","y"#, json!({"a":{"b":["x"]}})),
            (r#"{"a":"x","n":"\u12"#, json!({"a":"x"})),
        ];
        for (text, expected) in cases {
            let (value, cut, _) = read(text).expect("it begins as an object");
            assert_eq!((value, cut), (expected, true), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in [
            "{foo}",
            "{color: red;}",
            "{\"a\" \"b\"}",
            "{\"a\":x}",
            "{{",
            "{1:2}",
            "{\"a\":1 \"b\":2}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_nothing() {
        let deep = |n: usize| format!("{}\"]\"{}", "[".repeat(n), "]".repeat(n));
        let text = format!(r#"{{"n":{},"a":"x"}}"#, deep(100_000));
        let (value, cut, flawed) = read(&text).expect("reads");
        assert_eq!((value["a"].as_str(), cut, flawed), (Some("x"), false, true));
    }

    proptest! {
        #[test]
        fn what_is_json_is_read_like_any_reader_does(map in crate::provider::answer::tests::object()) {
            let expected = Value::Object(map);
            let text = expected.to_string();
            prop_assert_eq!(read(&text), Some((expected, false, text.contains(WRONG))));
        }

        #[test]
        fn no_text_is_too_odd(text in r#"[{}\[\]",:'\\u0-9a-fe.+\- \n]{0,40}"#) {
            let text = format!("{{{text}");
            if let Some(found) = object(&text, 0) {
                prop_assert!(found.end <= text.len() && text.is_char_boundary(found.end));
                let strict = serde_json::from_str::<Value>(&text[..found.end]);
                prop_assert!(strict.is_err() || !found.cut);
            }
        }
    }
}
