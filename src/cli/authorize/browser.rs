//! A browser, where there is one; else how to reach us from a machine that has one.

use std::process::{Command, Stdio};

/// Opens a URL in the person's browser, if there seems to be one. Nothing depends on it.
pub(super) fn open(url: &str, no_browser: bool) {
    if no_browser {
        return;
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let commands = commands(url, &variable);
    // Other users of this machine may read it from the process list: docs/security.md.
    std::thread::spawn(move || commands.iter().any(|command| runs(command)));
}

/// Commands that may open a URL, each with its arguments, likeliest first. What `$BROWSER`
/// names is meant, also without a display and over SSH, where it may be a helper that
/// reaches the person's own machine.
fn commands(url: &str, variable: &dyn Fn(&str) -> String) -> Vec<Vec<String>> {
    let named = variable("BROWSER");
    let mut commands: Vec<Vec<String>> = named
        .split(':')
        .filter_map(|command| arguments(command, url))
        .collect();
    let has = |name: &str| !variable(name).is_empty();
    let own = |program: &str| vec![program.to_owned(), url.to_owned()];
    if !has("SSH_CONNECTION") && (has("DISPLAY") || has("WAYLAND_DISPLAY")) {
        commands.push(own("xdg-open"));
    }
    // Windows' own browser, from its subsystem for Linux.
    if has("WSL_DISTRO_NAME") {
        commands.push(own("wslview"));
    }
    commands
}

/// A command of `$BROWSER`: words, of which quotes and `\` keep blanks; `%s` is the URL,
/// which else comes last. No shell reads it.
fn arguments(command: &str, url: &str) -> Option<Vec<String>> {
    let mut words = words(command);
    // Some write a shell's `&` behind it: it is in the background all the same.
    words.retain(|word| word != "&");
    if words.is_empty() {
        return None;
    }
    let mut has_url = false;
    for word in &mut words[1..] {
        // A percent sign is doubled where it is meant.
        let parts: Vec<&str> = word.split("%%").collect();
        has_url |= parts.iter().any(|part| part.contains("%s"));
        let filled: Vec<String> = parts.iter().map(|part| part.replace("%s", url)).collect();
        *word = filled.join("%");
    }
    if !has_url {
        words.push(url.to_owned());
    }
    Some(words)
}

fn words(command: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None);
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', quote) if quote != Some('\'') => {
                word.get_or_insert_with(String::new).extend(chars.next());
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_with(String::new).push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_with(String::new);
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether a command could be started, and did not fail.
fn runs(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn over_ssh() -> bool {
    std::env::var_os("SSH_CONNECTION").is_some()
}

/// The line that brings the callback's port of this machine to the person's own.
pub(super) fn ssh_hint(port: u16, no_browser: bool) -> Option<String> {
    if !no_browser && !over_ssh() {
        return None;
    }
    // SSH_CONNECTION: client address, client port, server address, server port.
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ').skip(2);
    let host = words
        .next()
        .filter(|host| !host.is_empty())
        .unwrap_or("THIS-MACHINE");
    let ssh_port = words
        .next()
        .filter(|p| *p != "22")
        .map_or(String::new(), |p| format!(" -p {p}"));
    let user = std::env::var("USER").unwrap_or_else(|_| "USER".to_owned());
    Some(format!(
        "If the browser runs on another machine, run this there first, and leave it open:\n  ssh -N -L {port}:127.0.0.1:{port}{ssh_port} {user}@{host}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://as.example/?a=b&c=$(id)%s";

    fn of(variables: &[(&str, &str)]) -> Vec<Vec<String>> {
        commands(URL, &|name| {
            let mut known = variables.iter().filter(|(known, _)| *known == name);
            known
                .next()
                .map_or(String::new(), |(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_browser_variable_is_a_list_of_commands_and_no_shell_reads_it() {
        let browser = |value: &str| of(&[("BROWSER", value)]);
        assert_eq!(browser("/usr/bin/my"), [["/usr/bin/my", URL]]);
        assert_eq!(
            browser("a:b --new '%s' x:: :c \"my dir/%%s\" &"),
            [
                vec!["a", URL],
                vec!["b", "--new", URL, "x"],
                vec!["c", "my dir/%s", URL]
            ]
        );
        assert_eq!(
            browser("my\\ browser --url=%s"),
            [["my browser".to_owned(), format!("--url={URL}")]]
        );
        assert!(browser("").is_empty() && browser(" : ").is_empty());
    }

    #[test]
    fn it_goes_before_the_display_and_without_one() {
        let both = of(&[("BROWSER", "mine"), ("DISPLAY", ":0")]);
        assert_eq!(both, [["mine", URL], ["xdg-open", URL]]);
        let ssh = of(&[
            ("BROWSER", "helper"),
            ("DISPLAY", ":10"),
            ("SSH_CONNECTION", "a b c d"),
        ]);
        assert_eq!(ssh, [["helper", URL]]);
        assert!(of(&[("DISPLAY", ":10"), ("SSH_CONNECTION", "a b c d")]).is_empty());
        assert_eq!(of(&[("WAYLAND_DISPLAY", "w")]), [["xdg-open", URL]]);
        assert_eq!(of(&[("WSL_DISTRO_NAME", "Debian")]), [["wslview", URL]]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn one_that_fails_is_followed_by_the_next() {
        let command = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(!runs(&command(&["/nonexistent/browser"])));
        assert!(!runs(&command(&["false"])));
        assert!(runs(&command(&["true"])));
    }
}
