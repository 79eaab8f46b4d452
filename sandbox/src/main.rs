//! The `sandbox` command: a pretend authorization server, and the demo.

mod cli;
mod daemon;
mod demo;
mod serve;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
