//! `{name}` in URLs and parameters.

/// A variable that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{{{0}}} has no value")]
pub struct Unfilled(pub String);

/// Replaces each `{name}` by its value. A `{` without a `}` stands for itself.
///
/// # Errors
/// The first variable for which `value` returns nothing.
pub fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Unfilled> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
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
        assert_eq!(fill("a{b", value), Ok("a{b".to_owned()));
    }
}
