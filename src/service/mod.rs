//! What the API does, with or without a running daemon.
//!
//! - [`api`]: what is asked and answered
//! - [`import`], [`verify`], [`answers`], [`maintenance`]: what the commands of these names do

pub mod answers;
pub mod api;
pub mod import;
pub mod maintenance;
pub mod verify;
