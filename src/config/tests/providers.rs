//! Provider files, overrides and variables.

use super::*;

const OVERLAY: &str = "name = \"shop\"\nbase = \"retently\"\n[token]\nurl = \"https://{shop}.example.com/token\"\nclient = { auth = \"basic\" }\n\
                       [vars.shop]\nformat = \"dns-label\"\n[vars.zone]\ndefault = \"eu\"\n[schedule]\nlead = \"3m\"\nmin_age = \"30s\"\nat_most = \"20d\"\n\
                       [errors]\ntransient = [\"E_BUSY\"]\n";

#[test]
fn provider_files_overlay_and_replace() {
    let main = "[clients.s]\nprovider = \"shop2\"\nclient_id = \"id\"\nclient_secret = { env = \"SECRET\" }\nredirect_uri = \"https://a/\"\n\
                schedule = { lead = \"2m\", at_most = \"10d\" }\noverride = { lifetime = { access = \"2h\" } }\n\
                [[clients.s.outputs]]\npath = \"/run/t/{grant}.json\"\n\
                [grants.g]\nclient = \"s\"\nvars = { shop = \"one\" }\nschedule = { max_per_window = \"5/1h\" }\n\
                [[grants.g.outputs]]\npath = \"/run/t/x\"\nformat = \"raw\"\n\
                [clients.r]\nprovider = \"retently\"\nclient_id = \"id\"\n";
    let files = [
        ("refreshd.toml", main),
        ("providers.d/a.toml", OVERLAY),
        (
            "providers.d/b.toml",
            "name = \"shop2\"\nbase = \"shop\"\n[rotation]\nold_valid = \"5m\"\n",
        ),
        (
            "providers.d/retently.toml",
            "name = \"retently\"\nbase = \"retently\"\n[token.client]\nauth = \"none\"\n[refresh.params]\nredirect_uri = \"x\"",
        ),
    ];
    let config = Case {
        files: &files,
        ..Case::default()
    }
    .config();
    let client = &config.clients["s"];
    let description = &client.description;
    assert_eq!(description.name, "shop2");
    assert_eq!(description.token.url, "https://{shop}.example.com/token");
    assert_eq!(description.lifetime.access.map(|d| d.as_secs()), Some(7200));
    assert_eq!(String::from(description.rotation.old_valid), "300000ms");
    assert!(description.authorize.is_some(), "from the embedded file");
    assert_eq!(
        description.refresh.params["redirect_uri"], "x",
        "from the replaced file"
    );
    assert_eq!(client.hash, description.hash());
    let schedule = config.schedule_of("g", client);
    assert_eq!(schedule.lead.map(|d| d.as_secs()), Some(120));
    assert_eq!(schedule.min_age.map(|d| d.as_secs()), Some(30));
    assert_eq!(schedule.max_per_window.map(|w| w.count), Some(5));
    let day = std::time::Duration::from_secs(86_400);
    assert_eq!(
        schedule.at_most,
        Some(day * 10),
        "the client's before the provider's"
    );
    assert_eq!(description.schedule.at_most, Some(day * 20));
    assert_eq!(description.errors.transient, ["E_BUSY"]);
    let vars = config.grant_vars("g", client);
    assert_eq!(
        vars,
        BTreeMap::from([("shop".into(), "one".into()), ("zone".into(), "eu".into())])
    );
    let paths: Vec<_> = config
        .outputs_of("g", client)
        .into_iter()
        .map(|o| o.path)
        .collect();
    assert_eq!(paths, [Path::new("/run/t/g.json"), Path::new("/run/t/x")]);
    let paths: Vec<_> = config
        .outputs_of("added", client)
        .into_iter()
        .map(|o| o.path)
        .collect();
    assert_eq!(paths, [Path::new("/run/t/added.json")]);
}

