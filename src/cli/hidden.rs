//! A secret from the terminal: not shown, and read byte by byte, so that it may be
//! longer than a terminal's line and Ctrl-C leaves the terminal as it was.

use refreshd_core::secret::Secret;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// The longest that is taken.
const MAX_BYTES: usize = 64 * 1024;
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const CTRL_Z: u8 = 26;

/// Asks for one line.
///
/// # Errors
/// When there is no terminal, or the person gives up.
pub(super) fn ask(prompt: &str) -> io::Result<Secret> {
    let mut terminal = terminal()?;
    // Before the prompt: what is typed after it is never seen.
    let silence = Silence::on(&terminal)?;
    write!(terminal, "{prompt}")?;
    let line = line(&mut terminal);
    drop(silence);
    writeln!(terminal)?;
    line
}

/// The terminal of this session, else what standard input is.
fn terminal() -> io::Result<File> {
    let own = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let stdin = std::io::stdin();
    own.or_else(|error| match stdin.is_terminal() {
        true => Ok(File::from(stdin.as_fd().try_clone_to_owned()?)),
        false => Err(error),
    })
}

fn line(terminal: &mut impl Read) -> io::Result<Secret> {
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    loop {
        let mut byte = [0; 1];
        if terminal.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            CTRL_C => return Err(io::ErrorKind::Interrupted.into()),
            CTRL_D if typed.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            CTRL_D => break,
            CTRL_U => typed.clear(),
            CTRL_Z => {}
            8 | 127 => take_back(&mut typed),
            _ if typed.len() == MAX_BYTES => return Err(io::ErrorKind::FileTooLarge.into()),
            byte => typed.push(byte),
        }
    }
    let text = std::str::from_utf8(&typed);
    let text = text.map_err(|_| io::Error::other("it is not UTF-8 text"))?;
    // What terminals put around a paste.
    let text = text.strip_prefix("\u{1b}[200~").unwrap_or(text);
    Ok(Secret::new(
        text.strip_suffix("\u{1b}[201~").unwrap_or(text),
    ))
}

/// Takes the last character back, all of its bytes.
fn take_back(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn on(terminal: &File) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        let off = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        silent.local_modes.remove(off);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Silence { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> io::Result<String> {
        line(&mut { bytes }).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn what_is_typed_is_edited_as_a_terminal_would() {
        assert_eq!(typed(b"hunter2\r").unwrap(), "hunter2");
        assert_eq!(typed(b"hunx\x7fter2\n").unwrap(), "hunter2");
        assert_eq!(typed("h\u{fc}\x08unter2\n".as_bytes()).unwrap(), "hunter2");
        assert_eq!(typed(b"wrong\x15hunter2\n").unwrap(), "hunter2");
        assert_eq!(typed(b"\x1b[200~hunter2\x1b[201~\n").unwrap(), "hunter2");
        assert_eq!(typed(b"\x7f\n").unwrap(), "");
        let long = [&[b'x'; 10_000][..], b"\n"].concat();
        assert_eq!(typed(&long).unwrap().len(), 10_000);
    }

    #[test]
    fn giving_up_is_no_answer() {
        for (bytes, kind) in [
            (&b"hun\x03"[..], io::ErrorKind::Interrupted),
            (b"\x04", io::ErrorKind::UnexpectedEof),
            (b"hun", io::ErrorKind::UnexpectedEof),
            (b"\xff\n", io::ErrorKind::Other),
        ] {
            assert_eq!(typed(bytes).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }
}
