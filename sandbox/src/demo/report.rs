//! The summary at the end, and whether all went well.

use super::consumer::Tally;
use super::faults::kinds;
use super::view::{Faults, GrantView};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// After so long every kind of fault has been met, three lives being over too.
const ALL_FAULTS: Duration = Duration::from_secs(60);

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all went well.
    pub(super) ok: bool,
    problems: Vec<String>,
    seconds: f64,
    lifetime_seconds: f64,
    /// The grants that can be kept, by provider.
    providers: BTreeMap<String, Sum>,
    /// Those that cannot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doomed: Vec<GrantSum>,
    /// Of the grants that can be kept.
    #[serde(flatten)]
    total: Count,
    /// Kinds of fault that were met by any grant.
    fault_kinds: Vec<String>,
    daemon_exit_code: Option<i32>,
}

/// A provider's grants.
#[derive(Debug, Default, Serialize)]
struct Sum {
    lifetime: String,
    grants: Vec<GrantSum>,
    #[serde(flatten)]
    total: Count,
}

#[derive(Debug, Serialize)]
struct GrantSum {
    grant: String,
    provider: String,
    /// What the daemon said last.
    state: String,
    last_outcome: Option<String>,
    says: Option<String>,
    #[serde(skip)]
    refreshes_at_all: bool,
    #[serde(flatten)]
    count: Count,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Count {
    generations: u64,
    refreshes: u64,
    faults: Faults,
    #[serde(flatten)]
    tally: Tally,
    /// Refresh tokens presented that were void.
    reuses: u64,
}

/// How the demo went, apart from its grants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) elapsed: Duration,
    pub(super) lifetime: Duration,
    pub(super) faults: bool,
    /// The daemon ended by itself.
    pub(super) died: bool,
    pub(super) exit: ExitStatus,
}

impl Report {
    /// Adds up what daemon, consumers and servers said.
    pub(super) fn new(course: Course, grants: &[GrantView<'_>]) -> Report {
        let mut report = Report {
            ok: false,
            problems: Vec::new(),
            seconds: course.elapsed.as_secs_f64(),
            lifetime_seconds: course.lifetime.as_secs_f64(),
            providers: BTreeMap::new(),
            doomed: Vec::new(),
            total: Count::default(),
            fault_kinds: Vec::new(),
            daemon_exit_code: course.exit.code(),
        };
        for view in grants {
            report.add(view);
        }
        let of_doomed = report.doomed.iter().map(|sum| &sum.count.faults);
        let met = of_doomed.chain([&report.total.faults]).flatten();
        report.fault_kinds = met.map(|(kind, _)| kind.clone()).collect();
        report.fault_kinds.sort_unstable();
        report.fault_kinds.dedup();
        report.problems = report.problems(course);
        report.ok = report.problems.is_empty();
        report
    }

    fn add(&mut self, view: &GrantView<'_>) {
        let sum = GrantSum::new(view);
        if view.provider.doomed {
            self.doomed.push(sum);
            return;
        }
        self.total.add(&sum.count);
        let name = view.provider.kind.name().to_owned();
        let provider = self.providers.entry(name).or_default();
        provider.lifetime = view.provider.scale();
        provider.total.add(&sum.count);
        provider.grants.push(sum);
    }

    fn problems(&self, course: Course) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |is: bool, text: String| {
            if is {
                problems.push(text);
            }
        };
        let Count { tally, reuses, .. } = &self.total;
        let (refused, errors) = (tally.http_401, tally.consumer_errors);
        problem(refused > 0, format!("consumers met 401 {refused} times"));
        problem(
            errors > 0,
            format!("consumers met no token or no answer {errors} times"),
        );
        problem(
            *reuses > 0,
            format!("void refresh tokens were presented {reuses} times"),
        );
        let long_enough = course.elapsed > course.lifetime * 2;
        let kept = || self.providers.values().flat_map(|sum| &sum.grants);
        let idle = kept().filter(|sum| sum.refreshes_at_all && sum.count.refreshes == 0);
        let idle = names(idle);
        problem(
            long_enough && !idle.is_empty(),
            format!("never refreshed: {idle}"),
        );
        let unused = names(kept().filter(|sum| sum.count.tally.http_200 == 0));
        problem(
            long_enough && !unused.is_empty(),
            format!("never used: {unused}"),
        );
        let unread = names(kept().filter(|sum| sum.count.tally.from_database == 0));
        problem(
            long_enough && !unread.is_empty(),
            format!("never read from the database: {unread}"),
        );
        let untold = names(self.doomed.iter().filter(|sum| sum.state != "refused"));
        problem(
            long_enough && !untold.is_empty(),
            format!("the daemon does not say of its end: {untold}"),
        );
        let missing = self.missing_kinds().join(", ");
        let all = course.faults && course.elapsed >= ALL_FAULTS.max(course.lifetime * 3);
        problem(
            all && !missing.is_empty(),
            format!("faults that were never met: {missing}"),
        );
        problem(course.died, "the daemon ended by itself".to_owned());
        let exit = course.exit;
        problem(!exit.success(), format!("the daemon's end: {exit}"));
        problems
    }

