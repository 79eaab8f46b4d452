//! What an output writes: the keys of its format, and of no other.

use super::super::raw::{RawFormat, RawOutput};
use super::super::{Format, Scheme};
use super::Check;
use refreshd_core::text::is_http_token;

impl Check<'_> {
    pub(super) fn format(&mut self, at: &[&str; 4], raw: &RawOutput) -> Format {
        self.foreign_keys(at, raw);
        match raw.format {
            RawFormat::Raw => Format::Raw {
                newline: raw.newline.unwrap_or(false),
            },
            RawFormat::Json => Format::Json,
            RawFormat::Env => Format::Env {
                variable: self.variable(at, raw.variable.as_deref()),
                quote: raw.quote.unwrap_or_default(),
            },
            RawFormat::Header => self.header(at, raw),
        }
    }

    /// Keys that say something about another format.
    fn foreign_keys(&mut self, at: &[&str; 4], raw: &RawOutput) {
        let keys = [
            ("newline", raw.newline.is_some(), RawFormat::Raw, "raw"),
            ("variable", raw.variable.is_some(), RawFormat::Env, "env"),
            ("quote", raw.quote.is_some(), RawFormat::Env, "env"),
            ("header", raw.header.is_some(), RawFormat::Header, "header"),
            ("scheme", raw.scheme.is_some(), RawFormat::Header, "header"),
        ];
        for (key, is_there, format, name) in keys {
            if is_there && raw.format != format {
                let message = format!("{key} goes with format = {name:?} only");
                let remedy = format!("write format = {name:?}, or take {key} out");
                self.wrong_key(&within(at, key), message, Some(remedy));
            }
        }
    }

    fn variable(&mut self, at: &[&str; 4], variable: Option<&str>) -> String {
        let Some(variable) = variable else {
            return "ACCESS_TOKEN".to_owned();
        };
        let remedy = "write, for example, variable = \"ACCESS_TOKEN\"".to_owned();
        if !is_variable(variable) {
            let message = format!(
                "{variable:?} is not a variable's name: letters, digits and _, not beginning with a digit"
            );
            self.wrong(&within(at, "variable"), message, Some(remedy));
        } else if is_taken(variable) {
            let message = format!(
                "{variable:?} has a meaning of its own to shells, loaders or interpreters; whoever reads the file would break"
            );
            self.wrong(&within(at, "variable"), message, Some(remedy));
        }
        variable.to_owned()
    }

    fn header(&mut self, at: &[&str; 4], raw: &RawOutput) -> Format {
        let name = raw.header.as_deref().unwrap_or("Authorization");
        if !is_http_token(name) {
            let message = format!(
                "{name:?} is not a header's name, which has no spaces, colons or other separators"
            );
            let remedy =
                "write, for example, header = \"X-Api-Key\"; the colon is added".to_owned();
            self.wrong(&within(at, "header"), message, Some(remedy));
        }
        let scheme = match raw.scheme.as_deref() {
            None if takes_scheme(name) => Scheme::OfToken,
            None | Some("") => Scheme::Absent,
            Some(scheme) => {
                if !is_http_token(scheme) {
                    let message =
                        format!("{scheme:?} is not an authentication scheme, a single word");
                    let remedy = "write, for example, scheme = \"Bearer\", or scheme = \"\" for none; the space is added";
                    self.wrong(&within(at, "scheme"), message, Some(remedy.to_owned()));
                }
                Scheme::Fixed(scheme.to_owned())
            }
        };
        Format::Header {
            name: name.to_owned(),
            scheme,
        }
    }
}

fn within<'a>(at: &[&'a str; 4], key: &'a str) -> [&'a str; 5] {
    [at[0], at[1], at[2], at[3], key]
}

/// The headers that RFC 9110 §11.6 and §11.7 give a scheme; others hold the bare token.
fn takes_scheme(header: &str) -> bool {
    ["authorization", "proxy-authorization"]
        .iter()
        .any(|name| header.eq_ignore_ascii_case(name))
}

/// A name as POSIX shells take it.
fn is_variable(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(fits) && name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
}

/// What a shell sets itself, refuses to have set, or works by.
const OF_SHELLS: &str = "_ ARGV CDPATH COLUMNS DIRSTACK EGID ENV EUID FPATH FUNCNAME FUNCNEST GID \
    GLOBIGNORE GLOBSORT GROUPS HISTCMD HISTFILE HOME HOSTNAME HOSTTYPE IFS LINENO LINES LOGNAME \
    MACHTYPE MAPFILE OLDPWD OPTARG OPTERR OPTIND OSTYPE PATH PIPESTATUS POSIXLY_CORRECT PPID \
    PROMPT_COMMAND PS1 PS2 PS3 PS4 PWD RANDOM READNULLCMD REPLY SECONDS SHELL SHELLOPTS SHLVL \
    SRANDOM STATUS TERM TMOUT TMPDIR UID USER USERNAME ZDOTDIR";
/// Where loaders and interpreters find code and options.
const OF_LOADERS: &str = "CLASSPATH GCONV_PATH JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS \
    LOCPATH NODE_OPTIONS NODE_PATH PERL5LIB PERL5OPT PERLLIB PHPRC PYTHONHOME PYTHONPATH \
    PYTHONSTARTUP RUBYLIB RUBYOPT";
/// What HTTP clients take for a proxy: they would look the token up as a host.
const OF_CLIENTS: &str = "ALL_PROXY FTP_PROXY HTTPS_PROXY HTTP_PROXY NO_PROXY";
const PREFIXES: [&str; 5] = ["BASH", "COMP_", "DYLD_", "EPOCH", "LD_"];

/// Names that would break whoever reads the file. Case does not count: zsh ties
/// `path` to `PATH`, and proxies are read in lower case.
fn is_taken(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [OF_SHELLS, OF_LOADERS, OF_CLIENTS]
        .iter()
        .any(|names| names.split(' ').any(|taken| taken == name))
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables() {
        for good in [
            "ACCESS_TOKEN",
            "_t",
            "a1",
            "NODE_AUTH_TOKEN",
            "PYTHON_TOKEN",
        ] {
            assert!(is_variable(good) && !is_taken(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "A.B", "A B", "A=", "É", "A\n"] {
            assert!(!is_variable(bad), "{bad:?}");
        }
        for bad in [
            "PATH",
            "path",
            "LD_PRELOAD",
            "BASH_ENV",
            "UID",
            "https_proxy",
            "_",
        ] {
            assert!(is_taken(bad), "{bad}");
        }
    }
}
