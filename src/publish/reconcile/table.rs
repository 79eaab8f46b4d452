//! The reconciler's bookkeeping: which outputs there are, which are marked,
//! which run, which wait. It does nothing itself.

use super::entry::{Done, Entry, Goal, Phase, Task, Turn};
use super::{Address, OutputReport, Record, Target};
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry's number, never used twice.
pub(super) type Id = u64;

/// With this many hung writes in one directory, no further one is begun there:
/// each holds a thread, and threads are what all outputs share. As many in one
/// database: its only thread hangs.
const MOST_HUNG_IN_DIR: usize = 4;
/// With this many in all, a hung write keeps its place.
const MOST_HUNG: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Id, Entry>,
    by_address: HashMap<Address, Id>,
    by_grant: HashMap<Arc<str>, Vec<Id>>,
    /// Marked files; each takes a permit.
    ready: VecDeque<Id>,
    /// Marked rows; each waits for its database's own thread.
    ready_rows: VecDeque<Id>,
    retries: BTreeSet<(Instant, Id)>,
    rechecks: BTreeSet<(WallTime, Id)>,
    /// Addresses of hung writes.
    hung: Vec<Address>,
    running: usize,
    untried: usize,
    next: Id,
    fenced: bool,
    stopping: bool,
}

impl Table {
    pub(super) fn new(records: Vec<Record>) -> Table {
        let mut table = Table::default();
        for record in records {
            let id = table.insert(&record.address, &record.grant);
            if let Some(entry) = table.entries.get_mut(&id) {
                entry.booked = Some(record.grant_id);
            }
        }
        table
    }

    fn insert(&mut self, address: &Address, grant: &str) -> Id {
        if let Some(id) = self.by_address.get(address) {
            return *id;
        }
        let id = self.next;
        self.next += 1;
        self.untried += 1;
        self.by_address.insert(address.clone(), id);
        let entry = Entry::new(address.clone(), Arc::from(grant));
        self.entries.insert(id, entry);
        id
    }

    /// Returns the addresses that occur more than once.
    pub(super) fn set_targets(&mut self, targets: Vec<Target>) -> Vec<Address> {
        if self.stopping {
            return Vec::new();
        }
        for entry in self.entries.values_mut() {
            entry.goal = Goal::Withdraw;
        }
        self.by_grant.clear();
        let mut twice = Vec::new();
        for target in targets {
            let address = target.address();
            let Target { grant, sink } = target;
            let id = self.insert(&address, &grant);
            let entry = self.entries.get_mut(&id).expect("it was just inserted");
            if matches!(entry.goal, Goal::Publish(_)) {
                twice.push(address);
                continue;
            }
            let grant = match self.by_grant.get_key_value(grant.as_str()) {
                Some((known, _)) => known.clone(),
                None => Arc::from(grant),
            };
            if entry.grant != grant {
                entry.wanted = None;
                entry.settled = false;
            }
            entry.grant = grant.clone();
            entry.goal = Goal::Publish(sink);
            self.by_grant.entry(grant).or_default().push(id);
        }
        self.mark_all();
        twice
    }

    pub(super) fn notify(&mut self, grant: &str) {
        for id in self.by_grant.get(grant).cloned().unwrap_or_default() {
            self.mark(id);
        }
    }

