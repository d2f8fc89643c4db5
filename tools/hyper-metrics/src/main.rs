//! `hyper-metrics`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_metrics::Metrics>()
}
