//! Grants whose access tokens end together: more than a few of one host or client within
//! a minute are one incident with a count.

use crate::time::WallTime;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// So many of a host or a client are told one by one.
const ALONE: usize = 5;
/// Within so long.
const WITHIN: Duration = Duration::from_secs(60);

/// What grants have in common; hosts and clients go by small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Common {
    /// The host that is asked.
    Host(u32),
    /// The client.
    Client(u32),
}

/// A crowd and how many are in it by now; with none, it is over.
pub type Counted = (Common, usize);

#[derive(Debug, Default)]
struct Crowd {
    grants: BTreeSet<u32>,
    /// When the last few came.
    latest: VecDeque<WallTime>,
    together: bool,
    /// Some of them were told with it; else they are told with another.
    told: bool,
}

/// The grants that lack a living access token, by what they have in common.
#[derive(Debug, Default)]
pub struct Crowds {
    by: BTreeMap<Common, Crowd>,
    /// What each has in common with others, and the crowd with which it is told.
    grants: BTreeMap<u32, ([Common; 2], Option<Common>)>,
}

impl Crowds {
    /// A grant lacks a living access token. The crowd with which it is told, with its count;
    /// `None`: it is told by itself.
    pub fn add(&mut self, grant: u32, commons: [Common; 2], now: WallTime) -> Option<Counted> {
        if let Some((_, told)) = self.grants.get(&grant) {
            return told.map(|common| (common, self.count(common)));
        }
        let mut told = None;
        for common in commons {
            let crowd = self.by.entry(common).or_default();
            crowd.grants.insert(grant);
            if crowd.latest.len() == ALONE {
                let first = crowd.latest.pop_front();
                crowd.together |= first.is_some_and(|first| now.since(first) < WITHIN);
            }
            crowd.latest.push_back(now);
            if crowd.together {
                told = told.or(Some(common));
            }
        }
        if let Some(crowd) = told.and_then(|common| self.by.get_mut(&common)) {
            crowd.told = true;
        }
        self.grants.insert(grant, (commons, told));
        told.map(|common| (common, self.count(common)))
    }

    /// A grant has a living token, or is waited for no longer: the crowds that were told of and
    /// are smaller now.
    pub fn remove(&mut self, grant: u32) -> Vec<Counted> {
        let Some((commons, _)) = self.grants.remove(&grant) else {
            return Vec::new();
        };
        let mut smaller = Vec::new();
        for common in commons {
            let Some(crowd) = self.by.get_mut(&common) else {
                continue;
            };
            crowd.grants.remove(&grant);
            if crowd.told {
                smaller.push((common, crowd.grants.len()));
            }
            if crowd.grants.is_empty() {
                self.by.remove(&common);
            }
        }
        smaller
    }

    /// A few of a crowd's grants.
    pub fn some(&self, common: Common, count: usize) -> impl Iterator<Item = u32> {
        let grants = self.by.get(&common).map(|crowd| &crowd.grants);
        grants.into_iter().flatten().copied().take(count)
    }

    fn count(&self, common: Common) -> usize {
        self.by.get(&common).map_or(0, |crowd| crowd.grants.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_000_000_000);

    fn second(n: u64) -> WallTime {
        NOW + Duration::from_secs(n)
    }

    #[test]
    fn the_sixth_within_a_minute_is_told_with_the_others() {
        let mut crowds = Crowds::default();
        let commons = |host| [Common::Host(host), Common::Client(7)];
        for grant in 0..5 {
            assert_eq!(
                crowds.add(grant, commons(1), second(u64::from(grant))),
                None
            );
        }
        let host = Common::Host(1);
        assert_eq!(crowds.add(5, commons(1), second(9)), Some((host, 6)));
        assert_eq!(crowds.add(5, commons(1), second(10)), Some((host, 6)));
        assert_eq!(crowds.add(0, commons(1), second(10)), None, "told already");
        assert_eq!(crowds.some(host, 2).collect::<Vec<_>>(), [0, 1]);
        // However late: as long as the crowd is there.
        assert_eq!(crowds.add(6, commons(1), second(900)), Some((host, 7)));
        for grant in 0..6 {
            let left = 6 - usize::try_from(grant).unwrap();
            // Of the client nothing was told.
            assert_eq!(crowds.remove(grant), [(host, left)]);
        }
        assert_eq!(crowds.remove(0), []);
        assert_eq!(crowds.remove(6), [(host, 0)]);
        assert_eq!(crowds.add(0, commons(1), second(901)), None);
    }

    #[test]
    fn a_client_at_many_hosts_has_a_crowd_too() {
        let mut crowds = Crowds::default();
        let add = |crowds: &mut Crowds, grant: u32, at| {
            crowds.add(grant, [Common::Host(grant), Common::Client(7)], at)
        };
        for grant in 0..5 {
            assert_eq!(add(&mut crowds, grant, NOW), None);
        }
        assert_eq!(add(&mut crowds, 5, NOW), Some((Common::Client(7), 6)));
    }

    #[test]
    fn those_that_come_one_after_another_are_told_by_themselves() {
        let mut crowds = Crowds::default();
        for grant in 0..20 {
            let at = second(u64::from(grant) * 15);
            let told = crowds.add(grant, [Common::Host(1), Common::Client(1)], at);
            assert_eq!(told, None, "{grant}");
        }
    }
}
