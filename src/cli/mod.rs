//! The command line, one file a subcommand. Only `run` sees the daemon; the others ask it
//! through its control socket or, while none runs, the same service in their own process.

mod answers;
mod authorize;
mod backup;
mod check;
mod confirm;
mod doctor;
mod get;
mod hidden;
mod history;
mod import;
mod init;
mod key;
mod near;
mod output;
mod owner;
mod passphrase;
mod provider;
mod rclone_conf;
mod refresh;
mod reload;
mod remove;
mod revoke;
mod run;
mod status;
mod verify;

use crate::config::{self, Config, LastSound, Loaded, Problem, Secrets, Severity, Sources};
use crate::control::client::Control;
use crate::control::find;
use crate::daemon::signals::Signals;
use crate::exit::{Exit, Failure};
use crate::opening::Access;
use crate::service::{Service, not_running};
use clap::{Parser, Subcommand};
use refreshd_core::text::counted;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Keeps OAuth 2.0 access tokens fresh and hands them to other programs.
#[derive(Debug, Parser)]
#[command(name = "refreshd", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 64 usage, 65 bad data, 66 no such grant, 69 provider or daemon unavailable,\n\
    70 internal, 73 cannot create, 75 try again, 77 permission or re-authorization needed, 78 configuration."
)]
struct Arguments {
    /// The configuration file [default: $REFRESHD_CONFIG, else ~/.config/refreshd/refreshd.toml, else /etc/refreshd/refreshd.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key of the configuration, as in --set daemon.state_dir=/tmp/state
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(run::Run),
    /// Write a first configuration by a few questions, or add a client and a grant
    Init(Box<init::Init>),
    /// Check the configuration and print every problem at once
    Check(check::Check),
    /// Have the running daemon read its configuration again, and report
    Reload(reload::Reload),
    /// Get a grant's token set: a person approves, refreshd does the rest
    Authorize(authorize::Authorize),
    /// Bring in token responses that were obtained elsewhere
    Import(import::Import),
    /// Show every grant: how it is, when it expires, when it is refreshed next
    Status(status::Status),
    /// Show what happened to a grant, newest first
    History(history::History),
    /// Print an access token that is valid now
    Get(get::Get),
    /// Have a grant refreshed now
    Refresh(refresh::Refresh),
    /// Try whether an access token works, by the provider's verify URL
    Verify(verify::Verify),
    /// Have the provider end an authorization
    Revoke(revoke::Revoke),
    /// What is kept of providers' answers: show it, take tokens out of it, drop it
    Answers(answers::Answers),
    /// Delete a grant that is no longer configured
    Remove(remove::Remove),
    /// Provider files: list and print them, or draft one from a server's own metadata
    Provider(provider::Provider),
    /// Show what needs a person, and confirm it
    Doctor(doctor::Doctor),
    /// Copy the state into a file, also while the daemon runs
    Backup(backup::Backup),
    /// Look after the key that seals the state
    Key(key::Key),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs a command line, whose first item is the program's name. `signals` are those that
/// were taken for what may be the daemon.
#[must_use]
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    signals: Option<io::Result<Signals>>,
) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&args) {
        Ok(arguments) => arguments,
        Err(e) => {
            if let Some(message) = near::unknown_command(&e, &args) {
                output::error(&message);
                return Exit::Usage.into();
            }
            if e.use_stderr() {
                let _closed = e.print();
                return Exit::Usage.into();
            }
            output::raw(&e.render().to_string());
            return output::end(Ok(Exit::Ok));
        }
    };
    // Commands read secrets and the sealing key too; the daemon says if it failed.
    let _as_far_as_it_can = crate::hardening::keep_memory_private();
    let context = Context {
        sources: Sources::of_process(arguments.config, arguments.set),
    };
    let signals = match (&arguments.command, signals) {
        (Command::Run(_), signals) => signals,
        (_, signals) => {
            let taken = signals.and_then(Result::ok);
            taken.into_iter().for_each(Signals::leave_to_the_system);
            None
        }
    };
    let result = match arguments.command {
        Command::Run(command) => command.run(&context, signals.unwrap_or_else(Signals::take)),
        Command::Init(command) => command.run(&context),
        Command::Check(command) => command.run(&context),
        Command::Reload(command) => command.run(&context),
        Command::Authorize(command) => command.run(&context),
        Command::Import(command) => command.run(&context),
        Command::Status(command) => command.run(&context),
        Command::History(command) => command.run(&context),
        Command::Get(command) => command.run(&context),
        Command::Refresh(command) => command.run(&context),
        Command::Verify(command) => command.run(&context),
        Command::Revoke(command) => command.run(&context),
        Command::Answers(command) => command.run(&context),
        Command::Remove(command) => command.run(&context),
        Command::Provider(command) => command.run(&context),
        Command::Doctor(command) => command.run(&context),
        Command::Backup(command) => command.run(&context),
        Command::Key(command) => command.run(&context),
    };
    output::end(result)
}

