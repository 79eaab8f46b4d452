//! Authorization codes (RFC 6749 §4.1.2) and what a grant began with.

use crate::tokens::Owned;
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
    pub(crate) good_until_ms: u64,
    pub(crate) asked: Asked,
    pub(crate) spent: bool,
    /// The token set that its exchange began.
    pub(crate) began: Option<Owned>,
}

/// What the authorization request asked for that its exchange must know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The S256 challenge (RFC 7636 §4.3).
    pub(crate) challenge: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) nonce: Option<String>,
}

impl Codes {
    /// Keeps a new code.
    pub(crate) fn add(&mut self, grant: &str, origin: &Origin, asked: Asked, good_until_ms: u64) {
        let code = Code {
            grant: grant.to_owned(),
            origin: origin.clone(),
            good_until_ms,
            asked,
            spent: false,
            began: None,
        };
        self.0.insert(origin.code.clone(), code);
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

    /// Remembers what a code's exchange began.
    pub(crate) fn began(&mut self, text: &str, owned: Option<Owned>) {
        if let Some(code) = self.0.get_mut(text) {
            code.began = owned;
        }
    }
}
