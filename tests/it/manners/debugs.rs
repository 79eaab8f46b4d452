//! `Debug` of everything that holds a secret shows none of it. The sources are
//! walked for such types, so that none is forgotten.

use refreshd::config::{Sources, load};
use refreshd::enroll::Attempt;
use refreshd::exchange::Unsettled;
use refreshd::publish::View;
use refreshd::publish::database::RowJob;
use refreshd::publish::output::Job;
use refreshd::service::answers::{Kept, KeptInFull};
use refreshd::service::api::Redirect;
use refreshd::service::api::Token;
use refreshd::service::import::ImportLine;
use refreshd::state::{Candidate, Commit, Event, ImportRequest, Sealer, Unread};
use refreshd_core::enroll::account::Expected;
use refreshd_core::enroll::device::DeviceCode;
use refreshd_core::enroll::paste::PasteError;
use refreshd_core::enroll::{Enrollment, EnrollmentId, Secrets, Stage, Via, callback, push};
use refreshd_core::exchange::authorization::{OfAuthorization, Terms};
use refreshd_core::exchange::grant::OfGrant;
use refreshd_core::exchange::{self, Exchange};
use refreshd_core::flight::settle::{Import, Rules};
use refreshd_core::flight::{ExchangeId, Intent, Settlement, Stamp};
use refreshd_core::grant::{Binding, Grant, GrantId, GrantState, Policy, Presents, TokenSet};
use refreshd_core::kept::KeptAnswer;
use refreshd_core::ledger::{Changes, Entry, UnreadAnswer};
use refreshd_core::provider::answer::{Brought, Outcome, Success};
use refreshd_core::provider::authorize::Asked;
use refreshd_core::provider::description::DescriptionHash;
use refreshd_core::provider::request::{Registration, TokenRequest};
use refreshd_core::provider::{Answer, Ending};
use refreshd_core::secret::{Fingerprinter, Secret};
use refreshd_core::time::{BootTime, WallTime};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Stands in every secret here.
pub(super) const PLANTED: &str = "hunter2";

const NOW: WallTime = WallTime(1_795_222_800_000);

fn secret(kind: &str) -> Secret {
    Secret::new(format!("{kind}-{PLANTED}"))
}

fn tokens() -> TokenSet {
    TokenSet {
        access_token: secret("at"),
        refresh_token: Some(secret("rt")),
        token_type: None,
        scope: Some("read".to_owned()),
        extra: BTreeMap::from([("id_token".to_owned(), secret("id"))]),
        code: Some(secret("code")),
    }
}

fn kept_in_full() -> KeptInFull {
    KeptInFull {
        kept: Kept {
            id: "a1".to_owned(),
            grant: "one".to_owned(),
            client: "c".to_owned(),
            at: "2026-11-21T01:00:00Z".to_owned(),
            generation: 1,
            status: Some(200),
            bytes: 3,
            whole: true,
            why: "it has no access_token".to_owned(),
            authorization: None,
            waits: false,
        },
        headers: vec![("location".to_owned(), secret("header"))],
        body: secret("body"),
        received_ms: 0,
        code: Some(secret("code")),
        vars: BTreeMap::new(),
        redirect_uri: None,
    }
}

fn kept_answer() -> KeptAnswer {
    KeptAnswer {
        flight: ExchangeId([1; 16]),
        answer: answer(),
    }
}