#[test]
fn problems_in_provider_files_point_into_them() {
    let files = [
        (
            "refreshd.toml",
            "[clients.a]\nprovider = \"one\"\nclient_id = \"i\"\n[clients.b]\nprovider = \"gone\"\nclient_id = \"i\"\n",
        ),
        (
            "providers.d/1.toml",
            "name = \"one\"\n[token]\nurl = \"http://example.com/\"\nbdy = \"form\"\nbody = 1\n[rotation]\nold_valid = \"now\"\n",
        ),
        (
            "providers.d/2.toml",
            "name = \"two\"\n[token]\nbody = \"xml\"\n",
        ),
        ("providers.d/3.toml", "name = \"one\"\n"),
        ("providers.d/4.toml", "[token]\n"),
        (
            "providers.d/5.toml",
            "name = \"ring-a\"\nbase = \"ring-b\"\n",
        ),
        (
            "providers.d/6.toml",
            "name = \"ring-b\"\nbase = \"ring-a\"\n",
        ),
        (
            "providers.d/7.toml",
            "name = \"seven\"\nbase = \"retentli\"\n",
        ),
        (
            "providers.d/8.toml",
            "name = \"eight\"\nbase = \"retently\"\n[token]\nurl = \"https://{x}/\"\n[rotation]\nold_valid_max = \"1m\"\n[vars.y]\nformat = \"host\"\ndefault = \"a b\"\n",
        ),
        (
            "providers.d/9.toml",
            "name = \"nine\"\n[token]\nurl = \"https://a.example/t#x\"\nparams = { audience = \"{nope}\", grant_type = \"x\" }\n[token.headers]\n\"X-A\" = \"{nope}\"\n",
        ),
        ("providers.d/gone.toml", "name ="),
    ];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        &[
            "providers.d/1.toml:3:7: token.url: plain http is accepted for loopback addresses and *.localhost only; use https => -",
            "providers.d/1.toml:4:1: unknown key \"bdy\" in [token] => did you mean \"body\"?",
            "providers.d/1.toml:5:8: token.body must be a string, not a number => put it in quotes: body = \"…\"",
            "providers.d/1.toml:7:13: rotation.old_valid: old_valid = \"now\": expected \"0s\", a duration, \"until-used\" or \"forever\" => -",
            "providers.d/2.toml:2:2: missing key \"url\" in [token] => -",
            "providers.d/2.toml:3:8: token.body = \"xml\" is not known => known values: form, json, query",
            "providers.d/3.toml:1:8: provider \"one\" is described by another file too => rename one of them, or remove it",
            "providers.d/4.toml: a provider file needs a name => write name = \"4\"",
            "providers.d/5.toml:2:8: provider \"ring-a\" lies over itself, by way of \"ring-b\" => let one of them stand without base",
            "providers.d/6.toml:2:8: provider \"ring-b\" lies over itself, by way of \"ring-a\" => let one of them stand without base",
            "providers.d/7.toml:2:8: unknown provider \"retentli\" => did you mean \"retently\"?",
            "providers.d/8.toml:4:7: token.url: {x} has no value; declare it as [vars.x] => -",
            "providers.d/8.toml:6:17: rotation.old_valid_max: it goes with old_valid = \"until-used\" only => -",
            "providers.d/8.toml:9:11: vars.y.default: \"a b\" is not a host name, with :port if need be => -",
            "providers.d/9.toml:3:7: token.url: what follows a # is never sent; take it out, or write %23 => -",
            "providers.d/9.toml:4:23: token.params.audience: nothing fills {nope}; declare it as [vars.nope], or use {client_id}, {redirect_uri}, {scope}, {code} => -",
            "providers.d/9.toml:4:46: token.params.grant_type: it would take the place of the refresh's own grant_type, too; write it under [refresh] params if it is for refreshes, or take it out => -",
            "providers.d/9.toml:6:9: token.headers.X-A: nothing fills {nope}; declare it as [vars.nope], or use {client_id}, {redirect_uri}, {scope}, {code} => -",
            "providers.d/gone.toml:1:7: malformed TOML => -",
        ],
    );
}

