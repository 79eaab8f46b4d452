//! The table of `refreshd status`, for people.

use super::{GrantReport, OutputState};
use refreshd_core::duration::human;

/// Reports as a table that fits into 80 columns, the most urgent first, problems
/// below it.
#[must_use]
pub fn table(reports: &[GrantReport]) -> String {
    let mut reports: Vec<&GrantReport> = reports.iter().collect();
    reports.sort_by(|a, b| (a.urgency, &a.grant).cmp(&(b.urgency, &b.grant)));
    let mut text = format!(
        "{:<20} {:<10} {:<8} {:>5} {:>8} {:>8} {:>14}\n",
        "GRANT", "PROVIDER", "STATE", "GEN", "EXPIRES", "NEXT", "LAST"
    );
    for report in &reports {
        let last = report
            .last_outcome
            .as_ref()
            .map_or("-", |last| last.kind.as_str());
        text.push_str(&format!(
            "{:<20} {:<10} {:<8} {:>5} {:>8} {:>8} {:>14}\n",
            cut(&report.grant, 20),
            cut(&report.provider, 10),
            cut(&report.state, 8),
            report.generation,
            seconds(report.expires_in),
            next(report),
            last,
        ));
    }
    for line in reports.iter().flat_map(|report| problems(report)) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Where grants are published, a line for each output.
#[must_use]
pub fn outputs(reports: &[GrantReport]) -> String {
    let line = |grant: &str, output: &OutputState| {
        let row = if output.kind == "row" { " (row)" } else { "" };
        let generation = match output.generation {
            Some(generation) => format!("generation {generation}"),
            None => "nothing".to_owned(),
        };
        let how = match (&output.problem, output.up_to_date, output.disturbed) {
            (Some(problem), _, _) => problem,
            (None, true, false) => "up to date",
            (None, true, true) => "put right after somebody else had changed or removed it",
            (None, false, _) => "to be written",
        };
        let path = &output.path;
        format!("{grant}: {path}{row}: {generation}, {how}\n")
    };
    let lines = reports.iter().flat_map(|report| {
        let outputs = report.outputs.iter();
        outputs.map(|output| line(&report.grant, output))
    });
    lines.collect()
}

/// What needs a person's eye, a line each.
fn problems(report: &GrantReport) -> Vec<String> {
    let mut lines = Vec::new();
    let calm = matches!(report.state.as_str(), "fresh" | "retrying");
    // What a person has to do says why as well.
    let asks = report.needs.is_some() && report.waits_for.as_deref() == Some("person");
    if !(calm || asks) {
        lines.push(format!("{}: {}", report.grant, report.why));
    }
    if let Some(last) = report
        .last_outcome
        .as_ref()
        .filter(|last| !last.text.is_empty())
    {
        lines.push(format!(
            "{}: {} at {}: {}",
            report.grant, last.kind, last.at, last.text
        ));
    }
    if let Some(needs) = &report.needs {
        lines.push(format!("{}: {needs}", report.grant));
    }
    lines.extend(
        report
            .output_errors
            .iter()
            .map(|error| format!("{}: {error}", report.grant)),
    );
    lines
}

/// When something is sent next, or what that waits for.
fn next(report: &GrantReport) -> String {
    match &report.waits_for {
        _ if report.refreshing => "now".to_owned(),
        Some(word) if report.next_refresh_in.is_none() => word.clone(),
        _ => seconds(report.next_refresh_in),
    }
}

fn seconds(secs: Option<i64>) -> String {
    match secs {
        None => "-".to_owned(),
        Some(secs) if secs < 0 => "over".to_owned(),
        Some(secs) => human(std::time::Duration::from_secs(secs.unsigned_abs())).replace(' ', ""),
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_to_do_is_said_once() {
        let pending = GrantReport::pending("one", "c", None);
        let text = table(&[pending]);
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("one: "))
            .collect();
        assert_eq!(
            told,
            [
                "one: it was never authorized: do so with `refreshd authorize one`, or bring a token set with `refreshd import one`"
            ]
        );
    }
}
