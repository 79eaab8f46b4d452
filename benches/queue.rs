//! How much memory a grant takes in the queue, and how many operations a second
//! it does: `cargo bench --bench queue`. Each line `figure NAME VALUE` is one
//! result. Without `--bench`, as `cargo test` runs it, only the smallest size.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use refreshd_core::queue::Queue;
use refreshd_core::time::WallTime;
use std::hint::black_box;
use std::time::Instant;

const LANES: u32 = 100;
const LIFETIME_MS: u64 = 3_600_000;

fn main() {
    let sizes: &[u32] = if std::env::args().any(|arg| arg == "--bench") {
        &[1_000, 10_000, 100_000, 1_000_000]
    } else {
        &[1_000]
    };
    for &size in sizes {
        measure(size);
    }
}

/// Fills a queue, then lives through three generations of every grant: released,
/// popped, inserted with its new expiry, armed. Each of these is an operation.
fn measure(size: u32) {
    let mut roll = Roll(1);
    let mut queue = Queue::new();
    for index in 0..size {
        rearm(&mut queue, index, WallTime(0), &mut roll);
    }
    let bytes = queue.memory() / size as usize;

    let started = Instant::now();
    let mut operations = 0_u64;
    while operations < 3 * 4 * u64::from(size) {
        let Some(now) = queue.next_due() else { break };
        queue.release(now);
        while let Some(index) = queue.pop(now, |_| true) {
            rearm(&mut queue, black_box(index), now, &mut roll);
            operations += 4;
        }
    }
    let per_second = operations as f64 / started.elapsed().as_secs_f64();

    let started = Instant::now();
    for index in 0..size {
        queue.arm(index, WallTime(1_000_000_000));
    }
    let arms = f64::from(size) / started.elapsed().as_secs_f64();

    let drained = drain(&mut queue, size);
    let label = format!("1e{}", size.ilog10());
    println!("figure queue_bytes_per_grant_{label} {bytes}");
    println!("figure queue_ops_per_s_{label} {per_second:.0}");
    println!("figure queue_rearms_per_s_{label} {arms:.0}");
    println!("figure queue_drained_per_s_{label} {drained:.0}");
}

/// All grants are due at once, as after an outage: released and popped.
fn drain(queue: &mut Queue, size: u32) -> f64 {
    let now = WallTime(1_000_000_000);
    let started = Instant::now();
    queue.release(now);
    let mut popped = 0;
    while queue.pop(now, |_| true).is_some() {
        popped += 1;
    }
    assert_eq!(popped, size);
    f64::from(size) / started.elapsed().as_secs_f64()
}

fn rearm(queue: &mut Queue, index: u32, now: WallTime, roll: &mut Roll) {
    let jitter = (roll.next() % LIFETIME_MS).cast_signed();
    let expires = WallTime(now.0 + 360_000 + jitter);
    queue.insert(index, index % LANES, expires);
    queue.arm(index, WallTime(expires.0 - 300_000));
}

/// SplitMix64: the same numbers in every run.
struct Roll(u64);

impl Roll {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
