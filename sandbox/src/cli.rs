//! The command line.

use crate::{daemon, demo, serve};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// Pretend authorization servers, and a demo of refreshd against them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until interrupted.
    ///
    /// One of the documented providers refuses what its document would not have:
    /// another content type, the secret elsewhere, a parameter missing, an old
    /// refresh token. Printed are the lines that lead the provider's real file here.
    ///
    /// Over HTTP: POST /admin/grants {"name":"shop-17"} makes a grant and answers
    /// its first token response, POST /admin/codes a code to exchange;
    /// POST /admin/faults {"queue":[{"fault":{"kind":"late","ms":45000}}]} lets the
    /// next token request meet a fault; PUT /admin/outage {"kind":"reset"} lets
    /// nothing work until DELETE /admin/outage; PATCH /admin/enrollment {"auto":"allow"}
    /// lets the authorization page ask nobody; GET /admin/stats and
    /// GET /admin/presentations tell what came. The crate's documentation has them all.
    ///
    /// Examples:
    /// sandbox serve --port 8080 --lifetime 10s --old-valid until-used;
    /// sandbox serve --provider vcita --scale 5000000
    Serve(Box<serve::Args>),
    /// Run the real daemon against a pretend server for each of the five documented
    /// providers, and watch tokens being kept fresh.
    ///
    /// Examples:
    /// sandbox demo;
    /// sandbox demo --faults --for 120s --json
    Demo(demo::Args),
}

/// Runs the command that the arguments ask for; the first is the program's name.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before clap: these arguments, `--help` among them, are the daemon's own.
    if args.get(1).is_some_and(|arg| arg == daemon::SUBCOMMAND) {
        return daemon::run(args.into_iter().skip(1));
    }
    let ended = match Cli::parse_from(args).command {
        Command::Serve(args) => serve::run(&args).map_err(|e| e.to_string()),
        Command::Demo(args) => demo::run(&args).map_err(|e| e.to_string()),
    };
    ended.unwrap_or_else(|problem| {
        let _ = writeln!(std::io::stderr(), "sandbox: {problem}");
        ExitCode::FAILURE
    })
}
