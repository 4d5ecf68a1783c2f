#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sentinel_fuzz_targets::run("fences", data));
