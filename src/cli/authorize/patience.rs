//! A person may take minutes; the daemon may be restarted meanwhile, and what it
//! waits for outlives that.

use crate::cli::output;
use crate::control::client::Control;
use crate::control::enroll::Patience;
use crate::enroll::Report;
use crate::exit::{Exit, Failure};
use std::time::Duration;
use tokio::time::Instant;

/// A daemon that is gone is waited for so long.
const GONE: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(500);

/// How it stands after it has turned, or after so long.
pub(super) async fn report(
    control: &Control,
    id: &str,
    patience: Duration,
) -> Result<Report, Failure> {
    let wait_ms = patience.as_millis().try_into().unwrap_or(u64::MAX);
    let mut until = None;
    loop {
        let report = control.enrollment(id, Patience { wait_ms }).await;
        let gone = matches!(&report, Err(failure) if failure.exit == Exit::Unavailable);
        if !gone {
            return report;
        }
        match until {
            None => {
                output::note(
                    "refreshd is gone; waiting for it to come back, and for the authorization",
                );
                until = Some(Instant::now() + GONE);
            }
            Some(until) if Instant::now() > until => return report,
            Some(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}
