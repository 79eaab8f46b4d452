//! Reads a public document by GET, with the same care as a token request: the
//! same resolver and authorities, no redirect, no proxy, bounded in size and time.

use super::explain::{cause, innermost};
use super::resolver::{Barred, Unresolved};
use super::{BODY_CAP, Profile, build};
use crate::net::{self, Kind, Network};
use refreshd_core::text::printable;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// The longest that it may take in all.
const LIMIT: Duration = Duration::from_secs(30);

/// Where it may lie, and whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Networks besides the open Internet.
    pub allowed: Vec<Network>,
    /// Certificate authorities besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The name leads to addresses that are not asked.
    #[error(
        "{host} is not asked, since {address} is {kind}; if that is meant, pass --allow-network {network}"
    )]
    Barred {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What the address is for.
        kind: Kind,
        /// What to allow.
        network: Network,
    },
    /// The document is larger than any such document is.
    #[error("what {0} answers is larger than {size} KiB; it is not read", size = BODY_CAP / 1024)]
    TooLarge(String),
    /// Anything else.
    #[error("{host} cannot be asked: {why}")]
    Failed {
        /// Host and port.
        host: String,
        /// Why.
        why: String,
    },
}

/// Reads a document.
///
/// # Errors
/// When it cannot be had whole.
pub async fn fetch(url: &Url, reach: &Reach) -> Result<Fetched, ProbeError> {
    let host = printable(url.host_str().unwrap_or_default());
    if let Some(address) = net::literal(url)
        && let Some(kind) = net::barred(address, &reach.allowed)
    {
        return Err(barred(&host, address, kind));
    }
    let https = url.scheme() == "https";
    let profile = Profile {
        proxy: None,
        ca_file: reach.ca_file.clone().filter(|_| https),
        allowed: reach.allowed.clone(),
        https,
    };
    let failed = |why: String| ProbeError::Failed {
        host: host.clone(),
        why,
    };
    let http = build(&profile).map_err(|e| failed(e.to_string()))?;
    let explained = |e: reqwest::Error| match (cause::<Barred>(&e), cause::<Unresolved>(&e)) {
        (Some(found), _) => match found.found.first() {
            Some((address, kind)) => barred(&host, *address, *kind),
            None => failed("it has no address".to_owned()),
        },
        (None, Some(unresolved)) => failed(format!("it cannot be resolved: {}", unresolved.error)),
        (None, None) if e.is_timeout() => {
            failed(format!("nothing came within {} s", LIMIT.as_secs()))
        }
        (None, None) => failed(innermost(&e)),
    };
    let get = http
        .get(url.clone())
        .header("accept", "application/json")
        .timeout(LIMIT);
    let mut response = get.send().await.map_err(explained)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(explained)? {
        if body.len() + chunk.len() > BODY_CAP {
            return Err(ProbeError::TooLarge(host));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { status, body })
}

fn barred(host: &str, address: IpAddr, kind: Kind) -> ProbeError {
    ProbeError::Barred {
        host: host.to_owned(),
        address,
        kind,
        network: net::suggestion(address, kind),
    }
}
