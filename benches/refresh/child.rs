//! A process that can be made to stand still while another is measured.

use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::{Duration, Instant};

/// A child that is killed when it is dropped.
pub(crate) struct Child(std::process::Child);

impl Child {
    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Child(command.spawn().expect("a program that can be started"))
    }

    /// Lets it stand still.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Tells it to end, and waits for it; whether it ended well.
    pub(crate) fn stop(mut self) -> bool {
        self.resume();
        self.signal(Signal::TERM);
        self.0.wait().expect("our own child").success()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("our own child").is_some()
    }

    /// Processor time it has used, in seconds. The kernel counts in hundredths.
    pub(crate) fn cpu_secs(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|f| f.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// Its resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let kib = status.ok().and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        });
        kib.unwrap_or_default() / 1024.0
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("our own child");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Waits until a condition holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(120),
            "waited in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
