//! What the engine is told and asked.

use super::perform::Landing;
use super::revoke::{Ended, Revoking};
use crate::config::{Client, Config};
use crate::exchange::PendingAnswer;
use crate::exit::Failure;
use crate::report::GrantReport;
use crate::state::StoreError;
use refreshd_core::grant::Grant;
use refreshd_core::grant::schedule::Urgency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Which grants somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichGrants {
    /// All of them.
    All,
    /// Those of these names, as far as there are any.
    These(BTreeSet<String>),
}

impl WhichGrants {
    /// Whether that grant is meant.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self {
            WhichGrants::All => true,
            WhichGrants::These(names) => names.contains(name),
        }
    }
}

/// One message to the engine.
#[derive(Debug)]
pub enum Message {
    /// A flight of a grant has ended; with the late answer that it had in hand.
    Landed(u32, u64, Box<Landing>, Option<PendingAnswer>),
    /// A flight's answer is overdue; its doubt is committed. It is waited for until it is
    /// given up by this.
    Overdue(u32, u64, Box<Grant>, oneshot::Sender<()>),
    /// What a grant's flight brought could not be saved; it is tried again.
    Unsaved(String, StoreError),
    /// Somebody else committed a grant (an import).
    Changed(Box<Grant>),
    /// The store takes commits again.
    Writable,
    /// Some of what was to be saved was not, though the database can be written.
    LookAgain,
    /// Reports of grants.
    Status(WhichGrants, oneshot::Sender<Vec<GrantReport>>),
    /// The clients that are not accepted: for all their grants, or for some.
    UnacceptedClients(oneshot::Sender<BTreeSet<String>>),
    /// The active grants with their clients.
    Seated(oneshot::Sender<Vec<(String, Arc<Client>)>>),
    /// The grant as it is.
    Look(String, oneshot::Sender<Option<Look>>),
    /// Somebody wishes a refresh.
    Refresh(Wish, RefreshReply),
    /// A new configuration.
    Reload(Arc<Config>, oneshot::Sender<()>),
    /// An operator confirms something.
    Accept(Accept, oneshot::Sender<Result<String, String>>),
    /// Whether a grant can be revoked; where it is meant, it is written down.
    BeginRevocation(String, bool, oneshot::Sender<Begun>),
    /// What became of a revocation.
    EndRevocation(Box<Ended>, oneshot::Sender<Result<(), Failure>>),
    /// Whether a grant can be taken away; where it is meant, it is. `None`: an exchange is
    /// under way.
    Remove(String, bool, oneshot::Sender<Result<Option<()>, Failure>>),
    /// No new flights; answers when the last has landed.
    Drain(oneshot::Sender<()>),
}

/// A revocation that may be sent; `None`: an exchange is under way.
pub type Begun = Result<Option<Box<Revoking>>, Failure>;

/// A grant as the engine sees it.
#[derive(Clone, Debug)]
pub struct Look {
    /// As last committed.
    pub grant: Grant,
    /// An exchange is under way at which the old access token dies.
    pub suspect: bool,
    /// The configuration does not have it any more.
    pub retired: bool,
}

/// A wish to have a token set replaced now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The grant.
    pub grant: String,
    /// How urgent.
    #[serde(default)]
    pub urgency: Urgency,
    /// Which generation is to be replaced; when a newer one is there, the wish
    /// is fulfilled already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// Where the answer to a wish goes.
pub type RefreshReply = oneshot::Sender<Result<Refreshed, NotRefreshed>>;

/// A wish that was fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// The grant.
    pub grant: String,
    /// Its generation now.
    pub generation: u64,
    /// When its access token ends, RFC 3339.
    pub expires_at: String,
}

/// A wish that was not fulfilled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotRefreshed {
    /// There is no such grant.
    Unknown,
    /// Not now; trying later helps.
    Later(String),
    /// The provider could not be reached or did not answer.
    Unavailable(String),
    /// A person has to do something.
    NeedsPerson(String),
}

/// What an operator confirms (`refreshd doctor --accept-…`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// The refresh token may go to the client and endpoint now configured.
    Binding(String),
    /// The system's wall clock is right, although it was set back.
    Clock,
    /// The state was restored from an older copy.
    Restore,
}
