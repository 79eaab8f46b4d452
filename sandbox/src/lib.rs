//! Pretend authorization servers that behave like the real ones, faults included.
//!
//! [`server::Server`] listens on a loopback port, makes grants, rotates refresh
//! tokens by the [`Rotation`] facts that a provider description states, and
//! keeps a log of every presentation, so that a test can say "nothing was
//! presented that the facts forbid".
//!
//! ```no_run
//! # async fn example() {
//! use sandbox::{Options, faults::Fault, server::Server};
//! let server = Server::start(Options::default()).await.expect("a loopback port");
//! let first_answer = server.make_grant("shop-17");
//! server.queue_fault(None, Fault::ResetAfter);
//! // … a refresh through `server.token_url()`, then:
//! assert_eq!(server.stats().grants["shop-17"].reuses, 0);
//! # }
//! ```

pub mod admin;
pub mod faults;
pub mod http;
mod log;
mod options;
mod resource;
pub mod rotation;
pub mod server;
mod stats;
mod token_endpoint;
mod tokens;
mod wire;

pub use log::{Presentation, Verdict};
pub use options::{Expiry, Options};
pub use refreshd_core::provider::description::{
    Auth, OldValid, RefreshFrom, Reuse, Rotates, Rotation,
};
pub use stats::{GrantStats, ResourceStats, Stats};
