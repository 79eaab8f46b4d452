//! What a grant may do: the scopes that were asked for, against those that were granted.

use serde::{Deserialize, Serialize};

/// Scopes of a grant, as people and scripts are told them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Those that its token has.
    pub granted: Vec<String>,
    /// Those that were asked for, and that it does not have: the person, or a rule of the
    /// provider's, took them away.
    pub withheld: Vec<String>,
    /// There is a refresh token, or what renews the grant needs none.
    pub renewable: bool,
}

impl Scopes {
    /// Of an answer. One that names no scopes grants what was asked for (RFC 6749 §5.1).
    #[must_use]
    pub fn of(asked: &[String], granted: Option<&str>, renewable: bool) -> Scopes {
        let asked: Vec<&str> = asked.iter().flat_map(|scope| words(scope)).collect();
        let owned = |scopes: &[&str]| scopes.iter().map(|&scope| scope.to_owned()).collect();
        let Some(granted) = granted.filter(|granted| !granted.trim().is_empty()) else {
            return Scopes {
                granted: owned(&asked),
                withheld: Vec::new(),
                renewable,
            };
        };
        let granted: Vec<&str> = words(granted).collect();
        let has = |scope: &str| match scope {
            // What it is for is there, or not; few servers repeat it.
            "offline_access" => renewable || granted.contains(&scope),
            // They say who it was, and are seldom repeated.
            "openid" | "profile" | "email" => true,
            _ if scope.ends_with(".default") => true,
            _ => granted.iter().any(|granted| is_same(scope, granted)),
        };
        let withheld: Vec<&str> = asked.into_iter().filter(|scope| !has(scope)).collect();
        Scopes {
            withheld: owned(&withheld),
            granted: owned(&granted),
            renewable,
        }
    }

    /// A sentence each: what was granted, what was not, and that it cannot be renewed.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if !self.granted.is_empty() {
            sentences.push(format!("Scopes granted: {}", shown(&self.granted)));
        }
        if !self.withheld.is_empty() {
            sentences.push(format!(
                "Scopes asked for and NOT granted: {}; authorize again if they are needed",
                shown(&self.withheld)
            ));
        }
        if !self.renewable {
            sentences.push(
                "No refresh token was granted: this grant ends with its access token. Many providers give one only for the scope offline_access, or for access_type = \"offline\" with prompt = \"consent\" in [authorize] params".to_owned(),
            );
        }
        sentences
    }
}

fn words(scopes: &str) -> impl Iterator<Item = &str> {
    scopes
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|scope| !scope.is_empty())
}

fn shown(scopes: &[String]) -> String {
    let shown: Vec<String> = scopes
        .iter()
        .map(|scope| crate::text::printable(scope))
        .collect();
    shown.join(" ")
}

/// Microsoft writes `https://graph.microsoft.com/Mail.Read` and `Mail.Read`, in any case;
/// Google `email` and the URL that ends in `userinfo.email`.
fn is_same(asked: &str, granted: &str) -> bool {
    let (asked, granted) = (asked.to_lowercase(), granted.to_lowercase());
    let is_tail = |long: &str, short: &str| {
        let head = long.strip_suffix(short);
        head.is_some_and(|head| head.is_empty() || head.ends_with('/'))
    };
    is_tail(&asked, &granted) || is_tail(&granted, &asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(asked: &[&str], granted: Option<&str>, renewable: bool) -> Vec<String> {
        let asked: Vec<String> = asked.iter().map(|&scope| scope.to_owned()).collect();
        Scopes::of(&asked, granted, renewable).withheld
    }

    #[test]
    fn what_was_taken_away_is_named() {
        assert_eq!(withheld(&["read", "write"], Some("read"), true), ["write"]);
        assert_eq!(
            withheld(&["read write"], Some("write,admin"), true),
            ["read"]
        );
        let scopes = Scopes::of(&["a".to_owned(), "b".to_owned()], Some("a"), false);
        let said = scopes.sentences().join("\n");
        for part in ["granted: a\n", "NOT granted: b;", "No refresh token"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn an_answer_without_scopes_grants_what_was_asked() {
        for silent in [None, Some(""), Some(" ")] {
            assert!(withheld(&["read", "write"], silent, true).is_empty());
        }
        let scopes = Scopes::of(&["read".to_owned()], None, true);
        assert_eq!(scopes.sentences(), ["Scopes granted: read"]);
    }

    #[test]
    fn other_spellings_of_a_scope_are_the_same() {
        let none: [&str; 0] = [];
        assert_eq!(
            withheld(
                &["https://graph.microsoft.com/Mail.Read"],
                Some("mail.read"),
                true
            ),
            none
        );
        assert_eq!(
            withheld(
                &["Mail.Read"],
                Some("https://graph.microsoft.com/Mail.Read"),
                true
            ),
            none
        );
        assert_eq!(
            withheld(&["https://a.example/.default"], Some("x y"), true),
            none
        );
        assert_eq!(withheld(&["openid", "email", "x"], Some("x"), true), none);
        assert_eq!(
            withheld(&["Mail.ReadWrite"], Some("Mail.Read"), true),
            ["Mail.ReadWrite"]
        );
        assert_eq!(withheld(&["ad"], Some("read"), true), ["ad"]);
    }

    #[test]
    fn offline_access_is_there_with_a_refresh_token() {
        assert!(withheld(&["x", "offline_access"], Some("x"), true).is_empty());
        assert_eq!(
            withheld(&["x", "offline_access"], Some("x"), false),
            ["offline_access"]
        );
    }
}
