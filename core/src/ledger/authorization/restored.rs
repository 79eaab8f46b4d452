//! Authorizations of a store that was put back to an earlier time.

use super::Turn;
use crate::enroll::{Enrollment, Stage, Via};

/// What becomes of an authorization in a store that was put back. Its code may have come
/// and been presented in the time that is lost, and a browser that is loaded again brings
/// it once more: a second presentation may void what the first one brought (RFC 6749
/// §4.1.2). A link is no exception, since its codes of that time are not remembered.
/// `None`: it stays as it is. A device code is asked about again once the restore has been
/// accepted.
#[must_use]
pub fn restored(enrollment: &Enrollment) -> Option<Turn> {
    let text = match (enrollment.stage, enrollment.via) {
        (_, Via::Device) => return None,
        (Stage::Received | Stage::Quarantined, _) => {
            "the store was put back, and the code may have been presented since: authorize again"
        }
        (Stage::Open, _) => {
            "the store was put back, and a code may have come and been presented since: authorize again"
        }
        _ => return None,
    };
    let to = Enrollment {
        stage: Stage::InDoubt,
        text: text.to_owned(),
        ..enrollment.clone()
    };
    Some(Turn::to(to, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::EnrollmentId;
    use crate::time::WallTime;

    #[test]
    fn what_may_have_been_presented_since_is_in_doubt() {
        let of = |stage, via| Enrollment {
            id: EnrollmentId([1; 16]),
            grant: None,
            client: String::new(),
            provider: String::new(),
            via,
            redirect_uri: None,
            vars: Default::default(),
            begun_at: WallTime(0),
            expires_at: WallTime(i64::MAX),
            stage,
            text: String::new(),
            configured: false,
            sent: None,
            account: None,
            generation: None,
            asked: None,
            code: Default::default(),
        };
        for via in [Via::Redirect, Via::Link, Via::Push] {
            for stage in [Stage::Open, Stage::Quarantined, Stage::Received] {
                let turn = restored(&of(stage, via)).unwrap();
                assert_eq!(turn.to.stage, Stage::InDoubt, "{via:?} {stage:?}");
            }
            for stage in [Stage::Refused, Stage::Done, Stage::Held] {
                assert_eq!(restored(&of(stage, via)), None, "{via:?} {stage:?}");
            }
        }
        assert_eq!(restored(&of(Stage::Open, Via::Device)), None);
    }
}