#[test]
fn problems_in_overrides_point_into_the_main_configuration() {
    let text = "[clients.c.override.token]\nurl = \"http://example.com/\"\nclient = { auth = \"magic\" }\n[clients.c.override.rotation]\nold_valid_max = \"1m\"\n";
    let files = [("refreshd.toml", CLIENT), ("conf.d/1.toml", text)];
    expect(
        &Case {
            files: &files,
            env: &[("REFRESHD_CLIENTS__C__OVERRIDE__TOKEN__BODY", "xml")],
            ..Case::default()
        },
        &[
            "REFRESHD_CLIENTS__C__OVERRIDE__TOKEN__BODY: token.body = \"xml\" is not known => known values: form, json, query",
            "conf.d/1.toml:2:7: token.url: plain http is accepted for loopback addresses and *.localhost only; use https => -",
            "conf.d/1.toml:3:19: token.client.auth = \"magic\" is not known => known values: basic, basic-raw, body, query, none",
            "conf.d/1.toml:5:17: rotation.old_valid_max: it goes with old_valid = \"until-used\" only => -",
        ],
    );
}

#[test]
fn variables_of_grants() {
    let main = format!(
        "[clients.s]\nprovider = \"shop\"\nclient_id = \"id\"\nclient_secret = {{ env = \"SECRET\" }}\nredirect_uri = \"https://a/\"\n{}",
        "[grants.a]\nclient = \"s\"\n[grants.b]\nclient = \"s\"\nvars = { shop = \"evil.com/\", zon = \"x\" }\n[grants.c]\nclient = \"s\"\nvars.shop = \"fine\"\n"
    );
    let files = [
        ("refreshd.toml", main.as_str()),
        ("providers.d/a.toml", OVERLAY),
    ];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        &[
            "refreshd.toml:6:9: grant \"a\" lacks the variable \"shop\" of provider \"shop\" => write vars = { shop = \"…\" } under [grants.a]",
            "refreshd.toml:10:17: grants.b.vars.shop: \"evil.com/\" is not one DNS label (a-z, 0-9 and '-' inside, at most 63 characters, no xn--) => -",
            "refreshd.toml:10:30: unknown variable \"zon\" of provider \"shop\" => did you mean \"zone\"?",
        ],
    );
}

#[test]
fn a_filled_url_is_checked_again() {
    let provider = "name = \"p\"\n[token]\nurl = \"https://{host}:8443/\"\nclient = { auth = \"none\" }\n[vars.host]\nformat = \"host\"\n";
    let main = "[clients.p]\nprovider = \"p\"\nclient_id = \"id\"\n[grants.g]\nclient = \"p\"\nvars = { host = \"a:80\" }\n";
    let files = [("refreshd.toml", main), ("providers.d/p.toml", provider)];
    let problems = Case {
        files: &files,
        ..Case::default()
    }
    .problems();
    assert_eq!(
        problems,
        [
            "refreshd.toml:6:8: token.url with the variables of grant \"g\" is https://a:80:8443/: it is not a URL: invalid port number => -"
        ]
    );
}

#[test]
fn a_host_from_a_variable_is_judged_when_it_is_known() {
    let provider = "name = \"p\"\n[token]\nurl = \"http://{host}/\"\nclient = { auth = \"none\" }\n[vars.host]\nformat = \"host\"\n";
    let main = "[clients.p]\nprovider = \"p\"\nclient_id = \"id\"\n[grants.near]\nclient = \"p\"\nvars = { host = \"127.0.0.1:80\" }\n[grants.far]\nclient = \"p\"\nvars = { host = \"a\" }\n";
    let files = [("refreshd.toml", main), ("providers.d/p.toml", provider)];
    expect(
        &Case {
            files: &files,
            ..Case::default()
        },
        &[
            "refreshd.toml:9:8: token.url with the variables of grant \"far\" is http://a/: plain http is accepted for loopback addresses and *.localhost only; use https => -",
        ],
    );
}

#[test]
fn embedded_providers_are_in_order() {
    let mut problems = Vec::new();
    let registry = provider_files::Registry::new(&[], &mut problems);
    assert_eq!(problems, []);
    for (name, (file, _)) in known_provider_names().iter().zip(embedded_provider_files()) {
        assert!(matches!(
            registry.find(name),
            provider_files::Lookup::Good(..)
        ));
        assert_eq!(file, format!("{name}.toml"));
    }
}
