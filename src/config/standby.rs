//! A configuration that is broken, and the one that is served by meanwhile.

use super::{Config, LastSound, Loaded, Problem, Severity, Sources};
use refreshd_core::text::counted;

/// What the daemon begins with.
#[derive(Debug)]
pub struct Boot {
    /// The configuration in force.
    pub config: Config,
    /// How it was read, where it is the one on disk.
    pub loaded: Option<Loaded>,
    /// Set where that is not the one on disk.
    pub broken: Option<Broken>,
}

/// What is wrong with the configuration on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The first error, on a line, and how many there are.
    what: String,
    /// When the one in force was taken over.
    since: String,
}

impl Broken {
    /// Of these problems; the configuration in force was taken over at that time.
    #[must_use]
    pub fn new(problems: &[Problem], since: String) -> Self {
        let errors = problems.iter().filter(|p| p.severity == Severity::Error);
        let count = errors.clone().count();
        let first = errors.map(Problem::line).next().unwrap_or_default();
        let what = match count {
            0 | 1 => first,
            _ => format!("{first}; {} in all", counted(count, "error")),
        };
        Broken { what, since }
    }

    /// When the configuration in force was taken over.
    #[must_use]
    pub fn since(&self) -> &str {
        &self.since
    }

    /// For a person: what is wrong, what goes on, what to do.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "the configuration is broken, and is not in force: {}. The one of {} is. See `refreshd check`, mend it, then `refreshd reload`",
            self.what, self.since
        )
    }
}

/// Keeps what was taken over, so that a boot can begin by it.
pub(crate) async fn keep(loaded: &Loaded, sources: &Sources, at: String) {
    let config = loaded.config.as_ref();
    let last = config.and_then(|config| LastSound::of(loaded, config, sources, at));
    let Some(last) = last else {
        return;
    };
    let sources = sources.clone();
    let kept = tokio::task::spawn_blocking(move || last.keep(&sources)).await;
    if let Ok(Err(e)) = kept {
        tracing::warn!("the configuration could not be kept for a boot with a broken one: {e}");
    }
}
