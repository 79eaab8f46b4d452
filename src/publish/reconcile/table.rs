//! The reconciler's bookkeeping: which outputs there are, which are marked,
//! which run, which wait. It does nothing itself.

use super::entry::{Astray, Done, Entry, Goal, Phase, Task, Turn, Turns};
use super::{Address, OutputReport, Record, Sink, Target};
use crate::publish::output::Stands;
use refreshd_core::grant::GrantId;
use refreshd_core::time::WallTime;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
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
/// So many outputs of one directory that others write to are told apart.
const MOST_TOLD: usize = 5;

/// An output and its grant.
type Told = (Address, Arc<str>);

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
    /// Outputs with an open incident of others that write there, by place.
    told: HashMap<(bool, PathBuf), Vec<Told>>,
    running: usize,
    untried: usize,
    /// Where outputs have their metadata.
    metadata: HashSet<PathBuf>,
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
        self.metadata = targets.iter().filter_map(Target::meta_path).collect();
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

    /// The files that are as they were left, and what was left there. Nothing is looked
    /// at that is being written.
    pub(super) fn at_rest(&self) -> Vec<(Id, Address, Stands)> {
        let resting = |(id, entry): (&Id, &Entry)| {
            let calm = entry.phase == Phase::Idle && entry.astray.is_none();
            let wanted = matches!(entry.goal, Goal::Publish(Sink::File(_)));
            let stands = entry.stands.clone().filter(|_| calm && wanted)?;
            Some((*id, entry.address.clone(), stands))
        };
        self.entries.iter().filter_map(resting).collect()
    }

    /// Somebody was at an output, unless it has been written since it was looked at.
    pub(super) fn strays(&mut self, id: Id, left: &Stands, why: String, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let same = entry.phase == Phase::Idle && entry.stands.as_ref() == Some(left);
        if !same || entry.astray.is_some() {
            return;
        }
        entry.settled = false;
        let pause = entry.tending.disturbed(now);
        if pause.is_zero() {
            let plan = "it is written again".to_owned();
            entry.astray = Some(Astray { why, plan });
            self.mark(id);
            return;
        }
        let (times, again) = (entry.tending.times(), refreshd_core::duration::human(pause));
        let plan = format!(
            "others did so {times} times of late, so it is written again in {again}, or with the next token"
        );
        entry.astray = Some(Astray { why, plan });
        let at = now + pause;
        if let Some(earlier) = entry.retry_at.replace(at) {
            self.retries.remove(&(earlier, id));
        }
        self.retries.insert((at, id));
    }

    /// Those that were told of and that nobody else has touched for a while.
    pub(super) fn left_alone(&mut self, now: Instant) -> Vec<Told> {
        let entries = self.entries.values_mut();
        let calm = entries.filter(|entry| entry.astray.is_none() && entry.trouble.is_none());
        let ended = calm.filter_map(|entry| {
            let ends = entry.tending.ends(now);
            ends.then(|| entry.address.clone())
        });
        let ended: HashSet<Address> = ended.collect();
        let mut over = Vec::new();
        for told in self.told.values_mut() {
            let (gone, left) = told.drain(..).partition(|(at, _)| ended.contains(at));
            (*told, over) = (left, [over, gone].concat());
        }
        self.told.retain(|_, told| !told.is_empty());
        over
    }

    /// Whether what somebody else did to an output is to be told as an incident of its
    /// own: of many in one place a few are enough, and of a database one.
    pub(super) fn tells(&mut self, task: &Task) -> bool {
        let (is_row, place) = task.address.neighbourhood();
        let told = self.told.entry((is_row, place.to_owned())).or_default();
        if told.iter().any(|(address, _)| *address == task.address) {
            return true;
        }
        let room = told.len() < if is_row { 1 } else { MOST_TOLD };
        if room {
            told.push((task.address.clone(), task.grant.clone()));
        }
        room
    }

    /// Marks the rows of a database, with what somebody else did to it.
    pub(super) fn mark_database(&mut self, path: &Path, why: Option<&str>, now: Instant) {
        let entries = self.entries.iter();
        let rows = entries.filter(|(_, entry)| entry.address.neighbourhood() == (true, path));
        let mut ids: Vec<Id> = rows.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in ids {
            if let (Some(why), Some(entry)) = (why, self.entries.get_mut(&id))
                && matches!(entry.goal, Goal::Publish(_))
                && entry.phase == Phase::Idle
            {
                // Rows are mended with the whole database, so there is no pause for one.
                let _none = entry.tending.disturbed(now);
                entry.settled = false;
                let (why, plan) = (why.to_owned(), "the row is written again".to_owned());
                entry.astray = Some(Astray { why, plan });
            }
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

    /// Whether an output has its metadata there.
    pub(super) fn is_metadata(&self, path: &Path) -> bool {
        self.metadata.contains(path)
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
    ) -> Turns {
        self.running -= 1;
        let Some(entry) = self.entries.get_mut(&id) else {
            return Turns::default();
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
        let mut mended = None;
        let trouble = match result {
            Ok(mut done) => {
                mended = entry.is_mended(&done);
                let complaint = done.complaint.take();
                let turn = self.settle(id, done, complaint.is_none());
                match complaint {
                    Some(complaint) => self.fails(id, complaint, wall, retry),
                    None => turn,
                }
            }
            Err(error) => self.fails(id, error, wall, retry),
        };
        if again {
            self.mark(id);
        }
        Turns { trouble, mended }
    }

    fn fails(
        &mut self,
        id: Id,
        error: String,
        wall: WallTime,
        retry: impl FnOnce(u32) -> Instant,
    ) -> Turn {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Turn::Same;
        };
        entry.failures = entry.failures.saturating_add(1);
        if !self.stopping {
            let at = retry(entry.failures);
            entry.retry_at = Some(at);
            self.retries.insert((at, id));
        }
        entry.fails(error, wall)
    }

    fn settle(&mut self, id: Id, done: Done, sound: bool) -> Turn {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Turn::Same;
        };
        let turn = match sound.then(|| entry.trouble.take()).flatten() {
            Some(_) if matches!(entry.goal, Goal::Withdraw) => Turn::Gone,
            Some(_) => Turn::Ended,
            None if done.withdrawn && entry.tending.times() > 0 => Turn::Gone,
            None => Turn::Same,
        };
        if sound {
            entry.failures = 0;
        }
        entry.astray = None;
        entry.stands = done.stands;
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
