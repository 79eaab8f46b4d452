//! Outputs: where token sets are published for other processes.
//!
//! A reader finds the old or the new token, whole ([`file`]); beside each file
//! stands what is no secret about it ([`meta`]); databases hold a row for each
//! grant ([`database`]); a reconciler brings every
//! output to the generation that the store holds ([`reconcile`]), on the side:
//! an output that is broken or hangs holds up no flight and no other output.

pub mod database;
pub mod file;
pub mod format;
pub mod inspect;
pub mod meta;
pub mod others;
pub mod output;
mod published;
pub mod reconcile;

pub use meta::{Meta, read_meta};
pub use output::{PublishError, withdraw};
pub(crate) use published::published_generations;
pub use reconcile::Reconciler;

use refreshd_core::grant::{Grant, TokenSet};

/// What the store holds of one grant, as outputs need it.
#[derive(Clone, Debug)]
pub struct View {
    /// The store's identity, for the metadata.
    pub store_id: String,
    /// The grant, with the generation of `tokens`.
    pub grant: Grant,
    /// Its current token set; of it, outputs show the access token only.
    pub tokens: TokenSet,
}

#[cfg(test)]
pub(crate) mod testing {
    //! Views and outputs for the tests of this module.

    use super::View;
    use crate::config::{Format, MetaPlace, Output, WhenDead};
    use refreshd_core::grant::{Grant, GrantId, GrantState, TokenSet};
    use refreshd_core::secret::Secret;
    use refreshd_core::time::WallTime;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    pub(crate) const NOW: WallTime = WallTime(1_795_222_800_000);

    /// A grant `acme` of store `store-1` that was issued at [`NOW`] for an hour.
    pub(crate) fn view(generation: u64, token: &str) -> View {
        let state = GrantState {
            generation,
            issued_at: NOW,
            expires_at: WallTime(NOW.0 + 3_600_000),
            presents: Some(refreshd_core::secret::Fingerprint([7; 16])),
            ..GrantState::default()
        };
        View {
            store_id: "store-1".to_owned(),
            grant: Grant {
                id: GrantId("grant-1".to_owned()),
                name: "acme".to_owned(),
                client: "acme".to_owned(),
                vars: BTreeMap::new(),
                redirect_uri: None,
                revision: generation,
                state,
            },
            tokens: TokenSet {
                access_token: Secret::new(token),
                refresh_token: Some(Secret::new("refresh-hunter2")),
                token_type: None,
                scope: Some("a b".to_owned()),
                extra: BTreeMap::from([("id_token".to_owned(), Secret::new("\"id-hunter2\""))]),
                code: Some(Secret::new("code-hunter2")),
            },
        }
    }

    pub(crate) fn output(path: impl Into<PathBuf>) -> Output {
        Output {
            path: path.into(),
            format: Format::Raw { newline: false },
            mode: None,
            group: None,
            owner: None,
            dir_mode: None,
            meta: MetaPlace::Beside,
            replace: false,
            when_dead: WhenDead::Leave,
        }
    }
}
