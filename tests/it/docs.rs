//! The examples in the manual are what the program takes.

use crate::support::{House, text};
use refreshd_core::incident::Kind;
use std::collections::HashSet;
use std::path::Path;

/// The TOML blocks of a page of the manual.
fn toml_blocks(page: &str) -> Vec<String> {
    let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).unwrap();
    let blocks = page.split("```toml\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

fn check(house: &House) {
    // Whoever runs the tests may write there.
    let text_of_it = std::fs::read_to_string(house.config()).unwrap();
    let here = house.path("published").display().to_string();
    std::fs::write(house.config(), text_of_it.replace("/run/refreshd", &here)).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(house.path(""), open).unwrap();
    let output = house.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "an example does not even warn");
}

#[test]
fn the_configuration_in_the_readme_is_sound() {
    let blocks = toml_blocks("README.md");
    assert_eq!(blocks.len(), 1);
    let house = House::new(&blocks[0].replace("/etc/refreshd/secrets/retently", "ROOT/secret"));
    check(&house);
}

#[test]
fn the_annotated_example_is_sound() {
    let path = format!("{}/config/refreshd.toml", env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(path).unwrap();
    let house = House::new("");
    let root = house.path("");
    let example = example
        .replace(
            "/etc/refreshd/secrets/retently",
            house.path("secret").to_str().unwrap(),
        )
        .replace("/var/lib/refreshd", root.join("state").to_str().unwrap());
    std::fs::write(house.config(), example).unwrap();
    check(&house);
}

#[test]
fn provider_file_and_client_in_the_manual_are_sound() {
    let blocks = toml_blocks("docs/configuration.md");
    let provider = blocks
        .iter()
        .find(|block| block.contains("[rotation]"))
        .unwrap();
    let networks = blocks
        .iter()
        .find(|block| block.contains("allow_networks"))
        .unwrap()
        .replace("[clients.example]\n", "")
        .replace("ca_file", "# ca_file")
        .replace("/etc/refreshd/secrets/proxy", "ROOT/secret");
    let house = House::new(&format!(
        r#"
        [clients.example]
        provider = "example"
        client_id = "id"
        client_secret = {{ file = "ROOT/secret" }}
        redirect_uri = "https://www.example.com/"
        {networks}"#
    ));
    house.write("providers.d/example.toml", provider);
    check(&house);
}

#[test]
fn the_providers_page_is_sound() {
    let blocks = toml_blocks("docs/providers.md");
    let [known_better, configuration] = blocks.as_slice() else {
        panic!("{} blocks", blocks.len());
    };
    let secrets = |text: &str| {
        let mut text = text.to_owned();
        for provider in ["reteno", "retm", "blynk"] {
            let path = format!("/etc/refreshd/secrets/{provider}");
            text = text.replace(&path, "ROOT/secret");
        }
        text
    };
    check(&House::new(&secrets(configuration)));
    check(&House::new(&format!(
        "[clients.retently]\nprovider = \"retently\"\nclient_id = \"id\"\nredirect_uri = \"https://a/\"\n\
         client_secret = {{ file = \"ROOT/secret\" }}\n{known_better}"
    )));
}

/// Where a page says that something is tested, there is a test.
#[test]
fn the_tests_that_the_providers_page_names_exist() {
    let root = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{root}/docs/providers.md")).unwrap();
    let words = page.split('`').filter(|word| word.ends_with(".rs"));
    let words: Vec<&str> = words.collect();
    assert!(words.len() >= 10, "{words:?}");
    for word in words {
        let places = [root.to_owned(), format!("{root}/tests/it/providers")];
        let there = places
            .iter()
            .any(|place| Path::new(place).join(word).exists());
        assert!(there, "{word}");
    }
}

/// Each row of the page of faults names tests, and there are such tests.
#[test]
fn the_tests_that_the_page_of_faults_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = all_tests(root);
    let page = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [fault, _rule, last] = cells.as_slice() else {
            panic!("{row}");
        };
        if *fault == "| fault" {
            continue;
        }
        assert!(last.contains('`'), "by which test? {row}");
        for test in last.split('`').skip(1).step_by(2) {
            assert!(tests.contains(test), "{test} in {row}");
        }
    }
}

/// Every kind of incident is in the manual's table, and nothing else is.
#[test]
fn the_incidents_in_the_manual_are_all_that_there_are() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines();
    let rows = rows.skip_while(|line| *line != "| kind | about | opens when | ends when |");
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let mut told: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let mut kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.word()).collect();
    told.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(told, kinds);
}

/// Each row of the security page says how it stands, and names tests that there are.
#[test]
fn the_tests_that_the_security_page_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = all_tests(root);
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [section, .., verdict, _, last] = cells.as_slice() else {
            panic!("{row}");
        };
        if *section == "| §" {
            continue;
        }
        assert!(["yes", "partly", "no"].contains(verdict), "{row}");
        for test in last.split('`').skip(1).step_by(2) {
            assert!(tests.contains(test), "{test} in {row}");
            named += 1;
        }
        let shown = last.contains('`');
        assert!(shown || *verdict != "yes", "by which test? {row}");
    }
    assert!(named >= 50, "{named}");
}

