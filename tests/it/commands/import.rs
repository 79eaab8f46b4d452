//! `refreshd import`: what a line may hold, and many lines.

use crate::setting::{Setting, epoch};
use crate::support::wait_for;
use crate::tiny::Tiny;
use serde_json::json;
use std::fmt::Write as _;

const CLIENT: &str = r#"
[clients.pretend]
provider = "pretend"
client_id = "pretend"
client_secret = { file = "ROOT/secrets/pretend" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn obtained_at_is_read_as_seconds_or_rfc_3339() {
    let setting = Setting::new(sandbox::Options::default(), CLIENT).await;
    let daemon = setting.house.daemon();
    let then = epoch() - 1200;
    let at = i64::try_from(then).unwrap();
    let zulu = chrono::DateTime::from_timestamp(at, 0).unwrap();
    let east = zulu.with_timezone(&chrono::FixedOffset::east_opt(7200).unwrap());
    let forms = [
        json!(then),
        json!(then as f64 + 0.5),
        json!(zulu.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        json!(east.to_rfc3339()),
    ];
    let lines: String = forms
        .iter()
        .enumerate()
        .map(|(i, form)| {
            let name = format!("grant-{i}");
            let response = setting.response(&name);
            json!({"name": name, "client": "pretend", "response": response, "obtained_at": form})
                .to_string()
                + "\n"
        })
        .collect();
    let ran = setting.run_with(&["import", "--ndjson"], &lines).succeeds();
    assert_eq!(ran.out, "4 imported, 0 refused\n");
    for i in 0..4 {
        let status = setting.house.status(&format!("grant-{i}"));
        let left = status["expires_in"].as_i64().unwrap();
        assert!((2300..=2400).contains(&left), "{status:#}");
        assert_eq!(status["generation"], 1);
    }
    // Without it the age is not known: refreshed at once.
    let response = setting.response("of-unknown-age").to_string();
    let args = ["import", "of-unknown-age", "--client", "pretend"];
    setting.run_with(&args, &response).succeeds();
    wait_for("a refresh", || {
        setting.house.status("of-unknown-age")["generation"] == 2
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_code_and_redirect_uri_of_a_line_are_sent() {
    let tiny = Tiny::answering(
        "{\"access_token\":\"planted-new\",\"refresh_token\":\"planted-newer\",\"expires_in\":3600}",
    )
    .await;
    let config = format!("{CLIENT}redirect_uri = \"https://www.example.com/other\"\n");
    let setting = Setting::new(sandbox::Options::default(), &config).await;
    for secret in ["planted-new", "planted-code", "planted-old"] {
        setting.plant(secret);
    }
    setting.house.write(
        "providers.d/pretend.toml",
        &format!(
            "name = \"pretend\"\n[token]\nurl = \"{}\"\n[refresh]\nparams = {{ code = \"{{code}}\", redirect_uri = \"{{redirect_uri}}\", shop = \"{{shop}}\" }}\n[rotation]\nrotates = \"always\"\n[vars.shop]\nformat = \"dns-label\"\n",
            tiny.url
        ),
    );
    let daemon = setting.house.daemon();
    let line = |vars| {
        json!({
            "name": "shop", "client": "pretend", "vars": vars, "code": "planted-code",
            "redirect_uri": "https://www.example.com/back",
            "response": {"access_token": "planted-a", "refresh_token": "planted-old", "expires_in": 3600},
        })
        .to_string()
    };
    let import = |line: String| setting.run_with(&["import", "--ndjson"], &line);
    import(line(json!({"shop": "not a label"}))).fails(65, &["line 1: shop", "shop"]);
    import(line(json!({"shop": "a", "town": "x"}))).fails(65, &["unknown variable \"town\""]);
    import(line(json!({}))).fails(65, &["lacks the variable \"shop\""]);
    setting.run(&["status", "shop"]).fails(66, &["shop"]);
    import(line(json!({"shop": "shop-17"}))).succeeds();
    wait_for("a refresh", || {
        setting.house.status("shop")["generation"] == 2
    });
    let requests = tiny.requests();
    assert_eq!(requests.len(), 1);
    let body = requests[0].split("\r\n\r\n").nth(1).unwrap();
    for pair in [
        "grant_type=refresh_token",
        "refresh_token=planted-old",
        "code=planted-code",
        "redirect_uri=https%3A%2F%2Fwww.example.com%2Fback",
        "shop=shop-17",
    ] {
        assert!(body.split('&').any(|have| have == pair), "{pair}");
    }
    // They are kept: the next refresh sends them too, after a restart.
    assert_eq!(daemon.stop(), Some(0));
    let daemon = setting.house.daemon();
    setting.run(&["refresh", "shop", "--force"]).succeeds();
    assert!(tiny.requests()[1].contains("shop=shop-17"));
    assert!(tiny.requests()[1].contains("refresh_token=planted-newer"));
    assert!(tiny.requests()[1].contains("code=planted-code"));
    assert_eq!(daemon.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_lines_go_in_batches_and_keep_their_numbers() {
    let setting = Setting::new(sandbox::Options::default(), CLIENT).await;
    let daemon = setting.house.daemon();
    let mut lines = String::new();
    for i in 1..=2500 {
        if i == 2101 {
            lines.push_str("{\"name\": 1}\n");
            continue;
        }
        let response = json!({
            "access_token": format!("planted-access-{i}"),
            "refresh_token": format!("planted-refresh-{i}"),
            "expires_in": 3600,
        });
        let line = json!({"name": format!("grant-{i}"), "client": "pretend", "response": response, "obtained_at": epoch()});
        writeln!(lines, "{line}").unwrap();
    }
    setting.plant("planted-");
    let ran = setting.run_with(&["import", "--ndjson"], &lines);
    ran.fails(65, &["line 2101: "]);
    assert_eq!(ran.out, "2499 imported, 1 refused\n");
    let status = setting.house.json(&["status", "--json"]);
    assert_eq!(status["grants"].as_array().unwrap().len(), 2499);
    // Again: nothing changes, and the report of each line says so.
    let ran = setting.run_with(&["import", "--ndjson", "--json"], &lines);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let reports = report["lines"].as_array().unwrap();
    assert_eq!(reports.len(), 2500);
    let unchanged = reports.iter().filter(|line| line["result"] == "unchanged");
    assert_eq!(unchanged.count(), 2499);
    assert_eq!(reports[2100]["line"], 2101);
    assert_eq!(reports[2100]["result"], "refused");
    assert_eq!(reports[2499]["grant"], "grant-2500");
    assert_eq!(daemon.stop(), Some(0));
    assert!(setting.server.presentations().is_empty());
}
