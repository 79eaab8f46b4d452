//! The terminal that a person pastes into. In its canonical mode a line ends at 4,095
//! characters and what is longer is cut without a word (termios(3)), so this reads
//! characters and edits the line itself.

use super::editor::{Editor, Typed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use zeroize::Zeroize;

/// A pasted text arrives in pieces; after a line's end and this silence it is whole.
const SILENCE: Duration = Duration::from_millis(500);
/// How often it is seen whether there is still somebody to read for.
const LOOK: Duration = Duration::from_millis(200);

/// What comes from standard input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Lines, as they were typed or pasted together.
    Text(String),
    /// Nothing more will come.
    End,
}

/// Reads standard input in a thread of its own until this is dropped; a terminal is then
/// as it was before.
pub(super) struct Reader {
    inputs: mpsc::UnboundedReceiver<Input>,
    over: Arc<AtomicBool>,
    raw: Option<Arc<Raw>>,
}

impl Reader {
    /// Begins.
    pub(super) fn start() -> Reader {
        let raw = io::stdin()
            .is_terminal()
            .then(Raw::now)
            .flatten()
            .map(Arc::new);
        let (sender, inputs) = mpsc::unbounded_channel();
        let over = Arc::new(AtomicBool::new(false));
        if let Some(raw) = raw.clone() {
            watch(raw, Arc::clone(&over));
        }
        let (ends, mode) = (Arc::clone(&over), raw.clone());
        std::thread::spawn(move || read(&sender, &ends, mode.as_deref()));
        Reader { inputs, over, raw }
    }

    /// The next text.
    pub(super) async fn next(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::End)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(raw) = &self.raw {
            raw.restore();
        }
    }
}

/// The terminal's mode before, and by characters.
struct Raw {
    before: Termios,
    by_characters: Termios,
}

impl Raw {
    /// Takes the terminal, if it is ours to take.
    fn now() -> Option<Raw> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut by_characters = before.clone();
        // The keys that send signals go on doing so.
        let line = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL;
        by_characters.local_modes.remove(line);
        let raw = Raw {
            before,
            by_characters,
        };
        raw.apply();
        Some(raw)
    }

    fn apply(&self) {
        if is_ours() {
            tcsetattr(io::stdin(), OptionalActions::Now, &self.by_characters).ok();
        }
    }

    fn restore(&self) {
        if is_ours() {
            tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
        }
    }
}

/// Whether we are in the terminal's foreground: a command in the background that touches
/// the terminal is stopped (SIGTTIN, SIGTTOU), and need not be. A terminal that does not
/// control our session stops nobody.
fn is_ours() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == rustix::process::getpgrp())
}

/// Puts the terminal back before a signal ends or stops the command. The handlers stay for
/// as long as the command runs: the default would not come back with their end.
fn watch(raw: Arc<Raw>, over: Arc<AtomicBool>) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP]) else {
        return;
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let reads = !over.load(Ordering::Acquire);
            if reads {
                raw.restore();
                // The shell's prompt begins a line of its own.
                let _closed = writeln!(io::stderr());
            }
            // Ends the process; a stop comes back here when the command goes on.
            emulate_default_handler(signal).ok();
            if reads {
                raw.apply();
            }
        }
    });
}

fn read(sender: &mpsc::UnboundedSender<Input>, over: &AtomicBool, raw: Option<&Raw>) {
    let mut editor = Editor::new(raw.is_some());
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Acquire) {
        // Reading from the background would stop the command.
        if raw.is_some() && !is_ours() {
            std::thread::sleep(LOOK);
            continue;
        }
        let wait = if editor.is_whole() { SILENCE } else { LOOK };
        if !is_readable(wait) {
            if let Some(text) = editor.take_whole()
                && sender.send(Input::Text(text)).is_err()
            {
                return;
            }
            // A command that was in the background, and is not any more.
            if let Some(raw) = raw {
                raw.apply();
            }
            continue;
        }
        let count = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(_) => 0,
        };
        let typed = editor.feed(&buffer[..count]);
        buffer[..count].zeroize();
        let Typed { echo, ends } = typed;
        let mut err = io::stderr().lock();
        let _closed = err.write_all(&echo).and_then(|()| err.flush());
        if count == 0 || ends {
            if let Some(text) = editor.take_rest() {
                sender.send(Input::Text(text)).ok();
            }
            sender.send(Input::End).ok();
            return;
        }
    }
}

/// Whether standard input has something, or has ended, within a time.
fn is_readable(wait: Duration) -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec::try_from(wait).ok();
    poll(&mut fds, wait.as_ref()).is_ok_and(|ready| ready > 0)
}
