//! A line that a person types, without the terminal's own editing: pure.

use zeroize::Zeroize;

/// As much is kept of what is pasted; more is no address.
const MOST: usize = 1 << 20;
/// What a terminal puts around what is pasted, where it was asked to.
const PASTE_BEGINS: &[u8] = b"[200~";
const PASTE_ENDS: &[u8] = b"[201~";

/// What typed characters come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    /// To be shown.
    pub(super) echo: Vec<u8>,
    /// The person has ended the input (Ctrl-D on an empty line).
    pub(super) ends: bool,
}

/// Collects what is typed.
#[derive(Debug, Default)]
pub(super) struct Editor {
    text: Vec<u8>,
    /// An escape sequence that has begun.
    escape: Option<Vec<u8>>,
    in_paste: bool,
    /// A line has ended.
    ended: bool,
    /// It is a terminal, whose characters are edited and shown.
    edits: bool,
}

impl Editor {
    pub(super) fn new(edits: bool) -> Self {
        let mut editor = Editor::default();
        editor.edits = edits;
        editor
    }

    /// Takes characters as they come.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for &byte in bytes {
            match self.edits {
                true => self.key(byte, &mut typed),
                false => self.keep(byte),
            }
        }
        typed
    }

    /// Whether a line has ended, and nothing has begun that has not.
    pub(super) fn is_whole(&self) -> bool {
        self.ended && !self.in_paste
    }

    /// The text, once it is whole.
    pub(super) fn take_whole(&mut self) -> Option<String> {
        self.is_whole().then(|| self.take())
    }

    /// What there is at the end of the input.
    pub(super) fn take_rest(&mut self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        self.ended = false;
        let text = String::from_utf8_lossy(&self.text).into_owned();
        self.text.zeroize();
        text
    }

    fn keep(&mut self, byte: u8) {
        self.ended = byte == b'\n';
        if self.text.len() < MOST {
            self.text.push(byte);
        }
    }

    fn key(&mut self, byte: u8, typed: &mut Typed) {
        if let Some(escape) = &mut self.escape {
            escape.push(byte);
            // ECMA-48 §5.4: `[`, parameters, a final byte.
            let goes_on = escape == b"[" || (escape[0] == b'[' && !(b'@'..=b'~').contains(&byte));
            if goes_on && escape.len() < 32 {
                return;
            }
            match escape.as_slice() {
                PASTE_BEGINS => self.in_paste = true,
                PASTE_ENDS => self.in_paste = false,
                _ => {}
            }
            self.escape = None;
            return;
        }
        match byte {
            0x1b => self.escape = Some(Vec::new()),
            b'\r' | b'\n' => {
                self.keep(b'\n');
                typed.echo.extend(b"\r\n");
            }
            // Backspace, Ctrl-W, Ctrl-U.
            0x08 | 0x7f => self.erase(1, typed),
            0x17 => self.erase(self.word(), typed),
            0x15 => self.erase(self.line(), typed),
            0x04 if self.text.is_empty() => typed.ends = true,
            0x04 => self.ended = true,
            b'\t' => self.show(b' ', typed),
            0..=0x1f => {}
            byte => self.show(byte, typed),
        }
    }

    fn show(&mut self, byte: u8, typed: &mut Typed) {
        self.keep(byte);
        typed.echo.push(byte);
    }

    /// Characters on the line that is typed now.
    fn line(&self) -> usize {
        let line = self.text.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        String::from_utf8_lossy(line).chars().count()
    }

    fn word(&self) -> usize {
        let line = self.text.rsplit(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let kept = line.trim_end().rfind(' ').map_or(0, |at| at + 1);
        line[kept..].chars().count()
    }

    fn erase(&mut self, count: usize, typed: &mut Typed) {
        for _ in 0..count.min(self.line()) {
            // The rest of a character of several bytes goes with its first.
            while self.text.pop().is_some_and(|b| b & 0xc0 == 0x80) {}
            typed.echo.extend(b"\x08 \x08");
        }
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> (Option<String>, Typed) {
        let mut editor = Editor::new(true);
        let typed = editor.feed(keys.as_bytes());
        (editor.take_whole(), typed)
    }

    #[test]
    fn a_line_of_any_length_is_kept_whole() {
        let long = "c".repeat(20_000);
        let (text, shown) = typed(&format!("{long}\n"));
        assert_eq!(text, Some(format!("{long}\n")));
        assert_eq!(shown.echo.len(), long.len() + 2);
    }

    #[test]
    fn a_paste_is_whole_when_its_end_has_come() {
        let mut editor = Editor::new(true);
        editor.feed(b"\x1b[200~https://a\n  b");
        assert!(!editor.is_whole(), "a line's end within it ends nothing");
        editor.feed(b"c\x1b[20");
        editor.feed(b"1~");
        assert!(!editor.is_whole());
        editor.feed(b"\r");
        assert_eq!(editor.take_whole().as_deref(), Some("https://a\n  bc\n"));
        assert_eq!(editor.take_whole(), None);
    }

    #[test]
    fn keys_edit_the_line() {
        let text = |keys: &str| typed(keys).0.unwrap_or_default();
        assert_eq!(text("abx\x7fc\n"), "abc\n");
        assert_eq!(text("ab\x08\x08\x08\x08c\n"), "c\n");
        assert_eq!(text("one two\x17x\n"), "one x\n");
        assert_eq!(text("one two\x15x\n"), "x\n");
        assert_eq!(text("né\x7fo\n"), "no\n");
        assert_eq!(text("a\n\x7fb\n"), "a\nb\n", "a line that has ended stays");
        assert_eq!(text("a\x1b[A\x1b[3~\x1bOPb\x07\n"), "aPb\n");
        assert!(typed("\x04").1.ends);
        assert!(!typed("a\x04").1.ends);
        assert_eq!(typed("ab\x7f").1.echo, b"ab\x08 \x08");
    }

    #[test]
    fn a_pipe_is_taken_as_it_is() {
        let mut editor = Editor::new(false);
        let typed = editor.feed(b"a\x7f\x1b[200~b\nc");
        assert_eq!(typed, Typed::default(), "nothing is shown");
        assert!(!editor.is_whole());
        assert_eq!(editor.take_rest().as_deref(), Some("a\x7f\x1b[200~b\nc"));
        assert_eq!(editor.take_rest(), None);
    }
}
