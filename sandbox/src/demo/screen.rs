//! What people see meanwhile: a table that is redrawn on a terminal, plain
//! lines elsewhere.

use super::consumer::Tally;
use super::faults::survivable_in_words;
use super::place::Place;
use super::providers::{Provider, human};
use super::tokens::uri;
use super::view::GrantView;
use crate::daemon::SUBCOMMAND;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

/// A terminal that is no wider still has a line for each row.
const WIDTH: usize = 80;
/// Plain lines come this often.
const EVERY: Duration = Duration::from_secs(5);

/// Where progress goes. A reader that has gone away does not end the demo.
pub(super) struct Screen {
    out: Box<dyn Write>,
    live: bool,
    drawn_lines: usize,
    next_lines: Duration,
}

impl Screen {
    /// Standard output, or standard error where the output is for a program.
    pub(super) fn new(json: bool) -> Screen {
        let (out, live): (Box<dyn Write>, bool) = if json {
            (Box::new(io::stderr()), false)
        } else {
            (Box::new(io::stdout()), io::stdout().is_terminal())
        };
        Screen {
            out,
            live,
            drawn_lines: 0,
            next_lines: Duration::ZERO,
        }
    }

    /// What is being shown, where everything lies, and how it ends.
    pub(super) fn header(
        &mut self,
        place: &Place,
        providers: &[Provider],
        faults: bool,
        end_after: Option<Duration>,
    ) {
        let mut text = "refreshd keeps the grants of five providers alive".to_owned();
        text += match faults {
            true => "; every refresh meets a fault first\n\n",
            false => "\n\n",
        };
        for provider in providers {
            text += &provider_line(provider, faults);
        }
        let root = place.root.display();
        text += &format!(
            "\n  directory   {root}\n  config      {}\n  tokens      {}\n  database    {}\n",
            place.config().display(),
            place.tokens().display(),
            place.database().display(),
        );
        let (socket, log) = (place.socket(), place.daemon_log());
        text += &format!(
            "  socket      {}\n  daemon log  {}\n\nLook for yourself:\n\n{}\n",
            socket.display(),
            log.display(),
            commands(place)
        );
        text += &match end_after {
            Some(end) => format!("Ends after {}, or with Ctrl-C.\n\n", human(end)),
            None => "Ctrl-C ends it with a summary.\n\n".to_owned(),
        };
        self.write(&text);
    }

    /// How things stand.
    pub(super) fn show(&mut self, elapsed: Duration, grants: &[GrantView<'_>], last: bool) {
        if self.live {
            // The last table may be taller than the window: it is not drawn over.
            let size = window_size().filter(|_| !last);
            let text = size.map_or_else(|| table(grants), |size| fitted(&table(grants), size));
            let up = match std::mem::replace(&mut self.drawn_lines, text.lines().count()) {
                0 => String::new(),
                // The terminal's echo of Ctrl-C may have moved the cursor to the right.
                lines => format!("\r\x1b[{lines}A\x1b[J"),
            };
            self.write(&(up + &text));
        } else if elapsed >= self.next_lines || last {
            self.next_lines = elapsed + EVERY;
            let seconds = elapsed.as_secs();
            let text: String = grants.iter().map(|grant| line(seconds, grant)).collect();
            self.write(&text);
        }
    }

    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

/// Rows and columns of the terminal at standard output.
fn window_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col));
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// What can be drawn over: a line that scrolled away or wrapped could not.
fn fitted(text: &str, (rows, columns): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor stands on a line of its own, below the last.
    let room = rows.saturating_sub(1).max(2);
    let (shown, hidden) = match lines.len() <= room {
        true => (lines.len(), 0),
        false => (room - 1, lines.len() - (room - 1)),
    };
    let mut fitted = String::new();
    for line in &lines[..shown] {
        fitted.extend(line.chars().take(columns));
        fitted.push('\n');
    }
    if hidden > 0 {
        let more = format!("{hidden} more lines: make the window taller");
        fitted.extend(more.chars().take(columns));
        fitted.push('\n');
    }
    fitted
}

fn provider_line(provider: &Provider, faults: bool) -> String {
    let how = match (provider.doomed, faults && provider.refreshes()) {
        (true, _) => "what no daemon survives hits grants of its own here",
        (false, true) => survivable_in_words(provider.kind),
        (false, false) => "",
    };
    let (client, scale) = (provider.client, provider.scale());
    let url = provider.servers[0].url("");
    let line = format!("  {client:<9} {url:<23} {scale:<11}{how}");
    line.trim_end().to_owned() + "\n"
}

/// Commands to copy.
fn commands(place: &Place) -> String {
    let mut text = String::new();
    for file in place.files.values().take(1) {
        text += &format!("  cat {}\n", file.path.display());
    }
    let query = "SELECT name, generation, access_token FROM tokens";
    let database = uri(&place.database());
    text += &format!("  sqlite3 -cmd '.timeout 5000' '{database}' '{query}'\n");
    let config = place.config();
    text + &format!("  {} status --config {}\n", refreshd(), config.display())
}

/// How the daemon's commands are run from here: by this very binary, so that
/// they are of the daemon's own version.
fn refreshd() -> String {
    let here = std::env::current_exe().unwrap_or_default();
    format!("{} {SUBCOMMAND}", shown(&here))
}

