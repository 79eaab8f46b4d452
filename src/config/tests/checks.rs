//! Names, outputs and what else must fit together.

use super::*;

#[test]
fn unknown_names_with_the_nearest() {
    let text = r#"
[clients.d]
provider = "retentli"
client_id = "id"
[grants.g]
client = "x"
[grants.h]
client = "c"
vars = { shop = "17" }
[grants."Bad name"]
client = "c"
[grants.none]
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:9:12: unknown provider \"retentli\" => did you mean \"retently\"?",
            "refreshd.toml:12:10: unknown client \"x\" => did you mean \"c\"?",
            "refreshd.toml:15:10: unknown variable \"shop\" of provider \"retently\" => it has no variables: take this one out",
            "refreshd.toml:16:9: \"Bad name\" is not a grant's name => a name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit",
            "refreshd.toml:18:9: grant \"none\" has no client => write client = \"…\" under [grants.none]",
        ],
    );
}

#[test]
fn what_a_client_lacks() {
    expect_main(
        "[clients.a]\n[clients.b]\nprovider = \"retently\"\n",
        &[
            "refreshd.toml:1:10: client \"a\" has no provider => write provider = \"…\" under [clients.a]",
            "refreshd.toml:1:10: client \"a\" has no client_id => write client_id = \"…\" under [clients.a]",
            "refreshd.toml:2:10: client \"b\" has no client_id => write client_id = \"…\" under [clients.b]",
            "refreshd.toml:2:10: client \"b\" has no client_secret, and its provider wants one => under [clients.b], client_secret: write { file = \"/…\" }, { env = \"NAME\" } or { credential = \"name\" }",
            "refreshd.toml:2:10: client \"b\" has no redirect_uri, and its provider wants one => write redirect_uri = \"https://…\" under [clients.b]",
        ],
    );
}

#[test]
fn outputs_do_not_meet() {
    let text = r#"
[[clients.c.outputs]]
path = "/run/t/{grant}.json"
[[clients.c.outputs]]
path = "/run/t/fixed"
[grants.a]
client = "c"
[[grants.a.outputs]]
path = "/run/t/./a.json"
[[grants.a.outputs]]
path = "/run/t//a.json"
[[grants.a.outputs]]
path = "/run/t/.a.json.meta.json"
[[grants.a.outputs]]
path = "run/t/a"
[[grants.a.outputs]]
path = "{dir}/state/token"
[[grants.a.outputs]]
path = "/run/t/{gant}"
[[grants.a.outputs]]
path = "/run/t/all"
mode = "0644"
"#;
    let remedy = "give each output a path of its own";
    expect_after_client(
        text,
        &[
            "refreshd.toml:11:8: the path of a client's output must hold {grant}, else its grants would overwrite each other's tokens => write, for example, \"/run/refreshd/tokens/{grant}.json\"",
            "refreshd.toml:15:8: an output's path must name a file, without '.', '..' and control characters => -",
            &format!(
                "refreshd.toml:17:8: output /run/t//a.json would overwrite what clients.c.outputs[0] (grant \"a\") writes => {remedy}"
            ),
            &format!(
                "refreshd.toml:19:8: output /run/t/.a.json.meta.json would overwrite what clients.c.outputs[0] (grant \"a\") beside it writes => {remedy}"
            ),
            "refreshd.toml:21:8: grants.a.outputs[3].path must be an absolute path => begin it with /",
            &format!(
                "refreshd.toml:23:8: output state/token lies inside the state directory state => {remedy}"
            ),
            "refreshd.toml:25:8: only {grant} and {runtime_dir} can stand in braces in an output's path => -",
            "refreshd.toml:28:8: warning: mode \"0644\" gives the token to every user of this machine => let a group read it: mode = \"0640\"",
        ],
    );
}

