//! A request as it goes over the wire (RFC 9112 §3). Header names are written as people
//! write them: some servers know them only so, though RFC 9110 §5.1 says otherwise.

use super::connect::AGENT;
use refreshd_core::provider::request::TokenRequest;
use reqwest::Method;
use std::fmt::Write as _;
use url::{Position, Url};
use zeroize::Zeroizing;

/// The bytes of a request, wiped when dropped.
///
/// # Errors
/// Which header cannot be sent.
pub(super) fn write(method: &Method, request: &TokenRequest) -> Result<Zeroizing<String>, String> {
    let url = &request.url;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let body = request.body.expose();
    // So that it never grows, which would leave copies behind.
    let room = request
        .headers
        .iter()
        .map(|(n, v)| n.len() + v.expose().len() + 4);
    let room = room.sum::<usize>() + url.as_str().len() * 2 + body.len() + 512;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let written = (|| {
        write!(text, "{method} {path} HTTP/1.1\r\nHost: {}\r\n", host(url))?;
        write!(text, "User-Agent: {AGENT}\r\n")?;
        // RFC 9110 §12.5.3: without it a server may choose any coding.
        let codings = match *method == Method::POST {
            true => "identity, gzip;q=0.5",
            false => "identity",
        };
        write!(text, "Accept-Encoding: {codings}\r\n")
    })();
    written.expect("a string takes all that is written");
    for (name, value) in &request.headers {
        if !is_fit(value.expose()) {
            return Err(format!(
                "header {name} has a value that HTTP does not carry"
            ));
        }
        text.push_str(&title(name));
        text.push_str(": ");
        text.push_str(value.expose());
        text.push_str("\r\n");
    }
    if *method == Method::POST {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    if *method == Method::POST {
        text.push_str(body);
    }
    Ok(text)
}

/// RFC 9110 §5.5, with the bytes of UTF-8 as they are.
fn is_fit(value: &str) -> bool {
    value
        .bytes()
        .all(|b| b == b'\t' || (b >= b' ' && b != 0x7f))
}

/// The port only where it is not the scheme's own (RFC 9110 §7.2).
fn host(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

fn title(name: &str) -> String {
    let mut first = true;
    name.chars()
        .map(|c| {
            let c = if first { c.to_ascii_uppercase() } else { c };
            first = c == '-';
            c
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use refreshd_core::secret::Secret;

    fn request(url: &str, headers: &[(&str, &str)]) -> TokenRequest {
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), Secret::new(*v)));
        TokenRequest {
            url: url.parse().unwrap(),
            headers: headers.collect(),
            body: Secret::new("a=b"),
        }
    }

    #[test]
    fn header_names_are_written_as_people_write_them() {
        let request = request(
            "https://as.example/t%20o?x=%2F#f",
            &[("content-type", "a/b"), ("x-api-key", "k")],
        );
        let text = write(&Method::POST, &request).unwrap();
        let agent = format!("User-Agent: {AGENT}\r\n");
        assert_eq!(
            text.replace(&agent, ""),
            "POST /t%20o?x=%2F HTTP/1.1\r\nHost: as.example\r\nAccept-Encoding: identity, gzip;q=0.5\r\n\
             Content-Type: a/b\r\nX-Api-Key: k\r\nContent-Length: 3\r\n\r\na=b"
        );
        let text = write(&Method::GET, &request).unwrap();
        assert!(text.ends_with("X-Api-Key: k\r\n\r\n"), "{}", *text);
    }

    #[test]
    fn the_port_stands_where_it_must() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://[::1]:80/", "[::1]"),
            ("https://as.example:443/", "as.example"),
            ("https://as.example:8443/", "as.example:8443"),
        ] {
            assert_eq!(host(&url.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_value_that_would_split_the_head_is_not_sent() {
        for value in ["a\r\nb: c", "a\nb", "a\u{0}", "a\u{7f}"] {
            let refused = write(
                &Method::POST,
                &request("http://localhost/", &[("x", value)]),
            );
            assert!(refused.unwrap_err().contains("header x"));
        }
    }
}
