//! The program `hyper-context`; see the library of the same name.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_context::ContextTool>()
}
