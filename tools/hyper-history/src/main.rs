//! `hyper-history`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_history::History>()
}
