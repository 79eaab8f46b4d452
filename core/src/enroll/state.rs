//! `state`: what we send along, and must get back (RFC 6749 §10.12). It names an
//! enrolment and proves that it is ours: a MAC over everything that the enrolment
//! is bound to, so that none of it can be changed afterwards.

use super::{Enrollment, EnrollmentId};
use crate::secret::Fingerprinter;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a state says, before it is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The enrolment that it names.
    pub id: EnrollmentId,
    mac: [u8; 16],
}

/// The state of an enrolment.
#[must_use]
pub fn of(enrollment: &Enrollment, key: &Fingerprinter) -> String {
    let mut bytes = enrollment.id.0.to_vec();
    bytes.extend(mac(enrollment, key));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a state; `None`: it is none of ours by its form.
#[must_use]
pub fn read(state: &str) -> Option<Claim> {
    let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
    let (id, mac) = bytes.split_first_chunk()?;
    Some(Claim {
        id: EnrollmentId(*id),
        mac: mac.try_into().ok()?,
    })
}

impl Claim {
    /// Whether we made it, for this very enrolment.
    #[must_use]
    pub fn proves(&self, enrollment: &Enrollment, key: &Fingerprinter) -> bool {
        let expected = mac(enrollment, key);
        let differ = self
            .mac
            .iter()
            .zip(expected)
            .fold(0, |d, (a, b)| d | (a ^ b));
        self.id == enrollment.id && differ == 0
    }
}

/// Client, grant, environment, variables (the business, where it is known) and
/// expiry; the id is the nonce.
fn mac(enrollment: &Enrollment, key: &Fingerprinter) -> [u8; 16] {
    let bound = (
        &enrollment.id,
        &enrollment.client,
        &enrollment.grant,
        &enrollment.provider,
        &enrollment.vars,
        enrollment.expires_at,
    );
    let bound = serde_json::to_vec(&bound).expect("an enrolment is plain data");
    key.mac("enrolment", &bound)
}

#[cfg(test)]
mod tests {
    use super::super::{Stage, Via};
    use super::*;
    use crate::time::WallTime;
    use std::collections::BTreeMap;

    fn enrollment() -> Enrollment {
        Enrollment {
            id: EnrollmentId([7; 16]),
            grant: Some("shop-17".to_owned()),
            client: "retm".to_owned(),
            provider: "retm".to_owned(),
            via: Via::Push,
            redirect_uri: None,
            vars: BTreeMap::from([("business_id".to_owned(), "shop-17".to_owned())]),
            begun_at: WallTime(0),
            expires_at: WallTime(900_000),
            stage: Stage::Open,
            text: String::new(),
            configured: true,
            sent: None,
            account: None,
            generation: None,
        }
    }

    #[test]
    fn a_state_proves_its_own_enrolment_and_no_other() {
        let key = Fingerprinter::new([1; 32]);
        let ours = enrollment();
        let claim = read(&of(&ours, &key)).expect("our own form");
        assert_eq!(claim.id, ours.id);
        assert!(claim.proves(&ours, &key));
        let moved_on = Enrollment {
            stage: Stage::Done,
            text: "said".to_owned(),
            ..enrollment()
        };
        assert!(claim.proves(&moved_on, &key));
        let others = [
            Enrollment {
                grant: None,
                ..enrollment()
            },
            Enrollment {
                client: "other".to_owned(),
                ..enrollment()
            },
            Enrollment {
                provider: "retm-staging".to_owned(),
                ..enrollment()
            },
            Enrollment {
                vars: BTreeMap::new(),
                ..enrollment()
            },
            Enrollment {
                expires_at: WallTime(900_001),
                ..enrollment()
            },
            Enrollment {
                id: EnrollmentId([8; 16]),
                ..enrollment()
            },
        ];
        for other in others {
            assert!(!claim.proves(&other, &key), "{other:?}");
        }
        assert!(!claim.proves(&ours, &Fingerprinter::new([2; 32])));
    }

    #[test]
    fn what_is_not_of_our_form_is_not_read() {
        for state in ["", "x", "AAAA", "\u{1b}[2J", &"A".repeat(44)] {
            assert_eq!(read(state), None, "{state:?}");
        }
    }
}
