//! Reads what strace wrote of a daemon: each call as it was entered, and as it
//! returned. Between the two it may have happened or not.

use std::collections::HashMap;
use std::path::PathBuf;

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Vec<Arg>,
}

/// One argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arg {
    /// What is not in quotes, as in `O_RDWR|O_CREAT` or `12`; of a descriptor, its number.
    pub(super) word: String,
    /// What a descriptor stands for.
    pub(super) place: Option<PathBuf>,
    /// The bytes in quotes, those of several buffers one after the other.
    pub(super) bytes: Vec<u8>,
}

impl Arg {
    pub(super) fn number(&self) -> i64 {
        self.word
            .parse()
            .unwrap_or_else(|_| panic!("{:?} is no number", self.word))
    }

    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(String::from_utf8(self.bytes.clone()).expect("our names are UTF-8"))
    }
}

/// What happened at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A thread made a call.
    Enter(u32, Call),
    /// The call of a thread returned this; -1 is a failure.
    Leave(u32, i64),
}

/// A step, and when it was: seconds since 1970.
pub(super) type Timed = (f64, Step);

/// Reads a whole trace (`strace -f -y -xx -ttt`).
pub(super) fn read(trace: &str) -> Vec<Timed> {
    let mut steps = Vec::new();
    let mut under_way: HashMap<u32, String> = HashMap::new();
    for line in trace.lines() {
        let (tid, rest) = line.split_once(' ').expect("a thread");
        let (at, rest) = rest.trim_start().split_once(' ').expect("a time");
        let (tid, at) = (tid.parse().unwrap(), at.parse().unwrap());
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let (name, rest) = resumed.split_once(" resumed>").expect("it is resumed");
            assert_eq!(under_way.remove(&tid).as_deref(), Some(name), "{line}");
            steps.push((at, Step::Leave(tid, returned(rest))));
            continue;
        }
        let (name, rest) = rest.split_once('(').expect("a call");
        let (args, rest) = arguments(rest);
        let call = Call {
            name: name.to_owned(),
            args,
        };
        steps.push((at, Step::Enter(tid, call)));
        if rest.contains("<unfinished ...>") {
            under_way.insert(tid, name.to_owned());
        } else {
            steps.push((at, Step::Leave(tid, returned(rest))));
        }
    }
    steps
}

/// What follows on `) = `.
fn returned(rest: &str) -> i64 {
    let value = rest.rsplit_once("= ").map_or("?", |(_, value)| value);
    let end = value.find(|c: char| c != '-' && !c.is_ascii_digit());
    // A process that was killed in the middle returned nothing.
    value[..end.unwrap_or(value.len())].parse().unwrap_or(-1)
}

/// The arguments, and what follows on them.
fn arguments(text: &str) -> (Vec<Arg>, &str) {
    let bytes = text.as_bytes();
    let mut args = vec![Arg::default()];
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        let arg = args.last_mut().expect("there is always one");
        match bytes[at] {
            b'"' => {
                let end = at + 1 + text[at + 1..].find('"').expect("a quote ends");
                arg.bytes.extend(unhex(&bytes[at + 1..end]));
                assert!(!text[end + 1..].starts_with("..."), "a buffer was cut off");
                at = end;
            }
            b'<' if text[at..].starts_with("<unfinished") => break,
            b'<' => {
                let end = at + text[at..].find('>').expect("a place ends");
                let place = String::from_utf8_lossy(&unhex(&bytes[at + 1..end])).into_owned();
                arg.place = Some(PathBuf::from(place));
                at = end;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b')' if depth == 0 => return (args, &text[at + 1..]),
            b',' if depth == 0 => args.push(Arg::default()),
            b' ' => {}
            other => arg.word.push(char::from(other)),
        }
        at += 1;
    }
    (args, &text[at..])
}

/// `\x2f` and its like; anything else as it is.
fn unhex(text: &[u8]) -> Vec<u8> {
    let digit = |d: u8| char::from(d).to_digit(16).expect("a digit") as u8;
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while let [first, more @ ..] = rest {
        rest = match (first, more) {
            (b'\\', [b'x', high, low, more @ ..]) => {
                bytes.push(digit(*high) * 16 + digit(*low));
                more
            }
            _ => {
                bytes.push(*first);
                more
            }
        };
    }
    bytes
}

#[test]
fn calls_of_two_threads_are_told_apart() {
    let trace = "\
7  1.5 openat(AT_FDCWD<\\x2f\\x61>, \"\\x62\", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3<\\x2f\\x62>
7  2.0 pwrite64(3<\\x2f\\x62>, \"\\x00\\x28\", 2, 4096 <unfinished ...>
8  2.1 writev(9<\\x73>, [{iov_base=\"\\x41\", iov_len=1}, {iov_base=\"\\x42\", iov_len=1}], 2) = 2
7  2.2 <... pwrite64 resumed>)       = 2
8  2.3 fdatasync(3<\\x2f\\x62>) = -1 EIO (Input/output error) (INJECTED)
8  2.4 +++ killed by SIGKILL +++";
    let steps = read(trace);
    let leaves: Vec<_> = steps
        .iter()
        .filter_map(|(_, step)| match step {
            Step::Leave(tid, value) => Some((*tid, *value)),
            Step::Enter(..) => None,
        })
        .collect();
    assert_eq!(leaves, [(7, 3), (8, 2), (7, 2), (8, -1)]);
    let Step::Enter(7, write) = &steps[2].1 else {
        panic!("{steps:?}")
    };
    assert_eq!(
        (&*write.args[1].bytes, write.args[3].number()),
        (&[0, 40][..], 4096)
    );
    assert_eq!(write.args[0].place.as_deref(), Some("/b".as_ref()));
    let Step::Enter(8, vector) = &steps[3].1 else {
        panic!("{steps:?}")
    };
    assert_eq!(vector.args[1].bytes, b"AB");
}
