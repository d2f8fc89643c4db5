//! `hyper-pool`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_pool::PoolTool>()
}
