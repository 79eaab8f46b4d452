//! `sandbox demo`: a pretend server, the real daemon, and consumers that read
//! token files as any program would, for everybody to watch.

mod child;
mod consumer;
mod faults;
mod place;
mod report;
mod screen;

use crate::signals::Stop;
use child::{ChildError, Daemon};
use consumer::Consumer;
use place::Place;
use refreshd_core::duration;
use report::Report;
use sandbox::server::Server;
use sandbox::{Options, Rotates, Rotation};
use screen::Screen;
use serde_json::json;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a stop may take before the daemon is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after so long with a summary; until Ctrl-C unless said.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    end_after: Option<Duration>,
    /// Print one JSON object at the end; progress goes to standard error.
    #[arg(long)]
    json: bool,
    /// How many grants to keep alive.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    grants: u16,
    /// How long an access token lives [default: 10s, with --faults 20s].
    #[arg(long, value_parser = duration::parse)]
    lifetime: Option<Duration>,
    /// Leave the directory behind.
    #[arg(long)]
    keep: bool,
    /// Let token requests fail in every way a daemon must survive, now and then.
    #[arg(long)]
    faults: bool,
}

/// Why the demo could not be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The runtime, the directory, the server's port or the output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The daemon.
    #[error("{0}")]
    Child(#[from] ChildError),
}

/// Gives the demo. Failure when a consumer met a 401 or nothing was refreshed.
pub(crate) fn run(args: &Args) -> Result<ExitCode, DemoError> {
    let stop = Stop::listen()?;
    // `block_on` runs on the main thread, and the daemon is started from there:
    // the kernel ends a child when the *thread* that started it ends.
    let report = tokio::runtime::Runtime::new()?.block_on(give(args, &stop))?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!(report))?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn give(args: &Args, stop: &Stop) -> Result<Report, DemoError> {
    let options = options(args);
    let lifetime = options.access_lifetime;
    let server = Server::start(options.clone()).await?;
    let names: Vec<String> = (1..=args.grants).map(|n| format!("grant-{n}")).collect();
    let place = Place::make(&server, &options, &names, args.keep)?;
    let mut screen = Screen::new(args.json);
    screen.header(&place, &server, &options, args.faults);

    let mut daemon = Daemon::start(&place)?;
    daemon.listening(&place, stop).await?;
    child::import(&place, place::import_lines(&server, &names)).await?;
    if args.faults {
        server.set_now_and_then(faults::now_and_then());
    }
    let http = sandbox::http::client();
    let consumers: Vec<Consumer> = place
        .outputs
        .iter()
        .map(|output| Consumer::start(output.clone(), http.clone(), server.resource_url()))
        .collect();

    let began = Instant::now();
    watch(args, stop, &mut daemon, &consumers, &mut screen).await?;
    let elapsed = began.elapsed();
    let mut tallies = Vec::new();
    for consumer in consumers {
        tallies.push(consumer.stop().await);
    }
    let died = daemon.exited()?;
    let exit = daemon.stop(PATIENCE).await?;
    Ok(Report::new(
        elapsed,
        lifetime,
        &tallies,
        &server.stats(),
        died.is_some(),
        exit,
    ))
}

/// Shows how things stand each second, until the end.
async fn watch(
    args: &Args,
    stop: &Stop,
    daemon: &mut Daemon,
    consumers: &[Consumer],
    screen: &mut Screen,
) -> io::Result<()> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let left = || {
        args.end_after
            .map(|end| end.saturating_sub(began.elapsed()))
    };
    while !stop.wanted() && left() != Some(Duration::ZERO) && daemon.exited()?.is_none() {
        let end = tokio::time::sleep(left().unwrap_or(Duration::MAX / 2));
        tokio::select! {
            _ = ticks.tick() => screen.show(began.elapsed(), consumers),
            () = stop.waited() => {}
            () = end => {}
        }
    }
    screen.show(began.elapsed(), consumers);
    Ok(())
}

fn options(args: &Args) -> Options {
    let secs = if args.faults { 20 } else { 10 };
    let rotation = Rotation {
        rotates: Rotates::Always,
        ..if args.faults {
            faults::rotation()
        } else {
            Rotation::default()
        }
    };
    Options {
        access_lifetime: args.lifetime.unwrap_or(Duration::from_secs(secs)),
        client_secret: Some(place::random_secret()),
        rotation,
        ..Options::default()
    }
}