/// The names of all tests of the workspace.
fn all_tests(root: &Path) -> HashSet<String> {
    let mut tests = HashSet::new();
    for directory in ["src", "core/src", "sandbox", "simulation", "tests"] {
        collect_tests(&root.join(directory), &mut tests);
    }
    tests
}

/// The names of all tests below a directory.
fn collect_tests(directory: &Path, tests: &mut HashSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_tests(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let marks = ["#[test]", "#[tokio::test"];
            let marked = marks.iter().flat_map(|mark| text.split(mark).skip(1));
            let names = marked.filter_map(|rest| {
                let (_, rest) = rest.split_once("fn ")?;
                Some(rest.split_once('(')?.0.to_owned())
            });
            tests.extend(names);
        }
    }
}

#[test]
fn the_output_in_the_manual_is_sound() {
    let blocks = toml_blocks("docs/configuration.md");
    let output = blocks
        .iter()
        .find(|block| block.contains("[[grants.surveys.outputs]]"))
        .unwrap();
    let house = House::new(&format!(
        r#"
        [clients.retently]
        provider = "retently"
        client_id = "id"
        client_secret = {{ file = "ROOT/secret" }}
        redirect_uri = "https://www.example.com/"
        [grants.surveys]
        client = "retently"
        {output}
        "#
    ));
    check(&house);
}

#[test]
fn the_addresses_in_the_manual_are_sound() {
    let blocks = toml_blocks("docs/configuration.md");
    let enroll = blocks.iter().find(|block| block.starts_with("[enroll]"));
    check(&House::new(enroll.unwrap()));
}

#[test]
fn the_database_in_the_manual_is_sound() {
    let blocks = toml_blocks("docs/configuration.md");
    let database = blocks
        .iter()
        .find(|block| block.starts_with("[[databases]]"))
        .unwrap();
    check(&House::new(&database.replace("legacy", "root")));
}

#[test]
fn every_command_in_the_readme_exists() {
    let path = format!("{}/README.md", env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(path).unwrap();
    let house = House::new("");
    let commands = readme.split("| `refreshd ").skip(1);
    let commands: Vec<&str> = commands
        .map(|rest| rest.split([' ', '`']).next().unwrap())
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let help = house.run(&[command, "--help"]);
        assert!(help.status.success(), "{command}");
        assert!(
            text(&help.stdout).contains("Example"),
            "{command} --help has no example"
        );
    }
}

/// The words that everything else is said in.
#[test]
fn the_glossary_has_the_words_of_the_design() {
    let path = format!("{}/docs/glossary.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).unwrap();
    for word in [
        "provider",
        "client",
        "grant",
        "token set",
        "generation",
        "exchange",
        "intent",
        "settlement",
        "ledger",
        "output",
        "hook",
        "incident",
    ] {
        let rows = page.matches(&format!("\n| {word} |")).count();
        assert_eq!(rows, 1, "{word}");
    }
}

/// Who does not know a word finds it from where one begins to read.
#[test]
fn the_glossary_is_linked_from_where_one_begins() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, link) in [
        ("README.md", "(docs/glossary.md)"),
        ("docs/architecture.md", "(glossary.md)"),
        ("docs/decisions.md", "(glossary.md)"),
    ] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        assert!(text.contains(link), "{page}");
    }
}

/// Each file and directory that the pages of the design name is there.
#[test]
fn the_sources_that_the_design_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["", "src", "core/src"].map(|place| root.join(place));
    let tops = ["src/", "core/", "simulation/", "tests/", "scripts/"];
    let mut named = 0;
    for page in ["docs/architecture.md", "docs/decisions.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let words = text
            .lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        for word in words {
            if word.ends_with(".rs") || tops.iter().any(|top| word.starts_with(top)) {
                let is_there = places.iter().any(|place| place.join(word).exists());
                assert!(is_there, "{page}: {word}");
                named += 1;
            }
        }
    }
    assert!(named >= 40, "{named} are named");
}

/// Each link of a page to another page, and to a heading of it, leads somewhere.
#[test]
fn every_link_between_pages_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pages.push(root.join("README.md"));
    let mut links = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, _)| text.split_at(at + 2))
        {
            let target = &rest[..rest.find(')').unwrap()];
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target}: no such file", page.display());
            let led = std::fs::read_to_string(&file).unwrap_or_default();
            let has = heading.is_empty() || led.lines().any(|line| anchor(line) == heading);
            assert!(has, "{}: {target}: no such heading", page.display());
        }
    }
    assert!(links > 20, "{links} links are found");
}

/// A heading as links name it.
fn anchor(line: &str) -> String {
    let title = line.trim_start_matches('#').trim();
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    match line.starts_with('#') {
        true => (title.to_lowercase().chars().filter(|c| kept(*c)))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect(),
        false => String::new(),
    }
}
