//! Malformed TOML, unknown keys, wrong types.

use super::*;

#[test]
fn malformed_toml_is_placed_and_the_other_files_are_read() {
    let files = [
        ("refreshd.toml", "[daemon]\nmax_flights = = 3\n"),
        ("conf.d/10.toml", "[daemon]\nmax_flight = 3\n"),
        ("providers.d/x.toml", "name = \"x\"\n[token\n"),
    ];
    let case = Case {
        files: &files,
        ..Case::default()
    };
    expect(
        &case,
        &[
            "conf.d/10.toml:2:1: unknown key \"max_flight\" in [daemon] => did you mean \"max_flights\"?",
            "providers.d/x.toml:2:7: malformed TOML: invalid table header, expected `.`, `]` => -",
            "refreshd.toml:2:15: malformed TOML: invalid string, expected `\"`, `'` => -",
        ],
    );
}

#[test]
fn unknown_keys_at_every_level_are_told_at_once() {
    let text = r#"
[[grants.g.outputs]]
path = "/run/x"
fromat = "raw"
[grants.g]
client = "c"
schedul = {}
[grants.g.schedule]
leed = "5m"
[clients.c.override.rotation]
old_valit = "5m"
[clients.c.override]
tokn = {}
[daemn]
[daemon]
key = { fil = "/x" }
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:10:1: unknown key \"fromat\" in [grants.g.outputs[0]] => did you mean \"format\"?",
            "refreshd.toml:13:1: unknown key \"schedul\" in [grants.g] => did you mean \"schedule\"?",
            "refreshd.toml:15:1: unknown key \"leed\" in [grants.g.schedule] => did you mean \"lead\"?",
            "refreshd.toml:17:1: unknown key \"old_valit\" in [rotation] => did you mean \"old_valid\"?",
            "refreshd.toml:19:1: unknown key \"tokn\" => did you mean \"token\"?",
            "refreshd.toml:20:2: unknown key \"daemn\" => did you mean \"daemon\"?",
            "refreshd.toml:22:9: unknown key \"fil\" in [daemon.key] => did you mean \"file\"?",
        ],
    );
}

#[test]
fn wrong_types_and_values() {
    let text = r#"
[daemon]
max_flights = 0
history = 90
drain = "soon"
[grants.g]
client = "c"
[[grants.g.outputs]]
path = "/run/x"
mode = 640
format = "jsn"
newline = "yes"
[[grants.g.outputs]]
mode = "0999"
[[grants.g.outputs]]
path = "/run/y"
format = "json"
newline = true
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:9:15: daemon.max_flights: 0 is not from 1 to 1024 => -",
            "refreshd.toml:10:11: daemon.history must be a string, not a number => put it in quotes: history = \"…\"",
            "refreshd.toml:11:9: daemon.drain: \"soon\" is not a duration; write a number with a unit, such as \"90s\", \"15m\", \"6h\", \"30d\" or \"1h30m\" => -",
            "refreshd.toml:16:8: grants.g.outputs[0].mode must be a string, not a number => write octal digits in a string: mode = \"0640\"",
            "refreshd.toml:17:10: grants.g.outputs[0].format = \"jsn\" is not known => did you mean \"json\"?",
            "refreshd.toml:18:11: grants.g.outputs[0].newline must be true or false, not a string => -",
            "refreshd.toml:19:1: an output has no path => write path = \"/run/refreshd/tokens/…\"",
            "refreshd.toml:20:8: mode \"0999\" is not octal digits that let the owner read => write, for example, mode = \"0640\"",
            "refreshd.toml:24:1: newline goes with format = \"raw\" only => write format = \"raw\", or take newline out",
        ],
    );
}

#[test]
fn keys_of_another_format() {
    let text = r#"
[grants.g]
client = "c"
[[grants.g.outputs]]
path = "/run/a"
variable = "TOKEN"
quote = "single"
[[grants.g.outputs]]
path = "/run/b"
format = "env"
header = "X-Api-Key"
scheme = ""
quote = "double"
[[grants.g.outputs]]
path = "/run/c"
format = "header"
newline = false
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:12:1: variable goes with format = \"env\" only => write format = \"env\", or take variable out",
            "refreshd.toml:13:1: quote goes with format = \"env\" only => write format = \"env\", or take quote out",
            "refreshd.toml:17:1: header goes with format = \"header\" only => write format = \"header\", or take header out",
            "refreshd.toml:18:1: scheme goes with format = \"header\" only => write format = \"header\", or take scheme out",
            "refreshd.toml:19:9: grants.g.outputs[1].quote = \"double\" is not known => known values: single, none",
            "refreshd.toml:23:1: newline goes with format = \"raw\" only => write format = \"raw\", or take newline out",
        ],
    );
}

#[test]
fn names_that_a_format_cannot_use() {
    let text = r#"
[grants.g]
client = "c"
[[grants.g.outputs]]
path = "/run/a"
format = "env"
variable = "MY-TOKEN"
[[grants.g.outputs]]
path = "/run/b"
format = "env"
variable = "LD_PRELOAD"
[[grants.g.outputs]]
path = "/run/c"
format = "header"
header = "X-Api-Key: "
scheme = "Bearer "
"#;
    expect_after_client(
        text,
        &[
            "refreshd.toml:13:12: \"MY-TOKEN\" is not a variable's name: letters, digits and _, not beginning with a digit => write, for example, variable = \"ACCESS_TOKEN\"",
            "refreshd.toml:17:12: \"LD_PRELOAD\" has a meaning of its own to shells, loaders or interpreters; whoever reads the file would break => write, for example, variable = \"ACCESS_TOKEN\"",
            "refreshd.toml:21:10: \"X-Api-Key: \" is not a header's name, which has no spaces, colons or other separators => write, for example, header = \"X-Api-Key\"; the colon is added",
            "refreshd.toml:22:10: \"Bearer \" is not an authentication scheme, a single word => write, for example, scheme = \"Bearer\", or scheme = \"\" for none; the space is added",
        ],
    );
}
