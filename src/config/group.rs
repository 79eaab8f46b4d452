//! Groups by name: `/etc/group`, and for what comes over the network `getent`.

use std::process::{Command, Stdio};

/// A group's number; `None` when there is no such group.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let known = std::fs::read_to_string("/etc/group").unwrap_or_default();
    number_in(&known, name).or_else(|| number_in(&getent(name)?, name))
}

fn number_in(lines: &str, name: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        found.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn getent(name: &str) -> Option<String> {
    let output = Command::new("getent")
        .args(["group", "--", name])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let lines = "root:x:0:\nlegacy2:x:7:\nlegacy:x:1007:a,b\nbroken\n";
        assert_eq!(number_in(lines, "legacy"), Some(1007));
        assert_eq!(number_in(lines, "leg"), None);
        assert_eq!(number_in(lines, "broken"), None);
        assert_eq!(number_of("root"), Some(0));
        assert_eq!(number_of("no-such-group-here"), None);
    }
}
