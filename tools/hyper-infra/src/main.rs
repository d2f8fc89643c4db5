//! `hyper-infra`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_infra::Infra>()
}
