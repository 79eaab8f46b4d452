//! What the service manager is told.

use sd_notify::NotifyState;

/// Tells systemd; without systemd this does nothing.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {e}");
    }
}
