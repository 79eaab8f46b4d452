//! What the binary makes of what a loss of power left.

use super::disk::Disk;
use super::facts::compare;
use super::judge::{Found, Judge, settings};
use super::trace::{self, Timed};
use super::walk::Walk;
use super::work::STRACE;
use crate::support::text;
use std::fs;
use std::process::Command;

impl Judge {
    /// The same by the binary, which must say the same generations.
    pub(super) fn asks_the_binary(&self, found: &Found) -> Result<(), String> {
        let status = self.status(&[])?;
        for report in status["grants"].as_array().unwrap() {
            let name = report["grant"].as_str().unwrap();
            let generation = found.grants.get(name).map_or(0, |grant| grant.generation);
            if report["generation"] != generation {
                return Err(format!("status: {generation} expected in {report}"));
            }
        }
        Ok(())
    }

    /// Recovers what was laid out by the binary, and records that: the disk as it
    /// was before, and the calls.
    pub(super) fn records_recovery(&self) -> Result<(Walk, Vec<Timed>), String> {
        let walk = Walk::on(Disk::load(&self.left()), &self.left());
        let out = self.root.path().join("trace");
        let mut strace = STRACE.to_vec();
        strace.extend(["-o", out.to_str().unwrap()]);
        self.status(&strace)?;
        let steps = trace::read(&fs::read_to_string(&out).unwrap());
        let mut done = walk.clone();
        for (_, step) in &steps {
            done.step(step);
        }
        compare(&done.disk, &self.left());
        Ok((walk, steps))
    }

    /// What the binary says of it, run as the last arguments of another command.
    fn status(&self, wrapper: &[&str]) -> Result<serde_json::Value, String> {
        let binary = env!("CARGO_BIN_EXE_refreshd");
        let mut command = match wrapper.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.arg("--config").arg(&self.config_file);
        for (key, value) in settings(self.root.path()) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.args(["status", "--json"]);
        let mut ran = command.output().unwrap();
        while text(&ran.stderr).contains("another refreshd") {
            ran = command.output().unwrap();
        }
        if !ran.status.success() {
            return Err(format!("status: {}", text(&ran.stderr)));
        }
        Ok(serde_json::from_slice(&ran.stdout).unwrap())
    }
}
