//! The program `hyper`; see the library of the package.

fn main() -> std::process::ExitCode {
    hyper_cli::main()
}
