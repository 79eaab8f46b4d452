//! What people see meanwhile: a table that is redrawn on a terminal, plain
//! lines elsewhere.

use super::consumer::Consumer;
use super::place::Place;
use chrono::DateTime;
use refreshd_core::duration;
use sandbox::Options;
use sandbox::server::Server;
use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where progress goes. A reader that has gone away does not end the demo.
pub(super) struct Screen {
    out: Box<dyn Write>,
    live: bool,
    drawn_lines: usize,
}

/// A row of the table.
struct Row {
    grant: String,
    generation: String,
    expires: String,
    requests: u64,
    unauthorized: u64,
    errors: u64,
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
        }
    }

    /// What is being shown, and where everything lies.
    pub(super) fn header(
        &mut self,
        place: &Place,
        server: &Server,
        options: &Options,
        faults: bool,
    ) {
        let grants = match place.outputs.len() {
            1 => "one grant".to_owned(),
            count => format!("{count} grants"),
        };
        let lifetime = duration::human(options.access_lifetime);
        let note = if faults {
            ", and requests fail now and then"
        } else {
            ""
        };
        let root = place.root.display();
        let _ = writeln!(
            self.out,
            "refreshd keeps {grants} alive; access tokens live {lifetime}, refresh tokens rotate{note}\n\
             \n  directory   {root}\n  config      {}\n  tokens      {root}/tokens\n  socket      {}\
             \n  daemon log  {}\n  server      {}\n",
            place.config().display(),
            place.socket().display(),
            place.daemon_log().display(),
            server.url(""),
        );
        let _ = self.out.flush();
    }

    /// How things stand.
    pub(super) fn show(&mut self, elapsed: Duration, consumers: &[Consumer]) {
        let rows: Vec<Row> = consumers.iter().map(Row::of).collect();
        let text = if self.live {
            let up = match std::mem::replace(&mut self.drawn_lines, rows.len() + 1) {
                0 => String::new(),
                lines => format!("\x1b[{lines}A\x1b[J"),
            };
            up + &table(&rows)
        } else {
            let seconds = elapsed.as_secs();
            rows.iter().map(|row| row.line(seconds)).collect()
        };
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

impl Row {
    fn of(consumer: &Consumer) -> Row {
        let meta = consumer.meta();
        let tally = consumer.tally();
        let expires = match &meta {
            None => "no token yet".to_owned(),
            Some(meta) => meta
                .expires_at
                .as_deref()
                .map_or("?".to_owned(), expires_in),
        };
        let state = meta.as_ref().and_then(|meta| meta.state.as_ref());
        let state = state.and_then(|state| state.as_str());
        Row {
            grant: tally.grant,
            generation: meta
                .as_ref()
                .map_or("-".to_owned(), |meta| meta.generation.to_string()),
            expires: match state {
                None | Some("fresh") => expires,
                Some(state) => format!("{expires}, {state}"),
            },
            requests: tally.requests,
            unauthorized: tally.unauthorized,
            errors: tally.errors,
        }
    }

    fn line(&self, seconds: u64) -> String {
        format!(
            "{seconds:>4}s {} generation {}, expires {}, {} requests, {} x 401, {} errors\n",
            self.grant,
            self.generation,
            self.expires,
            self.requests,
            self.unauthorized,
            self.errors
        )
    }
}

fn table(rows: &[Row]) -> String {
    let head = [
        "grant",
        "generation",
        "expires",
        "requests",
        "401",
        "errors",
    ];
    let [grant, generation, expires, requests, unauthorized, errors] = head;
    let mut text = format!(
        "{grant:<12}{generation:>10}  {expires:<24}{requests:>9}{unauthorized:>6}{errors:>8}\n"
    );
    for row in rows {
        text += &format!(
            "{:<12}{:>10}  {:<24}{:>9}{:>6}{:>8}\n",
            row.grant, row.generation, row.expires, row.requests, row.unauthorized, row.errors
        );
    }
    text
}

fn expires_in(rfc3339: &str) -> String {
    let Ok(expires) = DateTime::parse_from_rfc3339(rfc3339) else {
        return "?".to_owned();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    match expires.timestamp_millis() - now_ms {
        left_ms if left_ms > 0 => format!("in {} s", (left_ms + 500) / 1000),
        left_ms => format!("{} s ago", -left_ms / 1000),
    }
}
