//! Successes in odd wrapping: what stands around the tokens costs nothing, and what is
//! not clear is kept.

use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::Write;

const TOKENS: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":600}"#;

fn bytes(headers: &[(&str, &str)], body: &[u8]) -> Outcome {
    read(&description(json!({})), &answer(200, headers, body))
}

fn brings_both(outcome: &Outcome, of: &str) {
    let Outcome::Success(success) = outcome else {
        panic!("{of}: {outcome:?}");
    };
    assert_eq!(success.access_token.expose(), "at-1", "{of}");
    let refresh_token = success.refresh_token.as_ref().map(Secret::expose);
    assert_eq!(refresh_token, Some("rt-1"), "{of}");
}

#[test]
fn what_precedes_or_follows_the_object_costs_nothing() {
    for body in [
        format!(
            "<br />\n<b>Deprecated</b>: Automatically populating {{$x}} in <b>/a.php</b> on line <b>0</b><br />\n{TOKENS}"
        ),
        format!(")]}}',\n{TOKENS}"),
        format!("cb({TOKENS});"),
        format!("/**/ typeof cb === 'function' && cb({TOKENS})"),
        format!("while(1);{TOKENS}"),
        format!("for(;;);{TOKENS}"),
        format!("[{TOKENS}]"),
        format!("{{}}{TOKENS}\n<b>Notice</b>"),
        format!("{TOKENS}{TOKENS}"),
        format!("{TOKENS}\n<!-- 12 ms, {{cached}} -->"),
        format!("\u{feff}\0\n {TOKENS}\0\0"),
        format!(
            "<html><head><style>p{{color:red}}</style></head><body><pre>{TOKENS}</pre></body></html>"
        ),
        format!("{{\"debug\":{{\"ms\":3}}}}\n{TOKENS}"),
    ] {
        brings_both(&bytes(&[], body.as_bytes()), &body);
    }
}

#[test]
fn one_bad_character_costs_only_its_member() {
    let with = |member: &[u8]| {
        let mut body = TOKENS.as_bytes()[..TOKENS.len() - 1].to_vec();
        body.push(b',');
        body.extend_from_slice(member);
        body.push(b'}');
        body
    };
    for member in [
        &b"\"name\":\"J\xfcrgen\""[..],
        b"\"name\":\"Zoe\\ud83d\"",
        b"\"name\":\"a\x01\tb\nc\"",
        b"\"n\":1e400",
        b"\"n\":NaN",
        b"\"n\":1,",
        b"\"n\":'x'",
        b"\"name\":\"\\x41\"",
        b"// a comment is none\n\"n\":1",
    ] {
        let body = with(member);
        let shown = String::from_utf8_lossy(&body).into_owned();
        match member.starts_with(b"//") {
            true => assert_eq!(kind(&bytes(&[], &body)), "unread", "{shown}"),
            false => brings_both(&bytes(&[], &body), &shown),
        }
    }
}

#[test]
fn numbers_in_the_place_of_tokens_keep_their_digits() {
    let body =
        r#"{"access_token":12345678901234567890123,"refresh_token":98765432109876543210987}"#;
    let success = success_of(body);
    assert_eq!(success.access_token.expose(), "12345678901234567890123");
    let refresh_token = success.refresh_token.expect("it came");
    assert_eq!(refresh_token.expose(), "98765432109876543210987");
    let few = r#"{"access_token":17,"refresh_token":"rt-2"}"#;
    assert_eq!(kind(&bytes(&[], few.as_bytes())), "unread");
}

#[test]
fn other_encodings_of_text() {
    let utf_16 = |unit: fn(u16) -> [u8; 2]| TOKENS.encode_utf16().flat_map(unit).collect();
    let (le, be): (Vec<u8>, Vec<u8>) = (utf_16(u16::to_le_bytes), utf_16(u16::to_be_bytes));
    let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
    for body in [
        le.clone(),
        be.clone(),
        marked(b"\xff\xfe", &le),
        marked(b"\xfe\xff", &be),
        marked(b"\xef\xbb\xbf", TOKENS.as_bytes()),
    ] {
        brings_both(&bytes(&[], &body), &format!("{:?}", &body[..4]));
    }
}

