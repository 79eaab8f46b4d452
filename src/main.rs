//! The `refreshd` command.

fn main() -> std::process::ExitCode {
    refreshd::cli::run(std::env::args_os())
}
