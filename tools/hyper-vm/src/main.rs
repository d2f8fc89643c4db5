//! `hyper-vm`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_vm::Vm>()
}
