//! Names of grants and clients: `[a-z0-9][a-z0-9._-]{0,62}`.

/// Whether the text may name a grant, a client or a provider. Such a name is
/// safe as a file name and in a URL path.
#[must_use]
pub fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.next().is_some_and(word)
        && name.len() <= 63
        && bytes.all(|b| word(b) || matches!(b, b'.' | b'_' | b'-'))
}

/// What to tell a person about a name that is not one.
pub const RULE: &str = "a name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit";

/// Whether `name` matches a pattern in which `*` stands for any run of characters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "shop-17", "0.b_c", &"x".repeat(63)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            "-a",
            ".a",
            "A",
            "a b",
            "a/b",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        assert!(matches("shop-*", "shop-17"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "a-b-b-c"));
        assert!(!matches("shop-*", "shop"));
        assert!(!matches("shop", "shop-17"));
        assert!(!matches("ab*ba", "aba"));
    }
}
