use super::super::callback;
use super::*;

const STATE: &str = "qhX4GgsDVrA1YHDbr1JmVA";
const CODE: &str = "4/0AbC-dEf_gHi";

fn asked() -> Option<Asked<'static>> {
    Some(Asked { state: STATE })
}

/// The code that is read, and its state.
fn got(text: &str) -> Result<(String, Option<String>), PasteError> {
    let query = read(text, asked())?;
    let callback = callback::read(query.expose()).expect("a query of ours");
    let code = callback.result.expect("a code").expose().to_owned();
    Ok((code, callback.state))
}

fn is_taken(text: &str) {
    let whole = (CODE.to_owned(), Some(STATE.to_owned()));
    assert_eq!(got(text), Ok(whole), "{text:?}");
}

#[test]
fn an_address_is_taken_as_terminals_mails_and_chats_leave_it() {
    let address = format!("https://app.example/cb?code=4%2F0AbC-dEf_gHi&state={STATE}");
    let state_first = format!("https://app.example/cb?state={STATE}&code=4/0AbC-dEf_gHi");
    for a in [&address, &state_first] {
        for text in [
            a.clone(),
            format!("  {a} \r\n"),
            format!("\u{1b}[200~{a}\u{1b}[201~"),
            format!("^[[200~{a}^[[201~"),
            format!("\"{a}\""),
            format!("'{a}'"),
            format!("“{a}”"),
            format!("`{a}`"),
            format!("<{a}>"),
            format!("({a})"),
            format!("[{a}]({a})"),
            format!("{a}."),
            format!("**{a}**").replace("**\"", ""),
            format!("Here it is: {a}, thanks a lot"),
            format!("<a href=\"{a}\">back</a>"),
            format!("> {a}\n> \n> sent from my phone\n"),
            format!("│ {a} │"),
            format!("\u{feff}{a}\u{200b}"),
            a.replace('&', "&amp;"),
            a.replace('&', "&amp;amp;"),
            a.replace('&', "&#38;"),
            a.replacen("https://", "", 1),
            a.replacen('?', "#", 1),
            format!("{a}#_=_"),
            format!("{a}&scope=a+b&iss=https://as.example"),
            a.replacen("https://app.example/cb?", "", 1),
            a.replacen("https://app.example/cb", "", 1),
            a.replacen("https", "com.example.app", 1),
            format!("{a}\n{a}"),
        ] {
            // The marks of bold text may belong to a code that stands at the end.
            if text.contains("**") && text.ends_with("gHi**") {
                continue;
            }
            is_taken(&text);
        }
    }
}

#[test]
fn a_wrapped_address_is_put_together() {
    for address in [
        format!("https://app.example/cb?code=4%2F0AbC-dEf_gHi&state={STATE}&scope=openid"),
        format!("https://app.example/cb?state={STATE}&code=4%2F0AbC-dEf_gHi&scope=openid"),
        format!("https://app.example/cb?session_state=a.b&state={STATE}&code=4%2F0AbC-dEf_gHi"),
    ] {
        for width in [7, 10, 20, 33, 60] {
            for gap in ["\n", "\r\n", "\n  ", "\n> ", " \\\n", "\n│ "] {
                let lines: Vec<&[u8]> = address.as_bytes().chunks(width).collect();
                let lines: Vec<&str> = lines
                    .iter()
                    .map(|l| std::str::from_utf8(l).unwrap())
                    .collect();
                let text = lines.join(gap);
                // Where the code is cut into what looks like a word, it is asked for again.
                match got(&text) {
                    Err(PasteError::WhereItEnds) => {}
                    taken => assert_eq!(
                        taken,
                        Ok((CODE.to_owned(), Some(STATE.to_owned()))),
                        "{text:?}"
                    ),
                }
            }
        }
    }
    // The state tells, so what stands around cannot mislead.
    is_taken(&format!(
        "see\nhttps://app.example/cb?code=4/0AbC-\ndEf_gHi&state=\n{STATE}\nthanks"
    ));
}

#[test]
fn a_mail_s_encoding_and_links_to_links_are_undone() {
    let address = format!("https://app.example/cb?code=4%2F0AbC-dEf_gHi&state={STATE}");
    let quoted = address.replace('=', "=3D");
    is_taken(&format!("{}=\n{}", &quoted[..50], &quoted[50..]));
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let once = encode(&address);
    is_taken(&once);
    is_taken(&encode(&once));
    is_taken(&format!("https://links.example/?url={once}&data=05%7C01"));
    is_taken(&format!("https://www.example.com/url?q={once}"));
    is_taken(&address.replace("%2F", "%252F"));
}

