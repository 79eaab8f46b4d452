//! Reads one answer off a connection, however it is broken: what came is handed on, to
//! be kept. Nothing that a server can send makes it read without end.

use super::framing::{Body, Framing};
use super::head::{self, Head};
use super::{BODY_CAP, READ_LIMIT};
use refreshd_core::provider::Answer;
use refreshd_core::time::WallTime;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

/// A head may be as large as browsers let it be.
const HEAD_CAP: usize = 256 * 1024;
/// So many interim answers (RFC 9110 §15.2) are read.
const MOST_INTERIM: u32 = 32;
/// Once a whole document has come, no more of it is waited for than this.
const GRACE: Duration = Duration::from_secs(2);

/// The headers that are kept; of others only those that a token may be in.
const READ_HEADERS: [&str; 5] = [
    "content-type",
    "content-encoding",
    "retry-after",
    "date",
    "location",
];
/// Bounds of what is kept of them: they are written down with the answer.
const HEADER_BYTES: usize = 1024;
const HEADERS_BYTES: usize = 5 * 1024;

/// What came back.
pub(super) enum Received {
    /// An answer, whole or not.
    Answer {
        answer: Answer,
        /// Whether another request may go over this connection.
        reusable: bool,
    },
    /// Nothing that could be kept: why.
    Nothing(String),
}

/// Reads until the answer is over, or nothing more can come of it.
pub(super) async fn receive(
    connection: &mut (impl AsyncRead + Unpin),
    now: impl Fn() -> WallTime,
) -> Received {
    receive_within(connection, now, READ_LIMIT, GRACE).await
}

async fn receive_within(
    connection: &mut (impl AsyncRead + Unpin),
    now: impl Fn() -> WallTime,
    limit: Duration,
    grace: Duration,
) -> Received {
    let until = Instant::now() + limit;
    let mut reader = Reader::default();
    let mut buffer = Zeroizing::new(vec![0; 16 * 1024]);
    let why = loop {
        if reader.is_over() {
            break None;
        }
        let wait = match reader.may_be_all() {
            true => until.min(Instant::now() + grace),
            false => until,
        };
        match timeout_at(wait, connection.read(&mut buffer)).await {
            Ok(Ok(0)) => {
                reader.end(true);
                break Some("the connection was closed before an answer came".to_owned());
            }
            Ok(Ok(length)) => reader.push(&buffer[..length]),
            Ok(Err(e)) => {
                reader.end(false);
                break Some(format!("the exchange failed: {e}"));
            }
            Err(_) if wait < until => {
                if reader.give_up() {
                    break None;
                }
            }
            Err(_) => {
                reader.end(false);
                break Some(format!("no answer within {} s", limit.as_secs()));
            }
        }
    };
    reader.received(why, now())
}

#[derive(Default)]
struct Reader {
    /// What has come of a head.
    raw: Zeroizing<Vec<u8>>,
    interim: u32,
    head: Option<Head>,
    body: Option<Body>,
    /// It is whole by its framing, or by how the connection ended.
    complete: bool,
    over: bool,
    /// What has come was looked at, and is not yet a whole document.
    looked: bool,
}

impl Reader {
    fn is_over(&self) -> bool {
        self.over
    }

    /// Whether more is not waited for as long as it takes.
    fn may_be_all(&self) -> bool {
        let body = self.body.as_ref();
        body.is_some_and(|body| !body.bytes.is_empty()) && !self.looked
    }

    /// Nothing came for a while: whether what there is, is all that matters.
    fn give_up(&mut self) -> bool {
        self.looked = true;
        let Some(body) = &mut self.body else {
            return false;
        };
        if body.is_whole() || body.is_document() {
            self.complete = body.is_whole_at_end(false);
            self.over = true;
        }
        self.over
    }

    fn push(&mut self, bytes: &[u8]) {
        self.looked = false;
        match &mut self.body {
            Some(body) => body.push(bytes),
            None => {
                self.raw.extend_from_slice(bytes);
                self.heads();
            }
        }
        self.look();
    }

