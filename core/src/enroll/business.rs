//! A business's identity at a provider that pushes. It comes from outside and goes
//! into a host name, to which our client secret is then sent.

use crate::provider::description::VarFormat;

/// The variable that it fills.
pub const VARIABLE: &str = "business_id";

/// Names that a provider's own hosts have or may be given: a secret that is sent to one
/// of them reaches some other service of the provider's, or whoever runs it for them.
const RESERVED: [&str; 60] = [
    // The site and its stages.
    "www",
    "www2",
    "web",
    "site",
    "home",
    "m",
    "mobile",
    "beta",
    "demo",
    "dev",
    "test",
    "testing",
    "qa",
    "uat",
    "sandbox",
    "stage",
    "staging",
    "stg",
    "preview",
    "prod",
    "production",
    "live",
    // Whoever signs in or pays there.
    "account",
    "accounts",
    "admin",
    "app",
    "apps",
    "auth",
    "billing",
    "console",
    "dashboard",
    "id",
    "login",
    "oauth",
    "pay",
    "portal",
    "secure",
    "sso",
    // What machines talk to, and where others than the provider may answer.
    "api",
    "assets",
    "blog",
    "cdn",
    "docs",
    "ftp",
    "gateway",
    "help",
    "hooks",
    "imap",
    "internal",
    "localhost",
    "mail",
    "metrics",
    "mx",
    "ns1",
    "ns2",
    "smtp",
    "static",
    "status",
    "support",
    "vpn",
];

/// Whether a text may name a business.
///
/// # Errors
/// Why not, for a person.
pub fn check(business_id: &str) -> Result<(), String> {
    VarFormat::DnsLabel.check(business_id)?;
    match RESERVED.contains(&business_id) {
        true => Err(format!(
            "{business_id:?} is a name that the provider's own hosts have, and no business"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_business_is_one_label_that_is_nobody_else_s() {
        for good in ["shop-17", "17", "a", "acme", "wwww", "api2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "www",
            "api",
            "localhost",
            "stg",
            "mail",
            "xn--80ak6aa92e",
            "a.b",
            "a/b",
            "a@b",
            "a:1",
            "a#",
            "a?b",
            "-a",
            "a-",
            "Shop",
            "a b",
            "a\r\nb",
            "a\0",
            "ä",
            "a%2eb",
            "..",
            "evil.example/",
            "127.0.0.1",
            "[::1]",
            &"a".repeat(64),
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