#[test]
fn a_code_alone_is_taken_with_or_without_its_state() {
    for text in [
        CODE.to_owned(),
        format!("  {CODE}\n"),
        format!("\"{CODE}\""),
        "4%2F0AbC-dEf_gHi".to_owned(),
        format!("code={CODE}"),
        format!("code = {CODE}"),
        format!("Code: {CODE}"),
        format!("Your authorization code is: {CODE}"),
        "4/0AbC-\n  dEf_gHi".to_owned(),
        format!("{CODE}#{STATE}"),
        format!("{CODE}&state={STATE}"),
        format!("\u{1b}[200~{CODE}\u{1b}[201~"),
    ] {
        assert_eq!(
            got(&text).map(|(code, _)| code),
            Ok(CODE.to_owned()),
            "{text:?}"
        );
    }
    assert_eq!(
        got("a+b/c1==").map(|(code, _)| code),
        Ok("a+b/c1==".to_owned())
    );
    for code in ["TUiPOZ", "7391844", &"a".repeat(32)] {
        assert_eq!(got(code).map(|(code, _)| code), Ok(code.to_owned()));
    }
    // A word that is a code after all has a way in.
    assert_eq!(
        got("code=help").map(|(code, _)| code),
        Ok("help".to_owned())
    );
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_used() {
    let right = format!("https://app.example/cb?code=4%2F0AbC-dEf_gHi&state={STATE}");
    let asking = format!(
        "https://as.example/authorize?response_type=code&client_id=c&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state={STATE}"
    );
    let other = right.replace(STATE, "aaaaaaaaaaaaaaaaaaaaaa");
    let denied = format!(
        "https://app.example/cb?error=access_denied&error_description=No%1B[2J&state={STATE}"
    );
    assert_eq!(got(""), Err(PasteError::Empty));
    assert_eq!(got(" \u{1b}[200~\u{1b}[201~ \n"), Err(PasteError::Empty));
    assert_eq!(got(&asking), Err(PasteError::AuthorizeUrl));
    assert_eq!(got(&other), Err(PasteError::OtherAttempt));
    assert_eq!(
        got(&format!("{CODE}#aaaaaaaaaaaaaaaaaaaaaa")),
        Err(PasteError::OtherAttempt)
    );
    assert_eq!(
        got(&denied),
        Err(PasteError::Denied("access_denied: No\\u{1b}[2J".to_owned()))
    );
    assert_eq!(got("https://app.example/cb"), Err(PasteError::NoCode));
    assert_eq!(got("127.0.0.1:7777/cb"), Err(PasteError::NoCode));
    assert_eq!(got(STATE), Err(PasteError::NoCode));
    assert_eq!(
        got("https://app.example/#access_token=a&state=x"),
        Err(PasteError::Token)
    );
    for word in ["q", "quit", "help", "Thanks", "OK", "y"] {
        let error = got(word).expect_err(word);
        assert!(
            matches!(error, PasteError::Implausible(_)),
            "{word}: {error:?}"
        );
    }
    assert_eq!(got("\u{fffd}\u{fffd}"), Err(PasteError::Garbled));
    assert_eq!(got("I do not know what to paste"), Err(PasteError::Neither));
    assert_eq!(
        got(&format!("{right}&code=other&code=third").replace(CODE, "")).map(|(c, _)| c),
        Ok("third".to_owned())
    );
    assert_eq!(got(&"x".repeat(LONGEST_TEXT + 1)), Err(PasteError::TooLong));
    let long = format!(
        "https://app.example/cb?code={}&state={STATE}",
        "c".repeat(5000)
    );
    assert!(matches!(got(&long), Err(PasteError::Code(_))));
    // After what was wrong, the right one is taken.
    for wrong in [&asking, &other, &denied] {
        is_taken(&format!("{wrong}\n{right}"));
        is_taken(&format!("{wrong} {right}"));
    }
}

#[test]
fn an_address_that_may_be_cut_off_is_asked_for_again() {
    let cut = "https://app.example/cb?code=4%2F0AbC-d";
    let error = got(cut).expect_err("no state");
    let PasteError::NoState(query) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(query.expose(), "code=4%2F0AbC-d");
    assert!(!error.to_string().contains("0AbC"), "{error}");
    // The rest, pasted later, makes it whole.
    is_taken(&format!("{cut}\nEf_gHi&state={STATE}"));
    for unclear in ["thanks", "ef9"] {
        let text = format!("https://app.example/cb?state={STATE}&code=abcd");
        let same_line = got(&format!("{text} {unclear}"));
        let next_line = got(&format!("{text}\n{unclear}"));
        match unclear {
            "thanks" => {
                assert_eq!(same_line.map(|(code, _)| code), Ok("abcd".to_owned()));
                assert_eq!(next_line, Err(PasteError::WhereItEnds));
            }
            _ => {
                assert_eq!(same_line, Err(PasteError::WhereItEnds));
                assert_eq!(next_line.map(|(code, _)| code), Ok("abcdef9".to_owned()));
            }
        }
    }
}

#[test]
fn no_text_panics_or_is_slow() {
    let mut seed = 7_u64;
    let parts = [
        "https://app.example/cb?",
        "code=",
        "state=",
        STATE,
        "&",
        "=",
        "#",
        "\n",
        " ",
        "%",
        "%2F",
        "%25",
        "\u{1b}[200~",
        "&amp;",
        "=3D",
        "é",
        "\u{200b}",
        "\"",
        "4/0A",
        "error=",
        "((",
        "](",
    ];
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(parts[(seed >> 33) as usize % parts.len()]);
        }
        let _taken = read(&text, asked());
        let _taken = read(&text, None);
    }
    let many = "code=a ".repeat(LONGEST_TEXT / 7);
    let _taken = read(&many, asked());
}
