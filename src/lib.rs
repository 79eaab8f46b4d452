//! `refreshd` keeps OAuth 2.0 access tokens fresh and hands them to other programs.

pub mod config;
