//! `{name}` in URLs and parameters.

/// A variable that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{{{0}}} has no value")]
pub struct Unfilled(pub String);

/// Replaces each `{name}` by its value. Braces around anything else stand for
/// themselves: a parameter may be JSON.
///
/// # Errors
/// The first variable for which `value` returns nothing.
pub fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after.split_once('}').filter(|(name, _)| is_name(name));
        let Some((name, after)) = named else {
            filled.push('{');
            rest = after;
            continue;
        };
        filled.push_str(&value(name).ok_or_else(|| Unfilled(name.to_owned()))?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether it is meant as a name. A slip such as `{ Shop }` is one too, so that it is told.
fn is_name(text: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name = text.trim();
    !name.is_empty() && name.chars().all(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_what_has_a_value() {
        let value = |name: &str| (name == "id").then(|| "shop-17".to_owned());
        assert_eq!(
            fill("https://{id}.example/{id}", value),
            Ok("https://shop-17.example/shop-17".to_owned())
        );
        assert_eq!(fill("{no}", value), Err(Unfilled("no".to_owned())));
        for json in [
            "a{b",
            "{}",
            r#"{"a":{"b":null},"c":1}"#,
            "{\"a\":\"{id",
            "{a b}",
        ] {
            assert_eq!(fill(json, value), Ok(json.to_owned()));
        }
        let inside = r#"{"shop":"{id}"}"#;
        assert_eq!(fill(inside, value), Ok(r#"{"shop":"shop-17"}"#.to_owned()));
        assert_eq!(fill("{ id }", value), Err(Unfilled(" id ".to_owned())));
    }
}
