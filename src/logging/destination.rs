//! What standard error leads to, and how lines are marked for it.

use super::LogFormat;
use super::queue::Queue;
use chrono::{DateTime, SecondsFormat};
use serde_json::json;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Where lines go, and how they look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    format: LogFormat,
    journal: bool,
}

impl Destination {
    /// What standard error of this process is.
    pub(super) fn of_stderr(format: LogFormat) -> Self {
        let named = std::env::var("JOURNAL_STREAM").ok();
        let journal = named.is_some_and(|named| names(&named, std::io::stderr()));
        Destination { format, journal }
    }

    /// Whether the journal reads it: it takes priorities and knows the time.
    pub(super) fn is_journal(self) -> bool {
        self.journal
    }

    /// Whether each line is a JSON object.
    pub(super) fn is_json(self) -> bool {
        self.format == LogFormat::Json
    }

    /// Lines with their priority in front, where the journal reads them (sd-daemon(3)).
    pub(super) fn marked(self, level: Level, lines: &[u8]) -> Vec<u8> {
        if !self.journal {
            return lines.to_vec();
        }
        let priority = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let mut marked = Vec::with_capacity(lines.len() + 3);
        for line in lines.split_inclusive(|b| *b == b'\n') {
            marked.extend_from_slice(format!("<{priority}>").as_bytes());
            marked.extend_from_slice(line);
        }
        marked
    }

    /// The line that says how many are missing.
    pub(super) fn loss(self, lost: u64) -> Vec<u8> {
        let text = format!(
            "{lost} lines of this log are lost: standard error was full, or could not be written"
        );
        let line = match (self.format, self.journal) {
            (LogFormat::Json, _) => {
                json!({ "timestamp": now(), "level": "WARN", "message": text, "lost": lost })
                    .to_string()
            }
            (LogFormat::Text, true) => format!(" WARN {text}"),
            (LogFormat::Text, false) => format!("{}  WARN {text}", now()),
        };
        self.marked(Level::WARN, format!("{line}\n").as_bytes())
    }
}

/// Whether `JOURNAL_STREAM` names this descriptor, by device and inode: children
/// inherit the variable also where their standard error leads elsewhere (systemd.exec(5)).
fn names(journal_stream: &str, descriptor: impl AsFd) -> bool {
    let Ok(found) = rustix::fs::fstat(descriptor) else {
        return false;
    };
    let named = journal_stream.split_once(':');
    let named = named.and_then(|(device, inode)| {
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    named == Some((found.st_dev, found.st_ino))
}

fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    let now = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    now.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Takes the events' lines to the queue.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: Arc<Queue>,
    destination: Destination,
}

impl Lines {
    pub(super) fn new(queue: Arc<Queue>, destination: Destination) -> Self {
        Lines { queue, destination }
    }

    fn at(&self, level: Level) -> Line<'_> {
        Line { lines: self, level }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.at(Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        self.at(*metadata.level())
    }
}

/// One event, which is written at once.
#[derive(Debug)]
pub(super) struct Line<'a> {
    lines: &'a Lines,
    level: Level,
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let marked = self.lines.destination.marked(self.level, bytes);
        self.lines.queue.push(marked);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: Destination = Destination {
        format: LogFormat::Text,
        journal: true,
    };

    #[test]
    fn each_line_to_the_journal_has_its_priority() {
        let marked = |level| String::from_utf8(JOURNAL.marked(level, b"a\nb\n")).unwrap();
        assert_eq!(marked(Level::ERROR), "<3>a\n<3>b\n");
        assert_eq!(marked(Level::WARN), "<4>a\n<4>b\n");
        assert_eq!(marked(Level::INFO), "<6>a\n<6>b\n");
        assert_eq!(marked(Level::TRACE), "<7>a\n<7>b\n");
        let plain = Destination {
            journal: false,
            ..JOURNAL
        };
        assert_eq!(plain.marked(Level::ERROR, b"a\n"), b"a\n");
    }

    #[test]
    fn only_the_journals_own_stream_is_the_journal() {
        let file = tempfile::tempfile().unwrap();
        let found = rustix::fs::fstat(&file).unwrap();
        let named = |device: u64, inode: u64| names(&format!("{device}:{inode}"), &file);
        assert!(named(found.st_dev, found.st_ino));
        assert!(!named(found.st_dev, found.st_ino + 1));
        assert!(!named(found.st_dev + 1, found.st_ino));
        for odd in ["", ":", "8", "8:", "a:b", "8:12345:9"] {
            assert!(!names(odd, &file), "{odd}");
        }
    }

    #[test]
    fn a_loss_is_a_line_like_the_others() {
        let line = |format, journal| {
            let destination = Destination { format, journal };
            String::from_utf8(destination.loss(7)).unwrap()
        };
        assert!(line(LogFormat::Text, true).starts_with("<4> WARN 7 lines"));
        assert!(line(LogFormat::Text, false).contains("Z  WARN 7 lines"));
        let json: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, false)).unwrap();
        assert_eq!(json["lost"], 7);
    }
}
