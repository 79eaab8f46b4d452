//! One fault in one refresh, and what it did at once.

use super::path::Point;
use super::place::Place;
use super::rows::flights;
use super::strace::{Role, Tracer};
use crate::resource::Asker;
use crate::support::wait_for;
use sandbox::Verdict;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a fault may be waited for.
const FIRES_WITHIN: Duration = Duration::from_secs(30);
/// How many refreshes are tried until it fires: threads of a pool come and go.
const TRIES: usize = 6;
/// How long a fault lasts that lasts.
const LASTS: Duration = Duration::from_millis(1500);
/// How long the daemon may take after a fault that has passed.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// How long it may take until it takes wishes again.
const NOTICES_WITHIN: Duration = Duration::from_secs(5);

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL before it.
    Kill,
    /// It fails once.
    Once(&'static str),
    /// It, and each one after it, fails for a while.
    Lasting(&'static str),
}

impl Fault {
    /// For people.
    pub(super) fn label(self) -> String {
        match self {
            Fault::Kill => "KILL".to_owned(),
            Fault::Once(error) => error.to_owned(),
            Fault::Lasting(error) => format!("{error}…"),
        }
    }

    fn args(self, point: &Point, root: &Path) -> Vec<String> {
        let (what, more) = match self {
            Fault::Kill => ("signal=KILL".to_owned(), ""),
            Fault::Once(error) => (format!("error={error}"), ""),
            Fault::Lasting(error) => (format!("error={error}"), "+"),
        };
        let Point { call, nth, .. } = point;
        let mut args = vec![
            "-e".to_owned(),
            format!("trace={call}"),
            "-e".to_owned(),
            format!("inject={call}:{what}:when={nth}{more}"),
        ];
        if let Some(path) = &point.only {
            args.extend(["-P".to_owned(), root.join(path).display().to_string()]);
        }
        args
    }
}

/// A case that has been run. What became of its grant in the end is not known yet.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) point: Point,
    pub(super) fault: Fault,
    pub(super) grant: String,
    /// Before the refresh.
    pub(super) generation: u64,
    /// A letter for the table, where it is known already.
    pub(super) mark: char,
    /// The intent was there, and its settlement was not.
    pub(super) in_doubt: bool,
    /// The server rotated for the refresh in which the fault came.
    pub(super) performed: bool,
    /// What was not as it must be.
    pub(super) wrong: Vec<String>,
}

/// Runs one case with a grant that has not been used for another.
pub(super) fn run(place: &mut Place, point: &Point, fault: Fault, grant: &str) -> Option<Done> {
    for _ in 0..TRIES {
        place.quiet(grant);
        let before = Before::look(place, grant);
        let Some(tracer) = place.attach(point.role, &fault.args(point, place.house.root())) else {
            if point.role == Role::Files {
                // Makes the pool start a thread.
                place.wish(grant).wait().unwrap();
            }
            continue;
        };
        let wish = place.wish(grant);
        let fired = fires(place, &tracer, fault, &before);
        if fired && matches!(fault, Fault::Lasting(_)) {
            std::thread::sleep(LASTS);
        }
        // It may still fire until strace has let go.
        let trace = tracer.detach();
        // A kill in that moment is told by the trace before the process has ended.
        let daemon = place.daemon.as_mut().expect("a daemon runs");
        let mut killed_it = || trace.contains("+++ killed by SIGKILL +++") || daemon.has_ended();
        if fault == Fault::Kill && killed_it() {
            return Some(killed(place, before, point, &trace, wish));
        } else if trace.contains("(INJECTED)") {
            return Some(failed(place, before, point, fault, wish));
        }
        end(wish);
    }
    None
}

