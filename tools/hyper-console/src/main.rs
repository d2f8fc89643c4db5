//! `hyper-console`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_console::Console>()
}
