//! The incidents that are open, and what is announced of them.

use super::{Incident, Kind, Kinds, Subject};
use crate::duration::human;
use crate::grant::notice::notice;
use crate::time::WallTime;
use std::collections::BTreeMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// An end that moves by less is the same: some answers count down to it, each by
/// its own clock.
const SAME_END: Duration = HOUR;

/// To be announced, and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It opened.
    Opened(Incident),
    /// It is still open.
    Reminded(Incident),
    /// It is over.
    Closed(Incident),
}

impl Notice {
    /// The incident as it is now.
    #[must_use]
    pub fn incident(&self) -> &Incident {
        match self {
            Notice::Opened(incident) | Notice::Reminded(incident) | Notice::Closed(incident) => {
                incident
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Open {
    incident: Incident,
    /// Seen by this process; what an earlier one left open may be over.
    confirmed: bool,
}

/// The incidents that are open.
#[derive(Clone, Debug, Default)]
pub struct Book {
    open: BTreeMap<(Subject, Kind), Open>,
    last_id: u64,
}

impl Book {
    /// A book with what an earlier process left open; `last_id` is the highest
    /// number that was ever given.
    #[must_use]
    pub fn recalled(open: Vec<Incident>, last_id: u64) -> Self {
        let entry = |incident: Incident| {
            let key = (incident.subject.clone(), incident.kind);
            let confirmed = false;
            (
                key,
                Open {
                    incident,
                    confirmed,
                },
            )
        };
        Book {
            open: open.into_iter().map(entry).collect(),
            last_id,
        }
    }

    /// What is open, by subject and kind.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values().map(|open| &open.incident)
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What is open of a subject.
    #[must_use]
    pub fn kinds(&self, subject: &Subject) -> Kinds {
        let from = (subject.clone(), Kind::ALL[0]);
        let of = self.open.range(from..).map(|(key, _)| key);
        of.take_while(|(of, _)| of == subject)
            .map(|(_, kind)| *kind)
            .collect()
    }

    /// Something is wrong: opens an incident, unless one is open. Where the end that
    /// it warns of has moved, another one takes its place.
    pub fn raise(
        &mut self,
        subject: &Subject,
        kind: Kind,
        ends_at: Option<WallTime>,
        text: impl FnOnce() -> String,
        now: WallTime,
    ) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(open) = self.open.get_mut(&(subject.clone(), kind)) {
            if is_same(open.incident.ends_at, ends_at) {
                open.confirmed = true;
                return notices;
            }
            let moved = || "another authorization came, with another end".to_owned();
            notices.extend(self.close(subject, kind, moved, now));
        }
        self.last_id += 1;
        let incident = Incident {
            id: self.last_id,
            kind,
            subject: subject.clone(),
            text: text(),
            opened_at: now,
            ends_at,
            reminded_at: None,
            reminders: 0,
            closed: None,
        };
        let open = Open {
            incident: incident.clone(),
            confirmed: true,
        };
        self.open.insert((subject.clone(), kind), open);
        notices.push(Notice::Opened(incident));
        notices
    }

    /// Says of something that is open what is wrong by now, without a notice; the incident,
    /// if that is another text.
    pub fn reword(&mut self, subject: &Subject, kind: Kind, text: String) -> Option<Incident> {
        let open = self.open.get_mut(&(subject.clone(), kind))?;
        if open.incident.text == text {
            return None;
        }
        open.incident.text = text;
        Some(open.incident.clone())
    }

    /// It is not wrong any more.
    pub fn close(
        &mut self,
        subject: &Subject,
        kind: Kind,
        why: impl FnOnce() -> String,
        now: WallTime,
    ) -> Option<Notice> {
        let Open { mut incident, .. } = self.open.remove(&(subject.clone(), kind))?;
        incident.closed = Some((now, why()));
        Some(Notice::Closed(incident))
    }

    /// As [`Book::close`], for what an earlier process left open and this one has
    /// not seen.
    pub fn disprove(
        &mut self,
        subject: &Subject,
        kind: Kind,
        why: &str,
        now: WallTime,
    ) -> Option<Notice> {
        let key = (subject.clone(), kind);
        let unconfirmed = self.open.get(&key).is_some_and(|open| !open.confirmed);
        let close = || self.close(subject, kind, || why.to_owned(), now);
        unconfirmed.then(close).flatten()
    }

    /// What an earlier process left open and this one has not seen.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &Incident> {
        let unseen = self.open.values().filter(|open| !open.confirmed);
        unseen.map(|open| &open.incident)
    }

    /// The reminders that are due.
    pub fn handle_time(&mut self, now: WallTime) -> Vec<Notice> {
        let due = |open: &&mut Open| remind_at(&open.incident) <= now;
        let remind = |open: &mut Open| {
            let incident = &mut open.incident;
            incident.reminded_at = Some(now);
            incident.reminders += 1;
            if let Some(end) = incident.ends_at {
                incident.text = before(end, now);
            }
            Notice::Reminded(incident.clone())
        };
        self.open.values_mut().filter(due).map(remind).collect()
    }

    /// When the next reminder is due.
    #[must_use]
    pub fn poll_time(&self) -> Option<WallTime> {
        self.open().map(remind_at).min()
    }
}

fn is_same(told: Option<WallTime>, end: Option<WallTime>) -> bool {
    match (told, end) {
        (Some(told), Some(end)) => end.since(told).max(told.since(end)) <= SAME_END,
        (told, end) => told == end,
    }
}

/// What is said of an end that a person alone can move.
#[must_use]
pub fn before(end: WallTime, now: WallTime) -> String {
    let at = end.rfc3339();
    if end <= now {
        return format!("it ended at {at} and cannot be refreshed; authorize it again");
    }
    let left = human(end.since(now));
    format!("authorize it again before {at}, in {left}: refreshing does not move that end")
}

/// After an hour, six, and daily; of an end, so many days before it.
fn remind_at(incident: &Incident) -> WallTime {
    let last = incident.reminded_at.unwrap_or(incident.opened_at);
    match incident.ends_at {
        Some(end) => notice(end, last).changes_at.unwrap_or(last + DAY),
        None => {
            last + match incident.reminders {
                0 => HOUR,
                1 => HOUR * 6,
                _ => DAY,
            }
        }
    }
}
