//! Certificate authorities that servers are checked with: the system's, from
//! where distributions put them (the usual loader obeys `SSL_CERT_FILE`), and
//! those of a client's `ca_file`.

mod validity;

pub use validity::not_after;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Where distributions keep their bundle: Debian, Fedora, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bundles of all authorities there are have a tenth of that.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why a `ca_file` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// The system said no.
    #[error("cannot read ca_file {}: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("ca_file {} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// Larger than any bundle.
    #[error("ca_file {} is larger than 4 MiB", .0.display())]
    TooLarge(PathBuf),
    /// There is nothing in it.
    #[error("ca_file {} is empty", .0.display())]
    Empty(PathBuf),
    /// Certificates as bytes rather than text.
    #[error("ca_file {} holds no certificate in PEM form but something in DER form", .0.display())]
    Der(PathBuf),
    /// Something else.
    #[error("ca_file {} holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    /// It begins like PEM and does not go on so.
    #[error("ca_file {} is damaged: its certificate {nth} is not whole PEM", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        nth: usize,
    },
    /// PEM, with something else in it.
    #[error("ca_file {}: its certificate {nth} is not an X.509 certificate", .path.display())]
    NotX509 {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        nth: usize,
    },
}

impl CaFileError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let remedy = match self {
            CaFileError::Unreadable { error, .. } => match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "put the authority's certificate there, in PEM form".to_owned()
                }
                _ => "make it readable for the user that refreshd runs as".to_owned(),
            },
            CaFileError::NotAFile(_) => "name a file of PEM certificates".to_owned(),
            CaFileError::TooLarge(_) => {
                "keep in it only the authorities that this provider needs".to_owned()
            }
            CaFileError::Empty(_) | CaFileError::NoCertificate(_) => {
                "it must hold the authority's certificate, from -----BEGIN CERTIFICATE----- on"
                    .to_owned()
            }
            CaFileError::Der(path) => format!(
                "convert it: openssl x509 -inform der -in {} -out ca.pem",
                path.display()
            ),
            CaFileError::Damaged { path, .. } | CaFileError::NotX509 { path, .. } => format!(
                "get it again; openssl x509 -in {} -noout -subject shows what is in it",
                path.display()
            ),
        };
        Some(remedy)
    }
}

/// The certificates of a `ca_file`, each of which a server can be checked with.
///
/// # Errors
/// When the file cannot be read, or anything but certificates stands in it.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let here = || path.to_owned();
    let pem = contents(path)?;
    if pem.iter().all(u8::is_ascii_whitespace) {
        return Err(CaFileError::Empty(here()));
    }
    let mut certificates = Vec::new();
    for (i, certificate) in CertificateDer::pem_slice_iter(&pem).enumerate() {
        let nth = i + 1;
        let certificate = certificate.map_err(|_| CaFileError::Damaged { path: here(), nth })?;
        if !is_anchor(&certificate) {
            return Err(CaFileError::NotX509 { path: here(), nth });
        }
        certificates.push(certificate);
    }
    // A DER certificate is a sequence with a length of two bytes.
    match (certificates.is_empty(), pem.as_slice()) {
        (false, _) => Ok(certificates),
        (true, [0x30, 0x82, ..]) => Err(CaFileError::Der(here())),
        (true, _) => Err(CaFileError::NoCertificate(here())),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, CaFileError> {
    let unreadable = |error| CaFileError::Unreadable {
        path: path.to_owned(),
        error,
    };
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(CaFileError::NotAFile(path.to_owned()));
    }
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut pem)
        .map_err(unreadable)?;
    if pem.len() as u64 > MAX_BYTES {
        return Err(CaFileError::TooLarge(path.to_owned()));
    }
    Ok(pem)
}

/// The system's bundle; empty where there is none. One bad certificate among
/// them does not take the others along.
#[must_use]
pub fn of_system() -> Vec<CertificateDer<'static>> {
    let usable = |path: &str| {
        let pem = std::fs::read(path).ok()?;
        let all = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let good: Vec<_> = all.filter(is_anchor).collect();
        (!good.is_empty()).then_some(good)
    };
    BUNDLES.into_iter().find_map(usable).unwrap_or_default()
}

fn is_anchor(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

#[cfg(test)]
mod tests;
