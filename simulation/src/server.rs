//! A modelled authorization server: what it really does, which its description
//! may or may not tell.

use crate::rng::{Rng, millis};
use refreshd_core::flight::settle::Rules;
use refreshd_core::grant::Policy;
use refreshd_core::provider::Description;
use refreshd_core::secret::Fingerprinter;
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How it treats refresh tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) rotates: bool,
    /// How long a superseded refresh token stays good, in milliseconds; `None`:
    /// until its successor is used.
    pub(crate) grace: Option<i64>,
    /// A replay within that time gives another pair, not the same one again.
    fresh_replays: bool,
    pub(crate) revokes: bool,
    /// Of an access token, in milliseconds.
    pub(crate) life: i64,
    states_life: bool,
    pub(crate) described: bool,
    /// The client can ask for a token set by itself.
    pub(crate) anew: bool,
    pub(crate) least_age: Option<i64>,
    /// At a refresh the access tokens before it die.
    pub(crate) revokes_old: bool,
    /// So many refreshes in such a time.
    pub(crate) window: Option<(u32, i64)>,
}

/// What it is in a mood for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Unreachable,
    Failing,
    Throttling,
    Slow,
    /// It does not accept the client.
    BadClient,
    /// It refuses every refresh token, good or not.
    Refusing,
}

/// A token: the grant, its authorization (a family), its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenId {
    pub(crate) grant: u32,
    pub(crate) family: usize,
    pub(crate) number: u64,
}