    /// Marks the rows of a database.
    pub(super) fn mark_database(&mut self, path: &Path) {
        let entries = self.entries.iter();
        let rows = entries.filter(|(_, entry)| entry.address.neighbourhood() == (true, path));
        let mut ids: Vec<Id> = rows.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            self.mark(id);
        }
    }

    pub(super) fn set_fenced(&mut self, fenced: bool) {
        if self.fenced && !fenced {
            self.mark_all();
        }
        self.fenced = fenced;
    }

    fn mark_all(&mut self) {
        let mut ids: Vec<Id> = self.entries.keys().copied().collect();
        // In the order of the configuration, not of the hash table.
        ids.sort_unstable();
        for id in ids {
            self.mark(id);
        }
    }

    /// Has an entry looked at, once more if it is just being looked at.
    fn mark(&mut self, id: Id) {
        if self.stopping {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if matches!(entry.goal, Goal::Known) {
            return;
        }
        if let Some(at) = entry.retry_at.take() {
            self.retries.remove(&(at, id));
        }
        match entry.phase {
            Phase::Idle => {
                entry.phase = Phase::Queued;
                match entry.address.is_row() {
                    true => self.ready_rows.push_back(id),
                    false => self.ready.push_back(id),
                }
            }
            Phase::Queued => {}
            Phase::Running { .. } => entry.phase = Phase::Running { again: true },
        }
    }

    /// Marks what is due, and says how long nothing will be.
    pub(super) fn due(&mut self, now: Instant, wall: WallTime) -> Option<Duration> {
        while let Some(due) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.remove(&due);
            if let Some(entry) = self.entries.get_mut(&due.1) {
                entry.retry_at = None;
            }
            self.mark(due.1);
        }
        while let Some(due) = self.rechecks.first().copied().filter(|(at, _)| *at <= wall) {
            self.rechecks.remove(&due);
            if let Some(entry) = self.entries.get_mut(&due.1) {
                entry.recheck_at = None;
            }
            self.mark(due.1);
        }
        let retry = self.retries.first().map(|(at, _)| *at - now);
        let recheck = self.rechecks.first().map(|(at, _)| at.since(wall));
        retry.into_iter().chain(recheck).min()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes the next marked file to run.
    pub(super) fn begin(&mut self) -> Option<(Id, Task)> {
        let id = self.ready.pop_front()?;
        self.begin_with(id)
    }

    /// Takes the next marked row to run.
    pub(super) fn begin_row(&mut self) -> Option<(Id, Task)> {
        let id = self.ready_rows.pop_front()?;
        self.begin_with(id)
    }

    fn begin_with(&mut self, id: Id) -> Option<(Id, Task)> {
        let (fenced, entry) = (self.fenced, self.entries.get_mut(&id)?);
        entry.phase = Phase::Running { again: false };
        self.running += 1;
        let here = entry.address.neighbourhood();
        let hung = self.hung.iter().filter(|hung| hung.neighbourhood() == here);
        let place = if here.0 { "database" } else { "directory" };
        let refused = (hung.count() >= MOST_HUNG_IN_DIR)
            .then(|| format!("{MOST_HUNG_IN_DIR} writes hang in its {place}"));
        Some((id, entry.task(fenced, refused)))
    }

    pub(super) fn wants(&mut self, id: Id, generation: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.wanted = Some(generation);
        }
    }

    pub(super) fn booked(&mut self, id: Id, grant_id: GrantId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.booked = Some(grant_id);
        }
    }

    /// A run has taken too long. Returns whether it gives its place back.
    pub(super) fn hangs(&mut self, id: Id, error: String, wall: WallTime) -> (bool, Turn) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return (true, Turn::Same);
        };
        if !std::mem::replace(&mut entry.tried, true) {
            self.untried -= 1;
        }
        entry.hung = true;
        self.hung.push(entry.address.clone());
        let files = self.hung.iter().filter(|hung| !hung.is_row()).count();
        (files <= MOST_HUNG, entry.fails(error, wall))
    }

    /// A run is over.
    pub(super) fn finish(
        &mut self,
        id: Id,
        result: Result<Done, String>,
        wall: WallTime,
        retry: impl FnOnce(u32) -> Instant,
    ) -> Turn {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Turn::Same;
        };
        let again = entry.phase == Phase::Running { again: true };
        entry.phase = Phase::Idle;
        if !std::mem::replace(&mut entry.tried, true) {
            self.untried -= 1;
        }
        if std::mem::take(&mut entry.hung)
            && let Some(at) = self.hung.iter().position(|hung| *hung == entry.address)
        {
            self.hung.swap_remove(at);
        }
        let turn = match result {
            Ok(done) => {
                entry.failures = 0;
                self.settle(id, done)
            }
            Err(error) => {
                entry.failures = entry.failures.saturating_add(1);
                if !self.stopping {
                    let at = retry(entry.failures);
                    entry.retry_at = Some(at);
                    self.retries.insert((at, id));
                }
                entry.fails(error, wall)
            }
        };
        if again {
            self.mark(id);
        }
        turn
    }

    fn settle(&mut self, id: Id, done: Done) -> Turn {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Turn::Same;
        };
        let turn = match entry.trouble.take() {
            Some(_) => Turn::Ended,
            None => Turn::Same,
        };
        if let Some(at) = entry.recheck_at.take() {
            self.rechecks.remove(&(at, id));
        }
        if let Some(published) = done.published {
            entry.published = published;
            entry.settled = true;
        }
        if done.withdrawn {
            (entry.booked, entry.published) = (None, None);
            // Unless the configuration has it again by now.
            if matches!(entry.goal, Goal::Withdraw) {
                self.by_address.remove(&entry.address);
                self.entries.remove(&id);
            }
        } else if let Some(at) = done.recheck_at {
            entry.recheck_at = Some(at);
            self.rechecks.insert((at, id));
        }
        turn
    }

    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.retries.clear();
        self.rechecks.clear();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn all_tried(&self) -> bool {
        self.untried == 0
    }

    /// Nothing is marked and nothing runs that does not hang.
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.is_empty() && self.ready_rows.is_empty() && self.running == self.hung.len()
    }

    pub(super) fn reports(&self) -> Vec<OutputReport> {
        let known = |entry: &&Entry| !matches!(entry.goal, Goal::Known);
        let entries = self.entries.values().filter(known);
        let mut reports: Vec<_> = entries.map(Entry::report).collect();
        reports.sort_by(|a, b| (&a.path, &a.grant).cmp(&(&b.path, &b.grant)));
        reports
    }
}
