//! Groups and users by name: `/etc/group` and `/etc/passwd`, and for what comes
//! over the network `getent`.

use std::process::{Command, Stdio};

/// A list of names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    Groups,
    Users,
}

impl Ids {
    /// The word for one of them, in messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Ids::Groups => "group",
            Ids::Users => "user",
        }
    }

    /// The number of a name; `None` when there is no such name.
    pub(super) fn number_of(self, name: &str) -> Option<u32> {
        number_in(&self.local(), name).or_else(|| number_in(&self.getent(name)?, name))
    }

    fn local(self) -> String {
        let file = match self {
            Ids::Groups => "/etc/group",
            Ids::Users => "/etc/passwd",
        };
        std::fs::read_to_string(file).unwrap_or_default()
    }

    fn getent(self, name: &str) -> Option<String> {
        let database = match self {
            Ids::Groups => "group",
            Ids::Users => "passwd",
        };
        let output = Command::new("getent")
            .args([database, "--", name])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        String::from_utf8(output.stdout).ok()
    }
}

/// A group's number; `None` when there is no such group.
#[must_use]
pub fn group_number(name: &str) -> Option<u32> {
    Ids::Groups.number_of(name)
}

/// A user's number; `None` when there is no such user.
#[must_use]
pub fn user_number(name: &str) -> Option<u32> {
    Ids::Users.number_of(name)
}

/// A group as a person knows it: its name, or its number where it has none here.
#[must_use]
pub fn group_name(number: u32) -> String {
    name_in(&Ids::Groups.local(), number).unwrap_or_else(|| number.to_string())
}

/// A user as a person knows it: its name, or its number where it has none here.
#[must_use]
pub fn user_name(number: u32) -> String {
    name_in(&Ids::Users.local(), number).unwrap_or_else(|| number.to_string())
}

/// The first group of a user, by /etc/passwd.
pub(super) fn user_gid(uid: u32) -> Option<u32> {
    gid_in(&Ids::Users.local(), uid)
}

/// The groups of which a user is a member besides, by /etc/group.
pub(super) fn groups_with(user: &str) -> Vec<u32> {
    numbers_with(&Ids::Groups.local(), user)
}

fn gid_in(lines: &str, uid: u32) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let found = fields.next()?.parse() == Ok(uid);
        found.then(|| fields.next()?.parse().ok()).flatten()
    })
}

fn numbers_with(lines: &str, user: &str) -> Vec<u32> {
    let number = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, number, members] = *fields else {
            return None;
        };
        let is_one = members.split(',').any(|member| member.trim() == user);
        number.parse().ok().filter(|_| is_one)
    };
    lines.lines().filter_map(number).collect()
}

fn number_in(lines: &str, name: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        found.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

fn name_in(lines: &str, number: u32) -> Option<String> {
    lines.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let found = rest.split(':').nth(1)?.parse() == Ok(number);
        found.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_all_of_it_and_a_number_by_its_own() {
        let lines = "root:x:0:\nlegacy2:x:7:\nlegacy:x:1007:a,b\nbroken\n";
        assert_eq!(number_in(lines, "legacy"), Some(1007));
        assert_eq!(number_in(lines, "leg"), None);
        assert_eq!(number_in(lines, "broken"), None);
        assert_eq!(name_in(lines, 1007).as_deref(), Some("legacy"));
        assert_eq!(numbers_with(lines, "b"), [1007]);
        let users = "root:x:0:0:root:/root:/bin/sh\na:x:12:34::/:\n";
        assert_eq!((gid_in(users, 12), gid_in(users, 34)), (Some(34), None));
        assert_eq!(name_in(lines, 1), None);
        for ids in [Ids::Groups, Ids::Users] {
            assert_eq!(ids.number_of("root"), Some(0));
            assert_eq!(ids.number_of("no-such-name-here"), None);
        }
        assert_eq!(
            (group_name(0), user_name(0)),
            ("root".into(), "root".into())
        );
        assert_eq!(group_name(4_000_000_123), "4000000123");
    }
}
