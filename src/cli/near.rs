//! Words that people try as commands, and the command that does what they mean.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use refreshd_core::text::printable;
use std::ffi::OsString;

/// Some words, and what to type for them.
struct Near {
    /// In lower case; one for a command's own subcommands has that command before it.
    words: &'static [&'static str],
    /// An example; `NAME` is replaced by what was typed after the word.
    example: &'static str,
    /// What the example does.
    does: &'static str,
}

const fn near(words: &'static [&'static str], example: &'static str, does: &'static str) -> Near {
    Near {
        words,
        example,
        does,
    }
}

const NEAR: &[Near] = &[
    near(
        &[
            "list",
            "ls",
            "ps",
            "grants",
            "tokens",
            "clients",
            "state",
            "stat",
            "st",
            "top",
            "dashboard",
            "overview",
            "summary",
            "watch",
        ],
        "refreshd status",
        "shows every grant",
    ),
    near(
        &["events", "event", "audit", "audit-log", "timeline", "past"],
        "refreshd history NAME",
        "shows what happened to a grant",
    ),
    near(
        &[
            "show", "info", "describe", "inspect", "view", "details", "expiry", "expires",
        ],
        "refreshd status NAME",
        "shows one grant with its outputs and its last incidents",
    ),
    near(
        &[
            "why",
            "explain",
            "diagnose",
            "diagnostics",
            "debug",
            "problems",
            "errors",
            "incidents",
            "alerts",
            "troubleshoot",
            "fix",
            "repair",
            "heal",
        ],
        "refreshd doctor",
        "shows what needs a person, and what to do about it",
    ),
    near(
        &[
            "health",
            "healthcheck",
            "healthz",
            "ping",
            "alive",
            "ready",
            "probe",
            "monitor",
        ],
        "refreshd status --check",
        "shows every grant, and ends with another exit code than 0 when something is wrong",
    ),
    near(
        &[
            "login",
            "log-in",
            "signin",
            "sign-in",
            "auth",
            "authorise",
            "authenticate",
            "authorization",
            "connect",
            "consent",
            "approve",
            "grant",
            "reauthorize",
            "reauthorise",
            "reauth",
            "reconnect",
            "enroll",
            "enrol",
            "link",
            "device",
            "accept",
            "callback",
            "code",
        ],
        "refreshd authorize NAME",
        "has a person approve a grant, for the first time or again",
    ),
    near(
        &[
            "add",
            "new",
            "create",
            "configure",
            "setup",
            "set-up",
            "install",
            "register",
            "wizard",
            "start-here",
            "client",
            "add-client",
            "add-grant",
            "quickstart",
            "bootstrap",
            "generate",
        ],
        "refreshd init",
        "asks a few questions and writes a first configuration, or a file that adds a client and a grant",
    ),
    near(
        &[
            "config",
            "conf",
            "validate",
            "lint",
            "test",
            "configtest",
            "verify-config",
            "check-config",
            "dry-run",
        ],
        "refreshd check",
        "checks the configuration and names its files",
    ),
    near(
        &[
            "edit",
            "set",
            "enable",
            "disable",
            "rename",
            "apply",
            "hup",
            "reread",
            "reload-config",
            "update-config",
        ],
        "refreshd reload",
        "has the daemon take over the configuration, which you edit as files",
    ),
    near(
        &["logs", "log", "journal", "tail", "follow", "trace"],
        "journalctl -u refreshd -f",
        "follows the log under systemd; elsewhere it is the standard error of `refreshd run`",
    ),
    near(
        &[
            "token",
            "access-token",
            "access_token",
            "print",
            "cat",
            "fetch",
            "read",
            "print-token",
            "get-token",
            "bearer",
            "header",
            "curl",
            "exec",
            "wait",
        ],
        "refreshd get NAME",
        "prints an access token that is valid now",
    ),
    near(
        &[
            "rotate",
            "renew",
            "update",
            "force",
            "force-refresh",
            "refresh-token",
            "exchange",
            "retry",
            "now",
        ],
        "refreshd refresh NAME",
        "has a grant refreshed now, as far as its provider's rules allow",
    ),
    near(
        &[
            "delete",
            "del",
            "rm",
            "forget",
            "drop",
            "purge",
            "unregister",
            "uninstall",
            "clean",
            "prune",
            "unset",
        ],
        "refreshd remove NAME",
        "deletes a grant that was taken out of the configuration",
    ),
    near(
        &[
            "logout",
            "log-out",
            "signout",
            "sign-out",
            "deauthorize",
            "disconnect",
            "unlink",
            "invalidate",
        ],
        "refreshd revoke NAME",
        "has the provider end an authorization",
    ),
    near(
        &[
            "start",
            "daemon",
            "serve",
            "server",
            "up",
            "launch",
            "daemonize",
            "service",
            "background",
            "foreground",
        ],
        "refreshd run",
        "runs the daemon in the foreground; under systemd, `systemctl start refreshd` does",
    ),
    near(
        &[
            "stop", "down", "kill", "quit", "exit", "shutdown", "restart", "drain",
        ],
        "systemctl stop refreshd",
        "stops the daemon under systemd, and `restart` restarts it; elsewhere send it SIGTERM: it finishes what is under way",
    ),
    near(
        &["version", "ver", "about", "-version"],
        "refreshd --version",
        "prints the version",
    ),
    near(
        &[
            "man", "manual", "docs", "doc", "usage", "commands", "?", "-help", "-h",
        ],
        "refreshd --help",
        "lists the commands; each has a --help with an example",
    ),
    near(
        &["export", "dump", "save", "snapshot", "copy"],
        "refreshd backup FILE",
        "copies the state into a file, also while the daemon runs",
    ),
    near(
        &[
            "restore", "recover", "rollback", "unfence", "resume", "unpause", "continue",
            "confirm", "ack",
        ],
        "refreshd doctor",
        "says what waits to be confirmed, such as a restored state, and by which option",
    ),
    near(
        &[
            "load",
            "put",
            "upload",
            "paste",
            "store",
            "import-token",
            "set-token",
            "migrate",
        ],
        "refreshd import NAME < response.json",
        "takes in a token response that was obtained elsewhere",
    ),
    near(
        &["providers", "provider-list", "list-providers"],
        "refreshd provider list",
        "lists the providers that are known",
    ),
    near(
        &[
            "discover",
            "discovery",
            "metadata",
            "issuer",
            "well-known",
            "oidc",
        ],
        "refreshd provider discover https://login.example.com",
        "drafts a provider file from a server's own metadata",
    ),
    near(
        &[
            "keys",
            "key-rotate",
            "rotate-key",
            "seal",
            "unseal",
            "secret",
            "secrets",
        ],
        "refreshd key status",
        "shows the keys that seal the state; client secrets lie in the files that the configuration names",
    ),
    near(
        &[
            "provider ls",
            "provider all",
            "provider status",
            "provider providers",
        ],
        "refreshd provider list",
        "lists the providers that are known",
    ),
    near(
        &[
            "provider add",
            "provider new",
            "provider create",
            "provider init",
            "provider fetch",
            "provider import",
        ],
        "refreshd provider discover https://login.example.com",
        "drafts a provider file from a server's own metadata, to be saved in providers.d/",
    ),
    near(
        &[
            "provider cat",
            "provider print",
            "provider get",
            "provider info",
            "provider describe",
            "provider view",
        ],
        "refreshd provider show NAME",
        "prints a provider's file",
    ),
    near(
        &["key show", "key list", "key ls", "key info", "key get"],
        "refreshd key status",
        "shows which keys there are, and what each still seals",
    ),
    near(
        &[
            "key new",
            "key create",
            "key generate",
            "key renew",
            "key change",
            "key replace",
            "key add",
        ],
        "refreshd key rotate",
        "makes a new key and seals everything with it",
    ),
    near(
        &["key backup", "key save", "key dump", "key print"],
        "refreshd key export FILE",
        "writes the keys into a file under a passphrase",
    ),
    near(
        &["key restore", "key load"],
        "refreshd key import FILE",
        "brings back keys that were exported",
    ),
];

