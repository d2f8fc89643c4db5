//! `hyper-sim`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_sim::Sim>()
}