/// Waits for the fault, or for the refresh to be over without it.
fn fires(place: &mut Place, tracer: &Tracer, fault: Fault, before: &Before) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < FIRES_WITHIN {
        // The other order would miss a fault in between.
        let over = place.is_quiet_at(&before.grant, before.generation + 1);
        let fired = match fault {
            Fault::Kill => place.daemon.as_mut().expect("a daemon runs").has_ended(),
            _ => tracer.trace().contains("(INJECTED)"),
        };
        if fired || over {
            return fired;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn end(mut wish: Child) -> bool {
    wish.wait().unwrap().success()
}

/// How things stand before the wish.
struct Before {
    grant: String,
    generation: u64,
    presentations: usize,
    log: usize,
}

impl Before {
    fn look(place: &Place, grant: &str) -> Self {
        Before {
            grant: grant.to_owned(),
            generation: place.generation(grant),
            presentations: place.presentations(grant).len(),
            log: place.log().len(),
        }
    }

    fn performed(&self, place: &Place) -> bool {
        let entries = place.presentations(&self.grant);
        let new = &entries[self.presentations..];
        new.iter().any(|entry| entry.verdict == Verdict::Issued)
    }

    fn done(self, point: &Point, fault: Fault) -> Done {
        Done {
            point: point.clone(),
            fault,
            grant: self.grant,
            generation: self.generation,
            mark: ' ',
            in_doubt: false,
            performed: false,
            wrong: Vec::new(),
        }
    }
}

fn killed(place: &mut Place, before: Before, point: &Point, trace: &str, wish: Child) -> Done {
    assert!(trace.contains("+++ killed by SIGKILL +++"), "{trace}");
    let daemon = place.daemon.take().expect("a daemon ran");
    assert_eq!(daemon.wait_for_signal(), Some(9));
    end(wish);
    let left = !flights(&place.state()).is_empty();
    // Presented before the kill; the restart may present as well.
    let presented = place.presentations(&before.grant).len() > before.presentations;
    let performed = before.performed(place);
    let wrong = place.at_rest(&before.grant);
    place.start();

    let mut done = before.done(point, Fault::Kill);
    done.wrong = wrong;
    done.performed = performed;
    done.in_doubt = left;
    let report = place.house.status(&done.grant);
    let generation = report["generation"].as_u64().unwrap();
    let (mark, right) = match left {
        true => (
            '?',
            report["state"] == "in-doubt" || report["state"] == "suspect",
        ),
        false if presented => ('c', performed && generation == done.generation + 1),
        false => ('-', generation == done.generation),
    };
    done.mark = mark;
    if !right {
        done.wrong.push(format!(
            "an intent: {left}, presented: {presented}, performed: {performed}, after the restart {report:#}"
        ));
    }
    check_works(place, &mut done);
    done
}

fn failed(place: &mut Place, before: Before, point: &Point, fault: Fault, wish: Child) -> Done {
    // The store tells of trouble once until it has passed, so perhaps in the case before.
    let log = if point.role == Role::Store {
        0
    } else {
        before.log
    };
    let (grant, goal) = (before.grant.clone(), before.generation + 1);
    let at_once = end(wish);
    let nothing_left = place.presentations(&grant).len() == before.presentations;
    let begun = Instant::now();
    // Nothing was sent, which the wish was told: it may be made again. The daemon looks every
    // second whether it can write again.
    while !at_once && nothing_left && begun.elapsed() < NOTICES_WITHIN {
        if end(place.wish(&grant)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut reached = false;
    while !reached && begun.elapsed() < RECOVERS_WITHIN {
        std::thread::sleep(Duration::from_millis(30));
        reached = place.shows(&grant, place.generation(&grant).max(goal));
    }
    let performed = before.performed(place);
    let mut done = before.done(point, fault);
    done.performed = performed;
    let mut told = place.log_since(log);
    let begun = Instant::now();
    // The thread that met it may not have come to telling of it.
    while point.changes_files() && !names_trouble(&told) && begun.elapsed() < FIRES_WITHIN {
        std::thread::sleep(Duration::from_millis(20));
        told = place.log_since(log);
    }
    let named = names_trouble(&told);
    done.mark = match (at_once, named) {
        (true, false) => '=',
        (true, true) => 'r',
        (false, _) => 'f',
    };
    if !reached {
        let report = place.house.status(&grant);
        done.wrong.push(format!(
            "generation {goal} is not reached or not shown: {report:#}\n{told}"
        ));
    }
    if point.changes_files() && !named {
        done.wrong.push(format!("nothing is said of it: {told}"));
    }
    if place.daemon.as_mut().expect("a daemon ran").has_ended() {
        done.wrong.push(format!("the daemon has ended: {told}"));
        place.start();
    }
    check_works(place, &mut done);
    done
}

fn names_trouble(told: &str) -> bool {
    let words = [
        "No space left",
        "Input/output error",
        "disk I/O error",
        "is full",
        "unable to open",
    ];
    words.iter().any(|words| told.contains(words))
}

/// Whatever happened, the token that is handed out works. Where the old access
/// token dies with the refresh, a grant in doubt hands out none.
fn check_works(place: &Place, done: &mut Done) {
    let suspect = place.kind.rotation.revokes_old_access && done.in_doubt;
    let token = place.token(&done.grant);
    let works = token
        .is_some_and(|token| Asker::new().status(&place.kind.server.resource_url(), &token) == 200);
    if !works && !suspect {
        let report = place.house.status(&done.grant);
        done.wrong.push(format!("no working token: {report:#}"));
    }
    let shown = || place.shows(&done.grant, place.generation(&done.grant));
    wait_for("the outputs to follow", shown);
}
