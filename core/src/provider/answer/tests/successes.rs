use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[test]
fn an_ordinary_answer() {
    let success = success_of(
        r#"{"access_token":"at+/=!","refresh_token":"rt","token_type":"Bearer","expires_in":3600,"scope":"a b"}"#,
    );
    assert_eq!(success.access_token.expose(), "at+/=!");
    assert_eq!(success.refresh_token, Some(Secret::new("rt")));
    assert_eq!(success.token_type.as_deref(), Some("Bearer"));
    assert_eq!(success.scope.as_deref(), Some("a b"));
    assert_eq!(success.expires_in, Some(3600));
    assert!(success.extra.is_empty());
    assert_eq!(success.notes, Vec::<String>::new());
}

#[test]
fn expires_in_in_every_spelling() {
    let read = |value: Value| success(json!({ "expires_in": value }));
    for (value, expected) in [
        (json!(3600), 3600),
        (json!("3600"), 3600),
        (json!(" 3600 "), 3600),
        (json!("3600.0"), 3600),
        (json!(3599.98), 3599),
        (json!(1e3), 1000),
        (json!(0), 0),
        (json!(628_639_555), 628_639_555),
        (json!(631_152_000), 631_152_000),
        (json!(9_999_999_999_i64), 9_999_999_999),
        (json!("3600s"), 3600),
        (json!("60 minutes"), 3600),
        (json!("1h"), 3600),
        (json!("3600000ms"), 3600),
        (json!(0.5), 1),
    ] {
        let success = read(value.clone());
        assert_eq!(success.expires_in, Some(expected), "{value}");
        assert!(success.notes.is_empty(), "{value}: {:?}", success.notes);
    }
    let negative = read(json!(-5));
    assert_eq!((negative.expires_in, negative.notes.len()), (Some(-5), 1));
    for blank in [json!(null), json!("")] {
        let success = read(blank);
        assert_eq!((success.expires_in, success.notes.len()), (None, 0));
    }
    for junk in [
        json!(true),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(9_007_199_254_740_991_i64),
        json!(1e300),
        json!("1e300"),
        json!("3,600"),
        json!("5 moons"),
        json!("soon"),
        json!("inf"),
        json!("NaN"),
        json!([1]),
        json!({}),
    ] {
        let success = read(junk.clone());
        assert_eq!(
            (success.expires_in, success.notes.len()),
            (None, 1),
            "{junk}"
        );
    }
    assert_eq!(success(json!({})).expires_in, None);
}

#[test]
fn expires_in_that_is_a_moment() {
    for moment in [
        json!(1_795_086_400),
        json!("1795086400"),
        json!(1_795_086_400_000_i64),
        json!(1_795_086_400.0),
    ] {
        let success = success(json!({ "expires_in": moment }));
        assert_eq!(success.expires_in, None, "{moment}");
        assert_eq!(success.expires_at, Some(WallTime::from_secs(1_795_086_400)));
        assert_eq!(success.notes.len(), 1);
    }
}

