//! `json`: one line that begins as RFC 6749 §5.1 has it. `expires_in` counts
//! from the writing and goes stale on disk, so the absolute times stand beside
//! it in the spellings that client libraries read: `expires_at` (requests-oauthlib,
//! Authlib) and `expiry` (Go, rclone, google-auth).

use crate::publish::View;
use refreshd_core::time::WallTime;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[derive(Serialize)]
struct Document<'a> {
    access_token: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<String>,
    obtained_at: i64,
    generation: u64,
    name: &'a str,
}

pub(super) fn render(view: &View, now: WallTime) -> Zeroizing<Vec<u8>> {
    document(view, view.grant.state.expires_at.since(now).as_secs())
}

/// Renders with the `expires_in` that `existing` has: everything else must be
/// the same to the byte. Only that number is read, so no token is copied.
pub(super) fn same(existing: &[u8], view: &View) -> bool {
    #[derive(Deserialize)]
    struct Stale {
        #[serde(default)]
        expires_in: u64,
    }
    serde_json::from_slice::<Stale>(existing)
        .is_ok_and(|stale| *document(view, stale.expires_in) == existing)
}

fn document(view: &View, expires_in: u64) -> Zeroizing<Vec<u8>> {
    let (state, tokens) = (&view.grant.state, &view.tokens);
    // A guessed expiry is left out, as RFC 6749 allows, rather than passed on as a fact.
    let known = (!state.expiry_unknown).then_some(state.expires_at);
    let document = Document {
        access_token: tokens.access_token.expose(),
        token_type: tokens.kind(),
        expires_in: known.map(|_| expires_in),
        scope: tokens.scope.as_deref().filter(|scope| !scope.is_empty()),
        expires_at: known.map(WallTime::secs),
        expiry: known.map(WallTime::rfc3339),
        obtained_at: state.issued_at.secs(),
        generation: state.generation,
        name: &view.grant.name,
    };
    // Room for all of it at once: a vector that grows leaves copies behind.
    let scope = document.scope.map_or(0, str::len);
    let room = 2 * (document.access_token.len() + document.token_type.len() + scope) + 512;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *bytes, &document).expect("strings and numbers become JSON");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::testing::{NOW, view};
    use std::time::Duration;

    fn text(view: &View, now: WallTime) -> String {
        String::from_utf8(render(view, now).to_vec()).unwrap()
    }

    #[test]
    fn one_line_as_documented() {
        assert_eq!(
            text(&view(42, "at-1"), NOW + Duration::from_millis(59_500)),
            concat!(
                r#"{"access_token":"at-1","token_type":"Bearer","expires_in":3540,"scope":"a b","#,
                r#""expires_at":1795226400,"expiry":"2026-11-21T02:00:00Z","#,
                r#""obtained_at":1795222800,"generation":42,"name":"acme"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn expires_in_is_never_negative_and_no_scope_is_no_member() {
        let mut view = view(1, "at-1");
        view.tokens.scope = None;
        let text = text(&view, NOW + Duration::from_secs(86_400));
        assert!(text.contains(r#""expires_in":0,"expires_at""#), "{text}");
    }

    #[test]
    fn a_guessed_expiry_is_not_passed_on() {
        let mut view = view(1, "at-1");
        view.grant.state.expiry_unknown = true;
        let text = text(&view, NOW);
        assert!(!text.contains("expir"), "{text}");
        assert!(same(text.as_bytes(), &view));
    }

    #[test]
    fn only_expires_in_may_differ() {
        let old = render(&view(1, "at-1"), NOW);
        assert!(same(&old, &view(1, "at-1")));
        assert!(same(
            &render(&view(1, "at-1"), NOW + Duration::from_secs(100)),
            &view(1, "at-1")
        ));
        assert!(
            !same(&old, &view(2, "at-1")),
            "the generation is part of it"
        );
        assert!(!same(&old, &view(1, "at-2")));
        assert!(!same(&old[..old.len() - 1], &view(1, "at-1")), "no LF");
        assert!(!same(b"{}\n", &view(1, "at-1")));
        assert!(!same(b"", &view(1, "at-1")));
    }

    #[test]
    fn strange_tokens_are_escaped() {
        let strange = "a\"\\\n\u{1}é";
        let text = text(&view(1, strange), NOW);
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["access_token"], strange);
    }
}
