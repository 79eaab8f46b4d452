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
//! | `GET /admin/enrollment` | how a first token is had ([`Enrollment`]) |
//! | `PATCH /admin/enrollment` `{"auto":"allow","account":"account-2"}` | changes what is named there; the rest stays |
//! | `DELETE /admin/enrollment` | all as the server started with |
//! | `GET /admin/visits` | every visit to an authorization page, oldest first ([`Visit`]) |
//! | `GET /admin/pushes` | every push to a success endpoint with its answer ([`Push`]) |
//! | `POST /admin/pushes` `{"business_id","data":{…},"code","times"}` or `{"raw":"any body"}` | pushes now, whatever it is ([`NewPush`]); answers those [`Push`]es |
//!
//! # A first token
//!
//! A grant is named after the *account* that gives it, and at RETM after the
//! business: authorizing again as the same account begins the same grant again,
//! beside the token sets that it has.
//!
//! | kind | authorization page | PKCE |
//! |---|---|---|
//! | generic | `/authorize` | S256 is checked when sent |
//! | retently | `/api/oauth/authorize` | not known |
//! | reteno | `/uaa/oauth/authorize` | not known |
//! | vcita | `/oauth/authorize` | not known |
//! | retm, retm-staging | `/integrations/authorized` (the install link) | |
//!
//! `GET` of an authorization page takes `response_type`, `client_id`,
//! `redirect_uri`, `state`, `scope`, `code_challenge`, `code_challenge_method`,
//! `nonce`, and `login_hint` for the account. An unknown client, or a
//! `redirect_uri` that is missing, no absolute URI, or not among
//! [`Options::redirect_uris`] (where there are any; a loopback port may differ),
//! is a 400 with an HTML page and no redirect; what else is wrong is an error redirect
//! (RFC 6749 §4.1.2.1). Then comes a consent form (200): it POSTs the same
//! parameters to the same path, with `account` (a text field) and
//! `decision` (`allow` or `deny`, two buttons with these as `id`). The POST, and with `auto` the GET,
//! answers 302 to `redirect_uri?code=…&state=…` or
//! `redirect_uri?error=access_denied&error_description=…&state=…`.
//!
//! A code is good once, for [`Options::code_lifetime`], for one client and
//! one `redirect_uri`; with a `code_challenge`, only beside its `code_verifier`,
//! and without one, only without a verifier.
//!
//! [`Enrollment`] can make each step go wrong: `state` lost or changed, an `iss`
//! of another, two codes for one consent, codes that are late at once, a
//! description that would paint a terminal.
//!
//! RETM's install link takes `client_id` and anything else, which comes back in
//! `data`. `GET` shows a form that POSTs to the same URL with `business_id`
//! (with `auto` the GET installs at once, for [`Enrollment::business_id`]). Then
//! `{"code","business_id","data":{…}}` is POSTed to [`Enrollment::success_url`],
//! before the page is answered: 200 where the push got its 200 in time, else 502.
//!
//! The generic kind has these as well:
//!
//! | call | what it does |
//! |---|---|
//! | `GET /userinfo` (every kind has it) | `{"sub":ACCOUNT,…}` for a living access token |
//! | `POST /revoke` `token`, `token_type_hint` | RFC 7009, the client as at the token endpoint |
//! | `POST /device_authorization` `scope` | RFC 8628; the client as at the token endpoint |
//! | `GET`, `POST /device` `user_code`, `account`, `decision` | where a person enters the code |
//! | `GET /.well-known/oauth-authorization-server`, `…/openid-configuration` | RFC 8414; the issuer is [`server::Server::issuer`] |

pub mod admin;
mod authorize;
mod codes;
mod device_page;
mod devices;
mod enrollment;
pub mod faults;
mod grants;
pub mod http;
mod identity;
mod install;
mod kind;
mod log;
mod metadata;
mod options;
mod overrides;
mod pages;
mod pushes;
mod resource;
pub mod rotation;
pub mod server;
mod stats;
mod token_endpoint;
mod tokens;
mod visits;
mod wire;

pub use codes::Origin;
pub use enrollment::{Auto, Enrollment, IdToken, Iss, SecondCode, StateAs};
pub use grants::{Begun, DEFAULT_REDIRECT_URI};
pub use kind::{Flow, Kind, Reading};
pub use log::{Presentation, Verdict};
pub use options::{Brings, Expiry, Options, Pkce};
pub use pushes::{NewPush, Push};
pub use refreshd_core::provider::description::{
    Auth, Body, OldValid, RefreshFrom, Reuse, Rotates, Rotation,
};
pub use stats::{GrantStats, ResourceStats, Stats};
pub use visits::{Outcome, Visit};
