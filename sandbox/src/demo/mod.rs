//! `sandbox demo`: a pretend server for each documented provider, the real
//! daemon, and consumers that read token files and the published database as
//! any program would, for everybody to watch.

mod child;
mod consumer;
mod faults;
mod place;
mod providers;
mod report;
mod screen;
mod tokens;
mod view;

use crate::signals::Stop;
use child::{ChildError, Daemon};
use consumer::{Consumer, Errand, Tally};
use faults::Thrower;
use place::Place;
use providers::{Provider, Wanted};
use refreshd::control::client::Control;
use refreshd_core::duration;
use report::{Course, Report};
use screen::Screen;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use view::Reports;

/// How long a stop may take before the daemon is killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// A daemon leaves a new token alone for two seconds; then there must be time to replace it.
const LEAST_LIFETIME: Duration = Duration::from_secs(3);

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after so long with a summary; until Ctrl-C unless said.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    end_after: Option<Duration>,
    /// Print one JSON object at the end; progress goes to standard error.
    #[arg(long)]
    json: bool,
    /// How many grants to keep alive at each provider; of RETM, a business more.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    grants: u16,
    /// How long an access token lives here, but for vcita's [default: 10s, with --faults 20s].
    #[arg(long, value_parser = lifetime)]
    lifetime: Option<Duration>,
    /// Leave the directory behind.
    #[arg(long)]
    keep: bool,
    /// Let every refresh fail first in a way that a daemon must survive; what none
    /// can survive hits grants of its own.
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
    let wanted = args.wanted();
    let providers = providers::start(wanted).await?;
    let place = Place::make(&providers, args.keep)?;
    let mut screen = Screen::new(args.json);
    screen.header(&place, &providers, args.faults, args.end_after);

    let mut daemon = Daemon::start(&place)?;
    daemon.listening(&place, stop).await?;
    let lines = providers.iter().map(Provider::import_lines).collect();
    child::import(&place, lines).await?;
    Thrower::doom(&providers);
    let mut show = Show {
        args,
        // Who cannot be asked has ended, which the watch sees.
        control: Control::to(&place.socket()).ok(),
        thrower: args.faults.then(|| Thrower::new(wanted.lifetime)),
        consumers: consumers(&providers, &place),
        providers: &providers,
        reports: Reports::new(),
        began: Instant::now(),
    };
    show.watch(stop, &mut daemon, &mut screen).await?;
    let elapsed = show.began.elapsed();
    let (reports, tallies) = show.stop().await;
    let died = daemon.exited()?.is_some();
    let exit = daemon.stop(PATIENCE).await?;
    let course = Course {
        elapsed,
        lifetime: wanted.lifetime,
        faults: args.faults,
        died,
        exit,
    };
    let grants = view::views(&providers, &reports, &tallies);
    Ok(Report::new(course, &grants))
}

/// What goes on until the end.
struct Show<'a> {
    args: &'a Args,
    control: Option<Control>,
    thrower: Option<Thrower>,
    consumers: Vec<Consumer>,
    providers: &'a [Provider],
    reports: Reports,
    began: Instant,
}

impl Show<'_> {
    /// Asks and shows how things stand each second, and throws faults.
    async fn watch(
        &mut self,
        stop: &Stop,
        daemon: &mut Daemon,
        screen: &mut Screen,
    ) -> io::Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !stop.wanted() && self.left() != Duration::ZERO && daemon.exited()?.is_none() {
            tokio::select! {
                _ = ticks.tick() => self.look(screen, false).await,
                () = stop.waited() => {}
                () = tokio::time::sleep(self.left()) => {}
            }
        }
        self.look(screen, true).await;
        Ok(())
    }

    async fn look(&mut self, screen: &mut Screen, last: bool) {
        view::ask(self.control.as_ref(), &mut self.reports).await;
        if let Some(thrower) = self.thrower.as_mut().filter(|_| !last) {
            thrower.throw(self.providers, &self.reports);
        }
        let tallies = self
            .consumers
            .iter()
            .map(|c| (c.errand.grant.clone(), c.tally()));
        let tallies = tallies.collect();
        let grants = view::views(self.providers, &self.reports, &tallies);
        screen.show(self.began.elapsed(), &grants, last);
    }

    fn left(&self) -> Duration {
        let end = self.args.end_after.unwrap_or(Duration::MAX / 2);
        end.saturating_sub(self.began.elapsed())
    }

    async fn stop(self) -> (Reports, BTreeMap<String, Tally>) {
        let mut tallies = BTreeMap::new();
        for consumer in self.consumers {
            tallies.extend([consumer.stop().await]);
        }
        (self.reports, tallies)
    }
}

impl Args {
    fn wanted(&self) -> Wanted {
        let secs = if self.faults { 20 } else { 10 };
        Wanted {
            lifetime: self.lifetime.unwrap_or(Duration::from_secs(secs)),
            grants: self.grants,
            faults: self.faults,
        }
    }
}

fn consumers(providers: &[Provider], place: &Place) -> Vec<Consumer> {
    let http = sandbox::http::client();
    let grants = providers
        .iter()
        .flat_map(|p| p.grants.iter().map(move |g| (p, g)));
    let errands = grants.map(|(provider, grant)| Errand {
        grant: grant.name.clone(),
        file: place.files[&grant.name].clone(),
        database: place.database(),
        resource_url: provider.resource_of(grant),
    });
    errands
        .map(|errand| Consumer::start(errand, http.clone()))
        .collect()
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration::parse(text).map_err(|e| e.to_string())?;
    match lifetime < LEAST_LIFETIME {
        true => Err(format!(
            "no token can be kept fresh that lives less than {LEAST_LIFETIME:?}"
        )),
        false => Ok(lifetime),
    }
}
