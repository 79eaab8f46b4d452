//! Why TLS with a server failed, in plain words with the remedy.

use refreshd_core::text::printable;
use rustls::{AlertDescription, CertificateError, Error};
use std::path::Path;

/// The server, and whose configuration it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<'a> {
    /// Host and port, and the way there.
    pub(super) place: &'a str,
    /// The client in the configuration.
    pub(super) client: &'a str,
    /// Its `ca_file`.
    pub(super) ca_file: Option<&'a Path>,
}

/// See the module.
pub(super) fn tell(error: &Error, peer: Peer<'_>) -> String {
    let place = peer.place;
    match error {
        Error::InvalidCertificate(why) => {
            format!("the certificate of {place} {}", of_certificate(why, peer))
        }
        Error::InvalidMessage(_) => format!(
            "{place} does not speak TLS; look whether the port in the URL is right, and takes https"
        ),
        Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!(
                "{place} offers no version of TLS that is fit to be used; it has to offer TLS 1.2 or 1.3"
            )
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            format!("{place} knows no server of that name; look at the host in the URL")
        }
        Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::CertificateUnknown,
        ) => format!("{place} wants a client certificate, which refreshd cannot present"),
        other => format!("TLS with {place} failed: {}", printable(&other.to_string())),
    }
}

fn of_certificate(why: &CertificateError, peer: Peer<'_>) -> String {
    match why {
        // A bad signature: another authority of the same name, made anew perhaps.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => unknown(peer),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired; its operator must renew it (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName => {
            "is for another name; look at the host in the URL".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => of_names(presented),
        CertificateError::Revoked => "has been revoked; its operator must replace it".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for servers (extendedKeyUsage lacks serverAuth); its operator must replace it"
                .to_owned()
        }
        CertificateError::BadEncoding => {
            "is damaged, or nothing that is known as a certificate; its operator must replace it"
                .to_owned()
        }
        CertificateError::Other(other) => of_other(&format!("{:?}", other.0), peer),
        other => format!("cannot be accepted: {}", printable(&other.to_string())),
    }
}

fn unknown(peer: Peer<'_>) -> String {
    let client = peer.client;
    match peer.ca_file {
        None => format!(
            "was issued by an authority that this machine does not trust; if that is your own authority, set ca_file under [clients.{client}] to its certificate"
        ),
        Some(path) => format!(
            "was issued neither by one of the system's authorities nor by one in ca_file {}; look whether that file of [clients.{client}] is the right one",
            path.display()
        ),
    }
}

/// The names stand there as `DnsName("as.example")`.
fn of_names(presented: &[String]) -> String {
    let bare = |name: &String| match name.split('"').nth(1) {
        Some(quoted) => printable(quoted),
        None => printable(name),
    };
    let names: Vec<String> = presented.iter().take(4).map(bare).collect();
    match names.is_empty() {
        true => "names no host (subjectAltName is missing), so it is for no server; its operator must replace it".to_owned(),
        false => format!("is for {}; look at the host in the URL", names.join(", ")),
    }
}

/// What rustls has no name of its own for; webpki's name of it.
fn of_other(name: &str, peer: Peer<'_>) -> String {
    let client = peer.client;
    match name {
        // What `openssl req -x509` makes unless it is told otherwise.
        "CaUsedAsEndEntity" => format!(
            "is self-signed and marked as an authority's (CA:TRUE), which no server's may be; make it anew with basicConstraints=CA:FALSE, or issue one with it, and set ca_file under [clients.{client}] to the self-signed one"
        ),
        "EndEntityUsedAsCa" => {
            "was issued by a certificate that may issue none; its operator must mend the chain"
                .to_owned()
        }
        "UnsupportedCertVersion" => {
            "is of an old form (X.509 version 1); its operator must make one of version 3"
                .to_owned()
        }
        "NameConstraintViolation" => {
            "was issued by an authority that may not issue it for that name".to_owned()
        }
        other => format!("cannot be accepted ({})", printable(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_names_place_and_remedy() {
        let peer = Peer {
            place: "as.example:443",
            client: "c",
            ca_file: None,
        };
        let other = |name: &str| of_other(name, peer);
        let of = |why: CertificateError| tell(&Error::InvalidCertificate(why), peer);
        assert!(of(CertificateError::UnknownIssuer).contains("set ca_file under [clients.c]"));
        assert!(
            of(CertificateError::Expired)
                .starts_with("the certificate of as.example:443 has expired")
        );
        let names = CertificateError::NotValidForNameContext {
            expected: "as.example".try_into().unwrap(),
            presented: vec!["DnsName(\"www.example\")".to_owned()],
        };
        assert!(of(names).ends_with("is for www.example; look at the host in the URL"));
        assert!(other("CaUsedAsEndEntity").contains("basicConstraints=CA:FALSE"));
        assert!(other("Whatever").contains("(Whatever)"));
        let message = Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(tell(&message, peer).contains("does not speak TLS"));
        let with_file = Peer {
            ca_file: Some(Path::new("/x/ca.pem")),
            ..peer
        };
        assert!(unknown(with_file).contains("ca_file /x/ca.pem"));
    }
}
