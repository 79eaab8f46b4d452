//! `rclone.conf`, as far as tokens go: sections of `key = value` lines, in which
//! `token` is JSON.

use serde_json::Value;

/// A token as rclone keeps it.
#[derive(Clone, PartialEq)]
pub(super) struct Found {
    /// The JSON of its `token`.
    pub(super) token: Value,
    /// The `client_id` beside it; `None`: rclone's own client, or only the token was given.
    pub(super) client_id: Option<String>,
    /// It stood in a section, where a `client_id` would stand too.
    pub(super) in_section: bool,
}

impl std::fmt::Debug for Found {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Found(rclone token)")
    }
}

/// Why no token was found.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RcloneError {
    /// The file is under rclone's own password.
    #[error(
        "this rclone.conf is encrypted; pipe the section in the clear: rclone config show NAME | refreshd import …"
    )]
    Encrypted,
    /// Nothing in it is a token.
    #[error("there is no line `token = {{…}}` in it")]
    NoToken,
    /// The section is not there.
    #[error("it has no section [{wanted}]; with a token it has: {}", there.join(", "))]
    NoSection {
        /// What was asked for.
        wanted: String,
        /// The sections that have one.
        there: Vec<String>,
    },
    /// The section has no token.
    #[error("its section [{0}] has no line `token = {{…}}`")]
    NoTokenIn(String),
    /// More than one section has a token.
    #[error("several sections have a token; name one with --section: {}", .0.join(", "))]
    Several(Vec<String>),
    /// It is no JSON.
    #[error("its token is not JSON ({kind} error at column {column})")]
    Json {
        /// What kind of error.
        kind: String,
        /// Where.
        column: usize,
    },
    /// A section was named, and this is a token alone.
    #[error("this is a token alone, without sections; leave out --section")]
    NoSections,
}

#[derive(Default)]
struct Section<'a> {
    name: Option<&'a str>,
    token: Option<&'a str>,
    client_id: Option<&'a str>,
}

/// Finds the token in what rclone keeps: its JSON, a `token = {…}` line, or a
/// whole `rclone.conf`.
///
/// # Errors
/// When there is none, or it is not clear which.
pub(super) fn find(text: &str, wanted: Option<&str>) -> Result<Found, RcloneError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('{') {
        return match wanted {
            Some(_) => Err(RcloneError::NoSections),
            None => found(text, None, false),
        };
    }
    if text.lines().any(|line| line.starts_with("RCLONE_ENCRYPT_")) {
        return Err(RcloneError::Encrypted);
    }
    let sections = sections(text);
    let with_token = || sections.iter().filter(|s| s.token.is_some());
    let names = || {
        let names = with_token().filter_map(|s| s.name);
        names.map(refreshd_core::text::printable).collect()
    };
    let section = match wanted {
        Some(wanted) => sections
            .iter()
            .find(|s| s.name == Some(wanted))
            .ok_or_else(|| {
                let wanted = refreshd_core::text::printable(wanted);
                let there = names();
                RcloneError::NoSection { wanted, there }
            })?,
        None if with_token().count() > 1 => return Err(RcloneError::Several(names())),
        None => with_token().next().ok_or(RcloneError::NoToken)?,
    };
    let name = || refreshd_core::text::printable(section.name.unwrap_or_default());
    let token = section
        .token
        .ok_or_else(|| RcloneError::NoTokenIn(name()))?;
    found(token, section.client_id, section.name.is_some())
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section::default()];
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            sections.push(Section {
                name: Some(name.trim()),
                ..Section::default()
            });
            continue;
        }
        let section = sections.last_mut().expect("there is one from the start");
        match line
            .split_once('=')
            .map(|(key, value)| (key.trim(), value.trim()))
        {
            Some(("token", value)) if !value.is_empty() => section.token = Some(value),
            Some(("client_id", value)) if !value.is_empty() => section.client_id = Some(value),
            _ => {}
        }
    }
    sections
}

fn found(token: &str, client_id: Option<&str>, in_section: bool) -> Result<Found, RcloneError> {
    let token = serde_json::from_str(token).map_err(|e| RcloneError::Json {
        kind: format!("{:?}", e.classify()).to_lowercase(),
        column: e.column(),
    })?;
    Ok(Found {
        token,
        client_id: client_id.map(str::to_owned),
        in_section,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "# comment\n[plain]\ntype = sftp\nhost = h\n\n[drive]\ntype = drive\nclient_id = id-1\ntoken = {\"access_token\":\"a=b\",\"refresh_token\":\"r\"}\n";

    fn token(found: Result<Found, RcloneError>) -> String {
        found.expect("a token").token["access_token"].to_string()
    }

    #[test]
    fn a_token_is_found_alone_in_a_line_and_in_a_file() {
        assert_eq!(token(find(" {\"access_token\":\"x\"}\n", None)), "\"x\"");
        assert_eq!(
            token(find("token = {\"access_token\":\"x\"}", None)),
            "\"x\""
        );
        let found = find(CONF, None).expect("a token");
        assert_eq!(
            (found.client_id.as_deref(), found.in_section),
            (Some("id-1"), true)
        );
        assert_eq!(token(find(CONF, Some("drive"))), "\"a=b\"");
    }

    #[test]
    fn what_is_not_clear_is_said() {
        assert_eq!(find("", None), Err(RcloneError::NoToken));
        assert_eq!(
            find(CONF, Some("plain")),
            Err(RcloneError::NoTokenIn("plain".to_owned()))
        );
        let error = find(CONF, Some("box")).expect_err("not there").to_string();
        assert!(
            error.contains("[box]") && error.ends_with("drive"),
            "{error}"
        );
        let two = format!("{CONF}[other]\ntoken = {{}}\n");
        assert_eq!(
            find(&two, None),
            Err(RcloneError::Several(vec![
                "drive".to_owned(),
                "other".to_owned()
            ]))
        );
        let encrypted = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nabc=\n";
        assert_eq!(find(encrypted, None), Err(RcloneError::Encrypted));
        let error = find("token = {\"a\": hunter2}", None)
            .expect_err("no JSON")
            .to_string();
        assert!(
            error.contains("column") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
