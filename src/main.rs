//! The `localml` program.

fn main() -> std::process::ExitCode {
    localml::cli::main()
}
