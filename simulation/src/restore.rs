//! Backups, and stores that are put back to them.

use crate::audit::{Check, ensure};
use crate::server::TokenId;
use crate::setup::Errand;
use crate::store::Store;
use crate::world::{Happening, World};
use refreshd_core::fence::{self, Found};
use refreshd_core::flight::ExchangeId;
use refreshd_core::grant::GrantId;
use std::collections::BTreeMap;

/// What was copied away.
pub(crate) struct Copied {
    store: Store,
    /// When, by the physical clock.
    at: i64,
    /// What was under way.
    open: BTreeMap<ExchangeId, bool>,
}

impl World {
    /// `refreshd backup`, or somebody who copies the files of a daemon that is stopped.
    pub(crate) fn copy_away(&mut self) {
        let mut store = self.store.clone();
        store.full = false;
        let files = self.process.is_none() && self.rng.percent(50);
        let open = self.audit.open.clone();
        if !files {
            store.backup_of = Some(self.wall());
        }
        let at = self.now;
        self.copied = Some(Copied { store, at, open });
    }

    /// The daemon is stopped, and the copy put in the place of what there is.
    pub(crate) fn put_back(&mut self, after: i64) -> Check {
        let Some(copied) = self.copied.take() else {
            return Ok(());
        };
        // Without a mark nobody would notice: a snapshot of everything cannot be told from the present.
        let noticed = copied.store.backup_of.is_some() || copied.store.commit_seq < self.stamp_seq;
        if !noticed || copied.store.rows.len() != self.store.rows.len() {
            return Ok(());
        }
        self.report.count("stores put back");
        if self.process.is_some() {
            self.end_process()?;
        }
        let full = self.store.full;
        self.store = copied.store;
        self.store.full = full;
        self.audit.open = copied.open;
        self.audit.put_back(&self.store.rows, copied.at, self.now);
        self.schedule(after, Happening::Person(Errand::AcceptRestore));
        Ok(())
    }

    /// Whoever opens the store finds out whether it is fenced, and notes it there.
    pub(crate) fn look_at_fence(&mut self) {
        let found = Found {
            fenced: self.store.fenced.clone(),
            backup_of: self.store.backup_of,
            commit_seq: self.store.commit_seq,
            stamp: Some(self.stamp_seq),
        };
        self.store.fenced = fence::at_start(&found);
    }

    /// What the fence says as a process starts.
    pub(crate) fn fence_at_start(&mut self) {
        let grants = self.store.rows.iter().map(|row| &row.grant);
        let ahead = fence::published_ahead(grants, &self.published_generations());
        self.store.fenced = self.store.fenced.clone().or(ahead);
        let text = self.store.fenced.as_ref().map(ToString::to_string);
        self.process().scheduler.set_fenced(text);
    }

    fn published_generations(&self) -> BTreeMap<GrantId, u64> {
        let found = self.published.iter().enumerate();
        found
            .filter_map(|(index, found)| Some((GrantId(index.to_string()), (*found)?.generation)))
            .collect()
    }

    /// `refreshd doctor --accept-restore`.
    pub(crate) fn accept_restore(&mut self) -> Check {
        let Some(now) = self.trusted() else {
            return Ok(());
        };
        if self.process().scheduler.fenced().is_none() || self.store.full {
            return Ok(());
        }
        self.report.count("restores accepted");
        let published = self.published_generations();
        self.store.accept_restore(&published, self.stamp_seq, now);
        let (stamp, physical) = (self.stamp(now), self.now);
        self.store.saw(stamp, physical);
        self.process().scheduler.set_fenced(None);
        for index in 0..self.size.grants {
            let row = &self.store.rows[index as usize];
            self.audit.accepted(index, row);
            let grant = row.grant.clone();
            let effects = self.process().scheduler.changed(index, grant, now);
            self.apply(effects);
            self.align(index)?;
            self.publish(index);
        }
        self.recall_second_chances()?;
        self.wake_now();
        Ok(())
    }

    /// Nothing leaves while a store is fenced.
    pub(crate) fn check_fence(&mut self, index: u32, token: Option<TokenId>) -> Check {
        ensure(!self.audit.is_put_back, "fenced-does-not-refresh", || {
            format!("grant {index} sends {token:?}, and nobody has accepted the store")
        })
    }
}
