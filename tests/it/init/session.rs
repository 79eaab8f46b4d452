//! A command at a terminal, and the person who answers it.

use super::home::Home;
use crate::support::{text, wait_for};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

/// A session at a terminal.
pub(super) struct Session {
    terminal: Arc<fs::File>,
    /// The end that the command has.
    pub(super) line: OwnedFd,
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Session {
    pub(super) fn begin(home: &Home, args: &[&str]) -> Session {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let line = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        chown(name.to_str().unwrap(), Some(home.uid), None).unwrap();
        let plain = home.command(args);
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(plain.get_program())
            .args(plain.get_args());
        command
            .env_clear()
            .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command
            .stdin(line.try_clone().unwrap())
            .stdout(line.try_clone().unwrap());
        command.stderr(line.try_clone().unwrap()).current_dir("/");
        let child = command.spawn().unwrap();
        let terminal = Arc::new(fs::File::from(terminal));
        let shown = Arc::new(Mutex::new(String::new()));
        let (reader, kept) = (terminal.clone(), shown.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = (&*reader).read(&mut buffer) {
                kept.lock().unwrap().push_str(&text(&buffer[..read]));
            }
        });
        Session {
            terminal,
            line: line.into(),
            child,
            shown,
        }
    }

    pub(super) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits for a question, and answers it.
    #[track_caller]
    pub(super) fn answer(&self, question: &str, answer: &str) {
        self.wait(question);
        // What was asked before does not count for the next.
        let mut shown = self.shown.lock().unwrap();
        let end = shown.find(question).unwrap() + question.len();
        let rest = shown.split_off(end);
        *shown = rest;
        drop(shown);
        self.type_in(format!("{answer}\n").as_bytes());
    }

    pub(super) fn type_in(&self, keys: &[u8]) {
        (&*self.terminal).write_all(keys).unwrap();
    }

    #[track_caller]
    pub(super) fn wait(&self, question: &str) {
        wait_for(&format!("{question:?}"), || self.shown().contains(question));
    }

    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        wait_for("the last words", || !self.shown().is_empty());
        (code, self.shown())
    }
}
