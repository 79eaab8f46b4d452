//! `state`: what we send along, and must get back (RFC 6749 §10.12). It names an
//! enrolment and proves that it is ours: a MAC over everything that the enrolment
//! is bound to, so that none of it can be changed afterwards. A seal behind both lets
//! a forgery be told from ours without asking what we have begun.

use super::{Enrollment, EnrollmentId};
use crate::secret::{Fingerprinter, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes of the seal.
const SEAL: usize = 8;

/// What a state of ours says, before it is known for which enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The enrolment that it names.
    pub id: EnrollmentId,
    mac: [u8; 16],
}

/// The state of an enrolment.
#[must_use]
pub fn of(enrollment: &Enrollment, key: &Fingerprinter) -> String {
    written(enrollment, mac(enrollment, None, key), key)
}

/// The state of one attempt at a link, which is bound to the browser that begins it
/// by `attempt`, a secret that the browser keeps.
#[must_use]
pub fn of_attempt(enrollment: &Enrollment, attempt: &Secret, key: &Fingerprinter) -> String {
    written(enrollment, mac(enrollment, Some(attempt), key), key)
}

/// Reads a state; `None`: we have not made it.
#[must_use]
pub fn read(state: &str, key: &Fingerprinter) -> Option<Claim> {
    let bytes = URL_SAFE_NO_PAD.decode(state).ok()?;
    let (signed, seal) = bytes.split_at_checked(32)?;
    let (id, mac) = signed.split_first_chunk()?;
    let ours = seal.len() == SEAL && are_equal(seal, &key.mac("state", signed)[..SEAL]);
    Some(Claim {
        id: EnrollmentId(*id),
        mac: mac.try_into().ok()?,
    })
    .filter(|_| ours)
}

impl Claim {
    /// Whether we made it for this very enrolment.
    #[must_use]
    pub fn proves(&self, enrollment: &Enrollment, key: &Fingerprinter) -> bool {
        self.id == enrollment.id && are_equal(&self.mac, &mac(enrollment, None, key))
    }

    /// Whether we made it for this attempt at this very enrolment.
    #[must_use]
    pub fn proves_attempt(
        &self,
        enrollment: &Enrollment,
        attempt: &Secret,
        key: &Fingerprinter,
    ) -> bool {
        self.id == enrollment.id && are_equal(&self.mac, &mac(enrollment, Some(attempt), key))
    }
}

fn written(enrollment: &Enrollment, mac: [u8; 16], key: &Fingerprinter) -> String {
    let mut bytes = enrollment.id.0.to_vec();
    bytes.extend(mac);
    let seal = key.mac("state", &bytes);
    bytes.extend(&seal[..SEAL]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// In a time that does not tell how much of it is right.
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// Client, grant, environment, variables (the business, where it is known) and
/// expiry, as they were asked for; the id is the nonce.
fn mac(enrollment: &Enrollment, attempt: Option<&Secret>, key: &Fingerprinter) -> [u8; 16] {
    let (grant, vars) = match &enrollment.asked {
        Some(asked) => (&asked.grant, &asked.vars),
        None => (&enrollment.grant, &enrollment.vars),
    };
    let bound = (
        &enrollment.id,
        &enrollment.client,
        grant,
        &enrollment.provider,
        vars,
        enrollment.expires_at,
        attempt.map(|attempt| key.of(attempt)),
    );
    let bound = serde_json::to_vec(&bound).expect("an enrolment is plain data");
    key.mac("enrolment", &bound)
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Stage, Via};
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
            asked: None,
            code: Default::default(),
        }
    }

    #[test]
    fn a_state_proves_its_own_enrolment_and_no_other() {
        let key = Fingerprinter::new([1; 32]);
        let ours = enrollment();
        let claim = read(&of(&ours, &key), &key).expect("our own form");
        assert_eq!(claim.id, ours.id);
        assert!(claim.proves(&ours, &key));
        let moved_on = Enrollment {
            stage: Stage::Done,
            text: "said".to_owned(),
            ..enrollment()
        };
        assert!(claim.proves(&moved_on, &key));
        // What has become known since does not change what was asked.
        let learned = Enrollment {
            grant: Some("acme".to_owned()),
            vars: BTreeMap::from([("business_id".to_owned(), "acme".to_owned())]),
            asked: Some(Asked {
                grant: ours.grant.clone(),
                vars: ours.vars.clone(),
            }),
            ..enrollment()
        };
        assert!(claim.proves(&learned, &key));
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
    fn an_attempt_is_bound_to_its_browser() {
        let key = Fingerprinter::new([1; 32]);
        let (ours, attempt) = (enrollment(), Secret::new("one"));
        let claim = read(&of_attempt(&ours, &attempt, &key), &key).unwrap();
        assert!(claim.proves_attempt(&ours, &attempt, &key));
        assert!(!claim.proves_attempt(&ours, &Secret::new("two"), &key));
        assert!(!claim.proves(&ours, &key));
        let link = read(&of(&ours, &key), &key).unwrap();
        assert!(!link.proves_attempt(&ours, &attempt, &key));
    }

    #[test]
    fn what_we_have_not_made_is_not_read() {
        let key = Fingerprinter::new([1; 32]);
        let ours = of(&enrollment(), &key);
        let other = of(&enrollment(), &Fingerprinter::new([2; 32]));
        let swapped = ours.replacen(&ours[..2], "zz", 1);
        let (long, short) = (format!("{ours}AAAA"), &ours[..ours.len() - 4]);
        for state in [
            "",
            "x",
            "AAAA",
            "\u{1b}[2J",
            &"A".repeat(54),
            &other,
            &swapped,
            &long,
            short,
        ] {
            assert_eq!(read(state, &key), None, "{state:?}");
        }
        assert!(read(&ours, &key).is_some());
    }
}
