//! Addresses and networks: what an address is for, and which networks a
//! client's token endpoint may lie in. Pure: nothing here asks a resolver.

pub mod kind;
pub mod network;

pub use kind::{Kind, kind};
pub use network::{Network, NetworkError};
