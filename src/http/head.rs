//! The head of an answer (RFC 9112 §4, §5), read as browsers read it: a slip in a line
//! that nobody needs does not cost the answer.

use super::framing::Framing;

/// A head that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case, in the order in which they came.
    pub(super) headers: Vec<(String, String)>,
    /// Nothing about it is odd, and the connection may be used again.
    pub(super) is_sound: bool,
}

/// Where a head ends, behind its empty line; `None`: not within these bytes. Blank lines
/// in front of it do not count.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    let first = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'))?;
    let mut line = first;
    while let Some(length) = bytes[line..].iter().position(|b| *b == b'\n') {
        let next = line + length + 1;
        if matches!(&bytes[line..next], b"\n" | b"\r\n") {
            return Some(next);
        }
        line = next;
    }
    None
}

/// Reads a head; `None`: there is no status line in it.
pub(super) fn read(bytes: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let (mut status, mut skipped) = (None, false);
    for line in lines.by_ref() {
        status = status_of(line);
        if status.is_some() {
            break;
        }
        skipped |= !line.is_empty();
    }
    let (status, is_current) = status?;
    let mut head = Head {
        status,
        headers: Vec::new(),
        is_sound: is_current && !skipped && !text.contains(char::REPLACEMENT_CHARACTER),
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        head.take(line);
    }
    let closes = |value: &str| value.to_ascii_lowercase().contains("close");
    let stays = !head.all("connection").any(closes);
    head.is_sound &= stays;
    Some(head)
}

/// `HTTP/1.1 200 OK`, and what passes for it: `ICY 200 OK`, `HTTP/2 200`. Whether it is
/// the first of these.
fn status_of(line: &str) -> Option<(u16, bool)> {
    let mut words = line.split_whitespace();
    let protocol = words.next()?.to_ascii_uppercase();
    if !(protocol.starts_with("HTTP") || protocol == "ICY") {
        return None;
    }
    let digits = words.next()?;
    let status = digits.parse().ok().filter(|_| digits.len() == 3)?;
    (100..=999)
        .contains(&status)
        .then_some((status, protocol == "HTTP/1.1"))
}

impl Head {
    /// A header's line; junk is let pass.
    fn take(&mut self, line: &str) {
        if line.starts_with([' ', '\t']) {
            // RFC 9112 §5.2: the value goes on.
            if let Some((_, value)) = self.headers.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
            self.is_sound = false;
            return;
        }
        let Some((name, value)) = line.split_once(':') else {
            self.is_sound = false;
            return;
        };
        let name = name.trim().to_ascii_lowercase();
        self.headers.push((name, value.trim().to_owned()));
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// How its body ends (RFC 9112 §6.3): chunks before a length; a length that is said
    /// in two ways is not known.
    pub(super) fn framing(&self) -> Framing {
        let mut lengths = self.all("content-length").flat_map(|v| v.split(','));
        let first = lengths
            .next()
            .map(|length| length.trim().parse::<u64>().ok());
        let alike = lengths.all(|length| first == Some(length.trim().parse().ok()));
        let length = first.flatten().filter(|_| alike);
        let chunked = |value: &str| value.to_ascii_lowercase().contains("chunked");
        if matches!(self.status, 100..=199 | 204 | 304) {
            Framing::Nothing
        } else if self.all("transfer-encoding").any(chunked) {
            Framing::Chunks { length }
        } else if let Some(length) = length {
            Framing::Length(length)
        } else {
            Framing::UntilEnd
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Head {
        let end = end(text.as_bytes()).expect("it ends");
        read(&text.as_bytes()[..end]).expect("a head")
    }

    #[test]
    fn slips_cost_nothing() {
        let plain = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\n";
        assert!(read_text(plain).is_sound);
        for text in [
            "HTTP/1.1 200 OK\nContent-Type: a/b\nContent-Length: 5\n\n",
            "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\n",
            "\r\n\r\nHTTP/1.1 200\r\nCONTENT-TYPE : a/b\r\nContent-Length:5\r\n\r\n",
            "ICY 200 OK\r\nContent-Type:\r\n a/b\r\nContent-Length: 5, 5\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Type: a/b\r\njunk\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "Warning: x\nHTTP/2 200\r\ncontent-type: a/b\r\n\u{1}odd\u{2}: y\r\ncontent-length: 5\r\n\r\n",
            "http/1.1  200  Fine\r\n: nameless\r\nContent-Type: a/b\r\nContent-Length: +5\r\nX: \u{fc}\r\n\r\n",
        ] {
            let head = read_text(text);
            assert_eq!(head.status, 200, "{text}");
            let kind = head.headers.iter().find(|(name, _)| name == "content-type");
            assert_eq!(kind.map(|(_, value)| value.trim()), Some("a/b"), "{text}");
            assert_eq!(head.framing(), Framing::Length(5), "{text}");
        }
        assert!(!read_text("HTTP/1.1 200 OK\r\njunk\r\n\r\n").is_sound);
        assert!(!read_text("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n").is_sound);
    }

    #[test]
    fn how_a_body_ends() {
        let framing = |lines: &str| read_text(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).framing();
        let both = "Transfer-Encoding: gzip, Chunked\r\nContent-Length: 7\r\n";
        assert_eq!(framing(both), Framing::Chunks { length: Some(7) });
        assert_eq!(framing(""), Framing::UntilEnd);
        for odd in ["-5", "", "five", "5, 6", "99999999999999999999999"] {
            let lines = format!("Content-Length: {odd}\r\n");
            assert_eq!(framing(&lines), Framing::UntilEnd, "{odd}");
        }
        let head = read_text("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(head.framing(), Framing::Nothing);
    }

    #[test]
    fn what_is_no_head() {
        for text in [
            "{\"a\":1}\n\n",
            "<html>\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        for text in ["", "\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n"] {
            assert_eq!(end(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn thousands_of_headers() {
        let cookies: String = (0..5000)
            .map(|i| format!("Set-Cookie: c{i}=v\r\n"))
            .collect();
        let head = read_text(&format!(
            "HTTP/1.1 200 OK\r\n{cookies}Content-Length: 5\r\n\r\n"
        ));
        assert_eq!(head.framing(), Framing::Length(5));
        assert!(head.is_sound);
    }
}
