use super::*;

const TOKEN: &str = r#"{"access_token":"at","refresh_token":"rt"}"#;

#[test]
fn the_table() {
    let e = |code: &str| format!(r#"{{"error":"{code}"}}"#);
    let page = "<html><body>error=1&access_token=x</body></html>";
    let cases = [
        (200, TOKEN.to_owned(), "success"),
        (201, TOKEN.to_owned(), "success"),
        (
            200,
            r#"{"token":"t","refreshToken":"r"}"#.to_owned(),
            "unread",
        ),
        (200, r#"{"data":{"access_token":"t"}}"#.to_owned(), "unread"),
        (200, "{}".to_owned(), "unread"),
        (200, r#"{"access_token":"at","#.to_owned(), "unread"),
        (200, e("invalid_grant"), "invalid grant"),
        (200, e("bad_refresh_token"), "refused"),
        (200, page.to_owned(), "unread"),
        (200, String::new(), "lost"),
        (204, String::new(), "lost"),
        (200, "null".to_owned(), "unread"),
        (200, "a=b&c=d".to_owned(), "unread"),
        (301, TOKEN.to_owned(), "unread"),
        (302, e("invalid_grant"), "lost"),
        (400, e("invalid_grant"), "invalid grant"),
        (401, e("invalid_grant"), "invalid grant"),
        (403, e("invalid_grant"), "invalid grant"),
        (401, e("invalid_client"), "invalid client"),
        (400, e("unauthorized_client"), "invalid client"),
        (400, e("invalid_request"), "refused"),
        (400, page.to_owned(), "lost"),
        (401, String::new(), "lost"),
        (401, r#"{"message":"Unauthorized"}"#.to_owned(), "lost"),
        (404, TOKEN.to_owned(), "unread"),
        (429, TOKEN.to_owned(), "unread"),
        (429, page.to_owned(), "asked to wait"),
        (429, e("invalid_grant"), "asked to wait"),
        (200, e("temporarily_unavailable"), "unavailable"),
        (400, e("temporarily_unavailable"), "unavailable"),
        (400, e("slow_down"), "unavailable"),
        (400, e("server_error"), "unavailable"),
        (200, e("server_error"), "unavailable"),
        (429, e("slow_down"), "asked to wait"),
        (500, e("server_error"), "lost"),
        (503, e("temporarily_unavailable"), "lost"),
        (500, e("invalid_grant"), "invalid grant"),
        (503, e("invalid_client"), "invalid client"),
        (502, page.to_owned(), "lost"),
        (100, TOKEN.to_owned(), "unread"),
    ];
    for (status, body, expected) in cases {
        let outcome = outcome(status, &body);
        assert_eq!(kind(&outcome), expected, "{status} {body}: {outcome:?}");
    }
}

/// A gateway may word its failures like the provider; where the description says that
/// the provider did nothing, a 5xx is no doubt.
#[test]
fn a_5xx_did_nothing_where_the_description_says_so() {
    let description = description(json!({ "transient": ["E_BUSY", "server_error"] }));
    for (status, code, expected) in [
        (500, "server_error", "unavailable"),
        (503, "E_BUSY", "unavailable"),
        (400, "E_BUSY", "unavailable"),
        (503, "temporarily_unavailable", "lost"),
        (503, "E_OTHER", "lost"),
        (400, "E_OTHER", "refused"),
    ] {
        let body = json!({ "error": code }).to_string();
        let answer = answer(status, &[("retry-after", "7")], body.as_bytes());
        let outcome = read(&description, &answer);
        assert_eq!(kind(&outcome), expected, "{status} {code}: {outcome:?}");
        if let Outcome::Unavailable { retry_after, .. } = outcome {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[test]
fn an_incomplete_body_is_read_where_what_matters_in_it_is_whole() {
    for (status, body, expected) in [
        (200, TOKEN, "success"),
        (200, "", "lost"),
        (
            200,
            r#"{"access_token":"at","refresh_token":"rt""#,
            "success",
        ),
        (200, r#"{"access_token":"at","refresh_token":"rt"#, "unread"),
        (200, r#"{"access_token":"at","#, "unread"),
        (200, "access_token=at&refresh_token=rt&x=", "success"),
        (200, "access_token=at&refresh_token=r", "unread"),
        (429, "", "asked to wait"),
        (400, r#"{"error":"invalid_grant"}"#, "invalid grant"),
        (400, r#"{"error":"invalid_grant","error_descr"#, "lost"),
    ] {
        let mut answer = answer(status, &[("retry-after", "7")], body.as_bytes());
        answer.complete = false;
        let outcome = read(&description(json!({})), &answer);
        assert_eq!(kind(&outcome), expected, "{status} {body}");
        if let Outcome::Lost { retry_after, text } = outcome {
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
            assert!(text.contains("broke off"), "{text}");
        }
    }
}

#[test]
fn a_token_beside_an_error_is_kept_to_be_read_again() {
    let outcome = outcome(
        200,
        r#"{"access_token":"at","refresh_token":"rt","error":"partial"}"#,
    );
    assert_eq!(kind(&outcome), "unread");
    assert!(text(&outcome).contains("partial"));
}

#[test]
fn an_error_member_that_says_that_all_is_well() {
    for error in [
        json!(null),
        json!(""),
        json!(false),
        json!(0),
        json!({}),
        json!([]),
        json!({"code":"ok","message":""}),
    ] {
        success(json!({ "error": error }));
    }
}

#[test]
fn access_tokens_that_cannot_be_used_are_unread() {
    for token in [
        json!("a\nb"),
        json!("a\u{7f}b"),
        json!(" "),
        json!(""),
        json!(null),
        json!(["a"]),
        json!("a\u{fffd}b"),
    ] {
        let body = json!({ "access_token": token, "refresh_token": "rt" }).to_string();
        assert_eq!(kind(&outcome(200, &body)), "unread", "{body}");
    }
    let body = r#"{"access_token":"at","refresh_token":{"value":"rt"}}"#;
    assert_eq!(
        kind(&outcome(200, body)),
        "unread",
        "half an answer is not a success"
    );
}

#[test]
fn errors_as_objects_numbers_and_lists() {
    let facebook = r#"{"error":{"message":"Error validating","type":"OAuthException","code":190,"error_subcode":463}}"#;
    let outcome_ = outcome(400, facebook);
    assert_eq!(kind(&outcome_), "refused");
    assert_eq!(text(&outcome_), "HTTP 400: 190: Error validating");
    for said in ["190", "OAuthException", "463", "Error validating"] {
        let d = description(json!({ "invalid_grant": [said] }));
        let outcome = read(&d, &answer(400, &[], facebook.as_bytes()));
        assert_eq!(kind(&outcome), "invalid grant", "{said}");
    }
    assert_eq!(
        kind(&outcome(400, r#"{"error":{"error":"invalid_grant"}}"#)),
        "invalid grant"
    );
    assert_eq!(
        kind(&outcome(400, r#"{"error":true,"code":"invalid_client"}"#)),
        "invalid client"
    );
    assert_eq!(kind(&outcome(400, r#"{"error":[{"x":1}]}"#)), "refused");
}

#[test]
fn descriptions_name_codes_and_words() {
    let d = description(json!({
        "invalid_grant": ["bad_refresh_token", "Invalid refresh token", "refresh_token is invalid"],
        "invalid_client": ["app_disabled"],
        "rate_limited": ["Access Denied"],
        "too_early": ["Access token not expired"],
    }));
    let cases = [
        (
            200,
            json!({ "error": "bad_refresh_token" }),
            "invalid grant",
        ),
        // Twitch has no `error`.
        (
            400,
            json!({ "status": 400, "message": "Invalid refresh token" }),
            "invalid grant",
        ),
        // Atlassian; the list goes before the RFC's code.
        (
            403,
            json!({ "error": "unauthorized_client", "error_description": "refresh_token is invalid" }),
            "invalid grant",
        ),
        (400, json!({ "error": "app_disabled" }), "invalid client"),
        // Zoho: a limit, not a verdict.
        (
            400,
            json!({ "error": "Access Denied", "status": "failure" }),
            "asked to wait",
        ),
        (
            200,
            json!({ "error": "Access Denied", "status": "failure" }),
            "asked to wait",
        ),
        (
            400,
            json!({ "error": "invalid_grant", "error_description": "Access token not expired" }),
            "too early",
        ),
        (503, json!({ "error": "Access Denied" }), "lost"),
    ];
    for (status, body, expected) in cases {
        let outcome = read(&d, &answer(status, &[], body.to_string().as_bytes()));
        assert_eq!(kind(&outcome), expected, "{body}");
    }
}

#[test]
fn salesforce_says_it_with_a_form_or_json() {
    let json = r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#;
    let form = "error=invalid_grant&error_description=expired+access%2Frefresh+token";
    for body in [json, form] {
        let outcome = outcome(400, body);
        assert_eq!(kind(&outcome), "invalid grant");
        assert_eq!(
            text(&outcome),
            "HTTP 400: invalid_grant: expired access/refresh token"
        );
    }
}

#[test]
fn quoted_tokens_are_taken_out() {
    for token in [
        "8xLOxBtZp8kvMQ7yTT2s",
        "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiI1In0.c2ln",
        "6f3f0e4c-52a4-4f0e-8a44-1f2c-r",
        "AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstuvwxyz",
    ] {
        let words = format!("Invalid refresh token (expired): {token}\u{1b}[0m");
        let body = json!({ "error": "invalid_token", "error_description": words }).to_string();
        let outcome = outcome(400, &body);
        assert_eq!(
            text(&outcome),
            "HTTP 400: invalid_token: Invalid refresh token (expired): …\\u{1b}[0m"
        );
    }
}

#[test]
fn what_is_told_of_a_page() {
    let page = answer(
        502,
        &[("content-type", "text/html; charset=utf-8")],
        b"<html>secret</html>",
    );
    let outcome = read(&description(json!({})), &page);
    assert_eq!(text(&outcome), "HTTP 502, text/html, 19 bytes");
}

#[test]
fn retry_after() {
    let after = |value: &str| {
        let answer = answer(429, &[("retry-after", value)], b"");
        match read(&description(json!({})), &answer) {
            Outcome::AskedToWait { retry_after, .. } => retry_after.map(|d| d.as_secs()),
            other => panic!("{other:?}"),
        }
    };
    let date = |secs: i64, format: &str| {
        let time = chrono::DateTime::from_timestamp(RECEIVED.secs() + secs, 0).expect("in range");
        time.format(format).to_string()
    };
    assert_eq!(after(" 120 "), Some(120));
    assert_eq!(after("0"), Some(0));
    assert_eq!(after("999999999999999999999"), Some(86_400));
    assert_eq!(after(&date(90, "%a, %d %b %Y %H:%M:%S GMT")), Some(90));
    assert_eq!(after(&date(90, "%A, %d-%b-%y %H:%M:%S GMT")), Some(90));
    assert_eq!(after(&date(90, "%a %b %e %H:%M:%S %Y")), Some(90));
    assert_eq!(after(&date(-90, "%a, %d %b %Y %H:%M:%S GMT")), Some(0));
    assert_eq!(
        after(&date(900_000, "%a, %d %b %Y %H:%M:%S GMT")),
        Some(86_400)
    );
    for junk in ["", "-5", "soon", "NaN"] {
        assert_eq!(after(junk), None, "{junk}");
    }
}

#[test]
fn imports() {
    let d = description(json!({}));
    let good = json!({ "access_token": "at", "refresh_token": "rt", "expires_in": "3600" });
    let read = read_import(&d, &good).expect("reads");
    assert_eq!(read.expires_in, Some(3600));
    let error = |value: Value| read_import(&d, &value).expect_err("must fail").to_string();
    assert!(error(json!([1])).ends_with("and this is an array"));
    assert!(error(json!({ "error": "invalid_grant" })).contains("failed request: invalid_grant;"));
    assert_eq!(
        error(json!({ "refresh_token": "rt" })),
        "it has no access_token"
    );
    let newline = error(json!({ "access_token": "secret\nsecret" }));
    assert!(
        newline.contains("line break") && !newline.contains("secret"),
        "{newline}"
    );
}

/// Reads a body that came with status 400 by a description with these `[errors]`.
fn refused(errors: Value, body: &Value) -> Outcome {
    read(
        &description(errors),
        &answer(400, &[], body.to_string().as_bytes()),
    )
}

#[test]
fn codes_are_found_wherever_servers_put_them() {
    for body in [
        json!({ "errors": [{ "errorType": "dead", "message": "It is void" }], "success": false }),
        json!({ "errors": ["dead", "It is void"] }),
        json!({ "errors": { "code": "dead", "message": "It is void" } }),
        json!({ "errors": [{ "extensions": {}, "reason": "dead", "detail": "It is void" }] }),
        json!({ "error": [{ "code": "dead", "msg": "It is void" }] }),
        json!({ "error": { "errors": [{ "reason": "dead", "message": "It is void" }] } }),
        json!({ "Error": "dead", "Error_Description": "It is void" }),
        json!({ "ErrorCode": "dead", "ErrorMessage": "It is void" }),
        json!({ "errcode": "dead", "errmsg": "It is void" }),
        json!({ "err_code": "x", "errorCode": "dead", "errorMessage": "It is void" }),
        json!({ "fault": { "faultstring": "It is void", "detail": { "errorcode": "dead" } } }),
        json!({ "meta": { "code": 400, "error_type": "dead", "error_message": "It is void" } }),
        json!({ "detail": { "code": "dead", "msg": "It is void" } }),
        json!({ "detail": [{ "loc": ["body"], "msg": "It is void", "type": "dead" }] }),
        json!({ "code": "dead", "detail": "It is void" }),
        json!({ "type": "dead", "title": "It is void", "status": 400 }),
        json!({ "status": { "code": "dead", "message": "It is void" } }),
        json!({ "error": "x", "error_codes": [1, "dead"], "error_description": "It is void" }),
        json!([{ "errorCode": "dead", "message": "It is void" }]),
    ] {
        let outcome = refused(json!({ "invalid_grant": ["dead"] }), &body);
        assert_eq!(kind(&outcome), "invalid grant", "{body}");
        let text = text(&outcome);
        assert!(
            text.contains("dead") && text.contains("It is void"),
            "{body}: {text}"
        );
        let by_words = refused(json!({ "too_early": ["it is void"] }), &body);
        assert_eq!(kind(&by_words), "too early", "{body}");
    }
    let wechat = json!({ "errcode": 61023, "errmsg": "refresh_token is invalid rid: 5fc60c96" });
    let d = description(json!({ "invalid_grant": ["61023"] }));
    let outcome = read(&d, &answer(200, &[], wechat.to_string().as_bytes()));
    assert_eq!(kind(&outcome), "invalid grant");
    assert_eq!(
        text(&outcome),
        "HTTP 200: 61023: refresh_token is invalid rid: 5fc60c96"
    );
}

#[test]
fn the_rfcs_own_codes_count_one_level_down() {
    for body in [
        json!({ "errors": ["invalid_grant"] }),
        json!({ "errors": [{ "errorType": "invalid_grant" }] }),
        json!({ "message": "no", "code": "invalid_grant" }),
        json!({ "Error": "INVALID_GRANT" }),
        json!({ "fault": { "detail": { "errorcode": "InvalidGrant" } } }),
        json!(["invalid_grant"]),
    ] {
        assert_eq!(kind(&refused(json!({}), &body)), "invalid grant", "{body}");
    }
    // Gateways have errors, too: what is in no list decides nothing.
    for body in [
        json!({ "errors": [{ "code": 10013, "message": "An unknown error" }] }),
        json!({ "message": "no Route matched", "detail": "invalid_grant_type?" }),
        json!({ "fault": { "faultstring": "quota" } }),
    ] {
        assert_eq!(kind(&refused(json!({}), &body)), "lost", "{body}");
    }
    let success = json!({ "access_token": "at", "errors": [], "status": "ok", "message": "created", "code": 0 });
    assert_eq!(kind(&outcome(200, &success.to_string())), "success");
}

#[test]
fn a_description_says_where_errors_are() {
    let body = json!({ "outcome": { "problems": [{ "id": "dead", "says": "It is void" }] } });
    let paths = json!({ "code": "outcome.problems.id", "message": "outcome.problems.0.says", "invalid_grant": ["dead"] });
    let outcome = refused(paths.clone(), &body);
    assert_eq!(
        (kind(&outcome), text(&outcome)),
        ("invalid grant", "HTTP 400: dead: It is void")
    );
    let other = json!({ "outcome": { "problems": [{ "id": "other", "says": "no" }] } });
    assert_eq!(
        kind(&refused(paths.clone(), &other)),
        "refused",
        "it is the provider's own format"
    );
    let none = json!({ "outcome": { "problems": [] } });
    assert_eq!(kind(&refused(paths, &none)), "lost");
}

#[test]
fn codes_that_only_a_person_can_end_are_known() {
    for code in [
        "interaction_required",
        "login_required",
        "consent_required",
        "account_selection_required",
        "unmet_authentication_requirements",
        "mfa_required",
    ] {
        let body = json!({ "error": code, "error_description": "AADSTS50076: do it" });
        let outcome = refused(json!({}), &body);
        assert_eq!(kind(&outcome), "interaction required", "{code}");
        assert!(text(&outcome).contains("AADSTS50076"));
    }
    let listed = refused(
        json!({ "interaction_required": ["invalid_rapt"] }),
        &json!({ "error": "invalid_grant", "error_subtype": "invalid_rapt" }),
    );
    assert_eq!(kind(&listed), "interaction required");
}

#[test]
fn what_came_in_the_place_of_tokens_is_named_without_values() {
    let body = json!({ "challenge_name": "email_otp", "session": "abcdef" });
    let challenge = outcome(200, &body.to_string());
    assert_eq!(kind(&challenge), "unread");
    assert_eq!(
        text(&challenge),
        "HTTP 200, no content type, 49 bytes: it has no access_token; its members: challenge_name, session"
    );
    let told = outcome(200, r#"{"message":"Try again","x":1}"#);
    assert!(
        text(&told).ends_with("its members: message, x; an error without a code: Try again"),
        "{}",
        text(&told)
    );
    let gateway = outcome(403, r#"{"message":"Forbidden by rule 7"}"#);
    assert_eq!(kind(&gateway), "lost");
    assert!(
        text(&gateway).contains("Forbidden by rule 7"),
        "{}",
        text(&gateway)
    );
    let page = outcome(
        502,
        "<html><head><title>502 Bad Gateway</title></head></html>",
    );
    assert!(
        text(&page).ends_with(": 502 Bad Gateway"),
        "{}",
        text(&page)
    );
    let limited = outcome(429, r#"{"message":"Slow down"}"#);
    assert!(text(&limited).contains("Slow down"));
    let secret = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiI1In0.c2ln";
    for body in [
        json!({ secret: 1 }).to_string(),
        json!({ "message": secret }).to_string(),
        json!({ "errors": [secret] }).to_string(),
        format!("<title>{secret}</title>"),
    ] {
        for status in [200, 400, 503] {
            let outcome = outcome(status, &body);
            assert!(!text(&outcome).contains("eyJ"), "{}", text(&outcome));
        }
    }
}

#[test]
fn a_redirect_says_where_to() {
    let location = "https://as.example/o/token/?refresh_token=rt-1";
    let moved = answer(
        301,
        &[("location", location)],
        b"<html><title>Moved</title></html>",
    );
    let outcome = read(&description(json!({})), &moved);
    assert_eq!(kind(&outcome), "lost");
    let text = text(&outcome);
    assert!(text.starts_with("HTTP 301, "), "{text}");
    assert!(
        text.contains("it redirects to https://as.example/o/token/, and"),
        "{text}"
    );
    assert!(!text.contains("rt-1"), "{text}");
}
