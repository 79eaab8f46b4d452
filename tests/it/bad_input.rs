//! Whatever is wrong gets a clear error, and nothing is lost by it.

mod answers;
mod bindings;
mod configuration;
mod imports;
mod state_directory;