#[test]
fn proxies_and_certificate_authorities() {
    let text = "proxy = \"ftp://x\"\nca_file = \"{dir}/refreshd.toml\"\n[clients.d]\nprovider = \"retently\"\nclient_id = \"id\"\nredirect_uri = \"/relative\"\nclient_secret = { env = \"SECRET\" }\nproxy = \"http://u:hunter2@p:1\"\nca_file = \"{dir}/none\"\nscopes = [\"a b\"]\n";
    let example = "write, for example, proxy = \"http://proxy.example.com:3128\"";
    expect_after_client(
        text,
        &[
            &format!(
                "refreshd.toml:7:9: proxy must be an http, https, socks5 or socks5h URL with a host => {example}"
            ),
            "refreshd.toml:8:11: ca_file refreshd.toml holds no certificate in PEM form => it must hold the authority's certificate, from -----BEGIN CERTIFICATE----- on",
            "refreshd.toml:12:16: redirect_uri is not an absolute URI: relative URL without a base => -",
            "refreshd.toml:14:9: a user name or password does not stand in the proxy's URL => write proxy = { url = \"…\", user = \"…\", password = { file = \"/…\" } }",
            "refreshd.toml:15:11: cannot read ca_file none: No such file or directory (os error 2) => put the authority's certificate there, in PEM form",
            "refreshd.toml:16:11: warning: a scope holds a space, which stands between scopes => make each an element of the array",
        ],
    );
}

#[test]
fn the_annotated_example_is_in_order() {
    let example = include_str!("../../../config/refreshd.toml");
    let example = example.replace("/etc/refreshd/", "{dir}/");
    let files = [
        ("refreshd.toml", example.as_str()),
        ("secrets/retently", "hunter2\n"),
    ];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    assert_eq!(config.grants.len(), 1);
    assert_eq!(
        config
            .outputs_of("surveys", &config.clients["retently"])
            .len(),
        4
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    // Every line that is commented out is in order too.
    let is_setting = |line: &str| {
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        !key.is_empty() && key.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
    };
    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key) if key.starts_with('[') || is_setting(key) => key,
            _ => line,
        })
        .filter(|line| !line.contains("key = { credential"))
        .collect();
    let text = uncommented.join("\n").replacen("ca_file", "#", 1);
    let files = [
        ("refreshd.toml", text.as_str()),
        ("secrets/retently", "hunter2\n"),
    ];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    assert!(config.clients["retently"].proxy.is_some());
    assert_eq!(
        config.clients["retently"]
            .description
            .lifetime
            .access
            .map(|d| d.as_secs()),
        Some(21_600)
    );
}

#[test]
fn formats_and_their_defaults() {
    let outputs = [
        "",
        "format = \"env\"",
        "format = \"env\"\nvariable = \"GH_TOKEN\"\nquote = \"none\"",
        "format = \"header\"",
        "format = \"header\"\nscheme = \"token\"",
        "format = \"header\"\nheader = \"proxy-authorization\"",
        "format = \"header\"\nheader = \"X-Api-Key\"",
        "format = \"header\"\nscheme = \"\"",
    ];
    let mut text = format!("{CLIENT}[grants.g]\nclient = \"c\"\n");
    for (i, keys) in outputs.iter().enumerate() {
        text += &format!("[[grants.g.outputs]]\npath = \"/run/{i}\"\n{keys}\n");
    }
    let files = [("refreshd.toml", text.as_str())];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    let env = |variable: &str, quote| Format::Env {
        variable: variable.to_owned(),
        quote,
    };
    let header = |name: &str, scheme| Format::Header {
        name: name.to_owned(),
        scheme,
    };
    let formats: Vec<Format> = config.grants["g"]
        .outputs
        .iter()
        .map(|output| output.format.clone())
        .collect();
    let expected = [
        Format::Raw { newline: false },
        env("ACCESS_TOKEN", Quote::Single),
        env("GH_TOKEN", Quote::None),
        header("Authorization", Scheme::OfToken),
        header("Authorization", Scheme::Fixed("token".to_owned())),
        header("proxy-authorization", Scheme::OfToken),
        header("X-Api-Key", Scheme::Absent),
        header("Authorization", Scheme::Absent),
    ];
    assert_eq!(formats, expected);
}

