//! Root works on a state as its owner: what is made then is theirs, and the service
//! can use it.

use crate::exit::{Exit, Failure};
use crate::trust::{become_user, effective_uid, state_owner, user_name};
use std::path::Path;

/// Becomes the owner of a state, for good, if this is root and the state is somebody
/// else's. These calls change one thread: no other may run yet. Those that begin later
/// are what this one is then.
pub(super) fn become_owner(state_dir: &Path) -> Result<(), Failure> {
    let Some((uid, gid)) = state_owner(state_dir).filter(|(uid, _)| *uid != 0) else {
        return Ok(());
    };
    if effective_uid() != 0 {
        return Ok(());
    }
    become_user(uid, gid, &[gid]).map_err(|error| {
        let (dir, owner) = (state_dir.display(), user_name(uid));
        let message = format!(
            "the state {dir} belongs to {owner}, and this cannot become {owner}: {error}; run it as {owner}"
        );
        Failure::new(Exit::NoPermission, message)
    })
}
