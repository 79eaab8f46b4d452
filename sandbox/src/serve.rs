//! `sandbox serve`.

use crate::signals::Stop;
use clap::ValueEnum;
use refreshd_core::duration;
use sandbox::server::Server;
use sandbox::{Auth, Expiry, OldValid, Options, RefreshFrom, Reuse, Rotates, Rotation};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// What kind of server to pretend to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long an access token lives.
    #[arg(long, default_value = "1h", value_parser = duration::parse)]
    lifetime: Duration,
    /// How long a refresh token lives; for ever unless said.
    #[arg(long, value_parser = duration::parse)]
    refresh_lifetime: Option<Duration>,
    /// A refresh token's life counts from the login, not from its issue.
    #[arg(long)]
    refresh_from_login: bool,
    /// Whether a refresh brings a new refresh token.
    #[arg(long, value_enum, default_value = "always")]
    rotates: RotatesArg,
    /// How long a presented refresh token stays good: a duration, until-used or forever.
    #[arg(long, default_value = "0s", value_parser = old_valid)]
    old_valid: OldValid,
    /// The longest that until-used lasts.
    #[arg(long, value_parser = duration::parse)]
    old_valid_max: Option<Duration>,
    /// What presenting it after that does.
    #[arg(long, value_enum, default_value = "revokes")]
    reuse: ReuseArg,
    /// A refresh ends the life of the old access token.
    #[arg(long)]
    revokes_old_access: bool,
    /// The client's id.
    #[arg(long, default_value = "pretend")]
    client_id: String,
    /// The client's secret.
    #[arg(long, default_value = "pretend-secret")]
    client_secret: String,
    /// How the client may authenticate.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "basic,body")]
    client_auth: Vec<AuthArg>,
    /// How answers tell the expiry.
    #[arg(long, value_enum, default_value = "number")]
    expiry: ExpiryArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RotatesArg {
    Always,
    Sometimes,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReuseArg {
    Error,
    Revokes,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AuthArg {
    Basic,
    Body,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExpiryArg {
    Number,
    Text,
    Absent,
}

/// Serves until a signal comes.
pub(crate) fn run(args: &Args) -> io::Result<ExitCode> {
    let stop = Stop::listen()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let server = Server::start(options(args)).await?;
        let mut out = io::stdout();
        writeln!(out, "listening on {}", server.url(""))?;
        out.flush()?;
        stop.waited().await;
        drop(server);
        Ok(ExitCode::SUCCESS)
    })
}

fn old_valid(text: &str) -> Result<OldValid, String> {
    OldValid::try_from(text.to_owned())
}

fn options(args: &Args) -> Options {
    let auth = |auth: &AuthArg| match auth {
        AuthArg::Basic => Auth::Basic,
        AuthArg::Body => Auth::Body,
    };
    Options {
        port: args.port,
        client_id: args.client_id.clone(),
        client_secret: Some(args.client_secret.clone()),
        client_auth: args.client_auth.iter().map(auth).collect(),
        access_lifetime: args.lifetime,
        refresh_lifetime: args.refresh_lifetime,
        refresh_from: if args.refresh_from_login {
            RefreshFrom::Login
        } else {
            RefreshFrom::Issue
        },
        rotation: rotation(args),
        expiry: match args.expiry {
            ExpiryArg::Number => Expiry::Number,
            ExpiryArg::Text => Expiry::Text,
            ExpiryArg::Absent => Expiry::Absent,
        },
        ..Options::default()
    }
}

fn rotation(args: &Args) -> Rotation {
    Rotation {
        rotates: match args.rotates {
            RotatesArg::Always => Rotates::Always,
            RotatesArg::Sometimes => Rotates::Sometimes,
            RotatesArg::Never => Rotates::Never,
        },
        old_valid: args.old_valid,
        old_valid_max: args.old_valid_max,
        reuse: match args.reuse {
            ReuseArg::Error => Reuse::Error,
            ReuseArg::Revokes => Reuse::Revokes,
        },
        revokes_old_access: args.revokes_old_access,
    }
}