#[test]
fn databases_are_whole_and_meet_nobody() {
    let text = r#"
[grants.a]
client = "c"
[[grants.a.outputs]]
path = "/run/t/a"
[[databases]]
path = "/run/t/good.db"
group = "root"
grants = ["a", "shop-*"]
when_dead = "withdraw"
[[databases]]
path = "/run/t//good.db-wal"
group = "no-such-group-here"
mode = "0666"
[[databases]]
path = "/run/t/.a.meta.json"
group = 12
grants = ["Shop-*", "b"]
[[databases]]
path = "{dir}/state/x.db"
grants = []
[[databases]]
path = "/run/{grant}.db"
[[databases]]
grop = "root"
"#;
    let remedy = "give each database a path of its own";
    expect_after_client(
        text,
        &[
            &format!(
                "refreshd.toml:18:8: database /run/t//good.db-wal would overwrite what databases[0] beside it writes => {remedy}"
            ),
            "refreshd.toml:19:9: there is no group \"no-such-group-here\" on this machine => make it first (groupadd --system NAME), or write its number",
            "refreshd.toml:20:8: warning: mode \"0666\" gives the token to every user of this machine => let a group read it: mode = \"0640\"",
            "refreshd.toml:20:8: mode \"0666\" is not one for a database that others read => write mode = \"0640\" (its group reads) or mode = \"0600\"",
            &format!(
                "refreshd.toml:22:8: database /run/t/.a.meta.json would overwrite what grants.a.outputs[0] (grant \"a\") beside it writes => {remedy}"
            ),
            "refreshd.toml:24:11: \"Shop-*\" matches no grant's name => a pattern is a grant's name, in which * stands for any characters: \"shop-*\"",
            &format!(
                "refreshd.toml:26:8: database state/x.db lies inside the state directory state => {remedy}"
            ),
            "refreshd.toml:27:10: warning: this database is for no grant, so it stays empty => name grants, or take the key out: then all have a row",
            "refreshd.toml:29:8: a database holds a row for each grant: its path has no {grant} => name one file",
            "refreshd.toml:30:1: a database has no path => write path = \"/run/refreshd/tokens/shops.db\"",
            "refreshd.toml:31:1: unknown key \"grop\" in [databases[5]] => did you mean \"group\"?",
        ],
    );
}

#[test]
fn a_database_has_the_grants_that_its_patterns_name() {
    let text = "[[databases]]\npath = \"/run/all.db\"\n[[databases]]\npath = \"/run/shops.db\"\ngroup = 7\ngrants = [\"shop-*\"]\n";
    let files = [("refreshd.toml", text)];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    let of = |name| -> Vec<_> {
        let databases = config.databases_of(name);
        databases.map(|d| d.path.display().to_string()).collect()
    };
    assert_eq!(of("shop-1"), ["/run/all.db", "/run/shops.db"]);
    assert_eq!(of("other"), ["/run/all.db"]);
    assert_eq!(config.databases[1].group, Some(7));
}

#[test]
fn backups_have_a_place_a_time_and_a_number() {
    expect_main(
        "[daemon]\nstate_dir = \"/var/lib/refreshd\"\n[backup]\ndir = \"/var/lib/refreshd/backups\"\nschedule = \"daily\"\nkeep = 0\n",
        &[
            "refreshd.toml:4:7: backup directory /var/lib/refreshd/backups lies inside the state directory: the backups would be lost with it => put it elsewhere, best on another disk",
            "refreshd.toml:5:12: backup.schedule: \"daily\" is no schedule => write second, minute, hour, day, month and weekday, in UTC, as in \"0 30 2 * * *\" for every night at half past two",
            "refreshd.toml:6:8: backup.keep: 0 is not from 1 to 10000 => -",
        ],
    );
    expect_main(
        "[daemon]\nstate_dir = \"/var/lib/refreshd\"\n[backup]\nkeep = 3\n",
        &[
            "refreshd.toml:3:2: backup.dir is missing: no backup would be made => write dir = \"/var/backups/refreshd\", for instance",
        ],
    );
}
