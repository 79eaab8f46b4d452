//! `proxy`, `ca_file`, `allow_networks`.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

#[test]
fn networks_are_checked_one_by_one() {
    let text = r#"allow_networks = ["10.1.2.3/8", "corp.example", "10.0.0.0/33", "fd00::/8", "0.0.0.0/0", "192.168.1.7"]
"#;
    let example =
        "write addresses or networks, as in [\"10.1.2.0/24\", \"fd00::/8\", \"192.168.1.7\"]";
    expect_after_client(
        text,
        &[
            "refreshd.toml:7:19: \"10.1.2.3/8\" is not a network: bits are set behind the first 8 => write \"10.0.0.0/8\", or \"10.1.2.3\" for that address alone",
            &format!(
                "refreshd.toml:7:33: \"corp.example\" is not a network: it does not begin with an IP address => {example}"
            ),
            &format!(
                "refreshd.toml:7:49: \"10.0.0.0/33\" is not a network: what follows the slash is not a number from 0 to 32 => {example}"
            ),
            "refreshd.toml:7:76: warning: 0.0.0.0/0 lets this client's token endpoint be nearly anywhere, this machine and its network included => name the network that it is in",
        ],
    );
    expect_after_client(
        "allow_networks = \"10.0.0.0/8\"\n",
        &[
            "refreshd.toml:7:18: clients.c.allow_networks must be an array, not a string => put it in brackets: allow_networks = [\"…\"]",
        ],
    );
}

#[test]
fn a_token_url_with_a_barred_address_is_noticed() {
    let client = |more: &str| {
        format!("{CLIENT}override = {{ token = {{ url = \"https://10.1.2.3/token\" }} }}\n{more}\n")
    };
    let text = client("");
    expect_main(
        &text,
        &[
            "refreshd.toml:3:12: warning: the token URL's address 10.1.2.3 is private => add allow_networks = [\"10.1.2.0/24\"] to [clients.c] if that is meant",
        ],
    );
    expect_main(&client("allow_networks = [\"10.1.2.3\"]"), &[]);
    expect_main(&client("proxy = \"http://proxy.example.com\""), &[]);
    expect_main(&text.replace("10.1.2.3", "[::1]:8443"), &[]);
}

#[test]
fn a_proxy_has_both_user_and_password_or_none() {
    let client = |name: &str, proxy: &str| {
        let text = CLIENT.replace("[clients.c]", &format!("[clients.{name}]"));
        format!("{text}proxy = {proxy}\n")
    };
    let text = [
        client("a", "{ user = \"u\", password = { env = \"SECRET\" } }"),
        client("b", "{ url = \"http://p\", user = \"u\" }"),
        client(
            "d",
            "{ url = \"http://p\", password = { env = \"SECRET\" } }",
        ),
        client(
            "e",
            "{ url = \"http://p\", user = \"a:b\", password = { env = \"SECRET\" } }",
        ),
        client(
            "f",
            "{ url = \"http://p/path\", user = \"u\", password = { env = \"NOT_SET\" } }",
        ),
        client("g", "{ url = \"http://p\", user = \"u\", password = {} }"),
        client("h", "{ url = \"socks5h://u@p\" }"),
    ]
    .concat();
    let example = "write, for example, proxy = \"http://proxy.example.com:3128\"";
    expect_main(
        &text,
        &[
            "refreshd.toml:7:1: proxy has no url => write proxy = { url = \"http://…\", … }",
            "refreshd.toml:14:1: proxy has a user and no password => write password = { file = \"/…\" } beside it",
            "refreshd.toml:21:1: proxy has a password and no user => write user = \"…\" beside it",
            "refreshd.toml:28:36: the proxy's user is empty, or holds a colon or a control character => -",
            &format!("refreshd.toml:35:17: proxy must be scheme, host and port alone => {example}"),
            "refreshd.toml:35:57: environment variable NOT_SET is not set => -",
            "refreshd.toml:42:52: name one of file, env and credential => write { file = \"/…\" }, { env = \"NAME\" } or { credential = \"name\" }",
            "refreshd.toml:49:17: a user name or password does not stand in the proxy's URL => write proxy = { url = \"…\", user = \"…\", password = { file = \"/…\" } }",
        ],
    );
}

#[test]
fn what_is_no_proxy_at_all_is_told_so() {
    for (written, found) in [("5", "a number"), ("[\"http://p\"]", "an array")] {
        expect_after_client(
            &format!("proxy = {written}\n"),
            &[&format!(
                "refreshd.toml:7:9: clients.c.proxy must be a URL or a table, not {found} => -"
            )],
        );
    }
}

#[test]
fn a_proxy_is_taken_over_with_its_login() {
    let text = format!(
        "{CLIENT}proxy = {{ url = \"http://proxy.example.com:3128/\", user = \"u\", password = {{ env = \"SECRET\" }} }}\nallow_networks = [\"10.0.0.0/8\"]\n"
    );
    let files = [("refreshd.toml", text.as_str())];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    let client = &config.clients["c"];
    let proxy = client.proxy.as_ref().unwrap();
    assert_eq!(proxy.to_string(), "http://proxy.example.com:3128");
    let (user, password) = proxy.login.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose()), ("u", "hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(client.allow_networks[0].to_string(), "10.0.0.0/8");
}

#[test]
fn authorities_that_have_expired_are_noticed() {
    let authority = |year| {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, 2, 3);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().pem()
    };
    let ca = authority(2999) + &authority(2019);
    let text = format!("{CLIENT}ca_file = \"{{dir}}/ca.pem\"\n");
    let files = [("refreshd.toml", text.as_str()), ("ca.pem", ca.as_str())];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        &[
            "refreshd.toml:7:11: warning: certificate 2 in ca_file ca.pem expired on 2019-02-03T00:00:00Z => replace it with the authority's current one, and reload",
        ],
    );
}

#[test]
fn a_redirect_uri_in_the_open_is_noticed() {
    let client = |uri: &str| CLIENT.replace("https://example.com/", uri);
    expect_main(
        &client("http://example.com/callback"),
        &[
            "refreshd.toml:6:16: warning: codes would travel to redirect_uri without encryption => register an https address, or one of this machine, at the provider",
        ],
    );
    for uri in [
        "http://127.0.0.1:7777/callback",
        "http://[::1]/",
        "http://localhost/",
        "com.example.app:/callback",
    ] {
        expect_main(&client(uri), &[]);
    }
}
