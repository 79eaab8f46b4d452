//! A modelled authorization server for one grant: what it really does, which
//! its description may or may not tell.

use crate::rng::Rng;
use refreshd_core::provider::Description;
use refreshd_core::time::WallTime;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) struct Provider {
    pub(crate) rotates: bool,
    /// How long the last superseded refresh token stays good; `None`: until its
    /// successor is used.
    grace: Option<Duration>,
    pub(crate) revokes: bool,
    pub(crate) life: Duration,
    /// Whether answers state the access token's lifetime.
    states_life: bool,
    /// Whether the description tells how refresh tokens rotate.
    pub(crate) described: bool,
    /// Number of the refresh token that is good now.
    pub(crate) current: u64,
    /// When each superseded refresh token was first presented.
    superseded: BTreeMap<u64, WallTime>,
    pub(crate) family_dead: bool,
    /// Whether the client can ask for a new token set itself.
    pub(crate) anew: bool,
    /// Refresh tokens of families that began before the client asked anew: each
    /// family lives by itself.
    others: BTreeSet<u64>,
    /// When each access token ends, by its number.
    ends: Vec<WallTime>,
}

impl Provider {
    pub(crate) fn new(rng: &mut Rng, now: WallTime) -> Self {
        let life = Duration::from_secs(rng.pick(&[4, 20, 300, 600, 3600, 21_600, 172_800]));
        Provider {
            rotates: !rng.percent(15),
            grace: rng
                .pick(&[
                    Some(0),
                    Some(0),
                    Some(10),
                    Some(60),
                    Some(600),
                    Some(7200),
                    None,
                ])
                .map(Duration::from_secs),
            revokes: rng.percent(60),
            life,
            states_life: !rng.percent(20),
            described: rng.percent(75),
            current: 0,
            superseded: BTreeMap::new(),
            family_dead: false,
            anew: rng.percent(15),
            others: BTreeSet::new(),
            ends: vec![now + life],
        }
    }

    pub(crate) fn description(&self) -> Description {
        let old_valid = match self.grace {
            _ if !self.rotates => "forever".to_owned(),
            Some(grace) => format!("{}s", grace.as_secs()),
            None => "until-used".to_owned(),
        };
        let rotation = json!({
            "rotates": if self.rotates { "always" } else { "never" },
            "old_valid": old_valid,
            "reuse": if self.revokes { "revokes" } else { "error" },
        });
        serde_json::from_value(json!({
            "name": "modelled",
            "token": { "url": "https://as.example/token" },
            "lifetime": { "access": format!("{}s", self.life.as_secs()) },
            "rotation": if self.described { rotation } else { json!({}) },
            "refresh": if self.anew { json!({ "fallback": "client_credentials" }) } else { json!({}) },
        }))
        .expect("a description")
    }

    /// The answer to the first authorization.
    pub(crate) fn first(&self) -> Value {
        self.body(0, Some(0))
    }

    /// A refresh request that came through: the answer's status and body.
    pub(crate) fn present(&mut self, number: u64, now: WallTime) -> (u16, Value) {
        if self.family_dead {
            return refused();
        }
        if !self.rotates {
            return self.grant(now, None);
        }
        if number == self.current || self.others.remove(&number) {
            self.superseded.insert(number, now);
            self.current += 1;
            return self.grant(now, Some(self.current));
        }
        if self.is_good(number, now) {
            // A replay: the same pair once more, its lifetime told as if it were new.
            return (200, self.body(self.ends.len() - 1, Some(self.current)));
        }
        if self.revokes {
            self.family_dead = true;
        }
        refused()
    }

    /// The client asks for itself: another family begins.
    pub(crate) fn ask_anew(&mut self, now: WallTime) -> (u16, Value) {
        self.family_dead = false;
        self.others.insert(self.current);
        self.current += 1;
        self.grant(now, Some(self.current))
    }

    /// Whether a refresh token would be taken at that moment.
    pub(crate) fn is_good(&self, number: u64, now: WallTime) -> bool {
        let in_grace = || {
            number + 1 == self.current
                && self
                    .superseded
                    .get(&number)
                    .is_some_and(|first| self.grace.is_none_or(|grace| now < *first + grace))
        };
        !self.rotates || number == self.current || self.others.contains(&number) || in_grace()
    }

    /// Whether a lost answer can always be had again.
    pub(crate) fn forgives(&self) -> bool {
        !self.rotates || self.grace.is_none()
    }

    /// When an access token really ends.
    pub(crate) fn end_of(&self, access: usize) -> WallTime {
        self.ends[access]
    }

    fn grant(&mut self, now: WallTime, refresh: Option<u64>) -> (u16, Value) {
        self.ends.push(now + self.life);
        (200, self.body(self.ends.len() - 1, refresh))
    }

    fn body(&self, access: usize, refresh: Option<u64>) -> Value {
        let mut body = json!({ "access_token": format!("at-{access}"), "token_type": "Bearer" });
        if let Some(number) = refresh {
            body["refresh_token"] = format!("rt-{number}").into();
        }
        if self.states_life {
            body["expires_in"] = self.life.as_secs().into();
        }
        body
    }
}

fn refused() -> (u16, Value) {
    (400, json!({ "error": "invalid_grant" }))
}

/// The number in a token's text.
pub(crate) fn number(token: &str) -> u64 {
    let digits = token
        .split_once('-')
        .expect("tokens are a kind and a number")
        .1;
    digits.parse().expect("a number")
}
