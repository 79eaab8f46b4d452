//! The real binary, in directories of its own, against real servers.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says why"
)]

mod support;

mod docs;
mod exchange;
mod smoke;
