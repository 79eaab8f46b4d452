//! `--faults`: everything that a daemon must survive without a consumer noticing.

use sandbox::faults::{Fault, NowAndThen};
use sandbox::{OldValid, Reuse, Rotation};
use std::time::Duration;

/// A class of rotation in which an answer can be lost and had again.
pub(super) fn rotation() -> Rotation {
    Rotation {
        old_valid: OldValid::UntilUsed,
        old_valid_max: Some(Duration::from_secs(60)),
        reuse: Reuse::Revokes,
        ..Rotation::default()
    }
}

/// What comes now and then. `invalid_client` and dead refresh tokens are not
/// among it: after them a person is needed. A grant that met a fault is spared
/// once, so that a short life has room for a second try.
pub(super) fn now_and_then() -> NowAndThen {
    NowAndThen {
        probability: 0.4,
        faults: vec![
            Fault::Slow { ms: 800 },
            Fault::Late { ms: 1500 },
            Fault::InternalError { performed: false },
            Fault::InternalError { performed: true },
            Fault::Unavailable {
                retry_after: 2,
                performed: false,
            },
            Fault::Unavailable {
                retry_after: 1,
                performed: true,
            },
            Fault::TooMany { retry_after: 2 },
            Fault::ResetBefore,
            Fault::ResetAfter,
            Fault::HtmlPage { performed: false },
            Fault::HtmlPage { performed: true },
            Fault::LoginRedirect { performed: false },
            Fault::Truncated,
        ],
        spare_next: true,
    }
}
