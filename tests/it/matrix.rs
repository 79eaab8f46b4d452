//! Killed at every step: each call of a refresh gets SIGKILL in turn, and each
//! call on a file EIO and ENOSPC, for each way of rotating. `scripts/kill-matrix`
//! runs it; `REFRESHD_TEST_MATRIX` is `quick` or `full`, and `…_CLASS` and `…_CALL`
//! choose one class and the calls whose name in the table begins so.

mod case;
mod path;
mod place;
mod rows;
pub(crate) mod strace;
mod table;
mod wave;

use crate::kill::kinds::Kind;
use case::{Done, Fault};
use path::Point;
use place::Place;
use sandbox::{OldValid, Reuse, Rotates, Rotation};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use wave::Case;

/// The most grants of one wave.
const GRANTS: usize = 30;
/// How many waves inject at the same time; a wave that waits for doubts to end costs nothing.
const AT_ONCE: usize = 8;

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Quick,
    Full,
}

impl Size {
    fn given() -> Self {
        match std::env::var("REFRESHD_TEST_MATRIX").as_deref() {
            Ok("full") => Size::Full,
            _ => Size::Quick,
        }
    }

    /// How long access tokens live: a doubt may end a quarter of it after the refresh.
    fn lifetime(self) -> Duration {
        Duration::from_secs(if self == Size::Full { 120 } else { 60 })
    }
}

/// The ways of rotating, and how the table calls them.
fn classes() -> Vec<(&'static str, Rotation)> {
    let rotation = |rotates, old_valid, reuse, revokes_old_access| Rotation {
        rotates,
        old_valid,
        reuse,
        revokes_old_access,
        ..Rotation::default()
    };
    // Presented again after an eighth of the window at the earliest.
    let window = OldValid::For(Duration::from_secs(400));
    let (always, at_once) = (Rotates::Always, OldValid::default());
    vec![
        (
            "never",
            rotation(Rotates::Never, at_once, Reuse::Revokes, false),
        ),
        (
            "forever",
            rotation(always, OldValid::Forever, Reuse::Revokes, false),
        ),
        (
            "until-used",
            rotation(always, OldValid::UntilUsed, Reuse::Revokes, false),
        ),
        ("window", rotation(always, window, Reuse::Revokes, false)),
        ("error", rotation(always, at_once, Reuse::Error, false)),
        ("revokes", rotation(always, at_once, Reuse::Revokes, false)),
        ("suspect", rotation(always, at_once, Reuse::Revokes, true)),
    ]
}

/// Which faults a refresh of this class is to meet.
fn cases(size: Size, class: usize, points: &[Point]) -> VecDeque<Case> {
    let mut cases = VecDeque::new();
    let mut nth_kind = 0;
    let mut last: Option<&Point> = None;
    for point in points {
        let first = last
            .is_none_or(|l| (l.role, &l.call, &l.only) != (point.role, &point.call, &point.only));
        last = Some(point);
        nth_kind += usize::from(first);
        let mut faults = vec![Fault::Kill];
        if point.on_file {
            faults.extend(["EIO", "ENOSPC"].map(Fault::Once));
            if first {
                faults.extend(["EIO", "ENOSPC"].map(Fault::Lasting));
            }
        }
        if size == Size::Quick {
            // Each kind of call meets each fault in some class, and what decides in all.
            let decides = point.role == strace::Role::Store;
            let mut turn = nth_kind;
            faults.retain(|fault| {
                turn += 1;
                (decides && *fault == Fault::Kill) || (first && turn % classes().len() == class)
            });
        }
        cases.extend(faults.into_iter().map(|fault| (point.clone(), fault)));
    }
    cases
}

/// Lets a few through at a time.
struct Gate(Mutex<usize>, Condvar);

impl Gate {
    fn enter(&self) -> Inside<'_> {
        let mut free = self.0.lock().unwrap();
        while *free == 0 {
            free = self.1.wait(free).unwrap();
        }
        *free -= 1;
        Inside(self)
    }
}

struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() += 1;
        self.0.1.notify_one();
    }
}

#[test]
#[ignore = "it takes minutes and attaches strace to daemons; scripts/kill-matrix runs it"]
fn every_step_may_be_the_last() {
    let size = Size::given();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gate = Gate(Mutex::new(AT_ONCE), Condvar::new());
    let done: Mutex<Vec<(usize, Done)>> = Mutex::default();
    let only = std::env::var("REFRESHD_TEST_MATRIX_CLASS").ok();
    thread::scope(|scope| {
        for (class, (name, rotation)) in classes().into_iter().enumerate() {
            if only.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            let (handle, gate, done) = (runtime.handle().clone(), &gate, &done);
            scope.spawn(move || {
                run_class(&handle, size, class, (name, &rotation), gate, done);
            });
        }
    });
    table::show(&done.into_inner().unwrap());
}

fn run_class(
    handle: &Handle,
    size: Size,
    class: usize,
    (name, rotation): (&'static str, &Rotation),
    gate: &Gate,
    done: &Mutex<Vec<(usize, Done)>>,
) {
    let kind = || Kind::with(handle, name, rotation.clone(), size.lifetime());
    let inside = gate.enter();
    let recording = Place::new(kind(), 1);
    let points = recording.record(&format!("{name}-0"));
    drop((recording, inside));
    let mut left = cases(size, class, &points);
    if let Ok(call) = std::env::var("REFRESHD_TEST_MATRIX_CALL") {
        left.retain(|(point, _)| point.label().starts_with(&call));
    }
    println!(
        "{name}: {} calls on the path, {} faults",
        points.len(),
        left.len()
    );
    thread::scope(|scope| {
        while !left.is_empty() {
            let inside = gate.enter();
            let mut place = Place::new(kind(), left.len().min(GRANTS));
            // The first doubt may end a quarter of the lifetime later.
            let until = Instant::now() + size.lifetime() / 5;
            let mut all = wave::inject(&mut place, until, || left.pop_front());
            drop(inside);
            println!(
                "{name}: {} faults injected, {} to go",
                all.len(),
                left.len()
            );
            scope.spawn(move || {
                wave::settle(&place, &mut all);
                table::tell(name, &all);
                done.lock()
                    .unwrap()
                    .extend(all.into_iter().map(|one| (class, one)));
            });
        }
    });
}
