//! What may be shown of an answer that is nobody's JSON: the title of a page, the message
//! of an XML document, a line of text; without anything that looks like a token.

use crate::text::printable;

/// How much of a body is looked at.
const LOOKED_AT: usize = 16 * 1024;
/// How much of it is shown.
const SHOWN: usize = 120;
/// What holds the words of a document, the likeliest first.
const ELEMENTS: [&str; 10] = [
    "title",
    "error_description",
    "faultstring",
    "message",
    "errormessage",
    "description",
    "error",
    "code",
    "h1",
    "reason",
];

/// The words of a page or document, or (where `plain`) of a text.
pub(super) fn of_page(body: &[u8], plain: bool) -> Option<String> {
    let body = &body[..body.len().min(LOOKED_AT)];
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let words = match text.starts_with('<') {
        true => ELEMENTS.iter().find_map(|name| element(text, name))?,
        false if plain && is_text(text) => text.lines().next()?.to_owned(),
        false => return None,
    };
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = redacted(&words.join(" "));
    (!words.is_empty()).then_some(words)
}

/// Some text of a provider's, without what looks like a token, fit to be shown in a line.
pub(super) fn redacted(text: &str) -> String {
    let text = without_tokens(text);
    let short: String = text.chars().take(SHOWN).collect();
    let cut = if short.len() < text.len() { "…" } else { "" };
    printable(&format!("{short}{cut}"))
}

/// A place that an answer redirects to, without what may hold a secret: its query, its
/// fragment, a user.
pub(super) fn place(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let place = &location[..end];
    let place = match place.split_once("//") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}//{host}{}", segments(path))
        }
        None => segments(place),
    };
    printable(&place)
}

fn segments(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(without_tokens).collect();
    segments.join("/")
}

/// Printable, and more than a form or a number.
fn is_text(text: &str) -> bool {
    text.contains(' ')
        && !text.contains(['{', '='])
        && !text.chars().take(SHOWN).any(|c| c == '\u{fffd}')
}

/// The text of the first element of that name, whatever its case, prefix and attributes.
fn element(text: &str, name: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower[from..].find('<').map(|at| from + at) {
        let tag = lower[at + 1..].split('>').next()?;
        let called = tag.split(|c: char| c.is_whitespace() || c == '/').next()?;
        let called = called.rsplit(':').next()?;
        from = at + 1;
        if called != name || tag.ends_with('/') {
            continue;
        }
        let begin = at + 1 + tag.len() + 1;
        let inner = text.get(begin..)?;
        let inner = &inner[..inner.find("</").unwrap_or(inner.len())];
        let inner = inner
            .trim()
            .trim_start_matches("<![CDATA[")
            .trim_end_matches("]]>");
        if !inner.is_empty() && !inner.contains('<') {
            return Some(unescaped(inner));
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    let replace = |text: String, (entity, plain): &(&str, &str)| text.replace(entity, plain);
    entities.iter().fold(text.to_owned(), replace)
}

/// Takes out whatever looks like a token: servers quote the one that they
/// refuse ("Invalid refresh token: …").
pub(crate) fn without_tokens(text: &str) -> String {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=%".contains(c);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| of_token(c) != of_token(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        kept.push_str(if of_token(first) && is_tokenish(run) {
            "…"
        } else {
            run
        });
        rest = after;
    }
    kept
}

/// Long and with a digit in it, or too long for a word of any language.
fn is_tokenish(run: &str) -> bool {
    let digits = run.bytes().any(|b| b.is_ascii_digit());
    run.len() >= if digits { 16 } else { 40 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_documents_have_words() {
        let of = |text: &str| of_page(text.as_bytes(), true).unwrap_or_default();
        let page = "<!DOCTYPE html><html><HEAD>\n<Title lang=en>502 Bad\n Gateway</Title></HEAD><body>x</body></html>";
        assert_eq!(of(page), "502 Bad Gateway");
        assert_eq!(
            of(
                "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request &amp; expired</Message></Error>"
            ),
            "Request & expired"
        );
        assert_eq!(
            of("<soap:Fault><faultstring>Token <![CDATA[x]]></faultstring></soap:Fault>"),
            ""
        );
        assert_eq!(
            of("<a><ns:message><![CDATA[not here]]></ns:message></a>"),
            "not here"
        );
        assert_eq!(of("<html><title></title><h1>Sorry</h1></html>"), "Sorry");
        assert_eq!(
            of("upstream connect error or disconnect\nmore"),
            "upstream connect error or disconnect"
        );
        for nothing in [
            "",
            "<html>secret</html>",
            "a=b&c=d",
            "null",
            "\u{1}\u{2}",
            "<",
            "<title>",
            "é<title>",
        ] {
            assert_eq!(of(nothing), "", "{nothing:?}");
        }
        assert_eq!(of_page(b"a text of a success", false), None);
    }

    #[test]
    fn words_hold_no_token() {
        let page = "<Access><message>token eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiI1In0.c2ln is void</message></Access>";
        assert_eq!(
            of_page(page.as_bytes(), true).as_deref(),
            Some("token … is void")
        );
        let success =
            "<Access_Token><Token>at-1</Token><Refresh_Token>rt-1</Refresh_Token></Access_Token>";
        assert_eq!(of_page(success.as_bytes(), false), None);
        let long = format!("<title>{}</title>", "word ".repeat(100));
        let shown = of_page(long.as_bytes(), true).unwrap_or_default();
        assert!(
            shown.ends_with('…') && shown.chars().count() <= 121,
            "{shown}"
        );
    }

    #[test]
    fn a_redirect_is_told_without_its_query() {
        for (location, told) in [
            ("/o/token/", "/o/token/"),
            ("/o/token/?refresh_token=rt-1#x", "/o/token/"),
            (
                "https://as.example:8443/o/token?code=1",
                "https://as.example:8443/o/token",
            ),
            ("https://user:secret@as.example/x", "https://as.example/x"),
            (
                "https://as.example/realms/prod2/protocol/openid-connect/token",
                "https://as.example/realms/prod2/protocol/openid-connect/token",
            ),
            ("/s/8xLOxBtZp8kvMQ7yTT2s/x", "/s/…/x"),
            ("//as.example/x\u{1b}[0m", "//as.example/x\\u{1b}[0m"),
        ] {
            assert_eq!(place(location), told);
        }
    }
}
