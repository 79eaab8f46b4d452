use super::*;
use tokio::io::AsyncWriteExt;

const BODY: &str = r#"{"access_token":"at","name":"Jürgen"}"#;

/// What is made of an answer that comes in these pieces; the connection stays open then.
async fn of(pieces: &[&str], closes: bool) -> Received {
    let (mut ours, mut theirs) = tokio::io::duplex(1 << 22);
    for piece in pieces {
        theirs.write_all(piece.as_bytes()).await.unwrap();
    }
    let _open = (!closes).then_some(theirs);
    let (limit, grace) = (Duration::from_secs(1), Duration::from_millis(10));
    receive_within(&mut ours, || WallTime(7), limit, grace).await
}

async fn answer(text: &str, closes: bool) -> (Answer, bool) {
    match of(&[text], closes).await {
        Received::Answer { answer, reusable } => (answer, reusable),
        Received::Nothing(why) => panic!("{text}: {why}"),
    }
}

fn body(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

#[tokio::test]
async fn a_sound_answer_leaves_its_connection_for_the_next() {
    let length = BODY.len();
    for text in [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{BODY}"),
        format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{BODY}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BODY}\r\n0\r\n\r\n"
        ),
    ] {
        let (answer, reusable) = answer(&text, false).await;
        assert_eq!((answer.status, body(&answer)), (200, BODY));
        assert!(answer.complete && reusable, "{text}");
    }
}

/// All of these cost tokens.
#[tokio::test]
async fn a_broken_answer_is_read_to_its_end() {
    let (length, chars) = (BODY.len(), BODY.chars().count());
    for (text, closes, complete) in [
        // Too long, too short, in both of its ways, not at all.
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{BODY}"),
            true,
            false,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{BODY}"),
            false,
            false,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {chars}\r\n\r\n{BODY}"),
            true,
            true,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: {chars}\r\n\r\n{BODY}"),
            false,
            true,
        ),
        (
            format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\n{BODY}"),
            false,
            false,
        ),
        (format!("HTTP/1.1 200 OK\r\n\r\n{BODY}"), true, true),
        (format!("HTTP/1.1 200 OK\r\n\r\n{BODY}"), false, false),
        (
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BODY}\r\n"
            ),
            false,
            false,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BODY}\r\n0\r\n"
            ),
            false,
            true,
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{BODY}\n"
            ),
            true,
            true,
        ),
        (
            format!("HTTP/1.1 200 OK\nContent-Length: {length}\n\n{BODY}"),
            false,
            true,
        ),
    ] {
        let (answer, reusable) = answer(&text, closes).await;
        assert_eq!((answer.status, body(&answer).trim()), (200, BODY), "{text}");
        assert_eq!(answer.complete, complete, "{text}");
        assert!(!reusable || text.contains('\n'), "{text}");
    }
}

#[tokio::test]
async fn bytes_without_a_proper_head_are_kept() {
    for (text, status, kept) in [
        (BODY.to_owned(), 0, BODY.to_owned()),
        (format!("{BODY}\r\n\r\n"), 0, format!("{BODY}\r\n\r\n")),
        (format!("HTTP/1.1 200 OK\r\n{BODY}"), 200, BODY.to_owned()),
        (
            "HTTP/1.1 200 OK\r\nContent-T".to_owned(),
            200,
            "Content-T".to_owned(),
        ),
    ] {
        let (answer, _) = answer(&text, true).await;
        assert_eq!((answer.status, body(&answer)), (status, kept.as_str()));
    }
    assert!(matches!(of(&[], true).await, Received::Nothing(_)));
}

#[tokio::test]
async fn nothing_is_read_without_end() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
    assert!(
        matches!(of(&[&interim], false).await, Received::Nothing(why) if why.contains("interim"))
    );
    let head = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(100_000));
    let (cut, _) = answer(&head, false).await;
    assert_eq!(
        (cut.status, cut.complete, cut.body.len()),
        (200, false, BODY_CAP)
    );
    let large = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(BODY_CAP + 1));
    let (cut, _) = answer(&large, false).await;
    assert_eq!((cut.complete, cut.body.len()), (false, BODY_CAP));
    assert!(matches!(of(&[], false).await, Received::Nothing(why) if why.contains("within 1 s")));
}

#[tokio::test]
async fn headers_that_matter_are_kept_within_bounds() {
    let long = "x".repeat(4000);
    let text = format!(
        "HTTP/1.1 200 OK\r\nX-Refresh-Token: rt\r\nSet-Cookie: c\r\nLocation: {long}\r\nX-Token: {long}\r\nY-Token: {long}\r\nContent-Length: 0\r\n\r\n"
    );
    let (answer, _) = answer(&text, false).await;
    let names: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["x-refresh-token", "location", "x-token"]);
    assert_eq!(answer.headers[1].1.len(), HEADER_BYTES);
}
