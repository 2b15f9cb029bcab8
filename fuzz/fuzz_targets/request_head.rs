#![no_main]

use gatepost_fuzz::{peers, properties};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::request_head(data);
    peers::request_head(data);
});
