//! The cookie that ties a callback to the browser that has begun (RFC 6265bis).

use crate::config::Enroll;
use crate::enroll::{id_text, parse_id};
use hyper::HeaderMap;
use hyper::header::COOKIE;
use refreshd_core::enroll::EnrollmentId;
use refreshd_core::secret::Secret;
use std::time::Duration;

/// A person needs so long at the most to approve.
const LIFE: Duration = Duration::from_secs(3600);

/// Its name. `__Host-` keeps other hosts of the same domain from setting it; browsers
/// take such a one by https alone.
fn name(enroll: &Enroll, id: EnrollmentId) -> String {
    let prefix = if enroll.is_https() { "__Host-" } else { "" };
    format!("{prefix}refreshd-{}", id_text(id))
}

/// What sets it.
pub(super) fn set(enroll: &Enroll, id: EnrollmentId, value: &Secret) -> String {
    attributes(enroll, id, value.expose(), LIFE)
}

/// What takes it away.
pub(super) fn clear(enroll: &Enroll, id: EnrollmentId) -> String {
    attributes(enroll, id, "", Duration::ZERO)
}

fn attributes(enroll: &Enroll, id: EnrollmentId, value: &str, life: Duration) -> String {
    // The provider sends the browser back from another site: Strict would keep it here.
    let secure = if enroll.is_https() { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        name(enroll, id),
        life.as_secs()
    )
}

/// The authorizations that a request's browser has begun, as far as it says; a few.
pub(super) fn begun(enroll: &Enroll, headers: &HeaderMap) -> Vec<EnrollmentId> {
    const MOST: usize = 4;
    let ids = all(headers).filter_map(|(known, _)| {
        let id = parse_id(known.rsplit('-').next()?)?;
        (known == name(enroll, id)).then_some(id)
    });
    ids.take(MOST).collect()
}

fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// Its value in a request, if it is there, and once.
pub(super) fn find(enroll: &Enroll, id: EnrollmentId, headers: &HeaderMap) -> Option<Secret> {
    let name = name(enroll, id);
    let mut values = all(headers)
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then(|| Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enroll(public_url: &str) -> Enroll {
        Enroll {
            listen: None,
            public_url: Some(public_url.parse().unwrap()),
            link_valid: Duration::from_secs(60),
        }
    }

    #[test]
    fn it_is_kept_to_one_host_by_https() {
        let id = EnrollmentId([0xab; 16]);
        let named = id_text(id);
        let set = |url| set(&enroll(url), id, &Secret::new("v"));
        assert_eq!(
            set("https://auth.example.com/refreshd"),
            format!(
                "__Host-refreshd-{named}=v; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
            )
        );
        assert_eq!(
            set("http://127.0.0.1:8790"),
            format!("refreshd-{named}=v; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
        );
    }

    #[test]
    fn it_is_found_among_others_and_not_twice() {
        let (enroll, id) = (enroll("https://a.example"), EnrollmentId([1; 16]));
        let ours = format!("__Host-refreshd-{}", id_text(id));
        let found = |lines: &[String]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, line.parse().unwrap());
            }
            find(&enroll, id, &headers)
        };
        assert_eq!(
            found(&[format!("a=b; {ours}=v; c=d")]),
            Some(Secret::new("v"))
        );
        assert_eq!(
            found(&["a=b".to_owned(), format!("{ours}=v")]),
            Some(Secret::new("v"))
        );
        assert_eq!(found(&[format!("{ours}=v; {ours}=w")]), None);
        assert_eq!(found(&[format!("{}=v", &ours["__Host-".len()..])]), None);
        let begun = |line: String| {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, line.parse().unwrap());
            begun(&enroll, &headers)
        };
        assert_eq!(begun(format!("a-b=c; {ours}=v")), [id]);
        assert_eq!(begun(format!("{}=v", &ours["__Host-".len()..])), []);
        assert_eq!(found(&[]), None);
    }
}