    fn missing_kinds(&self) -> Vec<&'static str> {
        let met = |kind: &&str| self.fault_kinds.iter().any(|met| met == kind);
        kinds().into_iter().filter(|kind| !met(kind)).collect()
    }
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.generations += other.generations;
        self.refreshes += other.refreshes;
        self.tally = self.tally.plus(other.tally);
        self.reuses += other.reuses;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
    }
}

impl GrantSum {
    fn new(view: &GrantView<'_>) -> Self {
        let last = view.report.and_then(|report| report.last_outcome.as_ref());
        let generations = view.generation();
        GrantSum {
            grant: view.grant.name.clone(),
            provider: view.provider.kind.name().to_owned(),
            state: view.state().to_owned(),
            last_outcome: last.map(|last| last.kind.clone()),
            says: last.map(|l| l.text.clone()).filter(|text| !text.is_empty()),
            refreshes_at_all: view.provider.refreshes(),
            count: Count {
                generations,
                // The first one came with the grant.
                refreshes: generations.saturating_sub(1),
                faults: view.faults.clone(),
                tally: view.tally,
                reuses: view.reuses,
            },
        }
    }
}

fn names<'a>(sums: impl Iterator<Item = &'a GrantSum>) -> String {
    let names: Vec<&str> = sums.map(|sum| sum.grant.as_str()).collect();
    names.join(", ")
}

fn listed(faults: &Faults) -> String {
    if faults.is_empty() {
        return "no fault yet".to_owned();
    }
    let faults = faults.iter().map(|(kind, n)| format!("{n} {kind}"));
    faults.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAfter {:.0} s:", self.seconds)?;
        for (name, Sum { total, .. }) in &self.providers {
            let Count { tally, .. } = total;
            writeln!(
                f,
                "  {name:<9} {} refreshes, {} faults, {} requests, {} x 401",
                total.refreshes,
                total.faults.values().sum::<u64>(),
                tally.consumer_requests,
                tally.http_401,
            )?;
        }
        let Count { tally, .. } = &self.total;
        writeln!(f, "  refreshes          {}", self.total.refreshes)?;
        writeln!(f, "  consumer requests  {}", tally.consumer_requests)?;
        writeln!(f, "  http_401           {}", tally.http_401)?;
        writeln!(f, "  consumer errors    {}", tally.consumer_errors)?;
        if !self.total.faults.is_empty() {
            writeln!(f, "  faults             {}", listed(&self.total.faults))?;
        }
        match self.daemon_exit_code {
            Some(code) => writeln!(f, "  daemon's exit code {code}")?,
            None => writeln!(f, "  daemon             ended by a signal")?,
        }
        if !self.doomed.is_empty() {
            writeln!(
                f,
                "Not to be kept by anyone, and what the daemon says of them:"
            )?;
        }
        for sum in &self.doomed {
            let (faults, says) = (listed(&sum.count.faults), sum.says.as_deref());
            let says = says.unwrap_or("nothing");
            let (grant, state, refused) = (&sum.grant, &sum.state, sum.count.tally.http_401);
            writeln!(f, "  {grant} ({faults}): {state}, {refused} x 401: {says}")?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
