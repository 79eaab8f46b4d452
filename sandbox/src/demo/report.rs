//! The summary at the end, and whether all went well.

use super::consumer::Tally;
use sandbox::Stats;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether all went well.
    pub(super) ok: bool,
    problems: Vec<String>,
    seconds: f64,
    lifetime_seconds: f64,
    grants: Vec<GrantReport>,
    refreshes: u64,
    consumer_requests: u64,
    http_200: u64,
    http_401: u64,
    consumer_errors: u64,
    /// Refresh tokens presented that were void.
    reuses: u64,
    faults: BTreeMap<String, u64>,
    daemon_exit_code: Option<i32>,
}

#[derive(Debug, Serialize)]
struct GrantReport {
    grant: String,
    generation: u64,
    refreshes: u64,
    consumer_requests: u64,
    http_200: u64,
    http_401: u64,
    consumer_errors: u64,
}

impl Report {
    /// Adds up what consumers and server counted. `died`: the daemon ended by itself.
    pub(super) fn new(
        elapsed: Duration,
        lifetime: Duration,
        tallies: &[Tally],
        stats: &Stats,
        died: bool,
        exit: ExitStatus,
    ) -> Report {
        let grants: Vec<_> = tallies.iter().map(|t| GrantReport::new(t, stats)).collect();
        let sum = |of: fn(&GrantReport) -> u64| grants.iter().map(of).sum();
        let mut report = Report {
            ok: false,
            problems: Vec::new(),
            seconds: elapsed.as_secs_f64(),
            lifetime_seconds: lifetime.as_secs_f64(),
            refreshes: sum(|g| g.refreshes),
            consumer_requests: sum(|g| g.consumer_requests),
            http_200: sum(|g| g.http_200),
            http_401: sum(|g| g.http_401),
            consumer_errors: sum(|g| g.consumer_errors),
            reuses: stats.grants.values().map(|g| g.reuses).sum(),
            faults: stats.faults.clone(),
            daemon_exit_code: exit.code(),
            grants,
        };
        report.judge(elapsed > lifetime * 2, died, exit);
        report
    }

    fn judge(&mut self, long_enough: bool, died: bool, exit: ExitStatus) {
        let mut problem = |is: bool, text: String| {
            if is {
                self.problems.push(text);
            }
        };
        let idle = self.grants.iter().filter(|g| g.refreshes == 0);
        let idle: Vec<&str> = idle.map(|g| g.grant.as_str()).collect();
        let (unauthorized, reuses) = (self.http_401, self.reuses);
        let errors = self.consumer_errors;
        problem(
            unauthorized > 0,
            format!("consumers met 401 {unauthorized} times"),
        );
        problem(
            errors > 0,
            format!("consumers met no token or no answer {errors} times"),
        );
        problem(
            long_enough && !idle.is_empty(),
            format!("never refreshed: {}", idle.join(", ")),
        );
        problem(
            reuses > 0,
            format!("void refresh tokens were presented {reuses} times"),
        );
        problem(died, "the daemon ended by itself".to_owned());
        problem(!exit.success(), format!("the daemon's end: {exit}"));
        self.ok = self.problems.is_empty();
    }
}

impl GrantReport {
    fn new(tally: &Tally, stats: &Stats) -> Self {
        let issued = stats.grants.get(&tally.grant).map_or(0, |g| g.issued);
        GrantReport {
            grant: tally.grant.clone(),
            generation: tally.generation,
            // The first one came with the grant.
            refreshes: issued.saturating_sub(1),
            consumer_requests: tally.requests,
            http_200: tally.ok,
            http_401: tally.unauthorized,
            consumer_errors: tally.errors,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nAfter {:.0} s:", self.seconds)?;
        for g in &self.grants {
            let (name, generation, refreshes) = (&g.grant, g.generation, g.refreshes);
            writeln!(
                f,
                "  {name}: generation {generation}, {refreshes} refreshes"
            )?;
        }
        let (requests, refused) = (self.consumer_requests, self.http_401);
        writeln!(f, "  refreshes          {}", self.refreshes)?;
        writeln!(f, "  consumer requests  {requests}")?;
        writeln!(f, "  http_401           {refused}")?;
        writeln!(f, "  consumer errors    {}", self.consumer_errors)?;
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(|(kind, n)| format!("{n} {kind}"));
            let faults: Vec<_> = faults.collect();
            writeln!(f, "  faults             {}", faults.join(", "))?;
        }
        match self.daemon_exit_code {
            Some(code) => writeln!(f, "  daemon's exit code {code}")?,
            None => writeln!(f, "  daemon             ended by a signal")?,
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbox::GrantStats;
    use std::os::unix::process::ExitStatusExt as _;

    const LIFE: Duration = Duration::from_secs(10);

    fn report(issued: u64, unauthorized: u64, elapsed: Duration, exit_code: i32) -> Report {
        let tally = Tally {
            grant: "a".to_owned(),
            requests: 10,
            ok: 10 - unauthorized,
            unauthorized,
            generation: issued,
            ..Tally::default()
        };
        let grant = GrantStats {
            issued,
            ..GrantStats::default()
        };
        let mut stats = Stats::default();
        stats.grants.insert("a".to_owned(), grant);
        let exit = ExitStatus::from_raw(exit_code << 8);
        Report::new(elapsed, LIFE, &[tally], &stats, false, exit)
    }

    #[test]
    fn all_went_well_only_if_nobody_noticed_and_something_was_refreshed() {
        assert!(report(4, 0, LIFE * 3, 0).ok);
        assert!(report(1, 0, LIFE, 0).ok, "there was no time");
        assert!(!report(1, 0, LIFE * 3, 0).ok);
        assert!(!report(4, 1, LIFE * 3, 0).ok);
        assert!(!report(4, 0, LIFE * 3, 70).ok);
    }

    #[test]
    fn json_has_the_numbers_people_look_for() {
        let json = serde_json::to_value(report(4, 1, LIFE * 3, 0)).unwrap();
        assert_eq!(json["refreshes"], 3);
        assert_eq!(json["consumer_requests"], 10);
        assert_eq!(json["http_401"], 1);
        assert_eq!(json["grants"][0]["generation"], 4);
        assert_eq!(json["daemon_exit_code"], 0);
    }
}
