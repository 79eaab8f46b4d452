//! Token texts and whose they are. Random, opaque, kept for as long as the
//! server runs: a token from long ago is known as what it was.

use crate::codes::Origin;
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

/// A grant has a token set for each time that it was begun.
#[derive(Debug, Default)]
struct Grant {
    sets: Vec<TokenSet>,
    stats: GrantStats,
}

#[derive(Debug)]
struct TokenSet {
    family: Family,
    origin: Option<Origin>,
    access: Vec<String>,
    refresh: Vec<String>,
}

/// Whose a token is, and which of the grant's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) grant: String,
    pub(crate) set: usize,
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
    /// Forgets a grant: its tokens become nobody's.
    pub(crate) fn forget(&mut self, name: &str) {
        let of_others = |_: &String, owned: &mut Owned| owned.grant != name;
        self.access.retain(of_others);
        self.refresh.retain(of_others);
        self.grants.remove(name);
    }

    /// Begins a grant, or begins one again: the token sets that it has live on.
    pub(crate) fn begin(
        &mut self,
        name: &str,
        rules: Rules,
        origin: Option<Origin>,
        now_ms: u64,
    ) -> Issue {
        let grant = self.grants.entry(name.to_owned()).or_default();
        grant.sets.push(TokenSet {
            family: Family::begin(rules, now_ms),
            origin,
            access: Vec::new(),
            refresh: Vec::new(),
        });
        let set = grant.sets.len() - 1;
        self.issue(name, set, 0, true, now_ms)
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

    /// What a token set began with.
    pub(crate) fn origin(&self, owned: &Owned) -> Option<&Origin> {
        self.set(owned).origin.as_ref()
    }

    /// What a grant began with the last time.
    pub(crate) fn newest_origin(&self, name: &str) -> Option<Origin> {
        self.grants.get(name)?.sets.last()?.origin.clone()
    }

    /// How things stand before a presentation.
    pub(crate) fn standing(&self, owned: &Owned, now_ms: u64) -> Standing {
        let family = &self.set(owned).family;
        let held = family.newest_pair_of(owned.ordinal);
        Standing {
            newest: family.newest_refresh(),
            access_left_ms: held.map(|pair| family.access_left_ms(pair, now_ms)),
        }
    }

    /// Presents a refresh token; the answer's tokens, where it was good.
    pub(crate) fn present(&mut self, owned: &Owned, now_ms: u64) -> (Presented, Option<Issue>) {
        let grant = self.grant_mut(&owned.grant);
        let family = &mut grant.sets[owned.set].family;
        let presented = family.present(owned.ordinal, now_ms);
        let issue = match presented {
            Presented::Issued { pair, rotated } => {
                Some(self.issue(&owned.grant, owned.set, pair, rotated, now_ms))
            }
            // A replay is the earlier answer again, and that one rotated.
            Presented::Replayed { pair } => {
                grant.stats.replays += 1;
                Some(self.issue(&owned.grant, owned.set, pair, true, now_ms))
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

    /// The counts of a grant that exists.
    pub(crate) fn stats_of(&mut self, grant: &str) -> Option<&mut GrantStats> {
        self.grants.get_mut(grant).map(|grant| &mut grant.stats)
    }

    /// Presents an access token at the resource: whose it is, and whether it is taken.
    pub(crate) fn use_access(&mut self, text: &str, now_ms: u64) -> Option<(Owned, bool)> {
        let owned = self.access.get(text)?.clone();
        let grant = self.grant_mut(&owned.grant);
        let family = &mut grant.sets[owned.set].family;
        let taken = family.use_access(owned.ordinal, now_ms);
        grant.stats.resource.count(taken);
        Some((owned, taken))
    }

    /// Ends a grant with all its token sets; false when there is none of that name.
    pub(crate) fn end(&mut self, name: &str, why: Ended) -> bool {
        let Some(grant) = self.grants.get_mut(name) else {
            return false;
        };
        grant.sets.iter_mut().for_each(|set| set.family.end(why));
        true
    }

    /// Ends one of a grant's token sets, if the grant is still there.
    pub(crate) fn end_set(&mut self, owned: &Owned, why: Ended) {
        let grant = self.grants.get_mut(&owned.grant);
        let set = grant.and_then(|grant| grant.sets.get_mut(owned.set));
        set.into_iter().for_each(|set| set.family.end(why));
    }

    /// Whose access token this is.
    pub(crate) fn access_owner(&self, text: &str) -> Option<Owned> {
        self.access.get(text).cloned()
    }

    /// Ends an access token and nothing else.
    pub(crate) fn revoke_access(&mut self, owned: &Owned) {
        let grant = self.grant_mut(&owned.grant);
        grant.sets[owned.set].family.revoke_access(owned.ordinal);
    }

    /// What was counted, by grant.
    pub(crate) fn stats(&self) -> BTreeMap<String, GrantStats> {
        let stats = |grant: &Grant| GrantStats {
            token_sets: grant.sets.len() as u64,
            issued: grant.sets.iter().map(|s| s.access.len() as u64).sum(),
            rotations: grant.sets.iter().map(TokenSet::rotations).sum(),
            ended: grant.sets.last().and_then(|set| set.family.ended()),
            ..grant.stats.clone()
        };
        let grants = self.grants.iter();
        grants.map(|(name, g)| (name.clone(), stats(g))).collect()
    }

    /// The texts of a pair, made now if it is new.
    fn issue(
        &mut self,
        name: &str,
        set_ordinal: usize,
        pair: usize,
        refresh_is_new: bool,
        now_ms: u64,
    ) -> Issue {
        let grant = self.grants.get_mut(name).expect("the caller has the grant");
        let set = &mut grant.sets[set_ordinal];
        let refresh = set.family.refresh_of(pair);
        let texts = [
            (&mut set.access, &mut self.access, pair, "at"),
            (&mut set.refresh, &mut self.refresh, refresh, "rt"),
        ];
        for (texts, owners, ordinal, prefix) in texts {
            while texts.len() <= ordinal {
                let text = random_text(prefix);
                let owned = Owned {
                    grant: name.to_owned(),
                    set: set_ordinal,
                    ordinal: texts.len(),
                };
                owners.insert(text.clone(), owned);
                texts.push(text);
            }
        }
        Issue {
            access: set.access[pair].clone(),
            refresh: set.refresh[refresh].clone(),
            refresh_is_new,
            left_ms: set.family.access_left_ms(pair, now_ms),
        }
    }

    fn set(&self, owned: &Owned) -> &TokenSet {
        &self.grants[&owned.grant].sets[owned.set]
    }

    fn grant_mut(&mut self, name: &str) -> &mut Grant {
        self.grants
            .get_mut(name)
            .expect("an owned token's grant exists")
    }
}

impl TokenSet {
    fn rotations(&self) -> u64 {
        self.family.newest_refresh() as u64
    }
}

/// 256 random bits with a prefix that tells the kind to whoever reads a dump.
pub(crate) fn random_text(prefix: &str) -> String {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(bytes))
}
