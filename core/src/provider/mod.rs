//! How one kind of authorization server talks, as data.
//!
//! A [`Description`] is read from a TOML file; [`request`] builds a token
//! request from it, [`answer`] reads what came back by it. No provider's name
//! appears in code.

pub mod answer;
pub mod authorize;
pub mod description;
pub mod ending;
mod fillable;
pub mod request;
pub mod template;
pub mod token_set;

pub use description::Description;
pub use ending::{Answer, Ending};
pub use token_set::TokenSet;
