//! `hyper-template`.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_template::Template>()
}
