//! `hyper-watch`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_watch::Watch>()
}
