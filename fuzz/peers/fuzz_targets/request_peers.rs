#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gatepost_fuzz_peers::request_head(data));
