//! The rules of rotation, pure: which refresh token of a grant is good when,
//! and what presenting it does. Tokens are ordinals here, times milliseconds.
//!
//! Written apart from the daemon's own reading of the same facts, so that the
//! two can disagree in a test.

use crate::{OldValid, RefreshFrom, Reuse, Rotates, Rotation};
use serde::{Deserialize, Serialize};

/// The facts by which a [`Family`] lives.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What becomes of a refresh token that has been presented.
    pub rotation: Rotation,
    /// With [`Rotates::Sometimes`]: every so-many-eth refresh rotates.
    pub rotates_every: u32,
    /// How long an access token lives.
    pub access_ms: u64,
    /// How long a refresh token lives.
    pub refresh_ms: Option<u64>,
    /// From when that counts.
    pub refresh_from: RefreshFrom,
}

/// Everything that was issued under one grant.
#[derive(Clone, Debug)]
pub struct Family {
    rules: Rules,
    began_ms: u64,
    pairs: Vec<Pair>,
    refreshes: Vec<Refresh>,
    ended: Option<Ended>,
}

/// Why a family's tokens died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// A void refresh token was presented, and reuse revokes.
    Reuse,
    /// A person or a test withdrew the grant.
    Withdrawn,
    /// The refresh tokens were killed; access tokens live on to their expiry.
    RefreshKilled,
}

/// What presenting a refresh token led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// A new pair, by its number; `rotated` when a new refresh token came with it.
    Issued {
        /// The pair.
        pair: usize,
        /// Whether the refresh token is new.
        rotated: bool,
    },
    /// The pair that the same presentation brought before.
    Replayed {
        /// The pair.
        pair: usize,
    },
    /// Refused: superseded, and its time is over.
    Void,
    /// Refused as [`Presented::Void`], and the whole family was revoked for it.
    Reused,
    /// Refused: older than a refresh token gets.
    Expired,
    /// Refused: the family had ended before.
    Dead,
}

/// An access token and the refresh token that goes with it.
#[derive(Clone, Debug)]
struct Pair {
    refresh: usize,
    issued_ms: u64,
    used: bool,
    access_revoked: bool,
}

#[derive(Clone, Debug)]
struct Refresh {
    issued_ms: u64,
    superseded: Option<Superseded>,
}

/// When a refresh token was exchanged for another, and for which pair.
#[derive(Clone, Copy, Debug)]
struct Superseded {
    at_ms: u64,
    by_pair: usize,
}

impl Family {
    /// A new grant with its first pair, number 0.
    #[must_use]
    pub fn begin(rules: Rules, now_ms: u64) -> Self {
        let mut family = Family {
            rules,
            began_ms: now_ms,
            pairs: Vec::new(),
            refreshes: Vec::new(),
            ended: None,
        };
        family.issue(None, now_ms);
        family
    }

    /// Presents the refresh token of that ordinal at the token endpoint.
    ///
    /// # Panics
    /// When no such refresh token was issued.
    pub fn present(&mut self, refresh: usize, now_ms: u64) -> Presented {
        if self.ended.is_some() {
            return Presented::Dead;
        }
        if self.refresh_expired(refresh, now_ms) {
            return Presented::Expired;
        }
        self.mark_used_by(refresh);
        match self.refreshes[refresh].superseded {
            None => self.exchange(refresh, now_ms),
            Some(_) if self.rules.rotation.old_valid == OldValid::Forever => {
                self.exchange(refresh, now_ms)
            }
            Some(superseded) if self.still_good(superseded, now_ms) => Presented::Replayed {
                pair: superseded.by_pair,
            },
            Some(_) if self.rules.rotation.reuse == Reuse::Revokes => {
                self.ended = Some(Ended::Reuse);
                Presented::Reused
            }
            Some(_) => Presented::Void,
        }
    }

    /// Presents the access token of that pair at a resource: whether it is taken.
    ///
    /// # Panics
    /// When no such pair was issued.
    pub fn use_access(&mut self, pair: usize, now_ms: u64) -> bool {
        let lives = self.access_left_ms(pair, now_ms) > 0;
        self.pairs[pair].used |= lives;
        lives
    }

    /// Ends the family.
    pub fn end(&mut self, why: Ended) {
        self.ended.get_or_insert(why);
    }

