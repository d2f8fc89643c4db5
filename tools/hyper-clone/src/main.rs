//! `hyper-clone`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_clone::Clone>()
}
