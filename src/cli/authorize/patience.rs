//! A person may take minutes; the daemon may be restarted meanwhile, and what it
//! waits for outlives that.

use crate::cli::output;
use crate::control::client::Control;
use crate::enroll::Report;
use crate::exit::{Exit, Failure};
use crate::service::api::Patience;
use refreshd_core::enroll::Stage;
use std::time::Duration;
use tokio::time::Instant;

/// A code that is exchanged, or waits to be, is asked after so often.
const EXCHANGE: Duration = Duration::from_secs(1);

/// What the person has been told of an authorization that goes on.
#[derive(Default)]
pub(super) struct Told(String);

impl Told {
    /// Tells what is new while it goes on: whoever has approved is not left alone, and what
    /// came to nothing is no secret.
    pub(super) fn tell(&mut self, report: &Report) {
        let says = matches!(report.stage, Stage::Open | Stage::Received);
        if !says || report.text.is_empty() || report.text == self.0 {
            return;
        }
        self.0.clone_from(&report.text);
        let name = report.grant.as_deref().unwrap_or(&report.client);
        output::note(&format!("{name}: {}", report.text));
    }
}

/// Waits until it is over, and tells how it goes on until then.
pub(super) async fn over(
    control: &Control,
    id: &str,
    step: Duration,
    told: &mut Told,
) -> Result<Report, Failure> {
    let mut patience = step;
    loop {
        let report = report(control, id, patience).await?;
        if report.stage.is_over() {
            return Ok(report);
        }
        told.tell(&report);
        patience = match report.stage {
            Stage::Received => EXCHANGE.min(step),
            _ => step,
        };
    }
}

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
