//! Token texts and whose they are. Random, opaque, kept for as long as the
//! server runs: a token from long ago is known as what it was.

use crate::rotation::{Ended, Family, Presented, Rules};
use crate::stats::GrantStats;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{BTreeMap, HashMap};

/// All grants with their tokens.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    grants: BTreeMap<String, Grant>,
    access: HashMap<String, Owned>,
    refresh: HashMap<String, Owned>,
}

#[derive(Debug)]
struct Grant {
    family: Family,
    access: Vec<String>,
    refresh: Vec<String>,
    stats: GrantStats,
}

/// Whose a token is, and which of the grant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) grant: String,
    pub(crate) ordinal: usize,
}

/// What an answer of the token endpoint is made of.
#[derive(Debug)]
pub(crate) struct Issue {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) refresh_is_new: bool,
    pub(crate) left_ms: i64,
}

/// How things stand for a refresh token at the time of its presentation.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) newest: usize,
    pub(crate) access_left_ms: Option<i64>,
}

impl Registry {
    /// Makes a grant; one of the same name is replaced, and its tokens become nobody's.
    pub(crate) fn begin(&mut self, name: &str, rules: Rules, now_ms: u64) -> Issue {
        let of_others = |_: &String, owned: &mut Owned| owned.grant != name;
        self.access.retain(of_others);
        self.refresh.retain(of_others);
        let grant = Grant {
            family: Family::begin(rules, now_ms),
            access: Vec::new(),
            refresh: Vec::new(),
            stats: GrantStats::default(),
        };
        self.grants.insert(name.to_owned(), grant);
        self.issue(name, 0, true, now_ms)
    }

    /// A name that no grant has.
    pub(crate) fn free_name(&self) -> String {
        let numbered = (1..).map(|n| format!("grant-{n}"));
        let mut free = numbered.filter(|name| !self.grants.contains_key(name));
        free.next().expect("there are more numbers than grants")
    }

    /// Whose refresh token this is.
    pub(crate) fn refresh_owner(&self, text: &str) -> Option<Owned> {
        self.refresh.get(text).cloned()
    }

    /// How things stand before a presentation.
    pub(crate) fn standing(&self, owned: &Owned, now_ms: u64) -> Standing {
        let family = &self.grants[&owned.grant].family;
        let held = family.newest_pair_of(owned.ordinal);
        Standing {
            newest: family.newest_refresh(),
            access_left_ms: held.map(|pair| family.access_left_ms(pair, now_ms)),
        }
    }

    /// Presents a refresh token; the answer's tokens, where it was good.
    pub(crate) fn present(&mut self, owned: &Owned, now_ms: u64) -> (Presented, Option<Issue>) {
        let grant = self.grant_mut(&owned.grant);
        let presented = grant.family.present(owned.ordinal, now_ms);
        let issue = match presented {
            Presented::Issued { pair, rotated } => {
                Some(self.issue(&owned.grant, pair, rotated, now_ms))
            }
            // A replay is the earlier answer again, and that one rotated.
            Presented::Replayed { pair } => {
                grant.stats.replays += 1;
                Some(self.issue(&owned.grant, pair, true, now_ms))
            }
            Presented::Void | Presented::Reused => {
                grant.stats.reuses += 1;
                grant.stats.refusals += 1;
                None
            }
            Presented::Expired | Presented::Dead => {
                grant.stats.refusals += 1;
                None
            }
        };
        (presented, issue)
    }

    /// Counts a presentation, whatever comes of it.
    pub(crate) fn count_presentation(&mut self, grant: &str) {
        self.grant_mut(grant).stats.presentations += 1;
    }

    /// Presents an access token at the resource: whose it is, and whether it is taken.
    pub(crate) fn use_access(&mut self, text: &str, now_ms: u64) -> Option<(Owned, bool)> {
        let owned = self.access.get(text)?.clone();
        let grant = self.grant_mut(&owned.grant);
        let taken = grant.family.use_access(owned.ordinal, now_ms);
        grant.stats.resource.count(taken);
        Some((owned, taken))
    }

    /// Ends a grant; false when there is none of that name.
    pub(crate) fn end(&mut self, name: &str, why: Ended) -> bool {
        let grant = self.grants.get_mut(name);
        grant.map(|grant| grant.family.end(why)).is_some()
    }

    /// What was counted, by grant.
    pub(crate) fn stats(&self) -> BTreeMap<String, GrantStats> {
        let stats = |grant: &Grant| GrantStats {
            issued: grant.access.len() as u64,
            rotations: grant.family.newest_refresh() as u64,
            ended: grant.family.ended(),
            ..grant.stats.clone()
        };
        let grants = self.grants.iter();
        grants.map(|(name, g)| (name.clone(), stats(g))).collect()
    }

    /// The texts of a pair, made now if it is new.
    fn issue(&mut self, name: &str, pair: usize, refresh_is_new: bool, now_ms: u64) -> Issue {
        let grant = self.grants.get_mut(name).expect("the caller has the grant");
        let refresh = grant.family.refresh_of(pair);
        let texts = [
            (&mut grant.access, &mut self.access, pair, "at"),
            (&mut grant.refresh, &mut self.refresh, refresh, "rt"),
        ];
        for (texts, owners, ordinal, prefix) in texts {
            while texts.len() <= ordinal {
                let text = random_text(prefix);
                let owned = Owned {
                    grant: name.to_owned(),
                    ordinal: texts.len(),
                };
                owners.insert(text.clone(), owned);
                texts.push(text);
            }
        }
        Issue {
            access: grant.access[pair].clone(),
            refresh: grant.refresh[refresh].clone(),
            refresh_is_new,
            left_ms: grant.family.access_left_ms(pair, now_ms),
        }
    }

    fn grant_mut(&mut self, name: &str) -> &mut Grant {
        self.grants
            .get_mut(name)
            .expect("an owned token's grant exists")
    }
}

/// 256 random bits with a prefix that tells the kind to whoever reads a dump.
pub(crate) fn random_text(prefix: &str) -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(bytes))
}