    /// Ends the access token of that pair and nothing else.
    ///
    /// # Panics
    /// When no such pair was issued.
    pub fn revoke_access(&mut self, pair: usize) {
        self.pairs[pair].access_revoked = true;
    }

    /// Why the family ended, if it did.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// How much longer an access token is taken; 0 or less when it is dead.
    ///
    /// # Panics
    /// When no such pair was issued.
    #[must_use]
    pub fn access_left_ms(&self, pair: usize, now_ms: u64) -> i64 {
        let revoked = matches!(self.ended, Some(Ended::Reuse | Ended::Withdrawn));
        let pair = &self.pairs[pair];
        if revoked || pair.access_revoked {
            return 0;
        }
        signed(pair.issued_ms) + signed(self.rules.access_ms) - signed(now_ms)
    }

    /// The refresh token that goes with a pair.
    ///
    /// # Panics
    /// When no such pair was issued.
    #[must_use]
    pub fn refresh_of(&self, pair: usize) -> usize {
        self.pairs[pair].refresh
    }

    /// The newest pair that goes with a refresh token: the one that its holder has.
    #[must_use]
    pub fn newest_pair_of(&self, refresh: usize) -> Option<usize> {
        self.pairs.iter().rposition(|pair| pair.refresh == refresh)
    }

    /// The number of the newest pair.
    #[must_use]
    pub fn newest_pair(&self) -> usize {
        self.pairs.len() - 1
    }

    /// The ordinal of the newest refresh token.
    #[must_use]
    pub fn newest_refresh(&self) -> usize {
        self.refreshes.len() - 1
    }

    fn exchange(&mut self, refresh: usize, now_ms: u64) -> Presented {
        let rotated = match self.rules.rotation.rotates {
            Rotates::Always => true,
            Rotates::Never => false,
            Rotates::Sometimes => {
                let refreshes = u32::try_from(self.pairs.len()).unwrap_or(u32::MAX);
                refreshes.is_multiple_of(self.rules.rotates_every.max(1))
            }
        };
        let pair = self.issue((!rotated).then_some(refresh), now_ms);
        if rotated {
            self.refreshes[refresh]
                .superseded
                .get_or_insert(Superseded {
                    at_ms: now_ms,
                    by_pair: pair,
                });
        }
        Presented::Issued { pair, rotated }
    }

    fn issue(&mut self, kept_refresh: Option<usize>, now_ms: u64) -> usize {
        if self.rules.rotation.revokes_old_access {
            self.pairs.iter_mut().for_each(|p| p.access_revoked = true);
        }
        let refresh = kept_refresh.unwrap_or_else(|| {
            self.refreshes.push(Refresh {
                issued_ms: now_ms,
                superseded: None,
            });
            self.refreshes.len() - 1
        });
        self.pairs.push(Pair {
            refresh,
            issued_ms: now_ms,
            used: false,
            access_revoked: false,
        });
        self.pairs.len() - 1
    }

    /// Presenting a refresh token uses every pair that it came with.
    fn mark_used_by(&mut self, refresh: usize) {
        let its_own = self.pairs.iter_mut().filter(|p| p.refresh == refresh);
        its_own.for_each(|pair| pair.used = true);
    }

    fn still_good(&self, superseded: Superseded, now_ms: u64) -> bool {
        let age_ms = u128::from(now_ms.saturating_sub(superseded.at_ms));
        match self.rules.rotation.old_valid {
            OldValid::For(window) => age_ms < window.as_millis(),
            OldValid::UntilUsed => {
                let max = self.rules.rotation.old_valid_max;
                !self.pairs[superseded.by_pair].used && max.is_none_or(|m| age_ms < m.as_millis())
            }
            OldValid::Forever => true,
        }
    }

    fn refresh_expired(&self, refresh: usize, now_ms: u64) -> bool {
        let from_ms = match self.rules.refresh_from {
            RefreshFrom::Issue => self.refreshes[refresh].issued_ms,
            RefreshFrom::Login => self.began_ms,
        };
        let life_ms = self.rules.refresh_ms;
        life_ms.is_some_and(|life_ms| now_ms >= from_ms.saturating_add(life_ms))
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