/// What to tell of a command line that names a command which does not exist; `None`
/// for every other error.
pub(super) fn unknown_command(error: &clap::Error, args: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let typed: Vec<String> = args
        .iter()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let at = typed.iter().position(|arg| arg == word)?;
    let names = command_names();
    let within = typed[..at].iter().rfind(|arg| names.contains(arg));
    let after = typed.get(at + 1).filter(|next| is_name(next));
    let within = within.filter(|command| *command != "help");
    Some(advice(
        word,
        within.map(String::as_str),
        after.map(String::as_str),
    ))
}

/// The message: what is unknown, what is near, and an example.
fn advice(word: &str, within: Option<&str>, after: Option<&str>) -> String {
    let whole = within.map_or(word.to_owned(), |command| format!("{command} {word}"));
    let there_is_none = format!("there is no command `refreshd {}`", printable(&whole));
    if let Some(found) = find(&whole) {
        let example = found.example.replace("NAME", after.unwrap_or("NAME"));
        return format!("{there_is_none}; `{example}` {}", found.does);
    }
    match nearest(&whole, within) {
        Some(name) => format!(
            "{there_is_none}; did you mean `refreshd {name}`? `refreshd {name} --help` has an example"
        ),
        None => format!(
            "{there_is_none}; `refreshd --help` lists the commands, and `refreshd status` shows every grant"
        ),
    }
}

