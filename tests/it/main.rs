//! The real binary, in directories of its own, against real servers.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and says why; figures go to standard output"
)]

mod answers;
mod browser;
mod disks;
mod http;
mod https;
mod resource;
mod said;
mod second_chance;
mod setting;
mod support;
mod tiny;

mod arrows;
mod at_rest;
mod authorize;
mod backups;
mod bad_input;
mod bygone;
mod commands;
mod databases;
mod docs;
mod enroll_web;
mod exchange;
mod fence;
mod formats;
mod full_disk;
mod incidents;
mod init;
mod keys;
mod kill;
mod manners;
mod matrix;
mod networks;
mod one_state;
mod outputs;
mod power;
mod providers;
mod read_only;
mod real_servers;
mod rescue;
mod small_disks;
mod smoke;
mod unsaved;
