//! What is kept alive: its token set, its state, when it is due, and when a
//! refresh token may be presented again.

pub mod align;
pub mod binding;
pub mod candidate;
pub mod notice;
pub mod outcome;
pub mod policy;
pub mod presentation;
pub mod replay;
pub mod revocation;
pub mod schedule;
pub mod scopes;
pub mod state;

pub use crate::provider::TokenSet;
pub use binding::Binding;
pub use policy::Policy;
pub use presentation::Presents;
pub use state::{Grant, GrantId, GrantState};
