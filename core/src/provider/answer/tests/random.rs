use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub(in crate::provider::answer) fn map() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(".{0,4}", value(), 0..5).prop_map(|map| map.into_iter().collect())
}

fn member() -> impl Strategy<Value = (String, Value)> {
    let known = prop::sample::select(vec![
        "access_token",
        "refresh_token",
        "token_type",
        "scope",
        "expires_in",
        "expires",
        "expires_at",
        "created_at",
        "refresh_expires_in",
        "error",
        "error_description",
        "code",
    ]);
    (known.prop_map(str::to_owned), value())
}

proptest! {
    #[test]
    fn any_bytes_have_an_outcome(status in 0_u16..1000, body in prop::collection::vec(any::<u8>(), 0..200), complete: bool) {
        let mut answer = answer(status, &[("retry-after", "1e400")], &body);
        answer.complete = complete;
        let outcome = read(&description(json!({})), &answer);
        let kept = kind(&outcome) == "unread";
        let success = (200..300).contains(&status) && !body.is_empty();
        prop_assert!(kept || !success || kind(&outcome) != "lost");
    }

    #[test]
    fn any_members_have_an_outcome(
        status in prop::sample::select(vec![200_u16, 400, 401, 429, 500]),
        members in prop::collection::vec(member(), 0..9),
    ) {
        let body = Value::Object(members.into_iter().collect()).to_string();
        match outcome(status, &body) {
            Outcome::Success(success) => {
                prop_assert_eq!(status, 200);
                let token = success.access_token.expose();
                prop_assert!(!token.trim().is_empty());
                prop_assert!(!token.chars().any(char::is_control));
                prop_assert!(success.refresh_token.is_none_or(|t| !t.is_empty()));
                prop_assert!(success.refresh_expires_in.is_none_or(|d| !d.is_zero()));
            }
            other => {
                prop_assert!(!text(&other).chars().any(char::is_control));
            }
        }
    }

    /// Wherever a success is cut off, a token is taken whole or not at all, and an
    /// access token not without the refresh token that stood beside it.
    #[test]
    fn a_cut_token_is_never_taken_for_whole(cut in 0_usize..70, first: bool, complete: bool) {
        let body: &[u8] = match first {
            true => br#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":600,"x":"y"}"#,
            false => br#"{"expires_in":600,"refresh_token":"rt-1","x":"y","access_token":"at-1"}"#,
        };
        let mut cut = answer(200, &[], &body[..cut]);
        cut.complete = complete;
        match read(&description(json!({})), &cut) {
            Outcome::Success(success) => {
                prop_assert_eq!(success.access_token.expose(), "at-1");
                let refresh_token = success.refresh_token.as_ref();
                prop_assert_eq!(refresh_token.map(Secret::expose), Some("rt-1"));
                prop_assert!(success.expires_in.is_none_or(|secs| secs == 600));
            }
            Outcome::Unread { .. } => {}
            other => prop_assert!(cut.body.is_empty(), "{:?}", other),
        }
    }

    /// Whatever a server quotes, long tokens do not come through.
    #[test]
    fn texts_hold_no_token(token in "[A-Za-z0-9_-]{18,80}[0-9]", before in "[ -~]{0,30}[ :'\"(]", status in 400_u16..600) {
        let body = json!({ "error": "invalid_token", "error_description": format!("{before}{token}") });
        let outcome = outcome(status, &body.to_string());
        prop_assert!(!text(&outcome).contains(&token));
    }
}
