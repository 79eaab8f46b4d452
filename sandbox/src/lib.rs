//! Pretend authorization servers that behave like the real ones, faults included.
//!
//! [`server::Server`] listens on a loopback port, makes grants, rotates refresh
//! tokens by the [`Rotation`] facts that a provider description states, and
//! keeps a log of every presentation, so that a test can say "nothing was
//! presented that the facts forbid". [`Options::of`] a [`Kind`] is one of the
//! documented providers, which takes no request that its document would not have.
//!
//! ```no_run
//! # async fn example() {
//! use sandbox::{Kind, Options, faults::Fault, server::Server};
//! // Days pass in seconds.
//! let options = Options::of(Kind::Retently).scaled(1000.0);
//! let server = Server::start(options).await.expect("a loopback port");
//! let first_answer = server.make_grant("shop-17");
//! server.queue_fault(None, Fault::ResetAfter);
//! // … a refresh through `server.token_url()`, then:
//! assert_eq!(server.stats().grants["shop-17"].reuses, 0);
//! # }
//! ```
//!
//! The same over HTTP, for those who are not Rust:
//!
//! | call | what it does |
//! |---|---|
//! | `POST /admin/grants` `{"name","redirect_uri","business_id"}` | makes a grant ([`admin::NewGrant`], all optional); 201 with its first answer |
//! | `GET /admin/grants/NAME` | the code, `redirect_uri` and `business_id` it began with ([`Origin`]) |
//! | `DELETE /admin/grants/NAME` | withdraws it: all its tokens die |
//! | `POST /admin/grants/NAME/reuse` | revokes it, as if an old refresh token had been presented |
//! | `POST /admin/codes` `{"grant","redirect_uri","business_id"}` | makes a code to exchange ([`admin::NewCode`]); 201 with an [`Origin`] |
//! | `POST /admin/faults` `{"clear","queue":[{"grant","fault":{"kind":"late","ms":45000}}],"now_and_then"}` | faults to come ([`admin::NewFaults`], [`faults::Fault`]) |
//! | `PUT /admin/outage` `{"kind":"unavailable","retry_after":5}` or `{"kind":"reset"}` | nothing else works from now on ([`faults::Outage`]) |
//! | `DELETE /admin/outage` | all works again |
//! | `GET /admin/stats` | what was counted ([`Stats`]) |
//! | `GET /admin/presentations` | every token request with its verdict ([`Presentation`]) |

pub mod admin;
mod codes;
pub mod faults;
mod grants;
pub mod http;
mod kind;
mod log;
mod options;
mod overrides;
mod resource;
pub mod rotation;
pub mod server;
mod stats;
mod token_endpoint;
mod tokens;
mod wire;

pub use codes::Origin;
pub use grants::{Begun, DEFAULT_REDIRECT_URI};
pub use kind::{Flow, Kind, Reading};
pub use log::{Presentation, Verdict};
pub use options::{Brings, Expiry, Options};
pub use refreshd_core::provider::description::{
    Auth, Body, OldValid, RefreshFrom, Reuse, Rotates, Rotation,
};
pub use stats::{GrantStats, ResourceStats, Stats};