fn answer() -> Answer {
    let body = format!(r#"{{"access_token":"at-{PLANTED}","refresh_token":"rt-{PLANTED}"}}"#);
    Answer {
        status: 200,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.into_bytes(),
        complete: true,
        received: NOW,
    }
}

fn success() -> Success {
    Success {
        access_token: secret("at"),
        refresh_token: Some(secret("rt")),
        token_type: None,
        scope: None,
        expires_in: Some(3600),
        expires_at: None,
        created_at: None,
        jwt_exp: None,
        jwt_iat: None,
        clocks: None,
        refresh_expires_in: None,
        refresh_expires_at: None,
        extra: BTreeMap::from([("id_token".to_owned(), secret("id"))]),
        notes: Vec::new(),
    }
}

fn grant() -> Grant {
    Grant {
        id: GrantId("g".to_owned()),
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        revision: 1,
        state: GrantState {
            generation: 1,
            presents: Some(Fingerprinter::new([1; 32]).of(&secret("rt"))),
            ..GrantState::default()
        },
    }
}

fn intent() -> Intent {
    Intent {
        flight: ExchangeId([3; 16]),
        grant: GrantId("g".to_owned()),
        name: "one".to_owned(),
        revision: 1,
        generation: 1,
        attempt: 1,
        first_sent: NOW,
        sent: Stamp {
            wall: NOW,
            boot: BootTime(0),
            boot_id: String::new(),
        },
        presents: Presents::RefreshToken(Fingerprinter::new([1; 32]).of(&secret("rt"))),
        description: DescriptionHash("h".to_owned()),
        roll: 0,
        binding: None,
    }
}

fn settlement() -> Settlement {
    Settlement {
        state: GrantState::default(),
        tokens: Some(tokens()),
        unread: Some(answer()),
        sent: None,
    }
}

fn rules() -> Rules {
    let text = r#"{"name":"p","token":{"url":"https://a.example/token"}}"#;
    let description: refreshd_core::provider::Description = serde_json::from_str(text).unwrap();
    Rules {
        policy: Policy::new(&description, description.schedule.clone()),
        description: Arc::new(description),
        fingerprinter: Fingerprinter::new(*b"hunter2-hunter2-hunter2-hunter2-"),
    }
}

/// A configuration with secrets in a file, in the environment and for a proxy.
fn configuration(dir: &Path) -> Sources {
    let file = dir.join("secret");
    fs::write(&file, format!("file-{PLANTED}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    let config = dir.join("refreshd.toml");
    let text = format!(
        "[daemon]\nstate_dir = \"/x/s\"\nruntime_dir = \"/x/r\"\n\
         [clients.a]\nprovider = \"retently\"\nclient_id = \"a\"\nclient_secret = {{ env = \"S\" }}\nredirect_uri = \"https://a/\"\n\
         [clients.b]\nprovider = \"retently\"\nclient_id = \"b\"\nclient_secret = {{ file = \"{file}\" }}\nredirect_uri = \"https://a/\"\n\
         proxy = {{ url = \"http://proxy.example:3128\", user = \"me\", password = {{ file = \"{file}\" }} }}\n\
         [grants.one]\nclient = \"a\"\n[[grants.one.outputs]]\npath = \"/x/one\"\n\
         [[databases]]\npath = \"/x/all.db\"\ngrants = [\"*\"]\n",
        file = file.display()
    );
    fs::write(&config, text).unwrap();
    Sources {
        file: Some(config),
        env: BTreeMap::from([("S".to_owned(), format!("env-{PLANTED}"))]),
        set: Vec::new(),
        ..Sources::default()
    }
}

/// Calls back with the name and a value of each public type that holds a secret.
fn each(mut look: impl FnMut(&'static str, Box<dyn Debug + Send>)) {
    let mut value = |name, value: Box<dyn Debug + Send>| look(name, value);
    value("Secret", Box::new(secret("s")));
    let fingerprinter = Fingerprinter::new(*b"hunter2-hunter2-hunter2-hunter2-");
    value("Fingerprinter", Box::new(fingerprinter));
    value(
        "Sealer",
        Box::new(Sealer::new(b"hunter2-hunter2-hunter2-hunter2-")),
    );
    value("TokenSet", Box::new(tokens()));
    value("Answer", Box::new(answer()));
    value("KeptInFull", Box::new(kept_in_full()));
    value("Success", Box::new(success()));
    let brought = Brought {
        success: success(),
        client_id: None,
    };
    value("Brought", Box::new(brought));
    value("Outcome", Box::new(Outcome::Success(Box::new(success()))));
    value("Settlement", Box::new(settlement()));
    value("Rules", Box::new(rules()));
    let import = Import {
        success: success(),
        obtained_at: None,
        code: Some(secret("code")),
        binding: Binding {
            client_id: "a".to_owned(),
            origin: "https://a.example".to_owned(),
        },
        roll: 0,
    };
    value("Import", Box::new(import));
    let (intent_of, held) = (intent(), Some(answer()));
    let stamp = intent_of.sent.clone();
    let (exchange, step) =
        Exchange::<OfGrant>::recovered(intent_of, held, grant(), tokens(), rules(), &stamp);
    value("OfGrant", Box::new(exchange.subject().clone()));
    value("Exchange", Box::new(exchange));
    value("Step", Box::new(step));
    let reloaded = exchange::Event::<OfGrant>::Reloaded((Box::new(grant()), Box::new(tokens())));
    value("Event", Box::new(reloaded));
    let ended = Ending::Answered(answer());
    value("Ending", Box::new(ended));
    value(
        "Action",
        Box::new(exchange::Action::<OfGrant>::RecordIntent(
            Box::new(intent()),
        )),
    );
    let registration: Registration<'static> = Registration {
        client_id: "a",
        client_secret: Some(Box::leak(Box::new(secret("cs")))),
        redirect_uri: None,
        scopes: &[],
        unencoded: false,
    };
    value("Registration", Box::new(registration));
    let request = TokenRequest {
        url: format!("https://a.example/?refresh_token=rt-{PLANTED}")
            .parse()
            .unwrap(),
        headers: vec![("authorization".to_owned(), secret("basic"))],
        body: secret("body"),
    };
    value("TokenRequest", Box::new(request));
    let commit = Commit {
        base: grant(),
        settlement: settlement(),
        event: Event {
            at: NOW,
            kind: "success".to_owned(),
            text: String::new(),
        },
        intent: Some(intent()),
        ends: true,
        was_kept: true,
    };
    value("Commit", Box::new(commit));
    let candidate = Candidate {
        flight: ExchangeId([3; 16]),
        base_generation: 1,
        tokens: Some(tokens()),
        answer: Some(answer()),
        description: None,
        refused: false,
        binding: None,
        at: NOW,
    };
    let changes = Changes {
        tokens: Some(tokens()),
        keep: vec![candidate.clone()],
        ..Changes::default()
    };
    value("Changes", Box::new(changes));
    let entry = Entry::of(grant(), Some(tokens()));
    value("Entry", Box::new(entry));
    let kept = UnreadAnswer {
        intent: intent(),
        generation: 1,
        answer: answer(),
        at: NOW,
    };
    value("UnreadAnswer", Box::new(kept));
    let unsettled = Unsettled::default();
    unsettled.put(&intent(), &answer());
    value("Unsettled", Box::new(unsettled));
    value("Candidate", Box::new(candidate));
    let unread = Unread {
        flight: ExchangeId([3; 16]),
        generation: 1,
        answer: answer(),
        intent: intent(),
        at: NOW,
    };
    value("Unread", Box::new(unread));
    let request = ImportRequest {
        name: "one".to_owned(),
        client: "c".to_owned(),
        vars: BTreeMap::new(),
        redirect_uri: None,
        tokens: tokens(),
        state: GrantState::default(),
        obtained_at: None,
        now: NOW,
        replace: false,
        authorized: false,
    };
    value("Import", Box::new(request));
    let line: ImportLine = serde_json::from_value(serde_json::json!({
        "name": "one", "code": format!("code-{PLANTED}"),
        "response": {"access_token": format!("at-{PLANTED}")},
    }))
    .unwrap();
    value("ImportLine", Box::new(line));
    value("Token", Box::new(Token::new(&grant(), &tokens())));
    let view = View {
        store_id: "s".to_owned(),
        grant: grant(),
        tokens: tokens(),
    };
    value("View", Box::new(view.clone()));
    each_of_an_authorization(&mut value);
    each_of_links_and_pushes(&mut value);
    each_of_a_configuration(view, &mut value);
}

fn each_of_an_authorization(value: &mut impl FnMut(&'static str, Box<dyn Debug + Send>)) {
    let redirect = Redirect {
        query: secret("query"),
        by_hand: true,
    };
    value("Redirect", Box::new(redirect));
    let callback = callback::read(&format!("code=code-{PLANTED}")).unwrap();
    value("Callback", Box::new(callback));
    let asked: Asked<'static> = Asked {
        state: "state",
        verifier: Some(Box::leak(Box::new(secret("verifier")))),
        nonce: Some("nonce"),
    };
    value("Asked", Box::new(asked));
    value("PasteError", Box::new(PasteError::NoState(secret("query"))));
    let secrets = Secrets {
        verifier: Some(secret("verifier")),
        nonce: Some(secret("nonce")),
        code: Some(secret("code")),
        interval_ms: None,
        answers: vec![kept_answer()],
    };
    let enrollment = Enrollment {
        id: EnrollmentId([4; 16]),
        grant: None,
        client: "c".to_owned(),
        provider: "p".to_owned(),
        via: Via::Redirect,
        redirect_uri: None,
        vars: BTreeMap::new(),
        begun_at: NOW,
        expires_at: NOW,
        stage: Stage::Received,
        text: String::new(),
        configured: false,
        sent: None,
        account: None,
        generation: None,
        asked: None,
        code: Default::default(),
    };
    let terms = Terms {
        name: "g".to_owned(),
        client: "c".to_owned(),
        client_id: "a".to_owned(),
        scopes: Vec::new(),
        vars: BTreeMap::new(),
        binding: Binding {
            client_id: "a".to_owned(),
            origin: "https://a.example".to_owned(),
        },
        rules: rules(),
        configured: false,
    };
    let (authorization, now) = ((enrollment, secrets.clone()), intent().sent);
    let (exchange, step) = Exchange::<OfAuthorization>::recovered(
        intent(),
        Some(answer()),
        authorization,
        Ok(terms),
        &now,
    );
    // What it commits is within the step.
    value("TakeIn", Box::new(step));
    value("OfAuthorization", Box::new(exchange.subject().clone()));
    value("Secrets", Box::new(secrets));
    value("KeptAnswer", Box::new(kept_answer()));
    let expected: Expected<'static> = Expected {
        client_id: "a",
        issuer: None,
        nonce: Some(Box::leak(Box::new(secret("nonce")))),
    };
    value("Expected", Box::new(expected));
    let given = DeviceCode {
        device_code: secret("device"),
        user_code: "WDJB-MJHT".to_owned(),
        verification_uri: "https://a.example/device".to_owned(),
        verification_uri_complete: None,
        expires_in: Duration::from_secs(600),
        interval: Duration::from_secs(5),
    };
    value("DeviceCode", Box::new(given));
}

fn each_of_links_and_pushes(value: &mut impl FnMut(&'static str, Box<dyn Debug + Send>)) {
    let attempt = Attempt {
        id: EnrollmentId([4; 16]),
        cookie: secret("cookie"),
        url: "https://as.example/authorize".to_owned(),
    };
    value("Attempt", Box::new(attempt));
    let body = format!(r#"{{"code":"code-{PLANTED}","business_id":"shop-17"}}"#);
    let push = push::read(body.as_bytes()).unwrap();
    value("Push", Box::new(push));
}

fn each_of_a_configuration(
    view: View,
    value: &mut impl FnMut(&'static str, Box<dyn Debug + Send>),
) {
    let dir = tempfile::tempdir().unwrap();
    let sources = configuration(dir.path());
    let loaded = load(&sources);
    let config = loaded.config.clone().expect("it is sound");
    let client = config.clients["b"].clone();
    let exposed = client.client_secret.as_ref().unwrap().expose();
    assert!(exposed.contains(PLANTED), "the test can tell");
    let row = RowJob {
        database: Arc::new(config.databases[0].as_ref().clone()),
        view: view.clone(),
        now: NOW,
    };
    value("RowJob", Box::new(row));
    let job = Job {
        output: config.grants["one"].outputs[0].clone(),
        view,
        now: NOW,
        fenced: false,
        sweep: false,
        known: None,
        former: Vec::new(),
    };
    value("Job", Box::new(job));
    value("Proxy", Box::new(client.proxy.clone().unwrap()));
    value("Client", Box::new(client));
    value("Config", Box::new(config));
    value("Loaded", Box::new(loaded));
    value("Sources", Box::new(sources));
}

#[test]
fn no_value_shows_its_secret() {
    let sources = Sources {
        set: vec![("a.key".to_owned(), format!("set-{PLANTED}"))],
        ..Sources::default()
    };
    assert!(!format!("{sources:?}").contains(PLANTED));
    each(|name, value| {
        for shown in [format!("{value:?}"), format!("{value:#?}")] {
            assert!(!shown.contains(PLANTED), "{name}: {shown}");
            // Nor as numbers.
            assert!(!shown.contains("104, 117, 110, 116"), "{name}: {shown}");
        }
    });
}

fn expect_success(result: Result<(), Box<dyn Debug + Send>>) {
    result.unwrap();
}

#[test]
#[ignore = "run by nor_does_a_value_that_is_the_reason_of_a_panic"]
fn alone_every_value_is_the_reason_of_a_panic() {
    each(|name, value| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let panicking = move || expect_success(Err(value));
        assert!(thread.spawn(panicking).unwrap().join().is_err());
    });
}

/// A type as the sources have it.
struct Type {
    name: String,
    public: bool,
    derives_debug: bool,
    body: String,
}

impl Type {
    fn mentions(&self, word: &str) -> bool {
        let mut words = self.body.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|w| w == word)
    }
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, into);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            into.push(path);
        }
    }
}

