//! What is kept alive: its token set, its state, when it is due, and when a
//! refresh token may be presented again.

pub mod align;
pub mod candidate;
pub mod kept_refresh;
mod life;
pub mod notice;
pub mod presentation;
pub mod replay;
pub mod revocation;
pub mod schedule;
pub mod scopes;
pub mod settle;
pub mod state;
pub mod token_set;

pub use presentation::Presents;
pub use state::{Grant, GrantId, GrantState};
pub use token_set::TokenSet;
