//! Where a body ends, and what of its bytes is the body (RFC 9112 §6, §7). What is framed
//! wrongly is read to its end all the same.

use super::BODY_CAP;
use zeroize::Zeroizing;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Nothing,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk; by its length where there are no chunks after all.
    Chunks {
        /// What the head said of that.
        length: Option<u64>,
    },
    /// With the connection.
    UntilEnd,
}

/// A body, while it comes.
pub(super) struct Body {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    framing: Framing,
    chunks: Chunks,
    /// It was larger than what is kept.
    pub(super) is_over: bool,
    /// Something about its framing was odd.
    pub(super) is_odd: bool,
}

/// Where in the chunks it is.
enum Chunks {
    /// In the line that says how large the next one is.
    Size(Vec<u8>),
    Data(u64),
    /// Behind one, before the end of its line.
    Behind,
    /// Behind the last one; how much of the line there is.
    Trailer(usize),
    Done,
    /// They were none, or broke: all bytes are the body.
    Broken,
}

/// The longest line of a chunk's size, with its extensions.
const LONGEST_SIZE: usize = 4096;

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        Body {
            bytes: Zeroizing::new(Vec::new()),
            framing,
            chunks: Chunks::Size(Vec::new()),
            is_over: false,
            is_odd: false,
        }
    }

    /// Whether it has come to its end by its framing.
    pub(super) fn is_whole(&self) -> bool {
        match self.framing {
            Framing::Nothing => true,
            Framing::Length(length) => self.length() >= length,
            Framing::Chunks { .. } => matches!(self.chunks, Chunks::Done),
            Framing::UntilEnd => false,
        }
    }

    /// Whether it is whole, now that the connection ended, cleanly or not.
    pub(super) fn is_whole_at_end(&self, clean: bool) -> bool {
        let last_chunk = matches!(self.chunks, Chunks::Trailer(_));
        let ends_so = self.framing == Framing::UntilEnd && clean;
        !self.is_over && (self.is_whole() || last_chunk || ends_so)
    }

    fn length(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        if !matches!(self.framing, Framing::Chunks { .. }) {
            // More than there should be: its length counted characters, most likely.
            self.is_odd |= self.framing == Framing::Nothing && !bytes.is_empty();
            return self.keep(bytes);
        }
        while let Some(first) = bytes.first().copied() {
            bytes = match &mut self.chunks {
                Chunks::Broken => return self.keep(bytes),
                Chunks::Data(left) => {
                    let most = usize::try_from(*left).unwrap_or(usize::MAX);
                    let (data, rest) = bytes.split_at(most.min(bytes.len()));
                    *left -= u64::try_from(data.len()).unwrap_or(*left);
                    if *left == 0 {
                        self.chunks = Chunks::Behind;
                    }
                    self.keep(data);
                    rest
                }
                Chunks::Behind => {
                    match first {
                        b'\n' => self.chunks = Chunks::Size(Vec::new()),
                        b'\r' => {}
                        // It is longer than it said.
                        _ => {
                            self.broken(None);
                            continue;
                        }
                    }
                    &bytes[1..]
                }
                Chunks::Size(line) => {
                    line.push(first);
                    if first == b'\n' || line.len() > LONGEST_SIZE {
                        let line = std::mem::take(line);
                        self.sized(&line);
                    }
                    &bytes[1..]
                }
                Chunks::Trailer(length) => {
                    match first {
                        b'\n' if *length == 0 => self.chunks = Chunks::Done,
                        b'\n' => *length = 0,
                        b'\r' => {}
                        _ => *length += 1,
                    }
                    &bytes[1..]
                }
                Chunks::Done => {
                    self.is_odd = true;
                    return;
                }
            };
        }
    }

    fn sized(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let digits = text.split(';').next().unwrap_or_default().trim();
        self.chunks = match u64::from_str_radix(digits, 16) {
            Ok(0) => Chunks::Trailer(0),
            Ok(size) if !digits.starts_with('+') => Chunks::Data(size),
            _ => return self.broken(Some(line)),
        };
    }

    /// There are no chunks, or no more: what comes is the body, as it comes.
    fn broken(&mut self, line: Option<&[u8]>) {
        self.is_odd = true;
        self.chunks = Chunks::Broken;
        if let Framing::Chunks { length } = self.framing
            && self.bytes.is_empty()
        {
            self.framing = length.map_or(Framing::UntilEnd, Framing::Length);
        }
        self.keep(line.unwrap_or_default());
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = BODY_CAP - self.bytes.len();
        self.is_over |= bytes.len() > room;
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// At the end of the connection: a line of a chunk's size that was none is kept too.
    pub(super) fn end(&mut self) {
        if let Chunks::Size(line) = &mut self.chunks
            && !line.is_empty()
        {
            let line = std::mem::take(line);
            self.broken(Some(&line));
        }
    }

    /// Whether what has come is one whole JSON document: then no more of it is waited for.
    pub(super) fn is_document(&self) -> bool {
        let text = self.bytes.trim_ascii();
        text.ends_with(b"}") && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
    }

    /// Whether it begins as one and stops in the middle.
    pub(super) fn is_document_cut(&self) -> bool {
        self.bytes.trim_ascii_start().starts_with(b"{") && !self.is_document()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushed whole, and byte by byte.
    fn read(framing: Framing, bytes: &[u8]) -> (String, bool) {
        let mut whole = Body::new(framing);
        whole.push(bytes);
        let mut single = Body::new(framing);
        bytes.iter().for_each(|b| single.push(&[*b]));
        assert_eq!(*whole.bytes, *single.bytes);
        assert_eq!(whole.is_whole(), single.is_whole());
        whole.end();
        let text = String::from_utf8_lossy(&whole.bytes).into_owned();
        (text, whole.is_whole_at_end(false))
    }

    #[test]
    fn chunks_good_and_bad() {
        let chunks = Framing::Chunks { length: None };
        for (bytes, body, whole) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello", true),
            (
                "5;x=y\r\nhello\r\n 3 \r\nabc\r\n0\r\nA: b\r\n\r\n",
                "helloabc",
                true,
            ),
            ("5\nhello\n0\n\n", "hello", true),
            ("5\r\nhello\r\n0\r\n", "hello", true),
            ("5\r\nhello\r\n", "hello", false),
            ("5\r\nhel", "hel", false),
            ("4\r\nhello\r\n0\r\n\r\n", "hello\r\n0\r\n\r\n", false),
            ("{\"a\":1}\r\n", "{\"a\":1}\r\n", false),
            ("{\"a\":1}", "{\"a\":1}", false),
            ("ffffffffffffffffff\r\nx", "ffffffffffffffffff\r\nx", false),
        ] {
            assert_eq!(
                read(chunks, bytes.as_bytes()),
                (body.to_owned(), whole),
                "{bytes:?}"
            );
        }
        let with_length = Framing::Chunks { length: Some(7) };
        assert_eq!(
            read(with_length, b"{\"a\":1}"),
            ("{\"a\":1}".to_owned(), true)
        );
        assert_eq!(
            read(with_length, b"{\"a\":1\n"),
            ("{\"a\":1\n".to_owned(), true)
        );
    }

    #[test]
    fn lengths_are_a_promise_not_a_limit() {
        assert_eq!(
            read(Framing::Length(5), b"hello"),
            ("hello".to_owned(), true)
        );
        assert_eq!(
            read(Framing::Length(9), b"hello"),
            ("hello".to_owned(), false)
        );
        assert_eq!(
            read(Framing::Length(4), b"hello"),
            ("hello".to_owned(), true)
        );
        let mut body = Body::new(Framing::UntilEnd);
        body.push(b"hello");
        assert!(body.is_whole_at_end(true) && !body.is_whole_at_end(false));
    }

    #[test]
    fn what_is_too_large_is_kept_up_to_the_cap() {
        let mut body = Body::new(Framing::Length(1 << 30));
        body.push(&vec![b'x'; BODY_CAP]);
        assert!(!body.is_over);
        body.push(b"y");
        assert!(body.is_over && body.bytes.len() == BODY_CAP);
        assert!(!body.is_whole_at_end(true));
    }
}
