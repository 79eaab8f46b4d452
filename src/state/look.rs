//! Looking at a state: everything happens on a copy in memory, so that nothing that
//! is there changes, nothing is made, and a daemon can start at once afterwards.

use super::lock::{self, StateLock};
use super::seal::Sealer;
use super::{LockError, Machine, OpenError, OpenOptions, State, db, missing, name_key};

impl State {
    /// Copies a state into memory and opens the copy. What is done with it is
    /// forgotten; flights under way are handed out, and stay where they are.
    ///
    /// # Errors
    /// When there is no state, somebody holds it, or it cannot be read.
    pub fn look(options: &OpenOptions<'_>) -> Result<State, OpenError> {
        let dir = options.state_dir;
        missing::check(dir, options.key)?;
        lock::check(dir)?;
        if !db::exists(dir) {
            return Err(LockError::Absent(dir.to_owned()).into());
        }
        // Held only while it is copied.
        let lock = StateLock::share(dir)?;
        let sealer = Sealer::load(options.key, true)?;
        let opened = db::look(dir, &sealer).map_err(|error| name_key(error, options.key))?;
        let rescued = super::rescued(dir, &opened, &sealer)?;
        drop(lock);
        State::start(options, &Machine::this(), opened, sealer, rescued)
    }
}