fn find(word: &str) -> Option<&'static Near> {
    let plain = word.to_lowercase().replace('_', "-");
    let has = |near: &&Near| {
        near.words
            .iter()
            .any(|known| *known == word || *known == plain)
    };
    NEAR.iter().find(has)
}

/// A command that is written much like it.
fn nearest(whole: &str, within: Option<&str>) -> Option<String> {
    let plain = whole.to_lowercase();
    let inner = |name: &str| -> Vec<String> {
        let arguments = super::Arguments::command();
        let command = arguments.find_subcommand(name);
        let names = command.into_iter().flat_map(clap::Command::get_subcommands);
        names
            .map(|sub| format!("{name} {}", sub.get_name()))
            .collect()
    };
    let names = within.map_or_else(command_names, inner);
    let most = (plain.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&plain, &name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

fn command_names() -> Vec<String> {
    let arguments = super::Arguments::command();
    let names = arguments
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned());
    names.chain(["help".to_owned()]).collect()
}

fn is_name(text: &str) -> bool {
    refreshd_core::name::is_valid(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::collections::BTreeSet;

    fn told(line: &str) -> String {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let error = super::super::Arguments::try_parse_from(&args).expect_err("it is unknown");
        unknown_command(&error, &args).unwrap_or_else(|| panic!("{line}: {error}"))
    }

    #[test]
    fn what_people_try_names_the_near_command() {
        for (line, near) in [
            ("refreshd list", "`refreshd status`"),
            ("refreshd ls", "`refreshd status`"),
            ("refreshd LS", "`refreshd status`"),
            ("refreshd show surveys", "`refreshd status surveys`"),
            ("refreshd login surveys", "`refreshd authorize surveys`"),
            ("refreshd login --no-browser", "`refreshd authorize NAME`"),
            ("refreshd --config a.toml logs", "journalctl -u refreshd"),
            ("refreshd log", "journalctl -u refreshd"),
            ("refreshd why surveys", "`refreshd doctor`"),
            ("refreshd add", "`refreshd init`"),
            ("refreshd token surveys", "`refreshd get surveys`"),
            ("refreshd access_token surveys", "`refreshd get surveys`"),
            ("refreshd rotate surveys", "`refreshd refresh surveys`"),
            ("refreshd delete surveys", "`refreshd remove surveys`"),
            ("refreshd start", "`refreshd run`"),
            ("refreshd stop", "SIGTERM"),
            ("refreshd version", "`refreshd --version`"),
            ("refreshd help list", "`refreshd status`"),
            ("refreshd provider ls", "`refreshd provider list`"),
            ("refreshd key show", "`refreshd key status`"),
            ("refreshd logout surveys", "`refreshd revoke surveys`"),
            ("refreshd stauts", "`refreshd status`"),
            ("refreshd Authorize", "`refreshd authorize`"),
            ("refreshd key rotat", "`refreshd key rotate`"),
            ("refreshd xyzzy", "`refreshd --help`"),
        ] {
            let told = told(line);
            assert!(told.contains(near), "{line}: {told}");
            assert!(told.starts_with("there is no command `refreshd "), "{told}");
        }
    }

    #[test]
    fn what_is_no_name_is_not_put_into_an_example() {
        let told = told("refreshd show $(reboot)");
        assert!(told.contains("`refreshd status NAME`"), "{told}");
    }

    /// A word that has become a command is to be taken out of the table.
    #[test]
    fn no_word_is_a_command_or_stands_twice() {
        let names = command_names();
        let mut seen = BTreeSet::new();
        for word in NEAR.iter().flat_map(|near| near.words) {
            assert!(!names.contains(&(*word).to_owned()), "{word}");
            assert!(seen.insert(word), "{word} stands twice");
        }
    }

    #[test]
    fn each_example_is_a_command_line_that_exists() {
        for near in NEAR {
            let example = near
                .example
                .split(" <")
                .next()
                .expect("there is a first part");
            let Some(rest) = example.strip_prefix("refreshd ") else {
                continue;
            };
            let words = rest.replace("NAME", "surveys").replace("FILE", "/tmp/copy");
            let args = std::iter::once("refreshd").chain(words.split_whitespace());
            let parsed = super::super::Arguments::try_parse_from(args);
            let fine = parsed.as_ref().map_or_else(|e| !e.use_stderr(), |_| true);
            assert!(
                fine,
                "{}: {}",
                near.example,
                parsed.expect_err("it is not fine")
            );
        }
    }
}
