//! Each documented provider, asked rightly and wrongly, over HTTP. The right
//! requests stand here as PROVIDERS' documents have them, apart from the
//! sandbox's own reading.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod ask;
mod blynk;
mod codes;
mod faults;
mod overrides;
mod reteno;
mod retently;
mod retm;
mod scene;
mod serve;
mod vcita;