/// What every command starts from.
struct Context {
    sources: Sources,
}

impl Context {
    /// The configuration without its secrets, where nothing is wrong with it.
    fn config(&self) -> Result<Config, Failure> {
        let Loaded {
            config, problems, ..
        } = config::load_with(&self.sources, Secrets::Leave);
        config.ok_or_else(|| Failure::new(Exit::Config, config::render(&problems)))
    }

    /// The configuration as far as it is sound, without its secrets: a slip must not keep
    /// a person from the daemon, or from the state. Nothing of it is printed: the daemon
    /// has its own, and `refreshd check` tells it all.
    fn sound_config(&self) -> Result<Config, Failure> {
        self.sound(Secrets::Leave)
    }

    /// The same with its secrets, for what sends something by itself.
    fn sound_config_with_secrets(&self) -> Result<Config, Failure> {
        self.sound(Secrets::Read)
    }

    fn sound(&self, secrets: Secrets) -> Result<Config, Failure> {
        let loaded = config::load_with(&self.sources, secrets);
        if let Some(config) = loaded.config.or(loaded.sound) {
            return Ok(config);
        }
        // Where too little of it is sound, the last that was: so does the daemon begin.
        let last = || {
            LastSound::find(&self.sources)?
                .load(&self.sources, secrets)
                .config
        };
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let errors = loaded.problems.iter().filter(is_error).count();
        match last() {
            Some(config) => Ok(Config { errors, ..config }),
            None => Err(Failure::new(Exit::Config, config::render(&loaded.problems))),
        }
    }

    /// The running daemon, if one runs. Where none does, the command goes by the
    /// configuration itself, so it says if that is broken.
    fn control(&self, config: &Config) -> Result<Option<Control>, Failure> {
        let control = find::daemon(config)?;
        if control.is_none() {
            tell_broken(config, "this goes on with what is sound of it");
        } else if let Some(theirs) = find::other_configuration(config) {
            output::note(&format!(
                "refreshd: the daemon that holds {} was started with {}, and this command reads another configuration; a second instance needs a state_dir and a runtime_dir of its own",
                config.daemon.state_dir.display(),
                theirs.display()
            ));
        }
        Ok(control)
    }

    /// Asks the running daemon, or the same service in this process.
    fn ask<T>(
        &self,
        access: Access,
        question: impl AsyncFnOnce(&Control) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let offline = |config| Ok((config, access));
        self.ask_by(self.sound_config()?, offline, question)
    }

    /// The same for what cannot be done without a daemon: no state is opened for it.
    fn ask_daemon<T>(
        &self,
        question: impl AsyncFnOnce(&Control) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let offline = |config| Err(not_running(&config));
        self.ask_by(self.sound_config()?, offline, question)
    }

    /// The same by a configuration. `offline`: what is opened where no daemon runs.
    fn ask_by<T>(
        &self,
        config: Config,
        offline: impl FnOnce(Config) -> Result<(Config, Access), Failure>,
        question: impl AsyncFnOnce(&Control) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        block_on(async {
            let control = match self.control(&config)? {
                Some(control) => control,
                None => {
                    let (config, access) = offline(config)?;
                    self.open(config, access).await?
                }
            };
            let answer = question(&control).await;
            let closed = control.close().await;
            let answer = answer?;
            closed.map(|()| answer)
        })
    }

    /// A service in this process, as the owner of the state.
    async fn open(&self, config: Config, access: Access) -> Result<Control, Failure> {
        owner::become_owner(&config.daemon.state_dir)?;
        let config = Arc::new(config);
        match Service::offline(config.clone(), access).await {
            Ok(service) => Ok(Control::own(service)),
            // A daemon has started meanwhile.
            Err(failure) if failure.exit == Exit::TempFail => self.control(&config)?.ok_or(failure),
            Err(failure) => Err(failure),
        }
    }
}

/// That the configuration is broken, in one line; `then` is what follows from it.
fn tell_broken(config: &Config, then: &str) {
    if config.errors > 0 {
        let errors = counted(config.errors, "error");
        output::note(&format!(
            "refreshd: the configuration is broken ({errors}; `refreshd check` shows all); {then}"
        ));
    }
}

/// Runs a future to its end, on this thread.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|e| Failure::new(Exit::Internal, e.to_string()))?
        .block_on(future)
}

/// A name as it may stand in a URL.
fn grant_name(name: &str) -> Result<&str, Failure> {
    if refreshd_core::name::is_valid(name) {
        Ok(name)
    } else {
        Err(crate::exit::no_such_grant(name))
    }
}
