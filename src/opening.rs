//! Opens the state of a configuration, for the daemon and for what commands do without it.

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::publish::others;
use crate::state::{self, LockError, OpenError, OpenOptions, State};
use refreshd_core::text::counted;
use std::path::Path;

/// Whether a state is made where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// None is.
    Never,
    /// A first one is, and only a first one.
    First,
    /// One is, and what an earlier one held is given up: a person says so.
    Anew,
}

/// What the state is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To look at a copy: nothing is made or changed, and a daemon may start meanwhile.
    Look,
    /// To work on it, under its lock.
    Write(Make),
}

/// Opens the state of a configuration, as far as it is needed.
///
/// # Errors
/// What is wrong with it, with the exit code that fits.
pub fn access(config: &Config, how: Access) -> Result<State, Failure> {
    match how {
        Access::Look => {
            let looked = State::look(&options(config, Make::Never));
            looked.map_err(|error| failure(config, error))
        }
        Access::Write(make) => open(config, make),
    }
}

/// Opens the state of a configuration; makes it where there is none, if it may be.
///
/// # Errors
/// What is wrong with it, with the exit code that fits.
pub fn open(config: &Config, make: Make) -> Result<State, Failure> {
    if make == Make::First && !state::exists(&config.daemon.state_dir) {
        check_first(config)?;
    }
    State::open(&options(config, make)).map_err(|error| failure(config, error))
}

/// Refuses to make a state where another one has published: it was lost, or is elsewhere.
fn check_first(config: &Config) -> Result<(), Failure> {
    // What is left of it beside its place says more.
    if let Err(error @ OpenError::Db(_)) = State::look(&options(config, Make::Never)) {
        return Err(failure(config, error));
    }
    let places = others::places(config, None);
    let Some(first) = places.first() else {
        return Ok(());
    };
    let (dir, more) = (config.daemon.state_dir.display(), places.len() - 1);
    let verb = if more == 0 { "holds" } else { "hold" };
    let more = match more {
        0 => String::new(),
        more => format!(" and {}", counted(more, "other output")),
    };
    let message = format!(
        "there is no state in {dir}, but {first}{more} {verb} what another state of refreshd has published: this is no first start. Nothing was touched. Bring that state back: mount its volume, set daemon.state_dir to where it is, or restore a backup (docs/operations.md). To begin anew without the refresh tokens that it held: refreshd doctor --accept-new-state"
    );
    Err(Failure::new(Exit::Data, message))
}

/// How the state of a configuration is opened.
fn options(config: &Config, make: Make) -> OpenOptions<'_> {
    OpenOptions {
        state_dir: &config.daemon.state_dir,
        may_make: make != Make::Never,
        key: &config.daemon.key,
    }
}

/// What is wrong with it, with the exit code that fits.
fn failure(config: &Config, error: OpenError) -> Failure {
    match error {
        OpenError::Lock(LockError::Absent(dir)) => no_state(config, &dir),
        error => Failure::new(exit_of(&error), error.to_string()),
    }
}

/// Nobody is there: neither a daemon nor a state.
fn no_state(config: &Config, dir: &Path) -> Failure {
    let (dir, socket) = (dir.display(), config.socket());
    let text = format!(
        "refreshd is not running (nobody answers at {}), and there is no state in {dir}; start it with `refreshd run` or as a service{}",
        socket.display(),
        match config.daemon.state_is_named {
            true => "",
            false =>
                ". If it runs elsewhere, name its directories: state_dir and runtime_dir in [daemon]",
        }
    );
    Failure::new(Exit::Unavailable, text)
}

fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::Lock(LockError::Held { .. }) => Exit::TempFail,
        OpenError::Lock(LockError::Absent(_)) => Exit::Unavailable,
        OpenError::Lock(_) => Exit::NoPermission,
        OpenError::Key(_) => Exit::Config,
        OpenError::Db(_) => Exit::Data,
        OpenError::Rescue(_) => Exit::CannotCreate,
    }
}