/// The expiry that an answer states to a description with this `[lifetime]`.
fn stated(lifetime: Value, members: Value) -> (Option<i64>, Vec<String>) {
    let mut description = description(json!({}));
    description.lifetime = serde_json::from_value(lifetime).expect("a table");
    let mut body = json!({ "access_token": "at" });
    for (name, value) in members.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let answer = answer(200, &[], body.to_string().as_bytes());
    match read(&description, &answer) {
        Outcome::Success(success) => (success.expires_in, success.notes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_description_says_what_expires_in_counts() {
    let of = |unit: &str, number: Value| {
        let lifetime = json!({ "expires_in": unit, "access": "10m" });
        stated(lifetime, json!({ "expires_in": number }))
    };
    let quiet = |secs: i64| (Some(secs), Vec::new());
    assert_eq!(of("milliseconds", json!(8000)), quiet(8));
    assert_eq!(of("milliseconds", json!("8000")), quiet(8));
    assert_eq!(
        of("milliseconds", json!(2_592_000_000_i64)),
        quiet(2_592_000)
    );
    assert_eq!(of("milliseconds", json!(400)), quiet(1));
    assert_eq!(of("minutes", json!(60)), quiet(3600));
    assert_eq!(of("hours", json!(1.5)), quiet(5400));
    assert_eq!(of("seconds", json!(60)), quiet(60));
    assert_eq!(of("minutes", json!("90s")), quiet(90), "its own unit wins");
    assert_eq!(of("unused", json!(60)), (None, Vec::new()));
    let refresh = json!({ "refresh_expires_in": 8000 });
    let lifetime = json!({ "expires_in": "milliseconds" });
    assert_eq!(stated(lifetime, refresh).0, None);
}

#[test]
fn a_thousand_times_the_descriptions_lifetime_counts_milliseconds() {
    let of = |access: &str, number: i64| {
        stated(json!({ "access": access }), json!({ "expires_in": number }))
    };
    let (secs, notes) = of("8s", 8000);
    assert_eq!((secs, notes.len()), (Some(8), 1));
    assert!(
        notes[0].contains("expires_in = \"milliseconds\""),
        "{notes:?}"
    );
    assert_eq!(of("1h", 3_599_000).0, Some(3599));
    for (access, number) in [
        ("8s", 3600),
        ("10m", 631_152_000),
        ("1h", 86_400),
        ("1h", -3_600_000),
    ] {
        assert_eq!(of(access, number), (Some(number), notes_of(number)));
    }
}

fn notes_of(number: i64) -> Vec<String> {
    (number < 0)
        .then(|| "expires_in is negative".to_owned())
        .into_iter()
        .collect()
}

#[test]
fn other_names_of_the_expiry() {
    assert_eq!(
        success(json!({ "expires": 5_183_944 })).expires_in,
        Some(5_183_944)
    );
    for (name, value) in [
        ("expires_at", json!(1_795_003_600)),
        ("expires_at", json!("1795003600")),
        ("expires_at", json!(1_795_003_600_000_i64)),
        ("expires_at", json!("2026-11-18T12:06:40Z")),
        ("expires_at", json!("2026-11-18T14:06:40.000+02:00")),
        ("expires_on", json!("1795003600")),
        ("access_token_expiration", json!(1_795_003_600)),
        ("expires", json!("2026-11-18T12:06:40Z")),
        ("expires_at", json!("2026-11-18T12:06:40+0000")),
        ("expires_at", json!("2026-11-18 12:06:40 UTC")),
        ("expires_at", json!("Wed, 18 Nov 2026 12:06:40 GMT")),
        ("expires_at", json!(1_795_003_600_000_000_i64)),
        ("expires_at", json!(1_795_003_600_000_000_000_i64)),
        ("expires_at", json!(1_795_003_600.9)),
    ] {
        let success = success(json!({ name: value }));
        assert_eq!(
            success.expires_at,
            Some(WallTime::from_secs(1_795_003_600)),
            "{name} {value}"
        );
        assert!(success.notes.is_empty(), "{:?}", success.notes);
    }
    let utc = success(json!({ "expires_at": "2026-11-18T12:06:40" }));
    assert_eq!(utc.expires_at, Some(WallTime::from_secs(1_795_003_600)));
    assert_eq!(utc.notes.len(), 1);
    for (value, notes) in [
        (json!(0), 0),
        (json!("0"), 0),
        (json!(null), 0),
        (json!(-1), 1),
        (json!("never"), 1),
        (json!(1e40), 1),
        (json!(3600), 1),
        (json!("6/1/2017 2:24:46 PM"), 1),
        (json!("0001-01-01T00:00:00Z"), 1),
    ] {
        let success = success(json!({ "expires_at": value }));
        assert_eq!(
            (success.expires_at, success.notes.len()),
            (None, notes),
            "{value}"
        );
    }
}

#[test]
fn the_refresh_tokens_life() {
    for name in [
        "refresh_token_expires_in",
        "refresh_expires_in",
        "x_refresh_token_expires_in",
    ] {
        let success = success(json!({ name: "628639555" }));
        assert_eq!(
            success.refresh_expires_in,
            Some(Duration::from_secs(628_639_555)),
            "{name}"
        );
    }
    for name in [
        "refresh_token_expires_at",
        "refresh_expires_at",
        "refresh_token_expiration",
        "refresh_expires_in",
    ] {
        let success = success(json!({ name: 1_799_000_000 }));
        assert_eq!(
            success.refresh_expires_at,
            Some(WallTime::from_secs(1_799_000_000)),
            "{name}"
        );
    }
    // Keycloak's offline tokens do not end; Intuit states two limits.
    assert_eq!(
        success(json!({ "refresh_expires_in": 0 })).refresh_expires_in,
        None
    );
    let intuit = success(json!({
        "x_refresh_token_expires_in": 8_640_000, "x_refresh_token_hard_expires_in": 100,
    }));
    assert_eq!(intuit.refresh_expires_in, Some(Duration::from_secs(100)));
    assert!(intuit.extra.is_empty());
}

#[test]
fn no_refresh_token_keeps_the_old_one() {
    for value in [json!(null), json!(""), json!("  "), json!(false)] {
        assert_eq!(
            success(json!({ "refresh_token": value })).refresh_token,
            None
        );
    }
    assert_eq!(success(json!({})).refresh_token, None);
    let number = success(json!({ "refresh_token": 17 }));
    assert_eq!(number.refresh_token, Some(Secret::new("17")));
    assert_eq!(number.notes.len(), 1);
}

#[test]
fn token_types() {
    for good in ["bearer", "Bearer", "BEARER", "User Access Token", "mac"] {
        assert_eq!(
            success(json!({ "token_type": good })).token_type.as_deref(),
            Some(good)
        );
    }
    assert_eq!(
        success(json!({ "token_type": "bearer " }))
            .token_type
            .as_deref(),
        Some("bearer")
    );
    assert_eq!(success(json!({ "token_type": "" })).token_type, None);
    for bad in [json!("a\r\nb"), json!(1), json!("x".repeat(65))] {
        let success = success(json!({ "token_type": bad }));
        assert_eq!((success.token_type, success.notes.len()), (None, 1));
    }
}

#[test]
fn scopes() {
    let scope = |value: Value| success(json!({ "scope": value })).scope;
    for value in [
        json!("a b"),
        json!("a,b"),
        json!("a, b"),
        json!(" a\nb "),
        json!(["a", "b"]),
    ] {
        assert_eq!(scope(value.clone()).as_deref(), Some("a b"), "{value}");
    }
    for value in [json!(""), json!(null), json!([]), json!(1)] {
        assert_eq!(scope(value.clone()), None, "{value}");
    }
}

#[test]
fn created_at() {
    let created = |value: Value| success(json!({ "created_at": value })).created_at;
    let expected = Some(WallTime::from_secs(1_795_000_000));
    assert_eq!(created(json!(1_795_000_000)), expected);
    assert_eq!(created(json!("1795000000000")), expected);
}

#[test]
fn jwts_say_when_they_end() {
    let exp = |claims: &str| {
        let token = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        success(json!({ "access_token": token })).jwt_exp
    };
    assert_eq!(
        exp(r#"{"exp":1795003600}"#),
        Some(WallTime::from_secs(1_795_003_600))
    );
    assert_eq!(
        exp(r#"{"exp":1795003600.5}"#),
        Some(WallTime::from_secs(1_795_003_600))
    );
    for claims in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":-1}"#, "[]", "no"] {
        assert_eq!(exp(claims), None, "{claims}");
    }
    for token in ["a.b", "a.!.c", "a.b.c.d.e", "opaque"] {
        assert_eq!(success(json!({ "access_token": token })).jwt_exp, None);
    }
}

#[test]
fn forms_are_read_like_json() {
    let github = success_of(
        "access_token=ghu_16C7&expires_in=28800&refresh_token=ghr_1B4a%2Bx&scope=a%2Cb&token_type=bearer\n",
    );
    assert_eq!(github.access_token.expose(), "ghu_16C7");
    assert_eq!(github.refresh_token, Some(Secret::new("ghr_1B4a+x")));
    assert_eq!(github.expires_in, Some(28_800));
    assert_eq!(github.scope.as_deref(), Some("a b"));
    let facebook = success_of("access_token=EAAB&expires=5183944");
    assert_eq!(facebook.expires_in, Some(5_183_944));
}

#[test]
fn the_bytes_decide_not_the_content_type() {
    let body = "\u{feff}\r\n  {\"access_token\":\"at\"}\n";
    let html = answer(200, &[("content-type", "text/html")], body.as_bytes());
    assert_eq!(kind(&read(&description(json!({})), &html)), "success");
    let warned = success_of("{\"access_token\":\"at\"}\n<b>Warning</b>: deprecated");
    assert_eq!(warned.notes.len(), 1);
}

#[test]
fn duplicates_and_depth() {
    let twice = success_of(r#"{"access_token":"a","access_token":"b"}"#);
    assert_eq!(twice.access_token.expose(), "b");
    let deep = format!(
        r#"{{"access_token":"at","x":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert_eq!(success_of(&deep).access_token.expose(), "at");
    let large = format!(r#"{{"access_token":"at","x":"{}"}}"#, "x".repeat(2 << 20));
    assert_eq!(kind(&outcome(200, &large)), "unread");
}

#[test]
fn a_long_token_is_whole() {
    let token = "x".repeat(20_000);
    assert_eq!(
        success(json!({ "access_token": token }))
            .access_token
            .expose(),
        token
    );
}

#[test]
fn other_members_are_kept_within_bounds() {
    let kept = success(json!({
        "instance_url": "https://x.example", "realm": { "id": 7 }, "n": 1, "nothing": null,
    }));
    let extra: Vec<(&str, &str)> = kept
        .extra
        .iter()
        .map(|(k, v)| (k.as_str(), v.expose()))
        .collect();
    assert_eq!(
        extra,
        [
            ("instance_url", "\"https://x.example\""),
            ("n", "1"),
            ("realm", "{\"id\":7}")
        ]
    );
    let many: serde_json::Map<String, Value> =
        (0..40).map(|i| (format!("m{i}"), json!(i))).collect();
    let kept = success(Value::Object(many));
    assert_eq!((kept.extra.len(), kept.notes.len()), (32, 1));
    let kept = success(json!({ "a": "x".repeat(20_000), "b": "y" }));
    assert_eq!(kept.extra.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(kept.notes.len(), 1);
}
