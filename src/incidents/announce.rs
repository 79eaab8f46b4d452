//! The lines of the log: each has the field `incident`, and says of what.

use refreshd_core::duration::human;
use refreshd_core::incident::{Incident, Notice, Subject};
use refreshd_core::time::WallTime;

/// One line a notice. The texts are printable.
pub(super) fn log(notice: &Notice, advice: &str, now: WallTime) {
    let incident = notice.incident();
    let (id, kind, who) = (incident.id, incident.kind.word(), who(incident));
    let (grant, client) = (incident.subject.grant(), client(&incident.subject));
    let lasted = human(now.since(incident.opened_at));
    macro_rules! say {
        ($level:ident, $($text:tt)+) => {
            tracing::$level!(incident = kind, id, grant, client, $($text)+)
        };
    }
    let ended = incident.ends_at.is_some_and(|end| end <= now);
    let grave = incident.kind.is_grave() || ended;
    match notice {
        Notice::Opened(Incident { text, .. }) if grave => say!(error, "{who}{text}{advice}"),
        Notice::Opened(Incident { text, .. }) => say!(warn, "{who}{text}{advice}"),
        Notice::Reminded(Incident { text, .. }) if grave => {
            say!(error, "{who}{text} (still so, after {lasted})")
        }
        Notice::Reminded(Incident { text, .. }) => {
            say!(warn, "{who}{text} (still so, after {lasted})")
        }
        Notice::Closed(incident) => {
            let why = incident.closed.as_ref().map_or("", |(_, why)| why);
            say!(info, "{who}over after {lasted}: {why}")
        }
    }
}

/// Whose line it is. What is not about a grant names its subject in its text.
fn who(incident: &Incident) -> String {
    let kind = incident.kind;
    match &incident.subject {
        Subject::Grant(name) => format!("{name}: {kind}: "),
        Subject::Output { grant, .. } => format!("{grant}: {kind}: "),
        _ => format!("{kind}: "),
    }
}

fn client(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::Client(name) => Some(name),
        _ => None,
    }
}
