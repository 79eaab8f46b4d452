//! What `refreshd` decides. This crate is pure: it takes the time, random
//! numbers and bytes as arguments and returns values, so a simulation can run
//! years of refreshing, with a fault at any step, in seconds.
//!
//! - [`provider`]: how one kind of authorization server talks, as data
//! - [`grant`]: what is kept alive, when it is due, when it may be presented again
//! - [`flight`]: what is durable before an exchange, and what it means for its grant
//! - [`enroll`]: how a grant gets its first token set
//! - [`kept`]: answers that could not be taken in
//! - [`ledger`]: what a store holds of a grant, and every change of it
//! - [`exchange`]: one exchange as a machine, event in, action out
//! - [`incident`]: what is not healthy, and when a person is told of it
//! - [`fence`]: when a store that was put back does not refresh
//! - [`queue`] and [`limits`]: what is due next, and what may start now
//! - [`scheduler`]: both put to use: what takes off, and what a landing does
//! - [`backoff`], [`time`] and [`secret`]: the vocabulary of the rest
//! - [`mutation`]: faults on purpose, compiled in for the simulation alone

pub mod backoff;
pub mod duration;
pub mod enroll;
pub mod exchange;
pub mod fence;
pub mod flight;
pub mod grant;
pub mod incident;
pub mod kept;
pub mod ledger;
pub mod limits;
pub mod mutation;
pub mod name;
pub mod provider;
pub mod queue;
pub mod scheduler;
pub mod secret;
pub mod text;
pub mod time;

pub use grant::{Grant, GrantId, GrantState, TokenSet};
