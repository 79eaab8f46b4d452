//! Until when a certificate is valid (RFC 5280 §4.1.2.5). What checks servers
//! does not look at an authority's own end, so it is read here.

use chrono::NaiveDateTime;
use refreshd_core::time::WallTime;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity; `None` when it cannot be read.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<WallTime> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = any(rest)?;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, rest) = any(validity)?;
    let (tag, text, _) = any(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

fn time(tag: u8, text: &str) -> Option<WallTime> {
    let century = match (tag, text.get(..2)?.parse::<u8>().ok()?) {
        (UTC_TIME, 50..) => "19",
        (UTC_TIME, _) => "20",
        (GENERALIZED_TIME, _) => "",
        _ => return None,
    };
    let full = format!("{century}{text}");
    let time = NaiveDateTime::parse_from_str(&full, "%Y%m%d%H%M%SZ").ok()?;
    Some(WallTime(time.and_utc().timestamp_millis()))
}

/// The contents of an element of that kind, and what follows it.
fn element(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    any(der)
        .filter(|(tag, _, _)| *tag == wanted)
        .map(|(_, contents, rest)| (contents, rest))
}

/// Tag and contents of the first element, and what follows it.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ ..=0x7f => (usize::from(short), rest),
        // Four bytes of length are more than a certificate ever has.
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |n, digit| n << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn both_forms_of_time_are_read() {
        // UTCTime until 2049, GeneralizedTime from 2050 on.
        for (year, millis) in [(2031, 1_930_348_800_000), (2050, 2_529_964_800_000)] {
            let mut params = CertificateParams::default();
            params.not_after = date_time_ymd(year, 3, 4);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(not_after(certificate.der()), Some(WallTime(millis)));
        }
        assert_eq!(
            time(UTC_TIME, "500101000000Z"),
            Some(WallTime(-631_152_000_000))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, at in 0usize..200, byte: u8) {
            let _any = not_after(&bytes);
            let certificate = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
            let mut der = certificate.der().to_vec();
            der[at] = byte;
            let _any = not_after(&der);
            let _any = not_after(&der[..at]);
        }
    }
}
