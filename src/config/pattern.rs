//! Patterns of grants' names: `shop-*`.

use std::fmt;

/// A name, or one with `*` for any number of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// What a pattern may look like, for messages.
pub(super) const RULE: &str =
    "a pattern is a grant's name, in which * stands for any characters: \"shop-*\"";

impl Pattern {
    /// Reads a pattern; `None` when it could never be a grant's name.
    #[must_use]
    pub fn new(text: &str) -> Option<Pattern> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-*".contains(&b);
        let first = text.bytes().next()?;
        let good = text.len() <= 63 && text.bytes().all(known) && !b"._-".contains(&first);
        good.then(|| Pattern(text.to_owned()))
    }

    /// The pattern that every name matches.
    #[must_use]
    pub fn any() -> Pattern {
        Pattern("*".to_owned())
    }

    /// Whether a name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut left) = name.strip_prefix(head) else {
            return false;
        };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The first place where a part fits leaves the most to the others.
        for part in middle.split('*') {
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(tail)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_nothing() {
        let matches = |pattern, name| Pattern::new(pattern).unwrap().matches(name);
        for (pattern, name) in [
            ("*", "a"),
            ("shop-*", "shop-"),
            ("shop-*", "shop-17"),
            ("*-eu", "shop-eu"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("a**b", "ab"),
            ("one", "one"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("shop-*", "shop"),
            ("*-eu", "shop-eu2"),
            ("a*b*c", "acb"),
            ("a*a", "a"),
            ("one", "one2"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_name_can_match_is_no_pattern() {
        for text in ["", "Shop-*", "shop ?", "a/b", "-a", "[ab]", "{grant}"] {
            assert_eq!(Pattern::new(text), None, "{text}");
        }
    }
}