impl TokenId {
    /// Reads `rt-GRANT-FAMILY-NUMBER`.
    pub(crate) fn of(text: &str) -> TokenId {
        let mut parts = text
            .split('-')
            .skip(1)
            .map(|part| part.parse::<u64>().expect("a number"));
        let mut next = || parts.next().expect("a token has three numbers");
        TokenId {
            grant: u32::try_from(next()).expect("a grant"),
            family: usize::try_from(next()).expect("a family"),
            number: next(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) current: u64,
    /// When each superseded refresh token was first presented.
    superseded: BTreeMap<u64, i64>,
    pub(crate) dead: bool,
    /// It died by an exchange for which nobody here is to blame, or was refused falsely.
    pub(crate) excused: bool,
    /// When each access token ends.
    ends: Vec<i64>,
    /// Access tokens before this one were ended by a refresh.
    revoked_before: u64,
}

pub(crate) struct Server {
    pub(crate) facts: Facts,
    /// By the form of its answers.
    rules: Vec<Rules>,
    /// How its answers look now: the tokens stand below a root of that number.
    pub(crate) form: usize,
    /// The secret that it takes now.
    pub(crate) secret: u32,
    pub(crate) policy: Rc<Policy>,
    pub(crate) mood: Mood,
    pub(crate) mood_until: i64,
    families: BTreeMap<u32, Vec<Family>>,
}

impl Server {
    pub(crate) fn new(rng: &mut Rng, scale: i64) -> Self {
        let seconds = |secs: Option<i64>| secs.map(|secs| secs * 1000);
        let life = scale * rng.pick(&[1, 1, 2, 3]);
        let grace = rng.pick(&[
            Some(0),
            Some(0),
            Some(10),
            Some(60),
            Some(600),
            Some(7200),
            None,
        ]);
        let facts = Facts {
            rotates: !rng.percent(15),
            grace: seconds(grace),
            fresh_replays: rng.percent(40),
            revokes: rng.percent(60),
            life,
            states_life: !rng.percent(20),
            described: rng.percent(75),
            anew: rng.percent(15),
            least_age: rng.percent(15).then_some(life / 2),
            revokes_old: rng.percent(25),
            window: rng.percent(15).then(|| (rng.pick(&[3, 6]), life)),
        };
        let rules = rules(&facts, 0);
        Server {
            facts,
            policy: Rc::new(rules.policy.clone()),
            rules: vec![rules],
            form: 0,
            secret: 0,
            mood: Mood::Fine,
            mood_until: 0,
            families: BTreeMap::new(),
        }
    }

    /// What settling goes by where answers are taken to have this form.
    pub(crate) fn rules(&self, form: usize) -> &Rules {
        &self.rules[form]
    }

    /// From now on its answers look otherwise.
    pub(crate) fn change_form(&mut self) {
        self.form += 1;
        self.rules.push(rules(&self.facts, self.form));
    }

    pub(crate) fn mood(&self, now: i64) -> Mood {
        if now < self.mood_until {
            self.mood
        } else {
            Mood::Fine
        }
    }

    /// A person authorizes: a family begins. The answer.
    pub(crate) fn authorize(&mut self, grant: u32, now: i64) -> String {
        let families = self.families.entry(grant).or_default();
        families.push(Family {
            current: 0,
            superseded: BTreeMap::new(),
            dead: false,
            excused: false,
            ends: vec![now + self.facts.life],
            revoked_before: 0,
        });
        let family = families.len() - 1;
        self.body(grant, family, true)
    }

    /// A refresh request that came through: status and body.
    pub(crate) fn present(&mut self, token: TokenId, now: i64) -> (u16, String) {
        let facts = self.facts;
        let is_good = self.is_good(token, now);
        let family = self.family_mut(token);
        if !is_good {
            family.dead |= facts.revokes;
            return refused();
        }
        let known = family.superseded.contains_key(&token.number);
        if facts.rotates && known && !(facts.fresh_replays && facts.grace.is_some()) {
            // The same pair once more, its lifetime told as if it were new.
            return (200, self.body(token.grant, token.family, true));
        }
        if facts.rotates {
            family.superseded.entry(token.number).or_insert(now);
            let current = family.current;
            family.superseded.entry(current).or_insert(now);
            family.current += 1;
        }
        family.ends.push(now + facts.life);
        if facts.revokes_old {
            family.revoked_before = family.ends.len() as u64 - 1;
        }
        (200, self.body(token.grant, token.family, facts.rotates))
    }

    /// Whether a refresh token would be taken at that moment.
    pub(crate) fn is_good(&self, token: TokenId, now: i64) -> bool {
        let family = self.family(token);
        let in_grace = || match (self.facts.grace, family.superseded.get(&token.number)) {
            (_, None) => false,
            (None, Some(_)) => token.number + 1 == family.current,
            (Some(grace), Some(first)) => {
                let last = self.facts.fresh_replays || token.number + 1 == family.current;
                last && now < first + grace
            }
        };
        !family.dead && (!self.facts.rotates || token.number == family.current || in_grace())
    }

    /// When a refresh token was superseded.
    pub(crate) fn superseded_at(&self, token: TokenId) -> Option<i64> {
        self.family(token).superseded.get(&token.number).copied()
    }

    /// Whether a lost answer can always be had again.
    pub(crate) fn forgives(&self) -> bool {
        !self.facts.rotates || self.facts.grace.is_none()
    }

    /// When an access token really ends.
    pub(crate) fn end_of(&self, access: TokenId) -> i64 {
        self.family(access).ends[usize::try_from(access.number).expect("a small number")]
    }

    /// Whether an access token works.
    pub(crate) fn lives(&self, access: TokenId, now: i64) -> bool {
        now < self.end_of(access) && access.number >= self.family(access).revoked_before
    }

    /// Access tokens of a family before this one were ended by a refresh.
    pub(crate) fn revoked_before(&self, token: TokenId) -> u64 {
        self.family(token).revoked_before
    }

    /// The newest authorization.
    pub(crate) fn latest(&self, grant: u32) -> &Family {
        self.families[&grant]
            .last()
            .expect("a grant was authorized once")
    }

    pub(crate) fn latest_family(&self, grant: u32) -> usize {
        self.families[&grant].len() - 1
    }

    pub(crate) fn family(&self, token: TokenId) -> &Family {
        &self.families[&token.grant][token.family]
    }

    pub(crate) fn family_mut(&mut self, token: TokenId) -> &mut Family {
        let families = self.families.get_mut(&token.grant);
        &mut families.expect("a grant has families")[token.family]
    }

    fn body(&self, grant: u32, family: usize, refresh: bool) -> String {
        let it = &self.families[&grant][family];
        let (access, current) = (it.ends.len() - 1, it.current);
        let mut body = match self.form {
            0 => String::new(),
            form => format!(r#"{{"v{form}":"#),
        };
        body +=
            &format!(r#"{{"access_token":"at-{grant}-{family}-{access}","token_type":"Bearer""#);
        if refresh {
            body += &format!(r#","refresh_token":"rt-{grant}-{family}-{current}""#);
        }
        if self.facts.states_life {
            body += &format!(r#","expires_in":{}"#, self.facts.life / 1000);
        }
        body + if self.form == 0 { "}" } else { "}}" }
    }
}

fn refused() -> (u16, String) {
    (400, r#"{"error":"invalid_grant"}"#.to_owned())
}

fn rules(facts: &Facts, form: usize) -> Rules {
    let description = describe(facts, form);
    Rules {
        policy: Policy::new(&description, description.schedule.clone()),
        description: description.into(),
        fingerprinter: Fingerprinter::new([7; 32]),
    }
}

fn describe(facts: &Facts, form: usize) -> Description {
    let old_valid = match facts.grace {
        _ if !facts.rotates => "forever".to_owned(),
        Some(grace) => format!("{}s", grace / 1000),
        None => "until-used".to_owned(),
    };
    let rotation = json!({
        "rotates": if facts.rotates { "always" } else { "never" },
        "old_valid": old_valid,
        "reuse": if facts.revokes { "revokes" } else { "error" },
        "revokes_old_access": facts.revokes_old,
    });
    let mut description = json!({
        "name": "modelled",
        "token": { "url": "https://as.example/token" },
        "lifetime": { "access": format!("{}ms", facts.life) },
    });
    if facts.described {
        description["rotation"] = rotation;
    } else if facts.revokes_old {
        description["rotation"] = json!({ "revokes_old_access": true });
    }
    if form > 0 {
        description["response"] = json!({ "root": format!("v{form}") });
    }
    if facts.anew {
        description["refresh"] = json!({ "fallback": "client_credentials" });
    }
    if let Some(age) = facts.least_age {
        description["schedule"]["min_age"] = json!(format!("{age}ms"));
    }
    if let Some((count, per)) = facts.window {
        description["schedule"]["max_per_window"] = json!(format!("{count}/{per}ms"));
    }
    serde_json::from_value(description).expect("a description")
}

/// The least time between sends, as the rule is worded and not as the code has it.
pub(crate) fn least_gap(facts: &Facts, life: Duration, in_doubt: bool) -> i64 {
    let window = facts
        .grace
        .filter(|grace| *grace > 0 && facts.rotates && facts.described);
    match window {
        Some(window) if in_doubt && !facts.anew => (window / 8).max(1000),
        _ => (millis(life) / 4).clamp(1000, 30_000),
    }
}