/// The structs and enums of a file, without its tests.
fn types(text: &str) -> Vec<Type> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    let mut derives = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("#[derive(") {
            derives = line.to_owned();
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|w| *w == "struct" || *w == "enum") else {
            if !line.starts_with("#[") && !line.starts_with("///") {
                derives.clear();
            }
            continue;
        };
        if at > 1 || line.starts_with(' ') || line.starts_with("//") {
            continue;
        }
        let mut body = line.to_owned();
        while !body.ends_with(';') && !body.ends_with("\n}") && !line.ends_with('}') {
            let Some(more) = lines.next() else { break };
            let code = more.split("//").next().unwrap();
            body.push('\n');
            body.push_str(code.trim_end());
        }
        let name = words[at + 1].split(['(', '<', ';', '{']).next().unwrap();
        found.push(Type {
            name: name.to_owned(),
            public: words[0] == "pub",
            derives_debug: std::mem::take(&mut derives).contains("Debug"),
            body,
        });
    }
    found
}

/// What a test cannot make, and holds but what is looked at; and words alone.
const UNMADE: [&str; 3] = ["Recovered", "OutcomeKind", "Sign"];

/// Every public type with a field that is a secret is among the values above; and
/// where one is wiped but shows itself (`Zeroizing` prints what is in it), nothing
/// derives `Debug`.
#[test]
fn no_type_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "core/src"] {
        sources(&root.join(dir), &mut files);
    }
    let all: Vec<Type> = files
        .iter()
        .flat_map(|file| types(&fs::read_to_string(file).unwrap()))
        .collect();
    assert!(all.len() > 200, "the walk finds {} types", all.len());
    let mut walked = BTreeSet::new();
    each(|name, _| {
        walked.insert(name);
    });
    let secrets = ["Secret", "TokenSet", "Answer", "Success", "View"];
    let mut missing = Vec::new();
    for one in &all {
        let name = one.name.as_str();
        let shows = ["Zeroizing", ": Key,", "<Key>"];
        let shows = shows.iter().any(|words| one.body.contains(words));
        assert!(
            !(shows && one.derives_debug),
            "{name} would show what it wipes: {}",
            one.body
        );
        let holds = secrets
            .iter()
            .any(|word| *word != name && one.mentions(word));
        if holds && one.public && one.derives_debug && !UNMADE.contains(&name) {
            missing.extend((!walked.contains(name)).then_some(name));
        }
    }
    assert!(missing.is_empty(), "not looked at: {missing:?}");
    for name in walked {
        assert!(all.iter().any(|one| one.name == name), "{name} is gone");
    }
}
