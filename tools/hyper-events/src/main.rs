//! `hyper-events`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_events::Events>()
}
