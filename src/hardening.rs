//! What keeps the process's memory to itself: it holds tokens, keys and secrets.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core files, and that another process of this user attaches and reads.
///
/// # Errors
/// What could not be had, for the log.
pub fn keep_memory_private() -> Result<(), String> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let no_core = setrlimit(Resource::Core, none);
    // A pipe of the system's core handler is not bound by that limit.
    let not_dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    no_core.map_err(|e| format!("core dumps cannot be forbidden: {e}"))?;
    not_dumpable.map_err(|e| format!("this process cannot be kept from being dumped: {e}"))
}
