//! The `refreshd` command.

fn main() {}
