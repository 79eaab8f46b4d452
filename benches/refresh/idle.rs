//! What a daemon costs that has nothing to do: memory, start, status, import,
//! by the number of its grants.

use crate::child::wait_for;
use crate::place::Place;
use crate::{FLIGHTS, figure};
use std::process::Stdio;
use std::time::Instant;

/// Far enough away that nothing is due while the bench runs.
const LIFE_SECS: u64 = 7 * 86_400;

/// Measures with one number of grants.
pub(crate) fn measure(grants: usize) {
    let label = format!("1e{}", grants.ilog10());
    let place = Place::new();
    place.describe("https://localhost:1/token", "");
    place.configure("idle", FLIGHTS, "");
    let begun = Instant::now();
    place.import("idle", grants, LIFE_SECS);
    let took = begun.elapsed().as_secs_f64();
    figure(&format!("import_per_s_{label}"), grants as f64 / took);
    let begun = Instant::now();
    let daemon = place.daemon();
    figure(&format!("start_ms_{label}"), millis(begun));
    figure(&format!("resident_idle_mib_{label}"), daemon.resident_mib());
    let status = || {
        let mut command = place.command(&["status", "--json"]);
        let done = command.stdout(Stdio::null()).status();
        done.is_ok_and(|done| done.success())
    };
    wait_for("a first status", status);
    let begun = Instant::now();
    assert!(status());
    figure(&format!("status_json_ms_{label}"), millis(begun));
    let mib = daemon.resident_mib();
    figure(&format!("resident_after_status_mib_{label}"), mib);
    assert!(daemon.stop());
}

/// The size of the program as it was built.
pub(crate) fn binary() {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_refreshd")).expect("the program");
    figure("binary_mib", size.len() as f64 / 1024.0 / 1024.0);
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