/// A path as it is shortest from the working directory.
fn shown(path: &Path) -> String {
    let below = std::env::current_dir().ok();
    let below = below.and_then(|dir| path.strip_prefix(dir).ok().map(Path::to_owned));
    below.as_deref().unwrap_or(path).display().to_string()
}

fn line(seconds: u64, view: &GrantView<'_>) -> String {
    if view.provider.doomed {
        let Tally {
            consumer_requests,
            http_401,
            ..
        } = view.tally;
        let verdict = view.verdict();
        return format!(
            "{seconds:>4}s {verdict}, {consumer_requests} requests, {http_401} x 401\n"
        );
    }
    format!(
        "{seconds:>4}s {} ({}): {}, generation {}, expires {}, next refresh {}, \
         {} faults survived, {} requests, {} x 401, {} errors\n",
        view.grant.name,
        view.provider.kind.name(),
        view.state(),
        view.generation(),
        expires(view),
        next(view),
        view.survived(),
        view.tally.consumer_requests,
        view.tally.http_401,
        view.tally.consumer_errors,
    )
}

fn table(grants: &[GrantView<'_>]) -> String {
    let row = |cells: [&str; 10]| {
        let [grant, provider, state, rest @ ..] = cells;
        let [
            generation,
            lifetime,
            expires,
            next,
            faults,
            requests,
            unauthorized,
        ] = rest;
        format!(
            "{grant:<15}{provider:<9}{state:<9}{generation:>4}{lifetime:>9}{expires:>8}\
             {next:>6}{faults:>7}{requests:>9}{unauthorized:>4}\n"
        )
    };
    let mut text = row([
        "grant", "provider", "state", "gen", "lifetime", "expires", "next", "faults", "requests",
        "401",
    ]);
    for view in grants {
        text += &row([
            &view.grant.name,
            view.provider.kind.name(),
            view.state(),
            &view.generation().to_string(),
            &human(view.provider.lifetime),
            &expires(view),
            &next(view),
            &view.survived().to_string(),
            &view.tally.consumer_requests.to_string(),
            &view.tally.http_401.to_string(),
        ]);
    }
    let doomed = grants.iter().filter(|view| view.provider.doomed);
    let doomed = doomed.filter(|view| view.state() != "fresh");
    for verdict in doomed.map(GrantView::verdict) {
        text.extend(verdict.chars().take(WIDTH));
        text.push('\n');
    }
    text
}

fn expires(view: &GrantView<'_>) -> String {
    match view.report.and_then(|report| report.expires_in) {
        None => "-".to_owned(),
        Some(secs) if secs < 0 => "over".to_owned(),
        Some(secs) => short(secs),
    }
}

fn next(view: &GrantView<'_>) -> String {
    match view.report {
        None => "-".to_owned(),
        Some(report) if report.refreshing => "now".to_owned(),
        Some(report) => report.next_refresh_in.map_or("never".to_owned(), short),
    }
}

/// The larger unit alone where it says enough.
fn short(secs: i64) -> String {
    const YEAR: u64 = 31_557_600;
    match secs.unsigned_abs() {
        secs if secs >= YEAR => format!("{}y", (secs + YEAR / 2) / YEAR),
        secs => human(Duration::from_secs(secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::providers::{Wanted, start};
    use super::super::view::{Reports, views};
    use super::*;
    use refreshd::report::GrantReport;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_drawn_over_fits_the_window() {
        let text = "one\ntwo\nthree\nfour\n";
        assert_eq!(fitted(text, (5, 80)), text);
        assert_eq!(
            fitted(text, (4, 80)),
            "one\ntwo\n2 more lines: make the window taller\n"
        );
        assert_eq!(fitted(text, (5, 3)), "one\ntwo\nthr\nfou\n");
        assert_eq!(fitted(text, (1, 3)).lines().count(), 2);
    }

    #[tokio::test]
    async fn the_table_fits_a_terminal_and_shows_twenty_years() {
        let wanted = Wanted {
            lifetime: Duration::from_secs(20),
            grants: 1,
            faults: true,
        };
        let providers = start(wanted).await.unwrap();
        let vcita = GrantReport {
            state: "fresh".to_owned(),
            generation: 1,
            expires_in: Some(631_151_990),
            ..GrantReport::pending("vcita", "vcita", None)
        };
        let retently = GrantReport {
            state: "in-doubt".to_owned(),
            generation: 1234,
            expires_in: Some(12),
            next_refresh_in: Some(5),
            ..GrantReport::pending("retently", "retently", None)
        };
        let reports = [vcita, retently].map(|r| (r.grant.clone(), r));
        let reports = Reports::from(reports);
        let tally = Tally {
            consumer_requests: 1_234_567,
            ..Tally::default()
        };
        let tallies = BTreeMap::from([("retently".to_owned(), tally)]);
        let views = views(&providers, &reports, &tallies);
        let table = table(&views);
        assert!(table.lines().all(|line| line.len() <= WIDTH), "{table}");
        let row = |name| -> Vec<&str> {
            let row = table.lines().find(|line| line.starts_with(name)).unwrap();
            row.split_whitespace().collect()
        };
        let expected = [
            "vcita", "vcita", "fresh", "1", "20y", "20y", "never", "0", "0", "0",
        ];
        assert_eq!(row("vcita"), expected);
        let expected = ["in-doubt", "1234", "20s", "12s", "5s", "0", "1234567", "0"];
        assert_eq!(row("retently")[2..], expected);
    }
}