    /// Takes heads off what has come: interim ones, then the answer's.
    fn heads(&mut self) {
        while self.body.is_none() {
            let Some(end) = head::end(&self.raw) else {
                if self.raw.len() > HEAD_CAP {
                    self.without_end();
                    self.over = true;
                }
                return;
            };
            let Some(head) = head::read(&self.raw[..end]) else {
                // An answer without a head (HTTP/0.9): all of it is the body.
                return self.begin(None, Framing::UntilEnd, 0);
            };
            if matches!(head.status, 100 | 102..=199) && self.interim < MOST_INTERIM {
                self.interim += 1;
                self.raw.drain(..end);
                continue;
            }
            self.over |= matches!(head.status, 100 | 102..=199);
            let framing = head.framing();
            self.begin(Some(head), framing, end);
        }
    }

    fn begin(&mut self, head: Option<Head>, framing: Framing, at: usize) {
        let mut body = Body::new(framing);
        body.push(&self.raw[at..]);
        self.raw = Zeroizing::new(Vec::new());
        self.head = head;
        self.body = Some(body);
    }

    /// The head does not end: what stands behind its first line may be anything.
    fn without_end(&mut self) {
        let first = self.raw.iter().position(|b| !matches!(b, b'\r' | b'\n'));
        let first = first.unwrap_or_default();
        let line = self.raw[first..].iter().position(|b| *b == b'\n');
        let line = line.map_or(self.raw.len(), |length| first + length + 1);
        match head::read(&self.raw[..line]) {
            Some(head) => self.begin(Some(head), Framing::UntilEnd, line),
            None => self.begin(None, Framing::UntilEnd, 0),
        }
    }

    /// Whether the body is whole. One that ends in the middle of its document has more to
    /// it, whatever its length: that counted characters, then.
    fn look(&mut self) {
        let Some(body) = &self.body else {
            return;
        };
        let whole = body.is_whole();
        self.complete = whole && !body.is_over;
        self.over |= body.is_over || (whole && !body.is_document_cut());
    }

    fn end(&mut self, clean: bool) {
        if self.body.is_none() && !self.raw.is_empty() {
            self.without_end();
        }
        if let Some(body) = &mut self.body {
            body.end();
            self.complete = body.is_whole_at_end(clean);
        }
    }

    fn received(self, why: Option<String>, now: WallTime) -> Received {
        let status = self.head.as_ref().map_or(0, |head| head.status);
        let Some(body) = self.body else {
            return Received::Nothing(why.unwrap_or_default());
        };
        if matches!(status, 100 | 102..=199) {
            let text = format!("only interim answers came, {MOST_INTERIM} and more");
            return Received::Nothing(text);
        }
        let sound = self.head.as_ref().is_some_and(|head| head.is_sound);
        let exact = match self.head.as_ref().map(Head::framing) {
            Some(Framing::Length(length)) => usize::try_from(length) == Ok(body.bytes.len()),
            _ => body.is_whole(),
        };
        let reusable = sound && exact && self.complete && !body.is_odd && why.is_none();
        let mut bytes = body.bytes;
        let answer = Answer {
            status,
            headers: self.head.map(|head| kept(head.headers)).unwrap_or_default(),
            body: std::mem::take(&mut *bytes),
            complete: self.complete,
            received: now,
        };
        debug_assert!(answer.body.len() <= BODY_CAP, "the cap holds");
        Received::Answer { answer, reusable }
    }
}

fn kept(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut room = HEADERS_BYTES;
    for (name, mut value) in headers {
        let known = READ_HEADERS.contains(&name.as_str());
        let again = found.iter().any(|(other, _)| *other == name);
        if again || !(known || name.contains("token")) {
            continue;
        }
        if known {
            let end = (0..=HEADER_BYTES.min(value.len())).rev();
            let end = end.into_iter().find(|at| value.is_char_boundary(*at));
            value.truncate(end.unwrap_or_default());
        }
        let size = name.len() + value.len();
        if size <= room {
            room -= size;
            found.push((name, value));
        }
    }
    found
}

#[cfg(test)]
mod tests;
