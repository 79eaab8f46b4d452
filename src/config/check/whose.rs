//! Whose the configuration is: whoever may write it decides where tokens are sent and
//! which files the daemon writes.

use super::super::problem::{Problem, Severity};
use super::Check;
use crate::trust::{self, Distrust, Owners};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

impl Check<'_> {
    /// Who may own what the service reads: root, who looks, and the service itself.
    pub(super) fn owners(&self) -> Owners {
        Owners::own().and(self.service.or_else(trust::service_account))
    }

    /// What everyone may write is an error. What a group or another user may write is a
    /// warning: who administers a machine may well be a group.
    pub(super) fn whose(&mut self, files: &[PathBuf]) {
        let mut paths: BTreeSet<PathBuf> = files.iter().cloned().collect();
        for file in files {
            let above = file.parent().filter(|dir| !dir.as_os_str().is_empty());
            paths.insert(above.unwrap_or(Path::new(".")).to_owned());
        }
        let owners = self.owners();
        for path in paths {
            let Err(why) = trust::path(&path, &owners) else {
                continue;
            };
            let severity = match why {
                // What cannot be read has been told.
                Distrust::Unknown { .. } => continue,
                Distrust::Writable {
                    by: trust::EVERYONE,
                    ..
                } => Severity::Error,
                _ => Severity::Warning,
            };
            let mut problem = Problem::error(format!(
                "whoever may write the configuration decides where tokens go: {why}"
            ));
            problem.severity = severity;
            self.problems.push(problem.remedy(why.remedy()));
        }
    }
}
