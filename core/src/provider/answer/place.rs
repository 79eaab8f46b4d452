//! Puts an answer's members where RFC 6749 §5.1 has them, by `[response]`.

use super::own::Members;
use crate::provider::description::Response;
use serde_json::{Map, Value};

/// The members of `response.root`, each that has a path of its own under its
/// RFC name. What a path does not lead to is left as it is.
pub(super) fn place(mut members: Members, response: &Response) -> Members {
    if let Some(root) = &response.root
        && let Some(Value::Object(inner)) = members.take_at(root)
    {
        members = members.within(inner);
    }
    for (name, path) in response.paths() {
        if let Some(value) = path.and_then(|path| members.take_at(path)) {
            members.put(name, value);
        }
    }
    members
}

/// Removes and returns what a dotted path leads to.
pub(super) fn take_at(map: &mut Map<String, Value>, path: &str) -> Option<Value> {
    // A name may hold a dot itself.
    if let Some(value) = map.remove(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    take_at(map.get_mut(first)?.as_object_mut()?, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placed(response: Value, body: Value) -> Vec<(String, Value)> {
        let response: Response = serde_json::from_value(response).expect("a table");
        let Value::Object(map) = body else {
            panic!("an object");
        };
        let members = place(Members::new(map), &response);
        let pairs = members.iter().map(|(k, v)| (k.clone(), v.clone()));
        pairs.collect()
    }

    #[test]
    fn members_are_found_below_a_root_and_under_other_names() {
        let body = json!({ "status": 0, "data": { "token": "at", "keys": { "renew": "rt" }, "expires_in": 60 } });
        let response =
            json!({ "root": "data", "access_token": "token", "refresh_token": "keys.renew" });
        let mut found = placed(response, body);
        found.retain(|(name, _)| name != "keys");
        let expected = [
            ("access_token", json!("at")),
            ("expires_in", json!(60)),
            ("refresh_token", json!("rt")),
        ];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v)));
    }

    #[test]
    fn what_is_not_there_changes_nothing() {
        let body = json!({ "access_token": "at" });
        let response = json!({ "root": "data", "access_token": "a.b", "scope": "x" });
        let expected = vec![("access_token".to_owned(), json!("at"))];
        assert_eq!(placed(response, body), expected);
    }
}
