//! Incidents: the time something is not healthy. One notice when it opens,
//! reminders with growing gaps, one when it closes.
//!
//! - [`Kind`]: what can be wrong, and [`Subject`]: with what
//! - [`Kinds::of_grant`]: what is wrong with a grant, as its state tells
//! - [`Crowds`]: grants whose tokens end together
//! - [`Book`]: what is open; told what is unhealthy now, it says what to announce

mod book;
mod crowd;
mod grant;
mod kind;
#[cfg(test)]
mod tests;

pub use book::{Book, Notice, before};
pub use crowd::{Common, Counted, Crowds};
pub use grant::{lacks_token_at, over};
pub use kind::{Kind, Kinds};

use crate::time::WallTime;

/// What an incident is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// All of it: the clock, the disk, the state.
    Daemon,
    /// A client, by name.
    Client(String),
    /// A token endpoint, by its URL.
    Endpoint(String),
    /// A grant, by name.
    Grant(String),
    /// An output of a grant.
    Output {
        /// The file, or the database and its row.
        place: String,
        /// The grant's name.
        grant: String,
    },
}

impl Subject {
    /// In one word, what sort of thing it is.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Subject::Daemon => "daemon",
            Subject::Client(_) => "client",
            Subject::Endpoint(_) => "endpoint",
            Subject::Grant(_) => "grant",
            Subject::Output { .. } => "output",
        }
    }

    /// Which of its sort; empty for the daemon.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Subject::Daemon => "",
            Subject::Client(name) | Subject::Endpoint(name) | Subject::Grant(name) => name,
            Subject::Output { place, .. } => place,
        }
    }

    /// The grant that it is or belongs to.
    #[must_use]
    pub fn grant(&self) -> Option<&str> {
        match self {
            Subject::Grant(grant) | Subject::Output { grant, .. } => Some(grant),
            _ => None,
        }
    }

    /// The subject that [`Subject::word`], [`Subject::name`] and [`Subject::grant`] tell of.
    #[must_use]
    pub fn from_parts(word: &str, name: &str, grant: Option<&str>) -> Option<Subject> {
        let name = name.to_owned();
        Some(match (word, grant) {
            ("daemon", _) => Subject::Daemon,
            ("client", _) => Subject::Client(name),
            ("endpoint", _) => Subject::Endpoint(name),
            ("grant", _) => Subject::Grant(name),
            ("output", Some(grant)) => Subject::Output {
                place: name,
                grant: grant.to_owned(),
            },
            _ => return None,
        })
    }
}

/// The time something is not healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its number; never used twice in a store.
    pub id: u64,
    /// What is wrong.
    pub kind: Kind,
    /// With what.
    pub subject: Subject,
    /// A sentence for a person, printable, as of its opening.
    pub text: String,
    /// When it was first announced.
    pub opened_at: WallTime,
    /// An end that it warns of; reminders come so many days before.
    pub ends_at: Option<WallTime>,
    /// When it was last announced again.
    pub reminded_at: Option<WallTime>,
    /// How many times it was announced again.
    pub reminders: u32,
    /// When it was over, and why.
    pub closed: Option<(WallTime, String)>,
}
