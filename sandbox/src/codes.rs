//! Authorization codes (RFC 6749 §4.1.2) and what a grant began with.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a grant began with. Some providers want it again later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The authorization code.
    pub code: String,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// The business that granted it, where the provider has such.
    pub business_id: Option<String>,
}

/// All codes that were ever made; one from long ago is known as what it was.
#[derive(Debug, Default)]
pub(crate) struct Codes(HashMap<String, Code>);

#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) grant: String,
    pub(crate) origin: Origin,
    pub(crate) made_ms: u64,
    pub(crate) spent: bool,
}

impl Codes {
    /// Keeps a new code.
    pub(crate) fn add(&mut self, grant: &str, origin: Origin, now_ms: u64) {
        let code = Code {
            grant: grant.to_owned(),
            origin: origin.clone(),
            made_ms: now_ms,
            spent: false,
        };
        self.0.insert(origin.code, code);
    }

    /// The code of that text.
    pub(crate) fn find(&self, text: &str) -> Option<&Code> {
        self.0.get(text)
    }

    /// Lets a code be good no more.
    pub(crate) fn spend(&mut self, text: &str) {
        if let Some(code) = self.0.get_mut(text) {
            code.spent = true;
        }
    }
}
