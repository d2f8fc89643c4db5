#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| hyper_fuzz::run("soap", input));
