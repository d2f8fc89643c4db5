//! The `hyper-image` program.

fn main() -> std::process::ExitCode {
    hyper_common::tool::main::<hyper_image::ImageTool>()
}
