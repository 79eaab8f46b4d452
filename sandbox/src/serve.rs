//! `sandbox serve`.

use crate::signals::Stop;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use refreshd_core::duration;
use sandbox::server::Server;
use sandbox::{
    Auth, Auto, Brings, Enrollment, Expiry, Kind, OldValid, Options, Reading, RefreshFrom, Reuse,
};
use sandbox::{Rotates, Rotation};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

/// What kind of server to pretend to be. What is not said is as the provider's
/// document has it; what is said is taken as it is, whatever the scale.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whom to pretend to be: its paths, parameters, answers, lifetimes.
    #[arg(long, default_value = "generic", value_parser = kind_parser())]
    provider: String,
    /// Divide the provider's lifetimes by this factor.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    scale: f64,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How long an access token lives.
    #[arg(long, value_parser = duration::parse)]
    lifetime: Option<Duration>,
    /// How old an access token already is when it is issued.
    #[arg(long, value_parser = duration::parse)]
    answer_age: Option<Duration>,
    /// How long a refresh token lives.
    #[arg(long, value_parser = duration::parse)]
    refresh_lifetime: Option<Duration>,
    /// A refresh token's life counts from the login, not from its issue.
    #[arg(long)]
    refresh_from_login: bool,
    /// How long an authorization code is good.
    #[arg(long, value_parser = duration::parse)]
    code_lifetime: Option<Duration>,
    /// Answers say "refresh_token": null.
    #[arg(long)]
    null_refresh_token: bool,
    /// Whether a refresh brings a new refresh token.
    #[arg(long, value_enum)]
    rotates: Option<RotatesArg>,
    /// How long a presented refresh token stays good: a duration, until-used or forever.
    #[arg(long, value_parser = old_valid)]
    old_valid: Option<OldValid>,
    /// The longest that until-used lasts.
    #[arg(long, value_parser = duration::parse)]
    old_valid_max: Option<Duration>,
    /// What presenting it after that does.
    #[arg(long, value_enum)]
    reuse: Option<ReuseArg>,
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
    #[arg(long, value_enum, value_delimiter = ',')]
    client_auth: Vec<AuthArg>,
    /// Which reading of Reteno's document holds.
    #[arg(long, value_enum, default_value = "form-basic")]
    reading: ReadingArg,
    /// Authorization pages and install links ask nobody; a form is shown otherwise.
    #[arg(long, value_enum)]
    auto: Option<AutoArg>,
    /// Where codes may be sent, several times where there are several; anywhere unless said.
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// Where RETM's pushes go.
    #[arg(long, value_name = "URL")]
    success_url: Option<String>,
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
    Query,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReadingArg {
    FormBasic,
    Query,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AutoArg {
    Allow,
    Deny,
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
        tell(&server)?;
        stop.waited().await;
        drop(server);
        Ok(ExitCode::SUCCESS)
    })
}

/// Says where it is and what a client's configuration needs.
fn tell(server: &Server) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {}", server.url(""))?;
    let kind = server.options().kind;
    if kind != Kind::Generic {
        let name = kind.name();
        writeln!(out, "\n[clients.{name}.override]  # provider = \"{name}\"")?;
        write!(out, "{}", server.override_toml())?;
    }
    out.flush()
}

fn kind_parser() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::name))
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok();
    let factor = factor.filter(|f| f.is_finite() && *f >= 0.001);
    factor.ok_or_else(|| "not a number of 0.001 or more".to_owned())
}

fn old_valid(text: &str) -> Result<OldValid, String> {
    OldValid::try_from(text.to_owned())
}

fn options(args: &Args) -> Options {
    let kind = Kind::named(&args.provider).expect("one of the values that clap accepts");
    let described = Options::of(kind).scaled(args.scale);
    let auth = |auth: &AuthArg| match auth {
        AuthArg::Basic => Auth::Basic,
        AuthArg::Body => Auth::Body,
        AuthArg::Query => Auth::Query,
    };
    let client_auth = match args.client_auth.as_slice() {
        [] => described.client_auth.clone(),
        said => said.iter().map(auth).collect(),
    };
    Options {
        port: args.port,
        client_id: args.client_id.clone(),
        client_secret: Some(args.client_secret.clone()),
        client_auth,
        reading: match args.reading {
            ReadingArg::FormBasic => Reading::FormBasic,
            ReadingArg::Query => Reading::Query,
            ReadingArg::Both => Reading::Both,
        },
        access_lifetime: args.lifetime.unwrap_or(described.access_lifetime),
        answer_age: args.answer_age.unwrap_or(described.answer_age),
        refresh_lifetime: args.refresh_lifetime.or(described.refresh_lifetime),
        code_lifetime: args.code_lifetime.unwrap_or(described.code_lifetime),
        refresh_from: if args.refresh_from_login {
            RefreshFrom::Login
        } else {
            described.refresh_from
        },
        brings_refresh_token: if args.null_refresh_token {
            Brings::Null
        } else {
            described.brings_refresh_token
        },
        rotation: rotation(args, &described.rotation),
        redirect_uris: args.redirect_uri.clone(),
        enrollment: Enrollment {
            auto: match args.auto {
                None => Auto::Off,
                Some(AutoArg::Allow) => Auto::Allow,
                Some(AutoArg::Deny) => Auto::Deny,
            },
            success_url: args.success_url.clone(),
            ..Enrollment::default()
        },
        expiry: match args.expiry {
            ExpiryArg::Number => Expiry::Number,
            ExpiryArg::Text => Expiry::Text,
            ExpiryArg::Absent => Expiry::Absent,
        },
        ..described
    }
}

fn rotation(args: &Args, described: &Rotation) -> Rotation {
    let rotates = args.rotates.map(|rotates| match rotates {
        RotatesArg::Always => Rotates::Always,
        RotatesArg::Sometimes => Rotates::Sometimes,
        RotatesArg::Never => Rotates::Never,
    });
    let reuse = args.reuse.map(|reuse| match reuse {
        ReuseArg::Error => Reuse::Error,
        ReuseArg::Revokes => Reuse::Revokes,
    });
    Rotation {
        rotates: rotates.unwrap_or(described.rotates),
        old_valid: args.old_valid.unwrap_or(described.old_valid),
        old_valid_max: args.old_valid_max,
        reuse: reuse.unwrap_or(described.reuse),
        revokes_old_access: args.revokes_old_access,
    }
}