#[test]
fn packed_bodies_are_unpacked_whatever_the_headers_say() {
    let gzip = |bytes: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(bytes).expect("into memory");
        packer.finish().expect("into memory")
    };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(TOKENS.as_bytes()).expect("into memory");
    let zlib = zlib.finish().expect("into memory");
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
    raw.write_all(TOKENS.as_bytes()).expect("into memory");
    let raw = raw.finish().expect("into memory");
    let packed = gzip(TOKENS.as_bytes());
    let said = |coding| [("content-encoding", coding)];
    for headers in [&said("gzip")[..], &said("x-gzip"), &said("br"), &[]] {
        brings_both(&bytes(headers, &packed), &format!("{headers:?}"));
    }
    brings_both(&bytes(&said("gzip, gzip"), &gzip(&packed)), "twice");
    brings_both(
        &bytes(&said("gzip"), TOKENS.as_bytes()),
        "not packed at all",
    );
    brings_both(&bytes(&said("deflate"), &zlib), "zlib");
    brings_both(&bytes(&said("deflate"), &raw), "raw deflate");
    // Its end is cut off: the tokens came.
    brings_both(&bytes(&said("gzip"), &packed[..packed.len() - 8]), "cut");
    let half = bytes(&said("gzip"), &packed[..packed.len() / 2]);
    assert_eq!(kind(&half), "unread");

    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 128 * 1024);
    let outcome = bytes(&said("gzip"), &bomb);
    assert!(text(&outcome).contains("more than 1 MiB"), "{outcome:?}");
    let zstd = [b"\x28\xb5\x2f\xfd".as_slice(), &packed[10..]].concat();
    let outcome = bytes(&said("zstd"), &zstd);
    assert!(text(&outcome).contains("content coding"), "{outcome:?}");
    assert!(may_hold(&outcome));
}

fn may_hold(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Unread { may_hold, .. } => *may_hold,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_clear_is_not_guessed() {
    let other = TOKENS.replace("rt-1", "rt-2");
    for body in [
        format!("{TOKENS}{other}"),
        format!("[{TOKENS},{other}]"),
        format!("{TOKENS}\n{{\"error\":\"server_error\"}}"),
    ] {
        assert!(may_hold(&bytes(&[], body.as_bytes())), "{body}");
    }
}

/// Only an answer that may hold a newer refresh token keeps the old one back.
/// All of its bytes are kept, and somebody may be able to mend them.
#[test]
fn packed_bytes_that_are_damaged_may_hold_anything() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(b"<html>Welcome</html>").unwrap();
    let mut packed = packer.finish().unwrap();
    assert!(!may_hold(&bytes(&[], &packed)));
    // The first block's kind is none that there is.
    packed[10] = 0xff;
    assert!(may_hold(&bytes(&[], &packed)));
    assert!(may_hold_token(&answer(200, &[], &packed)));
}

#[test]
fn what_may_hold_a_refresh_token() {
    for (body, expected) in [
        (
            "<Access_Token>\n<Token>at</Token><Refresh_Token>rt</Refresh_Token></Access_Token>",
            true,
        ),
        (r#"{"token":"at","renew":"rt"}"#, true),
        (r#"{"data":{"session":["abc"]}}"#, true),
        (r#"{"access_token":"a\nb","refresh_token":"rt"}"#, true),
        (r#"{"access_token":"at","refresh_to"#, false),
        (r#"{"access_token":"a\nb"}"#, false),
        (r#"{"token_type":"Bearer"}"#, false),
        (
            r#"{"token_type":"Bearer","expires_in":3600,"scope":"a b","message":"all is well"}"#,
            false,
        ),
        ("{}", false),
        ("null", false),
        ("OK", false),
        ("4f9c1b2e7a6d5c3b2a19", true),
        (
            "<html><body>One moment, please 4f9c1b2e7a6d5c3b2a19</body></html>",
            false,
        ),
        ("<html><form><input name=token value=x></form></html>", true),
    ] {
        assert_eq!(may_hold(&bytes(&[], body.as_bytes())), expected, "{body}");
    }
}

#[test]
fn what_came_in_place_of_a_token_is_named_without_values() {
    let outcome = outcome(200, r#"{"challenge_name":"email_otp","session":"abcdef"}"#);
    let told = text(&outcome);
    assert!(told.contains("challenge_name, session"), "{told}");
    assert!(
        !told.contains("email_otp") && !told.contains("abcdef"),
        "{told}"
    );
}

/// A server that answers without a head (HTTP/0.9) has said nothing of success.
#[test]
fn without_a_status_line_nothing_is_used_and_what_may_matter_kept() {
    let read = |body: &str| read(&description(json!({})), &answer(0, &[], body.as_bytes()));
    assert!(may_hold(&read(TOKENS)));
    assert_eq!(kind(&read("")), "lost");
}
