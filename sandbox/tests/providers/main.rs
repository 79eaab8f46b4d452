//! Each documented provider, asked rightly and wrongly, over HTTP. The right
//! requests stand here as PROVIDERS' documents have them, apart from the
//! sandbox's own reading.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod ask;
mod blynk;
mod browser;
mod codes;
mod consent;
mod device;
mod faults;
mod identity;
mod install;
mod metadata;
mod mischief;
mod overrides;
mod pkce;
mod reteno;
mod retently;
mod retm;
mod revoke;
mod scene;
mod serve;
mod vcita;
