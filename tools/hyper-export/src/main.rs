//! The `hyper-export` program.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_export::ExportTool>()
}
