//! `[enroll]`, `[clients.NAME.push]`.

use super::*;
use std::time::Duration;

const RETM: &str = r#"
[clients.r]
provider = "retm"
client_id = "id"
client_secret = { env = "SECRET" }
"#;

fn config(text: &str) -> Config {
    let files = [("refreshd.toml", text)];
    let case = Case {
        files: &files,
        ..Case::default()
    };
    case.config()
}

#[test]
fn what_is_not_said() {
    let config = config(RETM);
    let enroll = &config.enroll;
    assert_eq!((enroll.listen, &enroll.public_url), (None, &None));
    assert_eq!(enroll.link_valid, Duration::from_secs(86_400));
    let push = &config.clients["r"].push;
    assert_eq!((push.path.as_str(), push.quarantine), ("r", false));
    assert_eq!(push.grant, "{business_id}");
}

#[test]
fn addresses_are_made_below_the_public_one() {
    for (url, address, prefix) in [
        (
            "https://auth.example.com",
            "https://auth.example.com/callback",
            "",
        ),
        (
            "https://auth.example.com/refreshd/",
            "https://auth.example.com/refreshd/callback",
            "/refreshd",
        ),
        (
            "http://[::1]:8790/a/b",
            "http://[::1]:8790/a/b/callback",
            "/a/b",
        ),
    ] {
        let text = format!("[enroll]\nlisten = \"[::1]:8790\"\npublic_url = \"{url}\"\n");
        let enroll = config(&text).enroll;
        assert_eq!(enroll.public("callback").as_deref(), Some(address));
        assert_eq!(enroll.prefix(), prefix);
    }
}

#[test]
fn wrong_addresses() {
    let example = "write the address at which your https proxy passes requests on, as in \"https://auth.example.com/refreshd\"";
    for (url, problem) in [
        (
            "auth.example.com",
            "it is not a URL: relative URL without a base",
        ),
        (
            "http://auth.example.com",
            "plain http is accepted for loopback addresses and *.localhost only; use https",
        ),
        (
            "ftp://auth.example.com",
            "scheme \"ftp\" is not accepted; use https",
        ),
        (
            "https://me@auth.example.com",
            "a URL with a user name or password is not accepted",
        ),
        (
            "https://auth.example.com/?a=b",
            "it may have neither a query nor a fragment",
        ),
        (
            "https://auth.example.com/#a",
            "it may have neither a query nor a fragment",
        ),
    ] {
        let text = format!("[enroll]\nlisten = \"127.0.0.1:8790\"\npublic_url = \"{url}\"\n");
        let told = format!("refreshd.toml:3:14: enroll.public_url: {problem} => {example}");
        expect_main(&text, &[&told]);
    }
    for path in ["a//b", "{x}", "a%20b"] {
        let text = format!(
            "[enroll]\nlisten = \"127.0.0.1:8790\"\npublic_url = \"https://a.example/{path}\"\n"
        );
        let files = [("refreshd.toml", text.as_str())];
        let case = Case {
            files: &files,
            ..Case::default()
        };
        let problems = case.problems();
        assert!(
            problems[0].contains("something else than letters"),
            "{problems:?}"
        );
    }
    expect_main(
        "[enroll]\nlisten = \"localhost:8790\"\n",
        &[
            "refreshd.toml:2:10: enroll.listen: \"localhost:8790\" is not an address with a port => write an IP address, as in \"127.0.0.1:8790\" or \"[::1]:8790\"",
        ],
    );
    expect_main(
        "[enroll]\npublic_url = \"https://auth.example.com\"\nlink_valid = \"90d\"\n",
        &[
            "refreshd.toml:1:2: enroll.listen is missing: nobody would answer at public_url => write listen = \"127.0.0.1:8790\"",
            "refreshd.toml:3:14: enroll.link_valid is not from 1s to 30d => -",
        ],
    );
    expect_main(
        "[enroll]\nlisten = \"0.0.0.0:8790\"\n",
        &[
            "refreshd.toml:2:10: warning: 0.0.0.0:8790 is open to other machines, and there is no public_url: codes and pages would travel in the clear => listen on 127.0.0.1 behind a proxy that speaks https, and name its address as public_url",
        ],
    );
}

#[test]
fn pushes_and_their_grants() {
    let remedy = "write grant = \"{business_id}\", or \"shop-{business_id}\"";
    for (grant, problem) in [
        (
            "shop",
            "\"shop\" does not contain {business_id}: all businesses would be one grant",
        ),
        (
            "{shop}-{business_id}",
            "{shop} has no value: it is no variable of the provider's",
        ),
        (
            "Shop {business_id}",
            "\"Shop x\" would not be a grant's name; a name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit",
        ),
    ] {
        let text = format!("{RETM}[clients.r.push]\ngrant = \"{grant}\"\n");
        expect_main(
            &text,
            &[&format!("refreshd.toml:7:9: {problem} => {remedy}")],
        );
    }
    let text = format!("{RETM}[clients.r.push]\npath = \"a/b\"\n");
    expect_main(
        &text,
        &[
            "refreshd.toml:7:8: \"a/b\" is not one part of a path => here, a name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit",
        ],
    );
    let other = RETM.replace("clients.r", "clients.s");
    let text = format!("{RETM}[clients.r.push]\npath = \"s\"\n{other}");
    expect_main(
        &text,
        &["refreshd.toml:7:8: push path \"s\" of client \"r\" is client \"s\"'s already => -"],
    );
    expect_after_client(
        "[clients.c.push]\nquarantine = true\n",
        &[
            "refreshd.toml:7:12: warning: provider \"retently\" does not push codes => take this table out",
        ],
    );
}
