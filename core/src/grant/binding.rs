//! To whom a refresh token may be presented.

use serde::{Deserialize, Serialize};

/// A refresh token is bound to the client and the token endpoint's origin that issued it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// `client_id`.
    pub client_id: String,
    /// Scheme, host and port of the token URL.
    pub origin: String,
}
