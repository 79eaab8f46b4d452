//! `refreshd` keeps OAuth 2.0 access tokens fresh and hands them to other programs.
//!
//! What decides is in the crate `refreshd-core`; this one acts. The arrows point
//! one way: [`cli`] → [`daemon`], which wires → [`control`] → [`service`], what the commands
//! come to → [`enroll`] → [`engine`] → [`report`] → [`publish`], [`incidents`] →
//! [`state`], [`http`] → core. [`config`] feeds them all; [`net`] and [`authorities`] serve
//! [`config`] and [`http`]; [`trust`] serves whoever opens a file or a socket. A test reads
//! the imports and holds them to it.

pub mod authorities;
pub mod cli;
pub mod clock;
pub mod config;
mod connections;
pub mod control;
pub mod daemon;
pub mod descriptors;
pub mod discovery;
pub mod engine;
pub mod enroll;
pub mod exchange;
pub mod exit;
pub mod hardening;
pub mod history;
pub mod http;
pub mod incidents;
pub mod logging;
pub mod net;
pub mod opening;
pub mod publish;
mod random;
pub mod reload;
pub mod report;
mod sandboxed;
pub mod service;
pub mod state;
mod systemd;
pub mod trust;
