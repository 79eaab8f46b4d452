//! Waits for an approval: by the browser, by what the person pastes, whichever comes first.

use super::listener::{Listener, Open};
use super::paste::{Pasted, Pasting};
use super::{STEP, patience};
use crate::cli::output;
use crate::control::client::Control;
use crate::enroll::Report;
use crate::exit::{Exit, Failure};
use crate::service::api::Redirect;
use refreshd_core::enroll::Stage;
use refreshd_core::secret::Secret;
use std::io::IsTerminal;
use std::time::Duration;

/// The page of the callback that ended it comes before the command's end.
const PAGE_FIRST: Duration = Duration::from_secs(2);

/// What is waited for.
pub(super) struct Waiting<'a> {
    pub(super) control: &'a Control,
    /// The authorization.
    pub(super) id: &'a str,
    /// Where the person was sent.
    pub(super) url: &'a str,
    /// How long a code is good for, where that is known.
    pub(super) lifetime: Option<Duration>,
}

impl Waiting<'_> {
    /// How it ended. A pipe is read only where nobody can listen: it may be somebody
    /// else's input.
    pub(super) async fn report(&self, listener: Option<Listener>) -> Result<Report, Failure> {
        let pastes = listener.is_none() || std::io::stdin().is_terminal();
        let mut open = match listener {
            Some(listener) => Some(listener.open(self.control, self.id)?),
            None => None,
        };
        let pasting = pastes.then(|| Pasting::begin(self.url, open.is_some(), self.lifetime));
        let report = self.first(&mut open, pasting).await;
        if let Some(open) = open {
            open.close().await;
        }
        report
    }

    async fn first(
        &self,
        open: &mut Option<Open>,
        mut pasting: Option<Pasting>,
    ) -> Result<Report, Failure> {
        let over = self.over(open.is_some());
        tokio::pin!(over);
        loop {
            let called_back = async {
                match open {
                    Some(open) => open.ended().await,
                    None => std::future::pending().await,
                }
            };
            let pasted = async {
                match &mut pasting {
                    Some(pasting) => pasting.next().await,
                    None => std::future::pending().await,
                }
            };
            let pasted = tokio::select! {
                report = called_back => return self.followed(report).await,
                report = &mut over => return report,
                pasted = pasted => pasted,
            };
            match pasted {
                Pasted::Query(query) => match self.hand_over(query).await? {
                    Ok(report) if report.stage.is_over() || report.id != self.id => {
                        return self.followed(report).await;
                    }
                    // How it goes on is told by who waits for its end.
                    Ok(_) => pasting = None,
                    Err(why) => match &mut pasting {
                        Some(pasting) => pasting.again(&why),
                        None => output::note(&why),
                    },
                },
                Pasted::GiveUp => return self.control.cancel_enrollment(self.id).await,
                Pasted::End(why) => {
                    pasting = None;
                    if open.is_none() && !self.is_under_way().await? {
                        return Err(nothing(why));
                    }
                }
            }
        }
    }

    /// Hands a code over; the inner error is why it was not taken, and the wait goes on.
    async fn hand_over(&self, query: Secret) -> Result<Result<Report, String>, Failure> {
        output::note("Exchanging the code…");
        let redirect = Redirect {
            query,
            by_hand: true,
        };
        loop {
            let failure = match self.control.redirected(self.id, &redirect).await {
                Ok(report) => return Ok(Ok(report)),
                Err(failure) => failure,
            };
            // Waits for a daemon that is gone to come back.
            let report = patience::report(self.control, self.id, Duration::ZERO).await?;
            match report.stage {
                Stage::Open if failure.exit == Exit::Unavailable => {}
                Stage::Open => return Ok(Err(failure.message)),
                _ => return Ok(Ok(report)),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// To its end. Where the person has approved an earlier authorization of the same
    /// grant, that one goes on, and ours is given up.
    async fn followed(&self, report: Report) -> Result<Report, Failure> {
        if report.id != self.id {
            let given_up = self.control.cancel_enrollment(self.id).await;
            if let Err(failure) = given_up {
                output::note(&failure.message);
            }
        }
        if report.stage.is_over() {
            return Ok(report);
        }
        let mut told = patience::Told::default();
        patience::over(self.control, &report.id, STEP, &mut told).await
    }

    async fn is_under_way(&self) -> Result<bool, Failure> {
        let report = patience::report(self.control, self.id, Duration::ZERO).await?;
        Ok(report.stage != Stage::Open)
    }

    /// Waits until it is over without us: it expired, or was given up.
    async fn over(&self, listens: bool) -> Result<Report, Failure> {
        let mut told = patience::Told::default();
        let report = patience::over(self.control, self.id, STEP, &mut told).await?;
        if listens {
            tokio::time::sleep(PAGE_FIRST).await;
        }
        Ok(report)
    }
}

fn nothing(why: Option<String>) -> Failure {
    match why {
        Some(why) => Failure::new(
            Exit::Data,
            format!("what was pasted was not used: {why}; nothing is spent: run this again"),
        ),
        None => Failure::new(
            Exit::Usage,
            "nothing was pasted; the authorization stays open for a while: run this again",
        ),
    }
}
