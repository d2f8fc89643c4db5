//! `hyper-snapshot`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_snapshot::Snapshot>()
}
