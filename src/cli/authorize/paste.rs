//! What a person pastes: never from argv, which all processes may read.

use crate::cli::output;
use crate::exit::{Exit, Failure};
use refreshd_core::secret::Secret;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// Reads a line from the terminal or standard input. Where the code is short-lived,
/// an empty line starts a countdown.
pub(super) fn read(lifetime: Option<Duration>) -> Result<Secret, Failure> {
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        if let Some(lifetime) = lifetime {
            let secs = lifetime.as_secs();
            output::note(&format!(
                "The code is good for {secs} seconds from the moment you approve. Press Enter at that moment to see them count down."
            ));
        }
        prompt("Paste the address that the browser was sent to, or the code: ");
    }
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut ends = None;
    loop {
        let line = match ends {
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => lines.recv_timeout(Duration::from_secs(1)),
        };
        match line {
            Ok(Ok(mut line)) if line.trim().is_empty() => {
                line.zeroize();
                if let Some(lifetime) = lifetime.filter(|_| terminal && ends.is_none()) {
                    ends = Some(Instant::now() + lifetime);
                }
            }
            Ok(Ok(line)) => return Ok(Secret::new(line)),
            Ok(Err(e)) if e.kind() == std::io::ErrorKind::InvalidData => {
                let text = "what was pasted is not UTF-8; nothing was used of it";
                return Err(Failure::new(Exit::Data, text));
            }
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                let text =
                    "nothing was pasted; the authorization stays open for a while: run this again";
                return Err(Failure::new(Exit::Usage, text));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(ends) = ends {
            let left = ends.saturating_duration_since(Instant::now()).as_secs();
            match left {
                0 => prompt("\rthe code is over: begin again, or try it all the same: "),
                left => prompt(&format!("\r{left:>3} s left; paste: ")),
            }
        }
    }
}

fn prompt(text: &str) {
    let mut out = std::io::stderr();
    let _closed = write!(out, "{text}").and_then(|()| out.flush());
}
